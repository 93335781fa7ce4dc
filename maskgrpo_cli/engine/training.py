"""The one training loop: a method leaves gradients, the loop does the rest."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from accelerate import Accelerator

from maskgrpo_cli import config as recipes
from maskgrpo_cli.config.schema import Config
from maskgrpo_cli.engine import checkpoint, data
from maskgrpo_cli.engine.comparison import Evaluations
from maskgrpo_cli.engine.devices import make_accelerator
from maskgrpo_cli.engine.interrupts import Interrupts
from maskgrpo_cli.engine.optimizer import learning_rate, make_optimizer
from maskgrpo_cli.engine.policy import MODEL, Policy
from maskgrpo_cli.engine.reporting.display import make_reporter
from maskgrpo_cli.engine.reporting.run_directory import RunDirectory, environment, peak_memory_bytes
from maskgrpo_cli.engine.reporting.summary import plain, show
from maskgrpo_cli.engine.session import Session
from maskgrpo_cli.errors import Interrupted, RunFailed, UserError
from maskgrpo_cli.types import Task


class Method(Protocol):
    """What is trained for: SFT, GRPO."""

    def step(self, index: int) -> dict[str, float]:
        """Leave the gradients of optimiser step `index` in the parameters; return its metrics."""

    def after_step(self, done: int) -> None:
        """Called when `done` optimiser steps have been taken."""

    def state(self) -> dict:
        """Plain values and tensors that a checkpoint keeps."""

    def load_state(self, state: dict) -> None:
        """Take up what `state` gave."""


class Loop:
    """Optimiser steps from wherever the run is to its end."""

    def __init__(self, session: Session, command: str, policy: Policy):
        self.session, self.command, self.policy = session, command, policy
        self.settings = getattr(session.config, command)
        optimizer = make_optimizer(policy.parameters(), self.settings.optimizer)
        policy.model, self.optimizer = session.accelerator.prepare(policy.model, optimizer)
        policy.model.eval()
        self.done = 0
        self.unreported: dict[str, float] | None = None  # metrics of the step just taken, its evaluation still to come

    def resume(self, method: Method) -> None:
        """Continue from the newest whole checkpoint of the run; later metrics are taken back."""
        session = self.session
        folder = checkpoint.latest(Path(session.config.output_dir) / "checkpoints", session.reporter.warn)
        self.done, state = checkpoint.load(folder, self.policy, self.optimizer)
        if state["command"] != self.command:
            raise UserError(f"{folder} belongs to a run of maskgrpo {state['command']}, not {self.command}")
        self.unreported = state["unreported"]
        method.load_state(state["method"])
        if session.run:
            session.run.rewind(self.done - (self.unreported is not None))
        session.reporter.say(f"continuing after step {self.done} from {folder}")

    def fit(self, method: Method, evaluations: Evaluations) -> None:
        """Run to `steps`.

        Raises:
            RunFailed: the loss or a gradient is not finite; the weights are as before that step.
            Interrupted: Ctrl-C or SIGTERM; `save` then keeps what there is.
        """
        every = self.settings.save_every or self.settings.steps
        while self.unreported is not None or self.done < self.settings.steps:
            if self.unreported is None:
                self.session.check_interrupts()
                self.unreported = self._step(method)
            evaluated = evaluations.curve() if evaluations.due(self.done, self.settings.steps) else {}
            self._report(self.unreported | evaluated)
            self.unreported = None
            if self.done % every == 0 or self.done == self.settings.steps:
                self.save(method)

    def _step(self, method: Method) -> dict[str, float]:
        rate = learning_rate(self.done, self.settings.steps, self.settings.optimizer)
        self.optimizer.zero_grad(set_to_none=True)
        row = method.step(self.done)
        norm = self._clip()
        if not (math.isfinite(row["loss"]) and math.isfinite(norm)):
            raise RunFailed(
                f"step {self.done + 1}: loss {row['loss']}, gradient norm {norm}; the weights were not changed\n"
                "  try a lower learning rate, --dtype float32, or continue from an earlier checkpoint"
            )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.done += 1
        method.after_step(self.done)
        return {"step": self.done, **row, "grad_norm": norm, "lr": rate}

    def _clip(self) -> float:
        largest = self.settings.optimizer.grad_clip or math.inf
        norm = self.session.accelerator.clip_grad_norm_(self.policy.parameters(), largest)
        return 0.0 if norm is None else float(norm)

    def _report(self, row: dict[str, float]) -> None:
        self.session.reporter.step(row)
        if self.session.config.tracker:
            numbers = {key: value for key, value in row.items() if isinstance(value, (int, float))}
            self.session.accelerator.log(numbers, step=self.done)

    def leave(self, interruption: Interrupted, method: Method) -> None:
        """Save the run as it is; a second signal wants out at once, from wherever it hits, and saves nothing."""
        if self.session.interrupts.insisted:
            return
        interruption.saved = str(self.save(method))
        if self.session.run:
            self.session.run.log(f"interrupted; saved in {interruption.saved}")

    def save(self, method: Method) -> Path:
        """A checkpoint of the run as it is after `done` steps; every process takes part."""
        checkpoints = Path(self.session.config.output_dir) / "checkpoints"
        state = {"command": self.command, "method": method.state(), "unreported": self.unreported}
        if self.session.accelerator.is_main_process:
            keep = self.settings.keep_checkpoints
            checkpoint.save(checkpoints, self.done, self.policy, self.optimizer, state, keep)
        return checkpoint.folder_of(checkpoints, self.done)


def train(
    config: Config,
    recipe: str,
    command: str,
    make_policy: Callable[[Accelerator, Task], Policy],
    make_method: Callable[[Session, Policy, Task], Method],
    resume: bool = False,
) -> None:
    """Evaluate, train, evaluate again, and leave a run directory behind.

    Args:
        config: the resolved recipe; `output_dir` is set.
        recipe: its name, for titles.
        command: `sft` or `grpo`, the section of the config that has steps and optimizer.
        make_policy: the model, on the accelerator's device.
        make_method: what it is trained for.
        resume: continue the run that lies in `output_dir`.
    """
    started = time.perf_counter()
    with open_session(config, recipe, command, resume) as session:
        loop, method, evaluations = set_up(session, command, make_policy, make_method, resume)
        try:
            from_nothing = command == "sft" and config.sft.from_scratch is not None
            before = evaluations.before(skip=from_nothing or loop.done > 0, resumed=resume)
            training = time.perf_counter()
            loop.fit(method, evaluations)
            trained = time.perf_counter() - training
            after = evaluations.final()
        except Interrupted as interruption:
            loop.leave(interruption, method)
            raise
        summary = {
            **evaluations.compare(before, after),
            "steps": loop.done,
            "seconds": time.perf_counter() - started,
            "seconds_training": trained,
            "peak_memory_bytes": peak_memory_bytes(session.accelerator.device),
            "processes": session.accelerator.num_processes,
            "environment": environment(),
            "output_dir": config.output_dir,
            "next_command": config.next_command,
        }
        if session.run:
            save_result(loop.policy, session.run.path, config.model.merge)
            session.run.summary(summary)
            session.run.log(plain(summary))
    if session.run:
        show(summary)


@contextlib.contextmanager
def open_session(config: Config, recipe: str, command: str, resume: bool):
    """A run's directory, processes, voice and interruptions, while the context lasts."""
    accelerator = make_accelerator(config, config.output_dir)
    main = accelerator.is_main_process
    run = RunDirectory(Path(config.output_dir)) if main else None
    if run and not resume:
        run.create(recipes.dump(config))
    reporter = make_reporter(run, f"{command} · {recipe}", getattr(config, command).steps, quiet=not main)
    with reporter, Interrupts() as interrupts, trackers(accelerator):
        yield Session(config, accelerator, run, reporter, interrupts)


