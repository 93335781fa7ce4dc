"""The one training loop: a method leaves gradients, the loop does the rest."""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import Protocol

from maskgrpo_cli.config.runs import CHECKPOINTS, folder_of
from maskgrpo_cli.engine import checkpoint
from maskgrpo_cli.engine.best import Best
from maskgrpo_cli.engine.clock import Clock
from maskgrpo_cli.engine.comparison import Evaluations
from maskgrpo_cli.engine.devices import gather_rows
from maskgrpo_cli.engine.optimizer import learning_rate, make_optimizer
from maskgrpo_cli.engine.policy import Policy
from maskgrpo_cli.engine.resume import Start, settle
from maskgrpo_cli.engine.session import Session
from maskgrpo_cli.errors import Interrupted, RunFailed, Stopped

SAVE_AFTER = 900.0  # seconds without a checkpoint after which one is saved, where no number of steps is asked for


class Method(Protocol):
    """What is trained for: SFT, GRPO."""

    def step(self, index: int) -> dict[str, float]:
        """Leave the gradients of optimiser step `index` in the parameters; return its metrics."""

    def after_step(self, done: int) -> None:
        """Called when `done` optimiser steps have been taken."""

    def state(self) -> dict:
        """Plain values and tensors that a checkpoint keeps."""

    def load_state(self, state: dict, done: int) -> None:
        """Take up what `state` gave after `done` steps; `{}` where nothing of it is to be used."""


