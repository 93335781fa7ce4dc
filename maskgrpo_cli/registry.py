"""Flat tables from a name to `module:attribute`, imported only when asked for.

A user's own part is written as `module.path:attribute` wherever a name is taken.
"""

import difflib
import importlib
import os
import sys

from maskgrpo_cli.errors import UserError

TABLES: dict[str, dict[str, str]] = {
    "task": {
        "arithmetic": "maskgrpo_cli.tasks.arithmetic:ARITHMETIC",
        "gsm8k": "maskgrpo_cli.tasks.gsm8k:GSM8K",
        "math500": "maskgrpo_cli.tasks.math500:MATH500",
        "countdown": "maskgrpo_cli.tasks.countdown:COUNTDOWN",
        "sudoku": "maskgrpo_cli.tasks.sudoku:SUDOKU",
        "programs": "maskgrpo_cli.tasks.programs:PROGRAMS",
        "mbpp": "maskgrpo_cli.tasks.mbpp:MBPP",
        "humaneval": "maskgrpo_cli.tasks.humaneval:HUMANEVAL",
        "acecode": "maskgrpo_cli.tasks.acecode:ACECODE",
        "kodcode": "maskgrpo_cli.tasks.kodcode:KODCODE",
        "shapes": "maskgrpo_cli.tasks.shapes:SHAPES",
        "prompts": "maskgrpo_cli.tasks.picture_prompts:PROMPTS",
        "geneval": "maskgrpo_cli.tasks.pictures.benchmarks:GENEVAL",
        "dpg": "maskgrpo_cli.tasks.pictures.benchmarks:DPG",
        "hpsv2": "maskgrpo_cli.tasks.pictures.benchmarks:HPSV2",
        "imagereward": "maskgrpo_cli.tasks.pictures.benchmarks:IMAGEREWARD",
        "captions": "maskgrpo_cli.tasks.captions:CAPTIONS",
        "picture-questions": "maskgrpo_cli.tasks.picture_questions:PICTURE_QUESTIONS",
    },
    "reward": {
        "math-correct": "maskgrpo_cli.rewards.math:correct",
        "math-correct-published": "maskgrpo_cli.rewards.math:correct_published",
        "integer-answer": "maskgrpo_cli.rewards.math:integer_answer",
        "boxed-format": "maskgrpo_cli.rewards.format:boxed_format",
        "reasoning-format": "maskgrpo_cli.rewards.format:reasoning_format",
        "reasoning-box-format": "maskgrpo_cli.rewards.format:reasoning_box_format",
        "countdown": "maskgrpo_cli.rewards.countdown:countdown",
        "sudoku": "maskgrpo_cli.rewards.sudoku:sudoku",
        "shapes": "maskgrpo_cli.rewards.shapes:shapes",
        "short-answer": "maskgrpo_cli.rewards.answers:short_answer",
        "clip": "maskgrpo_cli.rewards.clip:ClipScore",
        "hpsv2": "maskgrpo_cli.rewards.hpsv2:HPSv2",
        "code-tests": "maskgrpo_cli.rewards.code:CodeTests",
        "code-format": "maskgrpo_cli.rewards.code:code_format",
        "remote": "maskgrpo_cli.rewards.remote.reward:Remote",
    },
    "sampler": {
        "low-confidence": "maskgrpo_cli.samplers.block:low_confidence",
        "confidence-threshold": "maskgrpo_cli.samplers.block:confidence_threshold",
        "random": "maskgrpo_cli.samplers.planned:random_order",
        "emerge": "maskgrpo_cli.samplers.planned:emerge",
        "maskgit": "maskgrpo_cli.samplers.maskgit:maskgit",
    },
    "estimator": {
        "fading-out": "maskgrpo_cli.estimators.masks:fading_out",
        "uniform": "maskgrpo_cli.estimators.masks:uniform",
        "d1": "maskgrpo_cli.estimators.masks:d1",
        "coupled": "maskgrpo_cli.estimators.masks:coupled",
    },
    "supervision": {
        "text": "maskgrpo_cli.estimators.supervised:TEXT",
        "image": "maskgrpo_cli.estimators.supervised_image:IMAGE",
    },
    "advantage": {
        "group": "maskgrpo_cli.objective:group_advantage",
        "pref": "maskgrpo_cli.objective:pref_advantage",
        "center-only": "maskgrpo_cli.objective:centered_advantage",
        "leave-one-out": "maskgrpo_cli.objective:leave_one_out_advantage",
    },
    "objective": {
        "grpo": "maskgrpo_cli.objective:GRPO",
        "gmpo": "maskgrpo_cli.objective:GMPO",
        "gspo": "maskgrpo_cli.objective:GSPO",
    },
    "modality": {
        "text": "maskgrpo_cli.modalities.text:TextModality",
        "image": "maskgrpo_cli.modalities.image:ImageModality",
        "understanding": "maskgrpo_cli.modalities.understanding:UnderstandingModality",
    },
    "view": {
        "text": "maskgrpo_cli.engine.reporting.completions:TextView",
        "image": "maskgrpo_cli.engine.pictures.view:PictureView",
    },
    "overview": {
        "image": "maskgrpo_cli.engine.pictures.contact:write",
    },
    "layout": {
        "geneval": "maskgrpo_cli.engine.pictures.layouts:geneval",
        "dpg": "maskgrpo_cli.engine.pictures.layouts:dpg",
        "hpsv2": "maskgrpo_cli.engine.pictures.layouts:hpsv2",
        "imagereward": "maskgrpo_cli.engine.pictures.layouts:imagereward",
    },
    "model": {
        "llada": "maskgrpo_cli.models.llada:LLaDAModelLM",
        "mmada": "maskgrpo_cli.models.mmada:MMadaModelLM",
    },
}