def set_up(
    session: Session, command: str, make_policy: Callable, make_method: Callable, resume: bool
) -> tuple[Loop, Method, Evaluations]:
    """Everything that a run needs; where something is amiss, the run leaves no directory behind."""
    config, accelerator = session.config, session.accelerator
    try:
        task = data.find_task(config.task)
        policy = make_policy(accelerator, task)
        method = make_method(session, policy, task)
        evaluations = Evaluations(session, policy, task, getattr(config, command).evaluate_every)
        loop = Loop(session, command, policy)
        if config.tracker:
            accelerator.init_trackers(f"maskgrpo-{command}", config=flat(config.model_dump(mode="json")))
        session.reporter.say(f"run directory {config.output_dir}")
        if resume:
            loop.resume(method)
    except UserError:
        if session.run and not resume:
            session.run.discard()  # the same command, put right, must not find a run in its way
        raise
    return loop, method, evaluations


def save_result(policy: Policy, directory: Path, merge: bool) -> None:
    """The trained model or adapter, and with `merge` the model that an adapter makes."""
    policy.save(directory)
    if merge and policy.is_adapter():
        policy.save_merged(directory / MODEL)


@contextlib.contextmanager
def trackers(accelerator: Accelerator):
    """Trackers started within the context have written everything when it ends, however it ends."""
    try:
        yield
    finally:
        for tracker in accelerator.trackers:
            tracker.finish()


def flat(tree: dict, prefix: str = "") -> dict:
    """Nested keys joined with dots, for trackers."""
    rows = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            rows |= flat(value, f"{prefix}{key}.")
        else:
            rows[f"{prefix}{key}"] = value if isinstance(value, (int, float, bool, str)) else str(value)
    return rows
