"""Measuring a policy on a set of problems."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from maskgrpo_cli.config.schema import Config, SamplerConfig
from maskgrpo_cli.engine.devices import gather_rows, share
from maskgrpo_cli.engine.generation import Progress, generate
from maskgrpo_cli.engine.policy import Policy
from maskgrpo_cli.engine.reporting.statistics import wilson
from maskgrpo_cli.engine.scoring import Rewards
from maskgrpo_cli.noise import Noise, Purpose
from maskgrpo_cli.types import Problem, Task


@dataclass
class Judged:
    """One completion of an evaluation."""

    id: str
    prompt: str
    completion: str
    reference: object
    answer: str | None
    score: float
    correct: bool
    reason: str
    reward: float | None
    style: str | None


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
        results = judge(task, batch, completions, rewards)
        judged += results
        if each:
            each(results)
    return gather_rows(accelerator, judged)


def judge(task: Task, problems: Sequence[Problem], completions: Sequence[str], rewards: Rewards | None) -> list[Judged]:
    """The verdicts on completions, with their rewards where asked for."""
    totals = rewards(problems, completions).total.tolist() if rewards else [None] * len(problems)
    results = []
    for problem, completion, reward in zip(problems, completions, totals, strict=True):
        verdict = task.judge(completion, problem)
        results.append(
            Judged(
                id=problem.id,
                prompt=problem.prompt,
                completion=completion,
                reference=dict(problem.columns),
                answer=verdict.answer,
                score=verdict.score,
                correct=verdict.correct,
                reason=verdict.reason,
                reward=reward,
                style=task.style(completion),
            )
        )
    return results


def tally(judged: Sequence[Judged]) -> dict:
    """Accuracy with its 95 % interval, mean score, mean reward, and the share and accuracy of each style."""
    total, correct = len(judged), sum(item.correct for item in judged)
    rewards = [item.reward for item in judged if item.reward is not None and item.reward == item.reward]
    return {
        "accuracy": correct / total if total else 0.0,
        "correct": correct,
        "total": total,
        "interval": list(wilson(correct, total)),
        "score": sum(item.score for item in judged) / total if total else 0.0,
        "reward": sum(rewards) / len(rewards) if rewards else None,
        "styles": styles([(item.style, item.correct) for item in judged]),
    }


def styles(seen: Sequence[tuple[str | None, bool]]) -> dict[str, dict[str, float]]:
    """Style -> {share, accuracy} of completions given as (style, correct)."""
    found = {}
    for name in sorted({style for style, _ in seen if style}):
        hits = [correct for style, correct in seen if style == name]
        found[name] = {"share": len(hits) / len(seen), "accuracy": sum(hits) / len(hits)}
    return found


def as_row(item: Judged) -> dict:
    """A result as a line of generations.jsonl."""
    return asdict(item)
