"""Reward functions with TRL's signature: `(prompts, completions, **columns) -> list of float or None`."""
