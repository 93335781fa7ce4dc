"""`maskgrpo eval`: the accuracy of a model on a benchmark."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from maskgrpo_cli import config as recipes
from maskgrpo_cli.config.schema import Config
from maskgrpo_cli.engine import data
from maskgrpo_cli.engine.devices import make_accelerator
from maskgrpo_cli.engine.evaluator import evaluate
from maskgrpo_cli.engine.interrupts import Interrupts
from maskgrpo_cli.engine.judging import Judged, as_row, check_protocol, tally
from maskgrpo_cli.engine.policy import load_policy
from maskgrpo_cli.engine.reporting.display import make_reporter
from maskgrpo_cli.engine.reporting.run_directory import RunDirectory, environment, peak_memory_bytes, to_json
from maskgrpo_cli.engine.session import Session
from maskgrpo_cli.errors import UserError

GENERATIONS, RESULTS = "generations.jsonl", "results.json"


def run(config: Config, split: str) -> None:
    """Complete and judge the benchmark's problems; leaves `results.json` and `generations.jsonl` in `output_dir`."""
    directory = Path(config.output_dir)
    accelerator = make_accelerator(config)
    task = data.find_task(config.task)
    protocol = config.evaluation.protocol
    check_protocol(task, protocol)
    problems = data.load_problems(config, task, split, limit=config.task.limit)
    main = accelerator.is_main_process
    directory_of_run = RunDirectory(directory).create(recipes.dump(config)) if main else None
    title = f"eval · {config.task.name} · {config.model.path}"
    with make_reporter(directory_of_run, title, 0, quiet=not main) as reporter, Interrupts() as interrupts:
        session = Session(config, accelerator, directory_of_run, reporter, interrupts)
        try:
            policy = load_policy(config, accelerator, trained=False)
        except UserError:
            if directory_of_run:
                directory_of_run.discard()  # the same command, put right, must not find a run in its way
            raise
        generations = directory / GENERATIONS

        def keep(batch: list[Judged]) -> None:
            if main:
                append(generations, batch)

        started = time.perf_counter()
        judged = evaluate(
            policy, task, problems, config.sampler, seed=config.seed, protocol=protocol,
            progress=session.progress("evaluate"), each=keep,
        )
        seconds = time.perf_counter() - started
    results = {
        "benchmark": config.task.name,
        "split": split,
        "protocol": protocol,
        **tally(judged),
        "seconds": seconds,
        "peak_memory_bytes": peak_memory_bytes(accelerator.device),
        "environment": environment(),
        "settings": config.model_dump(mode="json", include={"model", "task", "sampler", "seed", "dtype"}),
    }
    if main:
        if accelerator.num_processes > 1:  # the other processes' results, in order
            generations.unlink(missing_ok=True)
            append(generations, judged)
        (directory / RESULTS).write_text(to_json(results, indent=2) + "\n")
        show(results, directory)


def append(path: Path, batch: list[Judged]) -> None:
    """Add results to a file of JSON lines."""
    try:
        with path.open("a", encoding="utf-8") as lines:
            lines.writelines(to_json(as_row(item)) + "\n" for item in batch)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from error


def show(results: dict, directory: Path) -> None:
    """The accuracy as a table in a terminal, as one line in a pipe."""
    console = Console()
    low, high = results["interval"]
    accuracy, counts = f"{results['accuracy']:.1%}", f"{results['correct']}/{results['total']}"
    if not console.is_terminal:
        console.print(
            f"{results['benchmark']}: accuracy {accuracy} ({counts}), 95 % {low:.1%} to {high:.1%}, "
            f"{results['seconds']:.1f} s, results in {directory}",
            soft_wrap=True,
            highlight=False,
        )
        return
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("benchmark", "accuracy", "95 %", "correct", "time"):
        table.add_column(heading)
    table.add_row(
        results["benchmark"], f"[bold]{accuracy}[/]", f"{low:.1%} to {high:.1%}", counts, f"{results['seconds']:.1f} s"
    )
    console.print(table)
    console.print(f"results in {directory}", style="dim", highlight=False)
