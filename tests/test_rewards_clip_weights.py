"""Where the weights of the CLIP score come from: files of every kind, names that open_clip knows, the hub."""

# ruff: noqa: F811

import json

import pytest
import tiny_clip
import torch
from clip_parts import expected, folder, hub_cache, refusal, score  # noqa: F401
from safetensors.torch import load_file, save_file
from tiny_clip import PROMPTS

from maskgrpo_cli.rewards.clip import ClipScore

# --- where weights come from ------------------------------------------------------------------------------


def other_names(tensors):
    """The same weights as other programs leave them."""
    half = {name: tensor.half() for name, tensor in tensors.items()}
    whole = {name: tensor.float() for name, tensor in half.items()}
    yield "plain.pt", whole
    yield "half.pth", half
    yield "inside.ckpt", {"epoch": 3, "state_dict": whole, "optimizer": None}
    yield "several.bin", {"state_dict": {f"module.{name}": tensor for name, tensor in whole.items()}}
    yield "old.pt", {**whole, "attn_mask": torch.zeros(77, 77), "context_length": torch.tensor(77)}
    yield "untempered.pt", {name: tensor for name, tensor in whole.items() if name != "logit_scale"}


def test_files_of_every_kind_hold_the_same_weights(folder, tmp_path):
    tensors = load_file(folder / "open_clip_model.safetensors")
    found = {}
    for name, content in other_names(tensors):
        torch.save(content, tmp_path / name)
        found[name] = ClipScore(f"local-dir:{folder}", weights=str(tmp_path / name))(PROMPTS, tiny_clip.pictures())
    torch.save(dict(other_names(tensors))["plain.pt"], tmp_path / "legacy.pt", _use_new_zipfile_serialization=False)
    save_file(dict(other_names(tensors))["half.pth"], tmp_path / "half.safetensors")
    for name in ("legacy.pt", "half.safetensors"):
        found[name] = ClipScore(f"local-dir:{folder}", weights=str(tmp_path / name))(PROMPTS, tiny_clip.pictures())
    assert len(found) == 8 and all(value == found["plain.pt"] for value in found.values())


def test_the_weights_file_is_not_held_open(folder, tmp_path):
    path = tmp_path / "mine.pt"
    torch.save(tiny_clip.weights(1), path)
    score = ClipScore(f"local-dir:{folder}", weights=str(path))
    before = score(PROMPTS, tiny_clip.pictures())
    path.write_bytes(b"\xff" * path.stat().st_size)
    assert score(PROMPTS, tiny_clip.pictures()) == before


@pytest.mark.parametrize("file", ["open_clip_pytorch_model.bin", "model.safetensors"])
def test_a_folder_with_other_usual_names(tmp_path, expected, file):
    found = ClipScore(f"local-dir:{tiny_clip.save(tmp_path / 'a', file=file)}")(PROMPTS, tiny_clip.pictures())
    assert found == pytest.approx(expected, abs=1e-6)


def test_a_model_with_separate_towers_reads_both_layouts(tmp_path, expected):
    """Weights of CLIP's first layout, where the text tower has no name of its own, are put where they belong."""
    folder = tiny_clip.save(tmp_path / "a")
    separate = {**tiny_clip.SHAPE, "custom_text": True}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": separate}))
    assert ClipScore(f"local-dir:{folder}")(PROMPTS, tiny_clip.pictures()) == pytest.approx(expected, abs=1e-6)
    other = tiny_clip.save(tmp_path / "b", config=separate)
    model, transform, tokenize = tiny_clip.reference(other)
    wanted = tiny_clip.cosines(model, tokenize, PROMPTS, [transform(picture) for picture in tiny_clip.pictures()])
    assert ClipScore(f"local-dir:{other}")(PROMPTS, tiny_clip.pictures()) == pytest.approx(wanted, abs=1e-6)


def test_a_name_that_open_clip_knows(folder, tmp_path, expected):
    weights = str(folder / "open_clip_model.safetensors")
    with tiny_clip.registered(tmp_path, "ViT-Ti-8"):
        for name in ("ViT-Ti-8", "ViT-Ti/8"):
            assert ClipScore(name, weights=weights)(PROMPTS, tiny_clip.pictures()) == pytest.approx(expected, abs=1e-6)
        assert "pretrained: say which weights of ViT-Ti-8: it has none; or weights=path/to/FILE" in refusal("ViT-Ti-8")
        assert "pretrained = 'openai': no weights of ViT-Ti-8; none are known" in refusal("ViT-Ti-8", "openai", weights)


