"""Model families: bidirectional denoisers in their published layouts."""
