"""The recipe's schema: every key, its type, its range and what it means.

Sections are independent of torch, so that a recipe is checked before anything heavy is imported.
What one key must be is said here; what several must be together, and which names are known, in `checks.py`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from maskgrpo_cli.config.sampling import SamplingConfig
from maskgrpo_cli.config.sandbox import SandboxConfig
from maskgrpo_cli.config.section import (
    Beta,
    Count,
    Name,
    Natural,
    NonNegative,
    Positive,
    Section,
    Setting,
    Share,
)


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


class OptimizerConfig(Section):
    """AdamW and its learning rate."""

    lr: Positive = Field(1e-4, description="Peak learning rate.")
    betas: Annotated[tuple[Beta, Beta], Field(strict=False)] = Field(
        (0.9, 0.99), description="Decay of the running means of the gradient and of its square."
    )
    eps: Positive = Field(1e-8, description="Added to the denominator of the update.")
    weight_decay: NonNegative = Field(0.0, description="Decoupled weight decay, on matrices only.")
    grad_clip: NonNegative = Field(1.0, description="Largest gradient norm; 0: no clipping.")
    schedule: Literal["constant", "linear", "cosine"] = Field("constant", description="After the warm-up.")
    warmup_steps: Natural = Field(0, description="Steps of linear warm-up.")
    restarts: Natural = Field(
        0, description="Go through warm-up and schedule this many times more, each from half the peak before."
    )
    final_lr: Share = Field(0.0, description="Share of the peak at the last step (linear, cosine).")


class EstimatorConfig(Section):
    """The importance estimator: how completions are re-masked to be scored."""

    name: Name = Field("fading-out", description="fading-out, uniform, d1, coupled, or module.path:function.")
    min_ratio: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(
        0.6, description="r0, the smallest mask ratio."
    )
    ratio: Literal["schedule", "random"] = Field(
        "schedule",
        description="schedule: min(r0 + (1-r0)(i+1)/mu, 0.999) at update i; random: uniform in [r0, 1).",
    )
    span: Literal["completion", "sequence"] = Field(
        "completion",
        description="fading-out: the curve spans the completion, or prompt and completion (as released).",
    )
    prompt_mask_rate: Share = Field(0.15, description="d1: share of prompt tokens that is masked.")
    full_copy: bool = Field(True, description="coupled: average with a fully masked copy.")
    keep_after_end: bool = Field(
        False, description="Score tokens after the end of the answer too (as released)."
    )


class ObjectiveConfig(Section):
    """The clipped loss."""

    name: Name = Field("grpo", description="grpo, gmpo, gspo, or module.path:function.")
    clip_low: Positive = Field(0.2, description="eps_low: clipped below 1 - eps_low (gmpo: exp(-eps_low)).")
    clip_high: Positive | None = Field(None, description="eps_high; default: clip_low.")
    beta: NonNegative = Field(0.0, description="Weight of the KL to the reference; 0 loads no reference.")
    sync_ref_steps: Natural = Field(
        0, description="Copy the policy into the reference every N steps; 0: never."
    )


class GrpoConfig(Section):
    """`maskgrpo grpo`."""

    steps: Count = Field(100, description="Optimiser steps; each rollout serves `updates` of them.")
    prompts: Count = Field(16, description="Prompts per rollout, over all processes.")
    group_size: Annotated[int, Field(ge=2)] = Field(8, description="G, completions per prompt; at least 2.")
    updates: Count = Field(4, description="mu, optimiser steps per rollout, each with a mask of its own.")
    micro_batch_size: Count = Field(64, description="Completions per forward and backward pass on a device.")
    logit_chunk: Count = Field(256, description="Positions whose logits are held at once while scoring.")
    score_with_guidance: bool = Field(
        False, description="Apply the sampler's guidance to log-probabilities too; published runs do not."
    )
    estimator: EstimatorConfig = EstimatorConfig()
    advantage: Name = Field(
        "group", description="group, pref, center-only, leave-one-out, or module.path:function."
    )
    objective: ObjectiveConfig = ObjectiveConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    save_every: Natural = Field(
        0, description="Save a checkpoint every N steps; 0: every quarter of an hour. The last and the best one always."
    )
    keep_checkpoints: Count = Field(2, description="Older checkpoints beyond these are deleted, never the best one.")
    evaluate_every: Natural | None = Field(None, description="Steps between evaluations; default: evaluation.every.")
    log_completions: Natural = Field(
        4, description="Completions of each rollout written to completions.jsonl."
    )


class Architecture(Section):
    """A LLaDA-shaped model trained from nothing; its tokenizer is made from the task's words."""

    d_model: Count = Field(128, description="Width; a multiple of n_heads.")
    n_layers: Count = Field(4, description="Blocks.")
    n_heads: Count = Field(4, description="Attention heads.")
    n_kv_heads: Count | None = Field(
        None, description="Key and value heads; default: n_heads. Divides n_heads."
    )
    mlp_hidden_size: Count = Field(384, description="Width inside the feed-forward layers.")
    max_sequence_length: Count = Field(4096, description="Longest prompt and completion together, in tokens.")
    rope_theta: Positive = Field(100.0, description="Base of the rotary angles; small, for short sequences.")