def test_a_tag_says_where_weights_lie_and_how_they_are_used(folder, tmp_path, hub_cache):
    """OpenAI's weights need another activation than the architecture's name says, and tags have a mean of their own."""
    weights = folder / "open_clip_model.safetensors"
    tags = {"openai": {"hf_hub": "owner/tiny/", "quick_gelu": True},
            "laion": {"hf_hub": "owner/other/a.bin", "mean": (0.5,) * 3}}
    torch.save(load_file(weights), tmp_path / "a.bin")
    tiny_clip.cached(hub_cache, "owner/tiny", {weights.name: weights})
    tiny_clip.cached(hub_cache, "owner/other", {"a.bin": tmp_path / "a.bin"})
    quick = tiny_clip.save(tmp_path / "quick", config={**tiny_clip.SHAPE, "quick_gelu": True})
    shifted = tiny_clip.save(tmp_path / "shifted", preprocess_cfg={"mean": (0.5,) * 3})
    found = {}
    for where in (quick, shifted):
        model, transform, tokenize = tiny_clip.reference(where)
        seen = [transform(picture) for picture in tiny_clip.pictures()]
        found[where] = tiny_clip.cosines(model, tokenize, PROMPTS, seen)
    with tiny_clip.registered(tmp_path, "ViT-Ti-8", tags=tags):
        for settings, wanted in (
            ({}, quick), ({"pretrained": "openai"}, quick), ({"pretrained": "OpenAI", "weights": str(weights)}, quick),
            ({"pretrained": "laion"}, shifted),
        ):
            score = ClipScore("ViT-Ti-8", **settings, offline=True)
            assert score(PROMPTS, tiny_clip.pictures()) == pytest.approx(found[wanted], abs=1e-6), settings
        assert "did you mean 'laion'?; known: openai, laion" in refusal("ViT-Ti-8", "laoin")


def test_a_repository_of_the_hub(folder, hub_cache, expected):
    tiny_clip.cached(hub_cache, "owner/tiny", {path.name: path for path in folder.iterdir()})
    found = ClipScore("hf-hub:owner/tiny", offline=True)(PROMPTS, tiny_clip.pictures())
    assert found == pytest.approx(expected, abs=1e-6)
    assert refusal("hf-hub:owner/tiny", "openai").startswith("pretrained = 'openai': 'hf-hub:owner/tiny' has weights")


def test_a_tokenizer_and_a_text_tower_of_transformers(tmp_path, hub_cache):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, RobertaConfig, RobertaModel

    words = {word: place for place, word in enumerate(["<s>", "<pad>", "</s>", "<unk>", "a", "red", "circle"])}
    raw = Tokenizer(models.WordLevel(words, "<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    tower = RobertaConfig(vocab_size=7, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8,
                          max_position_embeddings=20)
    fast = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", unk_token="<unk>")
    fast.save_pretrained(tmp_path / "text")
    tower.save_pretrained(tmp_path / "text")
    tiny_clip.cached(hub_cache, "owner/text", {path.name: path for path in (tmp_path / "text").iterdir()})
    import open_clip

    text = {"hf_model_name": "owner/text", "hf_tokenizer_name": "owner/text", "context_length": 12,
            "hf_proj_type": "mlp", "hf_pooler_type": "mean_pooler"}
    local = {**text, "hf_model_name": str(tmp_path / "text"), "hf_model_pretrained": False}
    model = open_clip.CustomTextCLIP(**{**tiny_clip.SHAPE, "text_cfg": local}).eval()
    assert isinstance(model.text.transformer, RobertaModel)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, tmp_path / "w.safetensors")
    with tiny_clip.registered(tmp_path, "roberta-tiny", {**tiny_clip.SHAPE, "text_cfg": text}):
        score = ClipScore("roberta-tiny", weights=str(tmp_path / "w.safetensors"), offline=True)
        prompts, picture = ["a red circle", "circle " * 40], tiny_clip.pictures()[0]
        assert score.model.tokenize(prompts).tolist() == [[4, 5, 6] + [1] * 9, [6] * 12]
        wanted = tiny_clip.cosines(model, score.model.tokenize, prompts, [score.model.preprocess(picture)] * 2)
        assert score(prompts, [picture] * 2) == pytest.approx(wanted, abs=1e-6)
