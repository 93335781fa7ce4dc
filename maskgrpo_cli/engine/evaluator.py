"""Measuring a policy on a set of problems."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from accelerate import Accelerator

from maskgrpo_cli.config.schema import SamplerConfig
from maskgrpo_cli.engine.devices import gather_rows, share
from maskgrpo_cli.engine.executors import Executing
from maskgrpo_cli.engine.generation import Progress, generate
from maskgrpo_cli.engine.judging import Judged, judge
from maskgrpo_cli.engine.policy import Policy
from maskgrpo_cli.engine.scoring import Rewards
from maskgrpo_cli.noise import Noise, Purpose
from maskgrpo_cli.types import DEFAULT_PROTOCOL, Problem, Task

Batch = tuple[int, range]  # which sample of each problem, and the problems


def batches(problems: range, samples: int, size: int) -> list[Batch]:
    """The work on some problems, in order: a sample of all of them, then the next one.

    Batches never mix samples, so that those of one sample are the same however many follow.
    """
    starts = range(problems.start, problems.stop, size)
    return [(sample, range(first, min(first + size, problems.stop))) for sample in range(samples) for first in starts]


def evaluate(
    policy: Policy,
    task: Task,
    problems: Sequence[Problem],
    settings: SamplerConfig,
    *,
    seed: int,
    protocol: str = DEFAULT_PROTOCOL,
    samples: int = 1,
    rewards: Rewards | None = None,
    executor: Executing | None = None,
    kept: Sequence[Judged] = (),
    gather: bool = True,
    progress: Progress | None = None,
    folder: Path | None = None,
    each: Callable[[list[Judged]], None] | None = None,
) -> list[Judged]:
    """Complete and judge every problem `samples` times, spread over the processes; all results come back.

    The draws are keyed by (seed, problem, sample), so two policies are compared on the same noise, and sample j of a
    problem does not depend on how many samples or problems there are.

    Args:
        executor: asked for what runs programs, where the task's completions are some.
        kept: this process's results of whole batches that were made before; they are not made again.
        gather: False leaves out the results of the other processes, and waits for none of them.
        progress: called with (denoising steps done, all of them) over this process's batches.
        folder: where completions that are no text are saved; None: they are judged and forgotten.
        each: called with the results of a batch as they come, on the process that made them.

    Returns:
        The results by sample, and in each in the order of the problems, however many processes there are.
    """
    accelerator = policy.accelerator
    mine = share(accelerator, len(problems))
    work = batches(mine, samples, settings.batch_size)
    judged, place = list(kept), 0
    for number, (sample, rows) in enumerate(work):
        place += len(rows)
        if place <= len(kept):
            continue
        batch = [problems[row] for row in rows]
        prompts = policy.modality.encode([problem.messages for problem in batch])

        def step(done: int, steps: int, number: int = number) -> None:
            if progress:
                progress(number * steps + done, len(work) * steps)

        noise = Noise((seed, 0, sample, Purpose.EVALUATION), tuple(rows))  # no rollout's key has this length
        completions = policy.modality.decode(generate(policy, prompts, settings, noise, progress=step))
        results = judge(task, batch, completions, rewards, protocol, executor)
        for item in results:
            item.sample, item.temperature, item.length = sample, settings.temperature, settings.length
            item.completion = policy.modality.written(item.completion, folder, f"{item.id}-{sample}")
        judged += results
        if each:
            each(results)
    return gathered(accelerator, judged) if gather else judged


def gathered(accelerator: Accelerator, judged: list[Judged]) -> list[Judged]:
    """The results of all processes, in the order of one process; each has every sample of its problems."""
    return in_order(gather_rows(accelerator, judged))


def in_order(judged: Sequence[Judged]) -> list[Judged]:
    """The results of the processes one after another, in the order of one process."""
    return sorted(judged, key=lambda item: item.sample)
