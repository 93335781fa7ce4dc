"""`maskgrpo eval`: the accuracy of a model on a benchmark."""

from __future__ import annotations

import contextlib
import json
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from accelerate import Accelerator

from maskgrpo_cli import config as recipes
from maskgrpo_cli import registry
from maskgrpo_cli.config.evaluation import GENERATIONS, RESULTS
from maskgrpo_cli.config.schema import Config, SamplerConfig
from maskgrpo_cli.engine import data, evaluation_files, evaluation_results, shots
from maskgrpo_cli.engine.devices import gather_rows, make_accelerator, share
from maskgrpo_cli.engine.evaluation_files import Begun
from maskgrpo_cli.engine.evaluation_identity import check_lengths, identity
from maskgrpo_cli.engine.evaluator import batches, evaluate, gathered
from maskgrpo_cli.engine.executors import LazyExecutor
from maskgrpo_cli.engine.interrupts import Interrupts
from maskgrpo_cli.engine.judging import Judged, check_protocol, judges, runs_programs
from maskgrpo_cli.engine.modality import modality_of
from maskgrpo_cli.engine.pictures.laid_out import LaidOut
from maskgrpo_cli.engine.pictures.layouts import Page, planned
from maskgrpo_cli.engine.policy import Policy, load_policy
from maskgrpo_cli.engine.reporting.display import make_reporter
from maskgrpo_cli.engine.reporting.run_directory import RunDirectory, environment, peak_memory_bytes
from maskgrpo_cli.engine.session import Session
from maskgrpo_cli.errors import Interrupted, Stopped, UserError
from maskgrpo_cli.types import Problem, Task


@dataclass
class Evaluation:
    """What is evaluated: the problems as they are asked, at every setting."""

    config: Config
    task: Task
    shots: shots.Shots
    problems: list[Problem]
    settings: list[SamplerConfig]
    pages: dict[str, list[Page]] | None = None  # of each problem, where the task lays its pictures out

    @classmethod
    def of(cls, config: Config) -> Evaluation:
        """What a config asks for; raises UserError for everything that can be known without the model."""
        task = data.find_task(config.task)
        check_protocol(task, config.evaluation.protocol)
        if config.evaluation.pass_at and not judges(task):
            raise UserError(f"evaluation.pass_at: nothing is right or wrong in the task {task.name}; leave it out")
        problems = data.load_problems(config, task, config.task.split, limit=config.task.limit)
        examples = shots.choose(config, task, problems)
        pages, name = None, getattr(task, "layout", None)
        if name is not None:
            pages = planned(registry.resolve("layout", name), problems, config.evaluation.samples)
        return cls(config, task, examples, [*map(examples.before, problems)], config.evaluation_samplers(), pages)

    def folder(self, name: str, setting: SamplerConfig) -> str:
        """The folder of the pictures drawn with a setting: `name`, with the setting where there are several."""
        return name if len(self.settings) == 1 else f"{name}-T{setting.temperature:g}-L{setting.length}"

    def laid_out(self, run: Path) -> dict[tuple[float, int], LaidOut]:
        """The layout's files of each setting, by its temperature and length."""
        name = getattr(self.task, "layout", None)
        if self.pages is None:
            return {}
        return {
            (one.temperature, one.length): LaidOut(run, run / self.folder(name.rpartition(":")[2], one), self.pages)
            for one in self.settings
        }

    def batches(self, mine: range) -> list[list[evaluation_files.Key]]:
        """The keys of every batch of the problems `mine`, in the order of the work."""
        return [
            [(setting.temperature, setting.length, sample, self.problems[row].id) for row in rows]
            for setting in self.settings
            for sample, rows in batches(mine, self.config.evaluation.samples, setting.batch_size)
        ]


