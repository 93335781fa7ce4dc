"""The recipe's schema: every key, its type, its range and what it means.

Sections are independent of torch, so that a recipe is checked before anything heavy is imported.
What one key must be is said here; what several must be together, and which names are known, in `checks.py`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from maskgrpo_cli.config.sampling import SamplingConfig
from maskgrpo_cli.config.sandbox import SandboxConfig
from maskgrpo_cli.config.section import Count, Name, Natural, NonNegative, Positive, Section, Setting
from maskgrpo_cli.config.supervised import Architecture, MixtureItem, SftConfig, TokenizerConfig
from maskgrpo_cli.config.training import EstimatorConfig, GrpoConfig, ObjectiveConfig, OptimizerConfig

__all__ = [
    "Architecture", "Config", "EstimatorConfig", "EvaluationConfig", "GrpoConfig", "LoraConfig", "MixtureItem",
    "ModelConfig", "ObjectiveConfig", "OptimizerConfig", "SamplerConfig", "SamplingConfig", "SandboxConfig", "Section",
    "SftConfig", "TaskConfig", "TokenizerConfig",
]  # fmt: skip


class LoraConfig(Section):
    """A low-rank adapter (peft)."""

    rank: Count = Field(16, description="Rank of the two factors.")
    alpha: Positive = Field(32.0, description="The adapter's output is scaled by alpha / rank.")
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(
        0.0, description="Dropout on the adapter's input."
    )
    targets: list[Name] = Field(
        ["q_proj", "k_proj", "v_proj", "attn_out", "ff_proj", "up_proj", "ff_out"],
        min_length=1,
        description="Linear layers inside the blocks that get an adapter, by the last part of their name.",
    )


class ModelConfig(Section):
    """Which weights, and how they are trained."""

    path: Name = Field(
        "tiny-math", description="A bundled name (tiny-math, tiny-shapes), a folder, a run directory or a hub id."
    )
    revision: Name | None = Field(None, description="Branch, tag or commit of a hub id.")
    image_tokenizer: Name | None = Field(
        None, description="Pictures need one (MAGVIT-v2): a bundled name (tiny-shapes-tokenizer), a folder or a hub id."
    )
    adapter: Name | None = Field(None, description="Folder of a LoRA adapter to start from (peft layout).")
    lora: LoraConfig | None = Field(
        None, description="Train an adapter of this shape; without it, all weights."
    )
    merge: bool = Field(
        False, description="After training, save the weights with the adapter merged in as well."
    )
    gradient_checkpointing: bool = Field(
        False, description="Recompute blocks in the backward pass to save memory."
    )


class TaskConfig(Section):
    """The problems and what is rewarded."""

    name: Name = Field("arithmetic", description="A registered task, or module.path:attribute.")
    data: Name | None = Field(
        None, description="A .jsonl, .json or .csv file (or .gz), or a hub id; default: the task's own."
    )
    split: Name = Field("train", description="The split that is trained on.")
    columns: dict[str, str] = Field(
        {}, description="The task's column -> the column of your data, where names differ."
    )
    limit: Count | None = Field(None, description="Use only the first N problems.")
    max_prompt_length: Count = Field(512, description="Longest prompt in tokens, chat template included.")
    over_long: Literal["drop", "truncate"] = Field(
        "drop",
        description="What becomes of longer prompts: drop (their count is reported), or cut off their left.",
    )
    rewards: dict[Name, float] | None = Field(
        None, description="Reward name (or module.path:function) -> weight; default: the task's own."
    )
    reward_settings: dict[Name, dict[Name, Setting]] = Field(
        {}, description="Reward name -> its settings, for rewards that have some, such as {clip: {model: ViT-B-32}}."
    )


class SamplerConfig(Section):
    """How completions are drawn."""

    name: Name = Field(
        "low-confidence",
        description="low-confidence, confidence-threshold, random, emerge, maskgit, or module.path:function.",
    )
    length: Count = Field(256, description="Completion length in tokens.")
    steps: Count = Field(128, description="Denoising steps over the whole completion.")
    block_length: Count = Field(16, description="Blocks are written left to right; must divide length.")
    temperature: NonNegative = Field(1.0, description="0 takes the most likely token.")
    schedule: Name = Field(
        "linear",
        description="emerge, maskgit: share k(t) still masked at time t; linear, cosine, sigmoid or powP (pow2).",
    )
    remask_temperature: NonNegative = Field(
        1.0, description="maskgit: Gumbel noise in the choice of what is masked again, falling linearly to 0."
    )
    threshold: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        0.9, description="confidence-threshold: every token with a greater probability is written at once."
    )
    cache: Literal["none", "prefix", "dual"] = Field(
        "none",
        description="Within a block, remember keys and values of what stands before it (prefix), or of all else "
        "(dual): faster on long texts, and not quite the same output.",
    )
    guidance: NonNegative = Field(
        0.0, description="Weight w of classifier-free guidance, u + (w+1)(c-u); 0: off."
    )
    stop_at_end: bool = Field(
        True, description="Write no further blocks once an answer has ended (the answer itself is unchanged)."
    )
    batch_size: Count = Field(64, description="Completions drawn at once on a device.")


class EvaluationConfig(Section):
    """What is measured before, during and after training. Keys left out are taken from `sampler`."""

    every: Natural = Field(
        0, description="Evaluate every N optimiser steps on the validation split; 0: never."
    )
    limit: Count = Field(128, description="Problems of the validation split in such an evaluation.")
    metric: Literal["accuracy", "reward"] = Field(
        "accuracy", description="By which the best checkpoint is chosen and kept, at the first temperature."
    )
    patience: Natural = Field(
        0, description="Stop after N evaluations in a row that are no better than the best; 0: never."
    )
    keep: Literal["last", "best"] = Field(
        "last", description="The result of training: the last weights, or those of the best checkpoint."
    )
    final_limit: Natural = Field(
        512, description="Problems of the test split before and after the run; 0: none."
    )
    data: Name | None = Field(
        None, description="File or hub id of the evaluation problems; default: the task's own."
    )
    temperatures: list[NonNegative] = Field(
        [0.0], min_length=1,
        description="Temperatures of the evaluations before and after; the first one is that of the curve.",
    )
    protocol: Name = Field(
        "maskgrpo", description="Who judges: maskgrpo, or a publication's way where the task has it, such as d1."
    )
    sampler: Name | None = Field(None, description="Sampler of evaluations.")
    samples: Count = Field(1, description="eval: completions of each problem.")
    pass_at: list[Count] | None = Field(
        None, min_length=1, description="eval: the k of pass@k, each at most `samples`; default: 1 and `samples`."
    )
    shots: Natural = Field(0, description="eval: worked examples before each problem, as earlier turns.")
    shots_data: Name | None = Field(
        None, description="eval: file or hub id whose first worked answers are the examples; default: drawn by the "
        "seed from the train split.",
    )
    length: Count | None = Field(None, description="Completion length of evaluations.")
    lengths: list[Count] | None = Field(
        None, min_length=1,
        description="eval: the lengths to measure at, with the steps in their ratio to `length`, unless `steps` says.",
    )
    steps: Count | None = Field(None, description="Denoising steps of evaluations.")
    block_length: Count | None = Field(None, description="Block length of evaluations.")
    batch_size: Count | None = Field(None, description="Completions at once in evaluations.")

    def passes(self) -> list[int]:
        """The k of pass@k."""
        return sorted({*(self.pass_at or (1, self.samples))})


class Config(Section):
    """A recipe."""

    description: str = Field("", description="One line for `maskgrpo recipes list`.")
    next_command: str | None = Field(None, description="Shown at the end of a run: what to start next.")
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = Field(
        0, description="Fixes the run: data order, masks, noise, initial weights."
    )
    output_dir: Name | None = Field(
        None, description="Run directory; default: runs/<recipe>-<command>-<time>."
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto", description="auto: cuda, then mps, then cpu."
    )
    dtype: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="Arithmetic; with bfloat16, trained weights stay float32 and frozen ones are bfloat16.",
    )
    offline: bool = Field(False, description="Never ask the network.")
    tracker: Literal["tensorboard", "wandb"] | None = Field(None, description="Also send metrics there.")
    model: ModelConfig = ModelConfig()
    task: TaskConfig = TaskConfig()
    sampler: SamplerConfig = SamplerConfig()
    sampling: SamplingConfig = SamplingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    sft: SftConfig = SftConfig()
    grpo: GrpoConfig = GrpoConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    sandbox: SandboxConfig = SandboxConfig()

    def evaluation_sampler(self) -> SamplerConfig:
        """The sampler of evaluations: `sampler`, with what `evaluation` says otherwise.

        Its temperature is the first of `evaluation.temperatures`, that of the curve.
        """
        other = self.evaluation
        changed = {
            "name": other.sampler, "length": other.length, "steps": other.steps,
            "block_length": other.block_length, "batch_size": other.batch_size,
            "temperature": other.temperatures[0],
        }
        given = {key: value for key, value in changed.items() if value is not None}
        return self.sampler.model_copy(update=given)

    def evaluation_samplers(self) -> list[SamplerConfig]:
        """The sampler at every length and temperature that `maskgrpo eval` measures, lengths outermost.

        Where a length is not that of `evaluation_sampler`, its steps are scaled with it, unless `evaluation.steps`
        fixes them.
        """
        base, own = self.evaluation_sampler(), self.evaluation
        return [
            base.model_copy(update={"temperature": temperature, "length": length, "steps": steps})
            for length in own.lengths or [base.length]
            for steps in [base.steps if own.steps else max(1, round(base.steps * length / base.length))]
            for temperature in own.temperatures
        ]
