"""An untrained model of pictures that draws in a moment: 8 x 8 tokens of 4 x 4 pixels, 64 codes."""

import torch

from maskgrpo_cli.modalities.layouts import TOKENS
from maskgrpo_cli.models.magvit import MagvitModel
from maskgrpo_cli.models.magvit_config import MagvitConfig, Side
from maskgrpo_cli.models.mmada import MMadaConfig, MMadaModelLM
from maskgrpo_cli.models.tokenizer import build_tokenizer
from maskgrpo_cli.tasks.shapes import SHAPES

TOKENS_A_SIDE, CODES = 8, 64


def save_tiny_pictures(folder, seed=0):
    """Write `model/` and `tokenizer/` below `folder`."""
    side = Side(8, (1, 1, 1), (1, 1, 1))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        MagvitModel(MagvitConfig(side, side, codebook_dim=6, group_norm_groups=2)).save(folder / "tokenizer")
        words = build_tokenizer(SHAPES.vocabulary(), special=[names[0] for names in TOKENS.values()])
        config = MMadaConfig(
            d_model=32, n_layers=2, n_heads=2, mlp_hidden_size=64, max_sequence_length=256, rope_theta=100.0,
            codebook_size=CODES, num_vq_tokens=TOKENS_A_SIDE**2, llm_vocab_size=len(words),
            new_vocab_size=len(words) + CODES, mask_token_id=words.mask_token_id, eos_token_id=words.eos_token_id,
            pad_token_id=words.pad_token_id,
        )  # fmt: skip
        model = MMadaModelLM(config)
        model.initialise_small()
    for name, tensor in model.named_parameters():
        if "ff_out" in name or "wte" in name:
            tensor.data *= 1.5
    model.save_pretrained(folder / "model")
    words.save_pretrained(folder / "model")
    return folder


RECIPE = """
model: {{path: {folder}/model, image_tokenizer: {folder}/tokenizer}}
task: {{name: shapes, max_prompt_length: 24}}
sampler: {{name: emerge, length: 64, block_length: 64, steps: 6, guidance: 1.0, schedule: cosine}}
device: cpu
"""


def save_with_recipe(folder):
    """As `save_tiny_pictures`, with the recipe pictures.yaml beside it."""
    save_tiny_pictures(folder)
    (folder / "pictures.yaml").write_text(RECIPE.format(folder=folder))
    return folder


def policy_of(folder):
    """The policy that `save_tiny_pictures` wrote."""
    from maskgrpo_cli.config import load
    from maskgrpo_cli.engine.devices import make_accelerator
    from maskgrpo_cli.engine.policy import load_policy

    (folder / "pictures.yaml").write_text(RECIPE.format(folder=folder))
    config = load(str(folder / "pictures.yaml"))
    return load_policy(config, make_accelerator(config), trained=False, modality="image")
