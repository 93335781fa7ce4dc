"""A policy with fresh weights, and a tokenizer made of a task's words."""

from __future__ import annotations

from collections.abc import Sequence

from accelerate import Accelerator

from maskgrpo_cli import registry
from maskgrpo_cli.config.schema import Architecture, Config
from maskgrpo_cli.engine.arguments import taken
from maskgrpo_cli.engine.modality import DEFAULT, image_tokenizer
from maskgrpo_cli.engine.policy import Policy, assemble, seeded
from maskgrpo_cli.modalities.layouts import TOKENS
from maskgrpo_cli.models.tokenizer import build_tokenizer


def new_policy(
    architecture: Architecture,
    pieces: Sequence[str],
    seed: int,
    accelerator: Accelerator,
    modality: str = DEFAULT,
    config: Config | None = None,
) -> Policy:
    """LLaDA-shaped, or MMaDA-shaped where `config` names an image tokenizer, whose codes join the vocabulary.

    Args:
        pieces: words that become one token each.
    """
    config = config or Config()
    pictures = config.model.image_tokenizer is not None
    codes = image_tokenizer(config, modality, accelerator.device).codebook_size if pictures else 0
    tokenizer = build_tokenizer(pieces, [name for name, _ in TOKENS.values()] if pictures else ())
    model_class = registry.resolve("model", "mmada" if pictures else "llada")
    shape = architecture.model_dump() | {
        "vocab_size": len(tokenizer) + codes,
        "mask_token_id": tokenizer.mask_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    of_pictures = {
        "codebook_size": codes,
        "num_vq_tokens": config.sampler.length,
        "llm_vocab_size": len(tokenizer),
        "new_vocab_size": len(tokenizer) + codes,
    }
    with seeded(seed):
        model = model_class(model_class.config_class(**shape, **taken(model_class.config_class, of_pictures)))
        model.initialise_small()
    return assemble(model, tokenizer, modality, accelerator, "new", config)
