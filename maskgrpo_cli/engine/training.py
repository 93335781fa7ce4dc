"""A training run from beginning to end: evaluate, train, evaluate again, leave a run directory behind."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import torch
from accelerate import Accelerator
from safetensors import SafetensorError

from maskgrpo_cli import config as recipes
from maskgrpo_cli.config.schema import Config
from maskgrpo_cli.engine import data
from maskgrpo_cli.engine.comparison import Evaluations, Results
from maskgrpo_cli.engine.devices import gather_rows, make_accelerator
from maskgrpo_cli.engine.executors import LazyExecutor
from maskgrpo_cli.engine.interrupts import Interrupts
from maskgrpo_cli.engine.loop import Loop, Method
from maskgrpo_cli.engine.policy import MODEL, Policy
from maskgrpo_cli.engine.randomness import GlobalRandomness
from maskgrpo_cli.engine.reporting.display import make_reporter
from maskgrpo_cli.engine.reporting.run_directory import RunDirectory, environment, peak_memory_bytes
from maskgrpo_cli.engine.reporting.summary import plain, show
from maskgrpo_cli.engine.resume import Resume, take_up
from maskgrpo_cli.engine.session import Session
from maskgrpo_cli.errors import Interrupted, RunFailed, Stopped, UserError
from maskgrpo_cli.types import Task


def train(
    config: Config,
    recipe: str,
    command: str,
    make_policy: Callable[[Accelerator, Task], Policy],
    make_method: Callable[[Session, Policy, Task], Method],
    resume: Resume | None = None,
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
    with enough_memory(command), open_session(config, recipe, command, resume) as session:
        loop, method, evaluations = set_up(session, command, make_policy, make_method, resume)
        try:
            from_nothing = command == "sft" and config.sft.from_scratch is not None
            before = evaluations.before(skip=from_nothing or loop.done > 0, resumed=loop.resumed)
            loop.fit(method, evaluations)
            result = loop.take_result()
            after = evaluations.final()
        except (Interrupted, Stopped) as ending:
            loop.leave(ending, method)
            raise
        seconds = loop.clock.spent()
        summary = {
            **evaluations.compare(before, after),
            "pictures": look_back(session, loop.policy, before, after),
            "best": loop.best.state() if loop.best.step is not None else None,
            "result": result,
            "stopped_early": loop.done < loop.settings.steps,
            "steps": loop.done,
            "seconds": seconds["all"],
            "seconds_training": seconds["training"],
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


def look_back(session: Session, policy: Policy, before: Results, after: Results) -> str | None:
    """The file that shows the test problems before and after, where completions are files and not text."""
    if not (session.run and policy.modality.saves_files):
        return None
    from maskgrpo_cli.engine.pictures.before_after import before_after

    folder = session.run.path
    drawn = before_after(before, after, folder / "evaluations", folder / "before-after.png")
    return None if drawn is None else str(drawn)


@contextlib.contextmanager
def enough_memory(command: str):
    """Raises RunFailed, with what makes a run smaller, where a device has no memory left."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        reason = (str(error).splitlines() or [""])[0]
        raise RunFailed(
            f"the device has no memory left: {reason}\n"
            f"  smaller: {command}.micro_batch_size, {command}.logit_chunk, sampler.batch_size, evaluation.batch_size; "
            "or model.gradient_checkpointing=true, model.lora.rank=16, --dtype bfloat16"
        ) from error


@contextlib.contextmanager
def open_session(config: Config, recipe: str, command: str, resume: Resume | None):
    """A run's directory, processes, voice, interruptions and global randomness, while the context lasts."""
    accelerator = make_accelerator(config, config.output_dir)
    main = accelerator.is_main_process
    # a name with the time in it may differ by a second
    config = config.model_copy(update={"output_dir": gather_rows(accelerator, [config.output_dir])[0]})
    run = RunDirectory(Path(config.output_dir)) if main else None
    with run.claimed() if run else contextlib.nullcontext():
        if run and not resume:
            run.create(recipes.dump(config))
            began = datetime.now(timezone.utc).isoformat()
            run.note(command=command, name=recipe, started=began, recipe=config.model_dump(mode="json"))
        reporter = make_reporter(run, f"{command} · {recipe}", getattr(config, command).steps, quiet=not main)
        randomness = GlobalRandomness(config.seed, accelerator.process_index)
        programs = LazyExecutor(config.sandbox, accelerator.num_processes)
        with reporter, Interrupts() as interrupts, trackers(accelerator), randomness, programs:
            yield Session(config, accelerator, run, reporter, interrupts, randomness, programs)


def set_up(
    session: Session, command: str, make_policy: Callable, make_method: Callable, resume: Resume | None
) -> tuple[Loop, Method, Evaluations]:
    """Everything that a run needs; where something is amiss, the run leaves no directory behind."""
    config, accelerator = session.config, session.accelerator
    try:
        start = take_up(session, command, resume) if resume else None
        task = data.find_task(config.task)
        policy = make_policy(accelerator, task)
        method = make_method(session, policy, task)
        evaluations = Evaluations(session, policy, task, getattr(config, command).evaluate_every)
        loop = Loop(session, command, policy)
        if config.tracker:
            accelerator.init_trackers(f"maskgrpo-{command}", config=flat(config.model_dump(mode="json")))
        session.reporter.say(f"run directory {config.output_dir}")
        session.randomness.begin()
        if start:
            loop.resume(method, start)
    except UserError:
        if session.run and not resume:
            session.run.discard()  # the same command, put right, must not find a run in its way
        raise
    return loop, method, evaluations


def save_result(policy: Policy, directory: Path, merge: bool) -> None:
    """The trained model or adapter, and with `merge` the model that an adapter makes; whole, or not at all.

    Raises:
        RunFailed: the disk is full or not writable; the last checkpoint has everything.
    """
    partial = directory / ".result.partial"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        policy.save(partial)
        if merge and policy.is_adapter():
            policy.save_merged(partial / MODEL)
        for path in sorted(partial.iterdir()):
            shutil.rmtree(directory / path.name, ignore_errors=True)
            os.replace(path, directory / path.name)
        partial.rmdir()
    except (OSError, RuntimeError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise RunFailed(
            f"the result could not be saved in {directory}: {error}\n"
            "  nothing is lost: make room, and continue the run with --resume; the last checkpoint has everything"
        ) from error


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
