"""Modalities: prompts to canvases, ids to text or pictures."""
