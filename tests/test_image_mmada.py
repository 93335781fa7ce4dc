"""MMaDA against golden numbers: logits, padding, guidance, log-probabilities, and its files."""

import json
import shutil
from functools import cache

import pytest
import torch
from parity import GOLDEN, GivenNoise, fresh_model, table, tensors
from safetensors.torch import load_file, save_file

from maskgrpo_cli import registry
from maskgrpo_cli.engine.policy import model_class
from maskgrpo_cli.errors import UserError
from maskgrpo_cli.estimators.masks import scheduled_ratio, uniform
from maskgrpo_cli.estimators.scoring import hide
from maskgrpo_cli.modalities.layouts import special_ids, text_to_image
from maskgrpo_cli.models.denoiser import Denoiser
from maskgrpo_cli.models.llada import LLaDAConfig, LLaDAModelLM
from maskgrpo_cli.models.loading import load_tokenizer, load_weights
from maskgrpo_cli.models.mmada import MMadaConfig, MMadaModelLM
from maskgrpo_cli.types import Canvas, Vocabulary

FOLDER = GOLDEN / "mmada"
IO, FACTS = tensors("mmada/io"), table("mmada/prompting")
N, K, FIRST = FACTS["num_vq_tokens"], FACTS["codebook_size"], FACTS["image_token_offset"]
START = FACTS["text_segment_len"] + 1  # the first image token stands behind the text segment and soi
IMAGES = Vocabulary(mask_id=FACTS["mask_id"], first=FIRST, last=FIRST + K, forbidden=None)
SEEN = IO["attention_mask"].bool()


@cache
def mmada() -> MMadaModelLM:
    return load_weights(MMadaModelLM, FOLDER, torch.float32)


def golden_canvas(masked: bool) -> Canvas:
    """Golden rows: 2 captions, and the same pictures without."""
    masks = (SEEN[:2], SEEN[2:]) if masked else (None, None)
    ids = IO["input_ids"]
    return Canvas(ids[:2], masks[0], START, N, Canvas(ids[2:], masks[1], START, N))


def places() -> torch.Tensor:
    return START + torch.arange(N).repeat(2, 1)


@torch.no_grad()
def test_logits_are_the_published_ones():
    torch.testing.assert_close(mmada()(IO["input_ids"]).logits, IO["logits"], atol=5e-4, rtol=0)


@torch.no_grad()
def test_fault_10_padding_of_a_caption_is_not_attended_to():
    logits = mmada()(IO["input_ids"], attention_mask=IO["attention_mask"]).logits
    expected = IO["counterfactual_logits_bias_applied"]
    torch.testing.assert_close(logits[SEEN], expected[SEEN], atol=5e-4, rtol=0)
    assert (expected[SEEN] - IO["logits"][SEEN]).abs().max() > 0.01, "the mask must matter in this fixture"


@torch.no_grad()
@pytest.mark.parametrize("weight", [0.5, 3.0])
def test_guidance_over_the_image_slice(weight):
    guided = Denoiser(mmada(), IMAGES, weight)(golden_canvas(masked=False), places())
    torch.testing.assert_close(guided, IO[f"cfg_image_logits_g{weight}"], atol=2e-3, rtol=0)


