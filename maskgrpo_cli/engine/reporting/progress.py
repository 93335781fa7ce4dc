"""What is known of a run so far: the state that every view draws."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from maskgrpo_cli.engine.reporting import text

EVALUATE = "evaluate"  # the name of the phase that is no part of a step
WINDOW = 20  # steps that the pace is averaged over: several rollouts, each reused for a few steps


class Curve:
    """One value a step; at `most` points neighbours are averaged, so that a long run draws as quickly."""

    def __init__(self, most: int = 1024) -> None:
        self.most, self.stride, self.count = most, 1, 0
        self._points: list[float | None] = []
        self._open: list[float | None] = []  # the values of the point to come

    def add(self, value: float | None) -> None:
        """Append the value of one step; None leaves a gap."""
        self.count += 1
        self._open.append(value)
        if len(self._open) < self.stride:
            return
        points = [*self._points, text.mean(self._open)]
        if len(points) == self.most:  # an even number, so that all points weigh the same
            self.stride *= 2
            points = [text.mean(points[at : at + 2]) for at in range(0, len(points), 2)]
        self._points, self._open = points, []

    @property
    def values(self) -> list[float | None]:
        """The points, the unfinished one last."""
        return [*self._points, text.mean(self._open)] if self._open else self._points


class Progress:
    """Steps done, curves, the phase at work and the pace; `clock` returns seconds."""

    def __init__(self, title: str, total_steps: int, clock=time.monotonic) -> None:
        self.title, self.total, self.clock = title, total_steps, clock
        self.started = clock()
        self.done = 0
        self.row: dict[str, Any] = {}
        self.phase: tuple[str, int, int] | None = None
        self.curves = {"reward": Curve(), "loss": Curve(), "accuracy": Curve()}
        self.accuracies: list[float] = []  # as measured
        self.sample: tuple[str, str, float] | None = None
        self._marks = deque([(self.started, None)], maxlen=WINDOW + 1)

    def step(self, row: dict[str, Any]) -> None:
        """Take in the metrics of one optimiser step (`row["step"]` counts from 1)."""
        self.row, self.done = dict(row), int(row.get("step", self.done + 1))
        if self._marks[0][1] is None:  # the first step of a run, which may be a resumed one
            self._marks[0] = (self._marks[0][0], self.done - 1)
        self._marks.append((self.clock(), self.done))
        if text.finite(row.get("eval/accuracy")):
            self.accuracies.append(float(row["eval/accuracy"]))
        self.curves["reward"].add(row.get("reward"))
        self.curves["loss"].add(row.get("loss"))
        self.curves["accuracy"].add(self.accuracies[-1] if self.accuracies else None)

    def enter(self, name: str, done: int, total: int) -> None:
        """Take in how far a phase is; what comes before the first rollout does not count into the pace."""
        if not self.row and (self.phase is None or name == EVALUATE):
            self._marks[0] = (self.clock(), None)
        self.phase = (name, done, total)

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self.clock() - self.started

    @property
    def pace(self) -> float | None:
        """Seconds a step, over the latest steps; None before the first."""
        (first, low), (last, high) = self._marks[0], self._marks[-1]
        return (last - first) / (high - low) if low is not None and high > low else None

    @property
    def left(self) -> float | None:
        """Seconds that are probably left; None before the first step and for work without steps."""
        if self.pace is None or not self.total:
            return None
        since = self.clock() - self._marks[-1][0]
        return max(self.pace * (self.total - self.done) - since, 0.0)

    def line(self) -> str:
        """The latest step as one line of plain text."""
        row = self.row
        parts = [f"step {self.done}/{self.total}"]
        if "reward" in row:
            spread = f" (±{row['reward_std']:.2f})" if text.finite(row.get("reward_std")) else ""
            parts.append(f"reward {text.fixed(row['reward'])}{spread}")
        if row.get("eval/accuracy") is not None:
            parts.append(f"acc {text.fixed(row['eval/accuracy'])}")
        elif row.get("eval/reward") is not None:
            parts.append(f"eval reward {text.fixed(row['eval/reward'])}")
        names = (("loss", "loss"), ("kl", "kl"), ("clip_ratio", "clip"), ("entropy", "entropy"),
                 ("grad_norm", "grad"), ("lr", "lr"))
        parts += [f"{label} {text.number(row[key])}" for key, label in names if row.get(key) is not None]
        parts += [f"{text.number(self.pace)} s/step"] if self.pace is not None else []
        parts += [f"ETA {text.duration(self.left)}"] if self.left is not None else []
        return "  ".join(parts)
