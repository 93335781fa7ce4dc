"""The options of the command line, declared once, and what completes them. Imports nothing heavy."""

from __future__ import annotations

from typing import Annotated

import typer


def _starting(words: list[str], incomplete: str) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]


def complete_recipe(incomplete: str) -> list[str]:
    """Names of bundled recipes."""
    from maskgrpo_cli.config import recipes

    return _starting(recipes.names(), incomplete)


def complete_sampler(incomplete: str) -> list[str]:
    """Names of samplers."""
    return _registered("sampler", incomplete)


def complete_benchmark(incomplete: str) -> list[str]:
    """Names of tasks."""
    return _registered("task", incomplete)


def _registered(kind: str, incomplete: str) -> list[str]:
    from maskgrpo_cli import registry

    return _starting(registry.names(kind), incomplete)


def words(*words: str):
    """Completes the given words."""

    def complete(incomplete: str) -> list[str]:
        return _starting(list(words), incomplete)

    return complete


def option(flag: str, metavar: str | None, help: str, complete=None, **extra):
    """An option whose default is not shown: the help says it where it matters."""
    return typer.Option(
        flag, metavar=metavar, help=help, autocompletion=complete, show_default=False, **extra
    )


# --- shared by every command that loads a recipe ----------------------------------------------------

Recipe = Annotated[
    str,
    typer.Option(
        "--recipe",
        metavar="NAME|FILE",
        autocompletion=complete_recipe,
        help="A bundled recipe, a YAML file or a run directory. Example: --recipe math",
    ),
]
MaybeRecipe = Annotated[
    str | None,
    option(
        "--recipe",
        "NAME|FILE",
        "A bundled recipe, a YAML file or a run directory; default: the one that fits --model or the task, or math. "
        "Example: --recipe math",
        complete_recipe,
    ),
]
Set = Annotated[
    list[str] | None,
    option(
        "--set",
        "KEY=VALUE",
        "Any key of the recipe, repeatable; the value is YAML. Example: --set grpo.optimizer.lr=5e-5",
    ),
]
Model = Annotated[
    str | None,
    option(
        "--model",
        "MODEL",
        "A bundled name, a folder, a run directory or a hub id. Example: --model runs/first",
        words("tiny-math"),
    ),
]
Adapter = Annotated[
    str | None,
    option("--adapter", "FOLDER", "A LoRA adapter in peft's layout. Example: --adapter runs/first/adapter"),
]
OutputDir = Annotated[
    str | None,
    option(
        "--output-dir",
        "FOLDER",
        "The run directory; default: a new one in runs/. Example: --output-dir runs/first",
    ),
]
Seed = Annotated[int | None, option("--seed", "N", "Fixes every random draw. Example: --seed 1")]
Device = Annotated[
    str | None,
    option(
        "--device",
        "NAME",
        "cpu, cuda, mps or auto. Example: --device cpu",
        words("auto", "cpu", "cuda", "mps"),
    ),
]
Dtype = Annotated[
    str | None,
    option(
        "--dtype", "NAME", "float32 or bfloat16. Example: --dtype bfloat16", words("float32", "bfloat16")
    ),
]
Offline = Annotated[bool, option("--offline", None, "Never ask the network. Example: --offline")]
UnsafeLocal = Annotated[
    bool,
    option(
        "--unsafe-local",
        None,
        "Run the programs that the model writes with your own rights, isolated from nothing, for want of a sandbox. "
        "Example: --unsafe-local",
    ),
]

# --- training ---------------------------------------------------------------------------------------

MaxSteps = Annotated[int | None, option("--max-steps", "N", "Optimiser steps. Example: --max-steps 20")]
Limit = Annotated[int | None, option("--limit", "N", "Use the first N problems only. Example: --limit 64")]
Tracker = Annotated[
    str | None,
    option(
        "--tracker",
        "NAME",
        "Also send metrics to tensorboard or wandb. Example: --tracker tensorboard",
        words("tensorboard", "wandb"),
    ),
]
Merge = Annotated[
    bool,
    option("--merge", None, "Save the weights with the LoRA adapter merged in as well. Example: --merge"),
]
Resume = Annotated[
    str | None,
    option(
        "--resume",
        "RUN",
        "Continue a run from its newest whole checkpoint, from one of its checkpoints (RUN/checkpoints/step-000040), "
        "or the latest one that is not finished. Example: --resume latest",
    ),
]

Force = Annotated[
    bool,
    option(
        "--force", None, "With --resume: go on although the recipe has changed. Example: --resume runs/first --force"
    ),
]