@torch.no_grad()
def test_fault_10_guidance_with_masks_applied():
    """The conditional and the unconditional rows have paddings of their own."""
    guided = Denoiser(mmada(), IMAGES, 3.0)(golden_canvas(masked=True), places())
    rows = IO["counterfactual_logits_bias_applied"][:, START : START + N, FIRST : FIRST + K]
    torch.testing.assert_close(guided, 4 * rows[:2] - 3 * rows[2:], atol=2e-3, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("text_length", [9, 12, 40])
def test_left_padding_changes_no_image_logit(text_length):
    special = special_ids(load_tokenizer(FOLDER))
    picture = IO["input_ids"][:2, START : START + N]

    def logits(length: int) -> torch.Tensor:
        ids, mask = text_to_image([[1, 3, 6], [2, 20, 41, 65, 7]], picture, special, length)
        canvas = Canvas(ids, mask, length + 2, N)
        return Denoiser(mmada(), IMAGES)(canvas, length + 2 + torch.arange(N).repeat(2, 1))

    torch.testing.assert_close(logits(text_length), logits(7), atol=2e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("case", ["explicit", "seeded"])
def test_log_probs_of_masked_copies_over_the_image_slice(case):
    golden = tensors("logps/t2i")
    clean = golden[f"{case}.ids"]
    start = clean.shape[1] - 1 - N  # the picture stands before the end-of-image token
    positions = start + torch.arange(N).repeat(len(clean), 1)
    for noisy, expected in zip(golden[f"{case}.noisy"], golden[f"{case}.logps"], strict=True):
        canvas = Canvas(noisy, None, start, N)
        scores, _ = Denoiser(mmada(), IMAGES).log_probs(canvas, positions, clean[:, start : start + N], 64)
        torch.testing.assert_close(scores, expected, atol=3e-4, rtol=0)


def test_the_uniform_estimator_hides_image_tokens_only():
    golden, facts = tensors("logps/t2i"), table("logps/t2i")
    updates, ids = facts["num_iter"], golden["seeded.ids"]
    canvas = Canvas(ids, None, START, N)
    for update in range(updates):
        ratio = torch.full((2,), scheduled_ratio(update, updates, facts["min_mask_rate"]))
        drawn = GivenNoise(MASK=golden["seeded.random_matrix"][update][:, START : START + N])
        (copy,) = uniform(canvas, torch.ones(2, N, dtype=torch.bool), ratio, drawn)
        assert torch.equal(hide(canvas, copy.mask, IMAGES.mask_id).ids, golden["seeded.noisy"][update])


# --- files --------------------------------------------------------------------------------------------


def test_the_registry_finds_the_family():
    assert registry.resolve("model", "mmada") is MMadaModelLM is model_class(FOLDER)
    assert issubclass(MMadaModelLM, LLaDAModelLM) and issubclass(MMadaConfig, LLaDAConfig)


def test_what_is_saved_has_the_published_names_keys_and_values(tmp_path):
    mmada().save_pretrained(tmp_path)
    published, saved = load_file(FOLDER / "model.safetensors"), load_file(tmp_path / "model.safetensors")
    assert saved.keys() == published.keys()
    assert all(torch.equal(saved[name], published[name]) for name in published)
    written = json.loads((tmp_path / "config.json").read_text())
    for key, value in table("mmada/config").items():
        if key != "transformers_version":
            assert written[key] == value, key


def test_the_8b_model_has_llada_s_tensors_with_134656_rows():
    with torch.device("meta"):
        ours = MMadaModelLM(MMadaConfig()).state_dict()
        llada = LLaDAModelLM(LLaDAConfig()).state_dict()
    assert ours.keys() == llada.keys()
    wide = {name for name in ours if ours[name].shape != llada[name].shape}
    assert wide == {"model.transformer.wte.weight", "model.transformer.ff_out.weight"}
    assert all(ours[name].shape == (134656, 4096) for name in wide)


def test_a_config_of_other_sizes_than_the_tensors_is_one_message(tmp_path):
    shutil.copytree(FOLDER, tmp_path / "mmada")
    config = table("mmada/config") | {"embedding_size": 256}
    (tmp_path / "mmada" / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="the weights are of another shape than config.json says: 2 tensors"):
        load_weights(MMadaModelLM, tmp_path / "mmada", torch.float32)


def test_what_this_code_does_not_compute_is_refused_by_name():
    with pytest.raises(UserError, match=r"config\.json: include_qkv_bias = True is not supported"):
        MMadaConfig(include_qkv_bias=True)


@torch.no_grad()
def test_another_token_layout_in_llada_s_blocks_loads_through_the_same_classes(tmp_path):
    """Lumina-DiMOO's config says `llada`, names another architecture, and has more rows and tokens of its own."""
    base = GOLDEN / "llada" / "base"
    rows = torch.zeros(64, 64)
    weights = load_file(base / "model.safetensors")
    for name in ("model.transformer.wte.weight", "model.transformer.ff_out.weight"):
        weights[name] = torch.cat([weights[name], rows])
    config = table("llada/base/config") | {
        "architectures": ["LLaDAForMultiModalGeneration"],
        "embedding_size": 576,
        "vocab_size": 576,
    }
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert model_class(tmp_path) is LLaDAModelLM
    ids = tensors("llada/base/io")["input_ids"]
    logits = load_weights(LLaDAModelLM, tmp_path, torch.float32)(ids).logits
    torch.testing.assert_close(logits[..., :512], fresh_model()(ids).logits)
    assert (logits[..., 512:] == 0).all()
