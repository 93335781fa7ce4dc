"""The sections of the schema on training with rewards, and on the optimiser that every training has."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from maskgrpo_cli.config.section import (
    Beta,
    Count,
    Name,
    Natural,
    NonNegative,
    Positive,
    Section,
    Share,
)


class OptimizerConfig(Section):
    """AdamW or Muon, and the learning rate."""

    name: Literal["adamw", "muon"] = Field(
        "adamw", description="muon: orthogonal updates for the matrices between embedding and head, AdamW for the rest."
    )
    lr: Positive = Field(1e-4, description="Peak learning rate.")
    betas: Annotated[tuple[Beta, Beta], Field(strict=False)] = Field(
        (0.9, 0.99), description="Decay of the running means of the gradient (also Muon's) and of its square."
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
