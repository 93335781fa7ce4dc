"""Samplers as a user writes them, `module:function`."""

from maskgrpo_cli.samplers.planned import random_order


def silent(denoise, canvas, vocabulary, noise, *, steps, block_length, temperature, observe=None):
    """Answers that end at once."""
    response = canvas.response.clone()
    response[:] = vocabulary.fill_id
    return response


def half_silent(denoise, canvas, vocabulary, noise, **options):
    """Every second sample ends at once."""
    response = random_order(denoise, canvas, vocabulary, noise, steps=4, block_length=4, temperature=1.0)
    for row, sample in enumerate(noise.samples):
        response[row] = vocabulary.fill_id if sample % 2 == 0 else response[row]
    return response
