"""What an evaluation measured: the part of results.json that decides whether two results can be compared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from maskgrpo_cli.config.schema import Config
from maskgrpo_cli.engine.policy import Policy
from maskgrpo_cli.engine.reporting.run_directory import to_json
from maskgrpo_cli.engine.shots import Shots
from maskgrpo_cli.errors import UserError
from maskgrpo_cli.types import Problem

SAMPLED = 64  # values of each tensor that a fingerprint reads


def identity(config: Config, policy: Policy, problems: Sequence[Problem], shots: Shots) -> dict:
    """Benchmark, protocol, problems, prompt and model, with hashes over everything that was asked.

    The prompt's hash is over the turns of the conversation, whatever the model: models with different chat
    templates are asked the same. `template` is the hash of what the template makes of them.
    """
    texts = policy.modality.render([problem.messages for problem in problems])
    return {
        "benchmark": config.task.name,
        "split": config.task.split,
        "protocol": config.evaluation.protocol,
        "problems": problem_set(problems),
        "prompt": {
            "messages": list(problems[0].messages),
            "text": texts[0],
            "sha256": sha256([[dict(turn) for turn in problem.messages] for problem in problems]),
            "template_sha256": sha256(texts),
        },
        "shots": shots.describe(),
        "model": {
            "path": config.model.path,
            "adapter": config.model.adapter,
            "revision": config.model.revision,
            "weights": fingerprint(policy.plain),
        },
    }


def problem_set(problems: Sequence[Problem]) -> dict:
    """Count and hashes of the problems: their ids, and their questions with the references.

    Raises:
        UserError: two problems have one id.
    """
    ids = [problem.id for problem in problems]
    if len(set(ids)) < len(ids):
        twice = next(key for place, key in enumerate(ids) if key in ids[:place])
        raise UserError(f"the task gives several problems the id '{twice}'; results are paired by their ids")
    content = [[problem.id, problem.prompt, dict(problem.columns)] for problem in problems]
    return {"count": len(problems), "ids_sha256": sha256(ids), "sha256": sha256(content)}


def check_lengths(policy: Policy, problems: Sequence[Problem], length: int, shots: int) -> None:
    """Raises UserError where a prompt and a completion of `length` tokens do not fit into the model."""
    room = policy.plain.config.max_sequence_length - length
    sizes = [len(ids) for ids in policy.modality.encode([problem.messages for problem in problems])]
    longest = max(range(len(sizes)), key=sizes.__getitem__)
    if sizes[longest] > room:
        over = sum(size > room for size in sizes)
        way = f"fewer than {shots} --shots, " if shots else ""
        raise UserError(
            f"{over} of {len(sizes)} prompts are too long: that of {problems[longest].id} has {sizes[longest]} tokens, "
            f"with --length {length} that makes {sizes[longest] + length}; the model takes max_sequence_length = "
            f"{policy.plain.config.max_sequence_length}\n  ask for {way}a shorter --length, or leave those problems out"
        )


def fingerprint(model) -> str:
    """A hash of the names, shapes and some values of a model's tensors: other weights have another one."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        flat = value.detach().flatten()
        some = flat[:: max(len(flat) // SAMPLED, 1)].double().cpu()
        digest.update(f"{name} {tuple(value.shape)} ".encode() + some.numpy().tobytes())
    return digest.hexdigest()


def sha256(value: object) -> str:
    """The hash of a value as JSON with sorted keys."""
    text = json.dumps(json.loads(to_json(value)), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()