class Loop:
    """Optimiser steps from wherever the run is to its end."""

    def __init__(self, session: Session, command: str, policy: Policy):
        self.session, self.command, self.policy = session, command, policy
        self.settings = getattr(session.config, command)
        self.checkpoints = Path(session.config.output_dir) / CHECKPOINTS
        optimizer = make_optimizer(policy.parameters(), self.settings.optimizer, policy.outer_parameters())
        policy.model, self.optimizer = session.accelerator.prepare(policy.model, optimizer)
        policy.model.eval()
        self.done = 0
        self.unreported: dict[str, float] | None = None  # metrics of the step just taken, its evaluation still to come
        self.best = Best(session.config.evaluation)
        self.resumed = self.fitted = False
        self.clock = Clock()

    def resume(self, method: Method, start: Start) -> None:
        """Continue from `start`; later metrics and completions are taken back."""
        session, state = self.session, {"unreported": None, "method": {}}
        if start.folder:
            state = checkpoint.load(start.folder, self.policy, self.optimizer)
            self.done, self.unreported = start.step, state["unreported"]
            if not start.remeasure:
                self.best.load_state(start.about["best"])
            self.clock.earlier = start.about["seconds"]
            session.randomness.take_up(state["random"])
            self.resumed = True
        if session.run:
            settle(session, self.command, start)
        method.load_state({} if start.redraw else state["method"], self.done)
        if session.run:
            session.run.rewind(self.done - (self.unreported is not None))
            checkpoint.point(self.checkpoints, self.best.step)
        if start.folder is None:
            session.reporter.say("no checkpoint had been saved; the run begins anew")
            return
        session.reporter.say(f"continuing after step {self.done} from {start.folder}")
        if self.best.step is not None and self._best_folder() is None:
            session.reporter.warn(f"the best checkpoint ({self.best.words()}) is gone; a better one will be kept")

    def fit(self, method: Method, evaluations: Evaluations) -> None:
        """Run to `steps`, or until the patience with the evaluations is at its end.

        Raises:
            RunFailed: the loss or a gradient is not finite; the weights are as before that step.
            Interrupted: Ctrl-C or SIGTERM; `save` then keeps what there is.
        """
        steps, mark = self.settings.steps, self.session.randomness.mark
        mark()
        with self.clock.training():
            while self.unreported is not None or (self.done < steps and not self.best.given_up):
                if self.unreported is None:
                    self.session.check_interrupts()
                    self.unreported = self._step(method)
                    mark()
                evaluated = evaluations.curve() if evaluations.due(self.done, steps) else {}
                improved = bool(evaluated) and self.best.see(self.done, evaluated)
                self._report(self.unreported | evaluated)
                self.unreported = None
                mark()
                if improved or self._save_is_due(steps):
                    self.save(method)
        self.fitted = True
        if self.best.given_up and self.done < steps:
            self.session.reporter.say(
                f"stopped early after step {self.done}: {self.best.waited} evaluations without a better one "
                f"(the best: {self.best.words()})"
            )

    def _save_is_due(self, steps: int) -> bool:
        """At the end, and every `save_every` steps or whenever a quarter of an hour would be lost.

        An evaluation alone is no reason: a full 8B model's checkpoint has close to 100 GB, its optimiser included.
        """
        if self.done == steps or self.best.given_up:
            return True
        if self.settings.save_every:
            return self.done % self.settings.save_every == 0
        overdue = self.clock.since_save() > SAVE_AFTER
        return any(gather_rows(self.session.accelerator, [overdue]))  # clocks differ; all processes must agree

    def _step(self, method: Method) -> dict[str, float]:
        rate = learning_rate(self.done, self.settings.steps, self.settings.optimizer)
        self.optimizer.zero_grad(set_to_none=True)
        row = method.step(self.done)
        norm = self._clip()
        if not (math.isfinite(row["loss"]) and math.isfinite(norm)):
            raise RunFailed(
                f"step {self.done + 1}: loss {row['loss']}, gradient norm {norm}; the weights were not changed\n"
                f"  {self._way_out()}"
            )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.done += 1
        method.after_step(self.done)
        return {"step": self.done, **row, "grad_norm": norm, "lr": rate}

    def _way_out(self) -> str:
        """What to try after a loss that is not finite."""
        saved = checkpoint.complete(self.checkpoints)
        key = f"{self.command}.optimizer.lr={self.settings.optimizer.lr / 2:g}"
        if not saved:
            return f"start anew with a lower learning rate (--set {key}), or with --dtype float32"
        return (
            f"go on from a checkpoint ({', '.join(folder.name for folder in saved)}) with a lower learning rate:\n"
            f"  maskgrpo {self.command} --resume {shlex.quote(str(saved[-1]))} --set {key} --force"
        )

    def _clip(self) -> float:
        largest = self.settings.optimizer.grad_clip or math.inf
        norm = self.session.accelerator.clip_grad_norm_(self.policy.parameters(), largest)
        return 0.0 if norm is None else float(norm)

    def _report(self, row: dict[str, float]) -> None:
        self.session.reporter.step(row)
        if self.session.config.tracker:
            numbers = {key: value for key, value in row.items() if isinstance(value, (int, float))}
            self.session.accelerator.log(numbers, step=self.done)

    def take_result(self) -> str:
        """Make the policy what the run is to end with, `evaluation.keep`; returns which it is, `last` or `best`."""
        if self.session.config.evaluation.keep == "last" or self.best.step is None:
            return "last"
        folder = self._best_folder()
        if folder is None or checkpoint.damage(folder):
            self.session.reporter.warn(f"the best checkpoint ({self.best.words()}) is gone; the last weights are kept")
            return "last"
        self.policy.restore(folder)
        self.session.reporter.say(f"the result is the best checkpoint: {self.best.words()}")
        return "best"

    def _best_folder(self) -> Path | None:
        folder = folder_of(self.checkpoints, self.best.step)
        return folder if folder.is_dir() else None

    def leave(self, ending: Interrupted | Stopped, method: Method) -> None:
        """Save the run as it is; a second signal wants out at once, from wherever it hits, and saves nothing."""
        if self.session.interrupts.insisted:
            return
        # after the last step the policy may be the best one already, and the checkpoint of the last is there
        ending.saved = str(folder_of(self.checkpoints, self.done) if self.fitted else self.save(method))
        how = "interrupted"
        if isinstance(ending, Stopped):
            how = f"stopped: {ending.why}"
            ending.resume = f"maskgrpo {self.command} --resume {shlex.quote(self.session.config.output_dir)}"
        if self.session.run:
            self.session.run.log(f"{how}; saved in {ending.saved}")

    def save(self, method: Method) -> Path:
        """A checkpoint of the run as it is after `done` steps; every process takes part."""
        session = self.session
        state = {
            "method": method.state(),
            "unreported": self.unreported,
            "random": gather_rows(session.accelerator, [session.randomness.marked]),
        }
        about = {
            "command": self.command,
            "recipe": session.config.model_dump(mode="json"),
            "best": self.best.state(),
            "seconds": self.clock.spent(),
        }
        if session.accelerator.is_main_process:
            checkpoint.save(
                self.checkpoints,
                self.done,
                self.policy,
                self.optimizer,
                state,
                about,
                keep=self.settings.keep_checkpoints,
                best=self.best.step,
            )
        self.clock.just_saved()
        return folder_of(self.checkpoints, self.done)
