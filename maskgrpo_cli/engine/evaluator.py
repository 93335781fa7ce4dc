"""Measuring a policy on a set of problems."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from maskgrpo_cli.config.schema import Config, SamplerConfig
from maskgrpo_cli.engine.devices import gather_rows, share
from maskgrpo_cli.engine.generation import Progress, generate
from maskgrpo_cli.engine.judging import Judged, judge
from maskgrpo_cli.engine.policy import Policy
from maskgrpo_cli.engine.scoring import Rewards
from maskgrpo_cli.noise import Noise, Purpose
from maskgrpo_cli.types import DEFAULT_PROTOCOL, Problem, Task


def evaluation_sampler(config: Config) -> SamplerConfig:
    """The sampler of evaluations: the recipe's, with what `evaluation` sets laid over it."""
    given = config.evaluation
    overrides = {
        "name": given.sampler,
        "length": given.length,
        "steps": given.steps,
        "block_length": given.block_length,
        "batch_size": given.batch_size,
    }
    return config.sampler.model_copy(update={key: value for key, value in overrides.items() if value is not None})


def evaluate(
    policy: Policy,
    task: Task,
    problems: Sequence[Problem],
    settings: SamplerConfig,
    *,
    seed: int,
    protocol: str = DEFAULT_PROTOCOL,
    rewards: Rewards | None = None,
    progress: Progress | None = None,
    each: Callable[[list[Judged]], None] | None = None,
) -> list[Judged]:
    """Complete and judge every problem, spread over the processes; all results come back, in order.

    The draws are keyed by (seed, problem), so two policies are compared on the same noise.
    `each` is called with the results of a batch as they come, on the process that made them.
    """
    accelerator = policy.accelerator
    mine = share(accelerator, len(problems))
    judged: list[Judged] = []
    for start in range(0, len(mine), settings.batch_size):
        rows = mine[start : start + settings.batch_size]
        batch = [problems[row] for row in rows]
        prompts = policy.modality.encode([problem.messages for problem in batch])

        def step(done: int, steps: int, start: int = start) -> None:
            if progress:
                batches = -(-len(mine) // settings.batch_size)
                progress(start // settings.batch_size * steps + done, batches * steps)

        noise = Noise((seed, 0, 0, Purpose.EVALUATION), tuple(rows))  # no rollout's key has this length
        completions = policy.modality.decode(generate(policy, prompts, settings, noise, progress=step))
        results = judge(task, batch, completions, rewards, protocol)
        judged += results
        if each:
            each(results)
    return gather_rows(accelerator, judged)