# --- drawing completions ----------------------------------------------------------------------------

SamplingSteps = Annotated[
    int | None,
    option("--sampling-steps", "N", "Denoising steps. Example: --sampling-steps 24"),
]
Sampler = Annotated[
    str | None,
    option(
        "--sampler",
        "NAME",
        "A sampler's name, or module.path:function. Example: --sampler low-confidence",
        complete_sampler,
    ),
]
Length = Annotated[int | None, option("--length", "N", "Tokens of a completion. Example: --length 24")]
BlockLength = Annotated[
    int | None,
    option("--block-length", "N", "Tokens of a block; must divide the length. Example: --block-length 8"),
]
Temperature = Annotated[
    float | None, option("--temperature", "T", "0 takes the most likely token. Example: --temperature 0.7")
]
Temperatures = Annotated[
    list[str] | None,
    option(
        "--temperature",
        "T[,T...]",
        "0 takes the most likely token; several are measured one after another. Example: --temperature 0,0.7,1",
    ),
]
Lengths = Annotated[
    list[str] | None,
    option(
        "--length",
        "N[,N...]",
        "Tokens of a completion; several are measured one after another. Without --sampling-steps the recipe's "
        "steps grow and shrink with the length. Example: --length 24,48",
    ),
]
Threshold = Annotated[
    float | None,
    option("--threshold", "P", "confidence-threshold writes every token above it at once. Example: --threshold 0.9"),
]
Cache = Annotated[
    str | None,
    option(
        "--cache",
        "KIND",
        "Remember keys and values within a block: none, prefix or dual. Example: --cache dual",
        words("none", "prefix", "dual"),
    ),
]
Guidance = Annotated[
    float | None, option("--guidance", "W", "Weight of classifier-free guidance. Example: --guidance 1.5")
]

# --- benchmarks -------------------------------------------------------------------------------------

Benchmark = Annotated[
    str | None,
    typer.Argument(
        metavar="BENCHMARK",
        autocompletion=complete_benchmark,
        show_default=False,
        help="arithmetic, gsm8k, math500, countdown, sudoku, humaneval, mbpp; of pictures shapes, geneval, dpg, hpsv2, "
        "imagereward; or a task of your own as module.path:attribute. "
        "Example: maskgrpo eval arithmetic",
    ),
]
Data = Annotated[
    str | None,
    option(
        "--data",
        "FILE",
        "Its file (.jsonl, .json or .csv, also .gz) or a hub id. Example: --data gsm8k_test.jsonl.gz",
    ),
]
Split = Annotated[
    str | None, option("--split", "NAME", "The split; default: test. Example: --split validation")
]
Protocol = Annotated[
    str | None,
    option(
        "--protocol",
        "NAME",
        "How answers are read and compared: maskgrpo, or d1 as published. Example: --protocol d1",
        words("maskgrpo", "d1"),
    ),
]
Generations = Annotated[
    str | None,
    option(
        "--generations",
        "FILE",
        "Judge text made elsewhere (question, generation, ground_truth; programs: task_id, generation), without a "
        "model. "
        "Example: --generations gsm8k_128.jsonl.gz",
    ),
]
Samples = Annotated[
    int | None,
    typer.Option(
        "-n", "--samples", metavar="N", show_default=False,
        help="Completions of each problem, for pass@k; needs a temperature. Example: -n 8 --temperature 1",
    ),
]
PassAt = Annotated[
    list[str] | None,
    option("--pass-at", "K[,K...]", "The k of pass@k; default: 1 and --samples. Example: --pass-at 1,4,8"),
]
Shots = Annotated[
    int | None,
    option("--shots", "N", "Show N worked examples of the train split before each problem. Example: --shots 4"),
]
ShotsData = Annotated[
    str | None,
    option(
        "--shots-data", "FILE", "Show the first worked answers of this file instead. Example: --shots-data worked.jsonl"
    ),
]
ResumeEvaluation = Annotated[
    str | None,
    option(
        "--resume",
        "RUN",
        "Continue an evaluation that was interrupted; nothing is computed again. Example: --resume runs/first",
    ),
]
Compare = Annotated[
    tuple[str, str] | None,
    option(
        "--compare",
        "A B",
        "Compare two evaluations problem by problem: run directories, or their results.json. "
        "Example: --compare runs/before runs/after",
    ),
]
BatchSize = Annotated[
    int | None, option("--batch-size", "N", "Completions drawn at once. Example: --batch-size 32")
]
