"""The sections of the schema on supervised training: what is learnt at once, fresh models, the image tokenizer."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from maskgrpo_cli.config.section import Count, Name, Natural, NonNegative, Positive, Section, Share
from maskgrpo_cli.config.training import OptimizerConfig


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
    mismatched: Share = Field(
        0.0, description="Share of examples that come with the prompt of another, as captions from the web do."
    )
    length: Count | None = Field(None, description="Answer length in tokens; default: sft.length, or sampler.length.")
    max_prompt_length: Count | None = Field(
        None, description="Longest prompt in tokens; default: task.max_prompt_length, which captions cannot exceed."
    )


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
    named_weight: NonNegative = Field(
        0.0, description="Weight of the loss that draws bits to those that the task names (shapes: what a code shows)."
    )
    optimizer: OptimizerConfig = OptimizerConfig(lr=2e-3, schedule="cosine", warmup_steps=100, final_lr=0.02)
    evaluate_every: Natural = Field(500, description="Judge the round trip every N steps (validation); 0: never.")
    evaluate_limit: Count = Field(256, description="Validation pictures in such an evaluation.")
    final_limit: Count = Field(2000, description="Test pictures whose round trip is judged at the end.")
