"""The bridge to lm-evaluation-harness: our samplers as one of its models, our benchmarks among its tasks."""