def run(config: Config, resume: bool = False) -> None:
    """Complete and judge the benchmark's problems; leaves `results.json` and `generations.jsonl` in `output_dir`.

    With `resume` an evaluation that was interrupted there goes on; what it made is not made again.
    """
    directory = Path(config.output_dir)
    if resume and (directory / RESULTS).is_file():
        return finished(directory)
    accelerator = make_accelerator(config)
    evaluation = Evaluation.of(config)
    main = accelerator.is_main_process
    directory_of_run = RunDirectory(directory) if main else None
    title = f"eval · {config.task.name} · {config.model.path}"
    with contextlib.ExitStack() as stack:
        if directory_of_run:
            stack.enter_context(directory_of_run.claimed())
            if not resume:
                directory_of_run.create(recipes.dump(config))
                directory_of_run.checkpoints.rmdir()
                Begun.of(directory, accelerator.num_processes).write(directory)
        reporter = stack.enter_context(make_reporter(directory_of_run, title, 0, quiet=not main))
        interrupts = stack.enter_context(Interrupts())
        programs = stack.enter_context(LazyExecutor(config.sandbox, accelerator.num_processes))
        session = Session(config, accelerator, directory_of_run, reporter, interrupts, executor=programs)
        try:
            results = Measurement(session, evaluation, resume).carry_out()
        except UserError:
            made = any(directory.glob("generations*.jsonl"))
            if directory_of_run and not (resume or made):  # the same command, put right, must not find a run in its way
                evaluation_files.tidy(directory, accelerator.num_processes)
                directory_of_run.discard()
            raise
        except Stopped as stopped:
            again = f"maskgrpo eval --resume {shlex.quote(str(directory))}"
            raise Stopped(stopped.why, str(directory / GENERATIONS), again) from stopped
        except Interrupted as interruption:
            raise Interrupted(
                interruption.signal_number, saved=str(directory / GENERATIONS), run=str(directory)
            ) from interruption
    if main:
        evaluation_results.show(results, directory)


def finished(directory: Path) -> None:
    """Show the results of an evaluation that has nothing left to do."""
    try:
        results = json.loads((directory / RESULTS).read_text(encoding="utf-8"))
        if "generations" in results:
            raise UserError(f"--resume: {directory} judged text made elsewhere, in one go: nothing is left to be done")
        evaluation_results.show(results, directory)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{directory / RESULTS} is damaged ({error!r}); evaluate again in another directory") from error


