"""What every part of a run shares: its config, processes, directory, voice, interruptions and global randomness."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from accelerate import Accelerator

from maskgrpo_cli.config.schema import Config
from maskgrpo_cli.engine.data import reward_weights
from maskgrpo_cli.engine.devices import gather_rows
from maskgrpo_cli.engine.executors import LazyExecutor
from maskgrpo_cli.engine.generation import Progress
from maskgrpo_cli.engine.interrupts import Interrupts
from maskgrpo_cli.engine.randomness import GlobalRandomness
from maskgrpo_cli.engine.reporting.display import Reporter
from maskgrpo_cli.engine.reporting.run_directory import RunDirectory
from maskgrpo_cli.engine.scoring import Rewards
from maskgrpo_cli.errors import Interrupted, Stopped
from maskgrpo_cli.types import Task


@dataclass
class Session:
    """One run in one process. Only the main process has a directory."""

    config: Config
    accelerator: Accelerator
    run: RunDirectory | None
    reporter: Reporter
    interrupts: Interrupts
    randomness: GlobalRandomness = field(default_factory=GlobalRandomness)
    executor: LazyExecutor | None = None  # None: nothing that is made runs programs
    _rewards: Rewards | None = None

    def rewards(self, task: Task) -> Rewards:
        """The run's reward functions; one object for training and evaluation, so that a failure is told once."""
        if self._rewards is None:
            self._rewards = Rewards(
                reward_weights(self.config, task), self.reporter.warn, self.config.task.reward_settings,
                self.accelerator.device, self.config.offline, self.executor, self.waiting,
            )
        return self._rewards

    def progress(self, phase: str) -> Progress:
        """A callback for a phase of work, which is also where an interruption is obeyed."""

        def report(done: int, of: int) -> None:
            if self.accelerator.num_processes == 1:  # others would wait for a process that left alone
                self.interrupts.check()
            self.reporter.phase(phase, done, of)

        return report

    def waiting(self, reward: str, done: int, of: int, why: str | None) -> None:
        """Say how far a reward is that is made elsewhere, and leave when interrupted; others follow in `together`."""
        self.interrupts.check()
        self.reporter.phase(f"waiting for reward {reward}" if why else f"reward {reward}", done, of)

    def together(self, work: Callable[[], Any]) -> list:
        """What `work` gives in every process; where it is interrupted or stopped in one, all raise the same.

        Called where all processes meet, for work in which each may raise alone.
        """
        ended, result = None, None
        try:
            result = work()
        except Interrupted as interruption:
            if self.interrupts.insisted:
                raise
            ended = interruption.signal_number
        except Stopped as stopped:
            ended = stopped.why
        outcomes = gather_rows(self.accelerator, [(ended, result)])
        for how, _ in outcomes:
            if how is not None:
                raise Stopped(how) if isinstance(how, str) else Interrupted(how)
        return [result for _, result in outcomes]

    def check_interrupts(self) -> None:
        """Raise Interrupted in every process if a signal has come to any; called where all processes meet."""
        if self.accelerator.num_processes > 1:
            heard = gather_rows(self.accelerator, [self.interrupts.received])
            self.interrupts.received = next((signal for signal in heard if signal is not None), None)
        self.interrupts.check()
