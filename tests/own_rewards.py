"""Rewards as a user writes them, `module:function`; informative on the text of an untrained model."""

import math


def letters(prompts, completions, **columns):
    """The share of letters that are vowels."""
    return [sum(text.lower().count(vowel) for vowel in "aeiou") / max(len(text), 1) for text in completions]


def area(completions, **columns):
    """The pixels of a picture, which is a PIL image wherever rewards are asked."""
    return [float(picture.width * picture.height) for picture in completions]


def longest(prompts, completions, answer, **columns):
    """The length of the text; asks for a column of the task."""
    assert len(answer) == len(completions) == len(prompts)
    return [float(len(text)) for text in completions]


def equal(completions, **columns):
    """The same for all."""
    return [0.7] * len(completions)


def empty_only(completions, **columns):
    """1 for an answer that ended at once."""
    return [float(text == "") for text in completions]


def _odd(text):
    """Whether the length of a text is odd: some of any group, not all."""
    return len(text) % 2 == 1


def raises_sometimes(completions, **columns):
    """Raises where the length of any text is odd."""
    for text in completions:
        if _odd(text):
            raise ZeroDivisionError("an odd text")
    return letters(None, completions)


def nan_sometimes(completions, **columns):
    """NaN where the length of a text is odd."""
    return [math.nan if _odd(text) else value for text, value in zip(completions, letters(None, completions))]


def infinite_sometimes(completions, **columns):
    """Infinite where the length of a text is odd."""
    return [math.inf if _odd(text) else value for text, value in zip(completions, letters(None, completions))]


def none_sometimes(completions, **columns):
    """Not applicable where the length of a text is odd."""
    return [None if _odd(text) else value for text, value in zip(completions, letters(None, completions))]


def too_few(completions, **columns):
    """One value less than there are completions."""
    return [0.0] * (len(completions) - 1)


def always_raises(completions, **columns):
    """Raises for every sample."""
    raise RuntimeError("the judge is away")


def drawn(completions, **columns):
    """Vowels, and what the global generators of Python, numpy and torch give: a reward that is not seeded."""
    import random

    import numpy as np
    import torch

    return [value + 0.1 * (random.random() + np.random.rand() + torch.rand(1).item())
            for value in letters(None, completions)]


class Scaled:
    """Vowels times a factor; with a setting that must be given, one that need not, and what a run fills in."""

    def __init__(self, factor, shift=0.0, *, device, offline):
        if not factor:
            from maskgrpo_cli.errors import UserError

            raise UserError("factor = 0: write another number")
        self.factor, self.shift, self.device, self.offline = factor, shift, device, offline

    def __call__(self, prompts, completions, **columns):
        """Vowels times the factor."""
        return [self.factor * value + self.shift for value in letters(prompts, completions)]


class Free:
    """Takes any settings."""

    def __init__(self, **given):
        self.given = given

    def __call__(self, prompts, completions, **columns):
        """Nothing."""
        return [None] * len(completions)


class Bare:
    """Takes no settings."""

    def __call__(self, prompts, completions, **columns):
        """The length."""
        return [float(len(text)) for text in completions]


class Uncallable:
    """No reward."""


class Width:
    """How wide pictures are."""

    def __call__(self, prompts, completions, **columns):
        """In pixels."""
        return [float(picture.width) for picture in completions]
