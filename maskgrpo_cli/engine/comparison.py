"""Evaluations of a run: the curve while it trains, and the comparison of before and after."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from maskgrpo_cli.engine import data
from maskgrpo_cli.engine.best import check_metric
from maskgrpo_cli.engine.evaluator import evaluate, in_order
from maskgrpo_cli.engine.judging import Judged, check_protocol, judges, tally
from maskgrpo_cli.engine.policy import Policy
from maskgrpo_cli.engine.reporting.run_directory import write_whole
from maskgrpo_cli.engine.session import Session
from maskgrpo_cli.types import Task

Results = dict[float, list[Judged]]  # by temperature
SOLVED_SHOWN = 3
BEFORE = "before.json"


def name_of(temperature: float) -> str:
    """How a temperature's accuracy is called."""
    return "greedy accuracy" if temperature == 0 else f"accuracy at T={temperature:g}"


def reward_name_of(temperature: float) -> str:
    """How a temperature's mean reward is called."""
    return "mean reward" + ("" if temperature == 0 else f" at T={temperature:g}")


class Evaluations:
    """The validation problems of the curve and the test problems of before and after."""

    def __init__(self, session: Session, policy: Policy, task: Task, every: int | None = None):
        config = session.config
        self.session, self.policy, self.task = session, policy, task
        self.settings = config.evaluation
        self.every = self.settings.every if every is None else every
        check_protocol(task, self.settings.protocol)
        check_metric(self.settings, judges(task), f"the task {task.name}")
        self.sampler = config.evaluation_sampler()
        self.rewards = session.rewards(task)
        self._validation = self._load("validation", self.settings.limit) if self.every else []
        self._test = self._load("test", self.settings.final_limit) if self.settings.final_limit else []

    def _load(self, split: str, limit: int):
        return data.load_problems(self.session.config, self.task, split, limit=limit, data=self.settings.data)

    def due(self, step: int, steps: int) -> bool:
        """Whether the curve gets a point after `step`."""
        return bool(self.every) and (step % self.every == 0 or step == steps)

    def curve(self) -> dict[str, float | None]:
        """Accuracy and reward on the validation problems: the first temperature's under `eval/accuracy`.

        The accuracy is None where nothing is counted.
        """
        row = {}
        for place, temperature in enumerate(self.settings.temperatures):
            result = tally(self._run(self._validation, temperature, "evaluate"))
            suffix = "" if place == 0 else f"@{temperature:g}"
            row |= {f"eval/accuracy{suffix}": result["accuracy"], f"eval/reward{suffix}": result["reward"]}
            for style, seen in result["styles"].items() if place == 0 else ():
                row |= {f"eval/style/{style}": seen["share"], f"eval/style/{style}_accuracy": seen["accuracy"]}
        return row

    def before(self, skip: bool, resumed: bool) -> Results:
        """The test problems under the policy as it starts; a resumed run reads what it found then."""
        keep = Path(self.session.config.output_dir) / "evaluations" / BEFORE
        if resumed and keep.is_file():
            return self._read(keep)
        if skip:
            return {}
        results = self._measure("before")
        if self.session.run and results:
            write_whole(keep, json.dumps({key: [vars(item) for item in rows] for key, rows in results.items()}))
        for temperature, judged in results.items():
            self.session.reporter.say(f"before training: {describe(temperature, judged)}")
        return results

    def _read(self, kept: Path) -> Results:
        try:
            found = json.loads(kept.read_text(encoding="utf-8"))
            return {float(key): [Judged(**row) for row in rows] for key, rows in found.items()}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            self.session.reporter.warn(f"{kept} cannot be read ({error}); the summary has no comparison with before")
            return {}

    def final(self) -> Results:
        """The test problems at every temperature."""
        return self._measure("after")

    def _measure(self, when: str) -> Results:
        if not self._test:
            return {}
        folder = Path(self.session.config.output_dir) / "evaluations"
        return {t: self._run(self._test, t, "test", folder / f"{when}-T{t:g}") for t in self.settings.temperatures}

    def _run(self, problems, temperature: float, phase: str, folder: Path | None = None) -> list[Judged]:
        self.session.check_interrupts()

        def measure() -> list[Judged]:
            return evaluate(
                self.policy,
                self.task,
                problems,
                self.sampler.model_copy(update={"temperature": temperature}),
                seed=self.session.config.seed,
                protocol=self.settings.protocol,
                rewards=self.rewards,
                executor=self.session.executor,
                gather=False,
                progress=self.session.progress(phase),
                folder=folder,
            )

        # a process whose reward server is away can be interrupted alone; none may be left waiting for it
        parts = self.session.together(measure)
        return in_order([item for part in parts for item in part])

    def compare(self, before: Results, after: Results) -> dict:
        """The part of summary.json that says what changed, and three problems solved now that were not before."""
        evaluations, rewards, styles = [], [], []
        for place, (temperature, judged) in enumerate(after.items()):
            then, now = before.get(temperature), tally(judged)
            past = tally(then) if then else None
            if now["accuracy"] is not None:
                evaluations.append({"name": name_of(temperature), "before": past, "after": now})
            if now["reward"] is not None:
                before_it = past["reward"] if past else None
                rewards.append({"name": reward_name_of(temperature), "before": before_it, "after": now["reward"]})
            if place == 0:
                names = sorted({*now["styles"], *(past["styles"] if past else ())})
                styles = [
                    {
                        "name": name,
                        "before": past["styles"].get(name) if past else None,
                        "after": now["styles"].get(name),
                    }
                    for name in names
                ]
        first = next(iter(after), None)
        solved = solved_now(before.get(first, ()), after.get(first, ()))
        return {"evaluations": evaluations, "rewards": rewards, "styles": styles, "solved_now": solved}


def describe(temperature: float, judged: Sequence[Judged]) -> str:
    """One line on an evaluation: its accuracy, or its mean reward where nothing is counted."""
    result = tally(judged)
    if result["accuracy"] is None:
        mean = "-" if result["reward"] is None else f"{result['reward']:.3f}"
        return f"{reward_name_of(temperature)} {mean} ({len(judged)} completions, nothing is judged)"
    low, high = result["interval"]
    name = name_of(temperature)
    return f"{name} {result['accuracy']:.1%} ({result['correct']}/{result['total']}, 95 % {low:.1%} to {high:.1%})"


def solved_now(before: Sequence[Judged], after: Sequence[Judged]) -> list[dict]:
    """Up to three problems that are right now and were wrong before."""
    wrong = {item.id: item for item in before if not item.correct}
    return [
        {"prompt": item.prompt, "before": wrong[item.id].completion, "after": item.completion, "answer": item.answer}
        for item in after
        if item.correct and item.id in wrong
    ][:SOLVED_SHOWN]