REWARD_SETTINGS: dict[str, tuple[str, ...]] = {
    "clip": ("model", "pretrained", "weights", "batch_size", "dtype"),
    "hpsv2": ("version", "weights", "model", "batch_size", "dtype"),
    "code-tests": ("all_or_nothing", "timeout_penalty"),
    "remote": (
        "urls", "protocol", "when_away", "divide_by", "token_env", "ca_file", "batch_size", "concurrency",
        "connect_timeout", "read_timeout", "deadline", "rest", "reward", "columns", "server", "answer", "only_strict",
        "model", "question", "pattern", "low", "high", "max_tokens",
    ),
}
"""The settings of the registered rewards that have some: their constructors' arguments, known without an import."""

LISTS = ("urls", "columns")
"""The settings of registered rewards that may be lists; those of a user's own rewards all may."""

UNJUDGED = ("prompts", "captions", "geneval", "dpg", "hpsv2", "imagereward")
"""The registered tasks that cannot tell right from wrong, whose evaluations measure rewards."""

DRAWN = ("shapes", *UNJUDGED)
"""The registered tasks that are answered with pictures."""

SAMPLES: dict[str, int] = {"geneval": 4, "dpg": 4, "hpsv2": 1, "imagereward": 10}
"""Completions of each problem that a benchmark was published with; other tasks have one unless asked for more."""


def registered(kind: str, name: str) -> str | None:
    """The registered name that `name` stands for; None for one that is not registered, or a user's own.

    A reward with settings may be used several times, each with its own: `remote.first` and `remote.second` are two
    of `remote`.
    """
    if name in TABLES[kind]:
        return name
    stem, _, own = name.partition(".")
    return stem if kind == "reward" and stem in REWARD_SETTINGS and own and ":" not in own else None


def settings(name: str) -> tuple[str, ...] | None:
    """The settings of a registered reward; None for a user's own, which only its class can tell."""
    stem = registered("reward", name)
    return REWARD_SETTINGS.get(stem, ()) if stem is not None else None


def names(kind: str) -> list[str]:
    """The registered names of a kind, in the order of the table."""
    return list(TABLES[kind])


def known(kind: str, name: str) -> bool:
    """Whether `name` is registered, or written as `module:attribute` (not imported here)."""
    return registered(kind, name) is not None or ":" in name


def nearest(name: str, candidates) -> str | None:
    """The candidate most like `name`, or None when none is close."""
    return next(iter(difflib.get_close_matches(name, list(candidates), n=1, cutoff=0.5)), None)


def resolve(kind: str, name: str):
    """The object behind a name; raises UserError naming the nearest one when there is none."""
    own = registered(kind, name)
    target = name if own is None else TABLES[kind][own]
    if ":" not in target:
        hint = nearest(name, TABLES[kind])
        raise UserError(
            f"{kind} '{name}' is unknown"
            + (f"; did you mean '{hint}'?" if hint else "")
            + f"\n  known: {', '.join(names(kind))}, or your own as module.path:attribute"
        )
    module, _, attribute = target.partition(":")
    if own is None and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # a user's module lies where the command is called
    try:
        return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name and module.startswith(error.name):
            raise UserError(f"{kind} '{name}': there is no module '{module}' on the Python path") from error
        raise
    except AttributeError as error:
        if own is not None:
            raise
        raise UserError(f"{kind} '{name}': module '{module}' has no attribute '{attribute}'") from error