class MixtureItem(Section):
    """One part of what `maskgrpo sft` learns at once."""

    task: Name = Field(description="A registered task, or module.path:attribute; it says whether to text or pictures.")
    weight: Positive = Field(1.0, description="Its share of the examples, among the weights of all parts.")
    data: Name | None = Field(None, description="Its file, folder or hub id; default: the task's own.")
    columns: dict[str, str] = Field({}, description="The task's column -> the column of your data.")
    split: Name = Field("train", description="The split that is trained on.")
    limit: Count | None = Field(None, description="Use only the first N problems.")
    length: Count | None = Field(None, description="Answer length in tokens; default: sft.length, or sampler.length.")


class SftConfig(Section):
    """`maskgrpo sft`."""

    mixture: list[MixtureItem] | None = Field(
        None, min_length=1, description="Several tasks at once, such as text, pictures and questions about pictures; "
        "default: `task` alone.",
    )
    min_mask_rate: Share = Field(0.0, description="Pictures: the least share of tokens that is masked.")
    caption_dropout: Share = Field(
        0.0, description="Pictures: share of examples whose caption is left out, which guidance needs."
    )

    from_scratch: Architecture | None = Field(None, description="Start from nothing instead of model.path.")
    steps: Count = Field(1000, description="Optimiser steps.")
    batch_size: Count = Field(64, description="Examples per optimiser step, over all processes.")
    micro_batch_size: Count = Field(64, description="Examples per forward and backward pass on a device.")
    logit_chunk: Count = Field(256, description="Positions whose logits are held at once.")
    split: Name = Field("train", description="The split that is trained on.")
    length: Count | None = Field(
        None, description="Answer length, padded with the end token; default: sampler.length."
    )
    code_cache: Name | None = Field(
        "auto", description="Folder of image tokens, so that a picture is encoded once; auto: maskgrpo/codes in "
        "$XDG_CACHE_HOME or ~/.cache; null: none are kept.",
    )
    evaluate_every: Natural | None = Field(None, description="Steps between evaluations; default: evaluation.every.")
    optimizer: OptimizerConfig = OptimizerConfig()
    save_every: Natural = Field(
        0, description="Save a checkpoint every N steps; 0: every quarter of an hour. The last and the best one always."
    )
    keep_checkpoints: Count = Field(2, description="Older checkpoints beyond these are deleted, never the best one.")


class Side(Section):
    """Encoder or decoder of an image tokenizer, in MAGVIT-v2's names; one entry a level, the finest first."""

    ch: Count = Field(16, description="Channels, which ch_mult multiplies.")
    ch_mult: list[Count] = Field([1, 1, 2], min_length=1, description="Channels of each level, in ch.")
    num_res_blocks: list[Count] = Field([1, 1, 1], min_length=1, description="Residual blocks of each level.")


class TokenizerConfig(Section):
    """`maskgrpo tokenizer`: an image tokenizer (MAGVIT-v2) from the pictures of `task`."""

    steps: Count = Field(5000, description="Optimiser steps.")
    batch_size: Count = Field(16, description="Pictures per optimiser step.")
    split: Name = Field("train", description="The split that is trained on.")
    size: Count = Field(32, description="Pixels of a picture's side; a multiple of a code's side.")
    codebook_dim: Annotated[int, Field(ge=1, le=24)] = Field(10, description="Bits of a code.")
    encoder: Side = Side()
    decoder: Side = Side(num_res_blocks=[1, 1, 2])
    group_norm_groups: Count = Field(4, description="Groups of every normalisation; divides every level's channels.")
    l1_weight: NonNegative = Field(0.5, description="Weight of the absolute error of pixels in [-1, 1].")
    l2_weight: NonNegative = Field(2.0, description="Weight of their squared error.")
    quantizer_weight: NonNegative = Field(2.0, description="Weight of the loss that draws channels to their signs.")
    entropy_weight: NonNegative = Field(0.0, description="Weight of the loss for bits that are sure, and used alike.")
    optimizer: OptimizerConfig = OptimizerConfig(lr=2e-3, schedule="cosine", warmup_steps=100, final_lr=0.02)
    evaluate_every: Natural = Field(500, description="Judge the round trip every N steps (validation); 0: never.")
    evaluate_limit: Count = Field(256, description="Validation pictures in such an evaluation.")
    final_limit: Count = Field(2000, description="Test pictures whose round trip is judged at the end.")


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
