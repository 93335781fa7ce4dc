"""The time that a run takes."""

from __future__ import annotations

import contextlib
import time


class Clock:
    """Seconds of a run over all of its sessions: those of earlier ones are in its checkpoints."""

    def __init__(self):
        self._started = self._saved = time.perf_counter()
        self.earlier = {"all": 0.0, "training": 0.0}
        self._training = 0.0
        self._since: float | None = None

    @contextlib.contextmanager
    def training(self):
        """A context whose time is that of training."""
        self._since = time.perf_counter()
        try:
            yield
        finally:
            self._training, self._since = self._trained(), None

    def spent(self) -> dict[str, float]:
        """Seconds so far: `all`, and those in `training`."""
        everything = time.perf_counter() - self._started
        return {"all": self.earlier["all"] + everything, "training": self.earlier["training"] + self._trained()}

    def _trained(self) -> float:
        return self._training + (0.0 if self._since is None else time.perf_counter() - self._since)

    def just_saved(self) -> None:
        """A checkpoint was saved now."""
        self._saved = time.perf_counter()

    def since_save(self) -> float:
        """Seconds since the last checkpoint, or the start."""
        return time.perf_counter() - self._saved
