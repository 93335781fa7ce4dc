"""The global generators of Python, numpy and torch. Nothing here draws from them, but a user's reward may."""

from __future__ import annotations

import random

import numpy as np
import torch

from maskgrpo_cli.noise import Purpose, generator


class GlobalRandomness:
    """Within the context the global generators belong to the run: seeded from its seed, and given back at the end.

    A checkpoint keeps the states of the last `mark`, which is set wherever a run can be taken up again: an
    interruption in the middle of a step is saved as the step began.
    """

    def __init__(self, seed: int = 0, process: int = 0):
        self.seed, self.process = seed, process
        self.marked: dict | None = None
        self._before: dict | None = None

    def __enter__(self) -> GlobalRandomness:
        self._before = capture()
        self.begin()
        return self

    def __exit__(self, *exception: object) -> None:
        restore(self._before)

    def begin(self) -> None:
        """Seed the generators; again when everything is loaded, which may have drawn from them."""
        words = generator(self.seed, Purpose.GLOBAL, self.process).integers(2**32, size=3).tolist()
        random.seed(words[0])
        np.random.seed(words[1])
        torch.manual_seed(words[2])
        self.mark()

    def mark(self) -> None:
        """Remember the states as they are: from here a resumed run would go on."""
        self.marked = capture()

    def take_up(self, states: list[dict]) -> None:
        """Go on from the states of a checkpoint, one a process; a process that was not there then keeps its seed."""
        if self.process < len(states):
            restore(states[self.process])
        self.mark()


def capture() -> dict:
    """The states as plain values and tensors."""
    name, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    states = {
        "python": random.getstate(),
        "numpy": (name, keys.tolist(), position, has_gauss, gauss),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_initialized():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def restore(states: dict) -> None:
    """Put back what `capture` gave."""
    version, words, gauss = states["python"]
    random.setstate((version, tuple(words), gauss))
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(states["torch"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])