class Measurement:
    """Carries out an evaluation on one process, from where its part file ends."""

    def __init__(self, session: Session, evaluation: Evaluation, resume: bool):
        self.session, self.evaluation, self.resume = session, evaluation, resume
        accelerator: Accelerator = session.accelerator
        self.directory = Path(session.config.output_dir)
        self.processes = accelerator.num_processes
        self.part = evaluation_files.part(self.directory, accelerator.process_index, self.processes)
        self.mine = share(accelerator, len(evaluation.problems))
        self.samples = session.config.evaluation.samples
        self.laid_out = evaluation.laid_out(self.directory)
        self.started, self.noted = time.perf_counter(), 0.0

    def carry_out(self) -> dict:
        """Every setting, one after another; returns what results.json says."""
        config, evaluation = self.session.config, self.evaluation
        if runs_programs(evaluation.task):
            self.session.executor()  # what it lacks is told before a model is loaded
        modality = modality_of(evaluation.task)
        policy = load_policy(config, self.session.accelerator, trained=False, modality=modality)
        check_lengths(policy, evaluation.problems, max(s.length for s in evaluation.settings), config.evaluation.shots)
        self.rewards = self.session.rewards(evaluation.task) if data.reward_weights(config, evaluation.task) else None
        measured = identity(config, policy, evaluation.problems, evaluation.shots)
        self.begun = self._begin(measured)
        kept = evaluation_files.kept(self.part, evaluation.batches(self.mine)) if self.resume else []
        if self.session.run and self.resume:
            whole = len(self.mine) * self.samples * len(evaluation.settings)
            self.session.reporter.say(f"continuing after {len(kept)} of {whole} completions")
        for item in kept:
            self._lay_out([item], anew=False)
        self.started = time.perf_counter()
        judged = self._gather(lambda: [*self._measure(policy, kept)])
        results = self._results(measured, judged)
        if self.session.run:
            if modality in registry.names("overview"):
                registry.resolve("overview", modality)(self.directory, results, judged)
            evaluation_files.finish(
                self.directory, results, [item for part in judged for item in part], self.processes
            )
        return results

    def _measure(self, policy: Policy, kept: Sequence[Judged]) -> Iterator[list[Judged]]:
        """This process's results of every setting."""
        config, evaluation, each = self.session.config, self.evaluation, len(self.mine) * self.samples
        for place, settings in enumerate(evaluation.settings):
            yield evaluate(
                policy,
                evaluation.task,
                evaluation.problems,
                settings,
                seed=config.seed,
                protocol=config.evaluation.protocol,
                samples=self.samples,
                rewards=self.rewards,
                executor=self.session.executor,
                kept=kept[place * each : (place + 1) * each],
                gather=False,
                progress=self._progress(place),
                folder=self.directory / evaluation.folder(PICTURES, settings),
                each=self._keep,
            )

    def _gather(self, measure: Callable[[], list[list[Judged]]]) -> list[list[Judged]]:
        """All processes' results by setting; they meet here alone, and leave together when one was interrupted."""
        accelerator, heard, mine = self.session.accelerator, None, []
        try:
            mine = measure()
        except Interrupted as interruption:
            if self.session.interrupts.insisted:
                raise
            heard = interruption.signal_number
        for number in gather_rows(accelerator, [heard]):
            if number is not None:
                raise Interrupted(number)
        return [gathered(accelerator, judged) for judged in mine]

    def _begin(self, measured: dict) -> Begun:
        """The note of what was begun, checked where it is continued; every process may write from here on."""
        accelerator = self.session.accelerator
        accelerator.wait_for_everyone()
        begun = Begun.read(self.directory, self.processes)
        begun.check(measured, self.directory)
        accelerator.wait_for_everyone()
        if self.session.run:
            begun.identity = measured
            begun.write(self.directory)
        return begun

    def _progress(self, place: int):
        """Reports steps over all settings, and obeys an interruption: what was kept is whole wherever it comes."""
        settings = self.evaluation.settings
        sizes = [one.steps * len(batches(self.mine, self.samples, one.batch_size)) for one in settings]
        before, one = sum(sizes[:place]), settings[place]
        name = "evaluate" if len(settings) == 1 else f"T={one.temperature:g} L={one.length}"

        def report(done: int, of: int) -> None:
            self.session.interrupts.check()
            self.session.reporter.phase(name, before + done * sizes[place] // max(of, 1), sum(sizes))

        return report

    def _keep(self, batch: Sequence[Judged]) -> None:
        evaluation_files.append(self.part, batch)
        self._lay_out(batch, anew=True)
        seconds = time.perf_counter() - self.started
        if self.session.run and seconds - self.noted >= NOTE_EVERY:
            self.noted = seconds
            replace(self.begun, seconds=self.begun.seconds + seconds).write(self.directory)

    def _lay_out(self, batch: Sequence[Judged], anew: bool) -> None:
        """The files of the benchmark's layout that a batch of one setting completes."""
        if self.laid_out:
            self.laid_out[batch[0].temperature, batch[0].length].add(batch, anew)

    def _results(self, measured: dict, judged: Sequence[Sequence[Judged]]) -> dict:
        config = self.session.config
        own = config.evaluation
        rows = [
            evaluation_results.row(settings, part, self.samples, own.passes())
            for settings, part in zip(self.evaluation.settings, judged, strict=True)
        ]
        alone = {key: value for key, value in rows[0].items() if len(rows) == 1}
        weights = data.reward_weights(config, self.evaluation.task) if self.rewards else {}
        return {
            **measured,
            **alone,
            "results": rows,
            **({"layout": [one.folder.name for one in self.laid_out.values()]} if self.laid_out else {}),
            **({"reward_weights": weights} if weights else {}),
            "interval_method": evaluation_results.INTERVAL,
            "seconds": self.begun.seconds + time.perf_counter() - self.started,
            "peak_memory_bytes": peak_memory_bytes(self.session.accelerator.device),
            "environment": environment(),
            "settings": config.model_dump(mode="json", include={"model", "task", "sampler", "seed", "dtype"})
            | {"evaluation": own.model_dump(mode="json", include=KEPT)},
        }


PICTURES = "pictures"  # the folder of completions that are no text
NOTE_EVERY = 5.0  # seconds between the notes of the time spent
KEPT = {"temperatures", "lengths", "steps", "samples", "pass_at", "shots", "shots_data", "protocol"}
