"""Samplers: prompts on a canvas of masks become completions."""
