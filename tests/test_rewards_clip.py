"""The CLIP score: against open_clip's own loading and features, at its edges, and for every wrong setting."""

import contextlib
import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tiny_clip
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_clip import PROMPTS, SIDE

from maskgrpo_cli import registry
from maskgrpo_cli.engine.scoring import Rewards
from maskgrpo_cli.errors import UserError
from maskgrpo_cli.rewards.clip import ClipScore
from maskgrpo_cli.rewards.pictures import as_image
from maskgrpo_cli.types import Problem


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tiny_clip.save(tmp_path_factory.mktemp("clip") / "model")


@pytest.fixture(scope="session")
def score(folder):
    return ClipScore(f"local-dir:{folder}")


@pytest.fixture(scope="session")
def expected(folder):
    model, transform, tokenize = tiny_clip.reference(folder)
    return tiny_clip.cosines(model, tokenize, PROMPTS, [transform(picture) for picture in tiny_clip.pictures()])


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def refusal(*arguments, **settings):
    """What the user is told."""
    with pytest.raises(UserError) as caught:
        ClipScore(*arguments, **settings)
    return str(caught.value)


# --- the score --------------------------------------------------------------------------------------


def test_the_cosine_of_the_features_as_open_clip_computes_them(score, expected):
    found = score(prompts=PROMPTS, completions=tiny_clip.pictures(), answer=["x"] * 4)
    assert found == pytest.approx(expected, abs=1e-6)
    assert all(isinstance(value, float) and -1 <= value <= 1 for value in found) and len(set(found)) == 4
    assert registry.resolve("reward", "clip") is ClipScore


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_batches_change_no_score(folder, score, size):
    prompts, pictures = PROMPTS * 2, tiny_clip.pictures() * 2
    other = ClipScore(f"local-dir:{folder}", batch_size=size)(prompts, pictures)
    assert other == pytest.approx(score(prompts, pictures), abs=1e-6)
    assert other[::-1] == pytest.approx(score(prompts[::-1], pictures[::-1]), abs=1e-6)
    assert score([], []) == []


def test_a_text_is_cut_at_77_tokens(score):
    """A start, 75 of one word's tokens and the end fill the context: word 76 is not seen, word 75 is."""
    picture = [tiny_clip.pictures()[0]] * 4
    texts = ["cat " * 75, "cat " * 300, "cat " * 75 + "dog", "cat " * 74 + "dog"]
    exact, long, behind, within = score(texts, picture)
    assert exact == long == behind and within != exact
    (ids,) = score.model.tokenize([texts[1]]).tolist()
    assert len(ids) == 77 and ids[0] == 49406 and ids[-1] == 49407 and set(ids[1:-1]) == {2368}


def test_the_preprocessing_by_hand(score):
    """The shorter side to 32 (bicubic), the middle 32 columns, /255, CLIP's mean and std."""
    picture = Image.fromarray(tiny_clip.noise(48, 96))
    small = np.asarray(picture.resize((64, 32), Image.Resampling.BICUBIC), dtype=np.float64)[:, 16:48] / 255
    by_hand = (small - [0.48145466, 0.4578275, 0.40821073]) / [0.26862954, 0.26130258, 0.27577711]
    seen = score.model.preprocess(picture)
    assert seen.shape == (3, SIDE, SIDE)
    np.testing.assert_allclose(seen.permute(1, 2, 0).numpy(), by_hand, atol=1e-5)


def test_a_models_own_preprocessing_is_taken(tmp_path):
    own = {"mean": [0.5] * 3, "std": [0.25] * 3, "resize_mode": "squash", "interpolation": "bilinear"}
    folder = tiny_clip.save(tmp_path, preprocess_cfg=own)
    picture = Image.fromarray(tiny_clip.noise(40, 80))
    small = np.asarray(picture.resize((32, 32), Image.Resampling.BILINEAR), dtype=np.float64) / 255
    score = ClipScore(f"local-dir:{folder}")
    seen = score.model.preprocess(picture).permute(1, 2, 0).numpy()
    np.testing.assert_allclose(seen, (small - 0.5) / 0.25, atol=1e-5)
    model, transform, tokenize = tiny_clip.reference(folder)
    assert score([PROMPTS[0]], [picture]) == pytest.approx(
        tiny_clip.cosines(model, tokenize, PROMPTS[:1], [transform(picture)]), abs=1e-6)


def test_scoring_leaves_no_trace(folder):
    before = torch.get_rng_state()
    score = ClipScore(f"local-dir:{folder}")
    score(PROMPTS, tiny_clip.pictures())
    assert torch.equal(before, torch.get_rng_state())
    assert not score.model.model.training and not any(p.requires_grad for p in score.model.model.parameters())


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_lower_precision(folder, expected, dtype):
    found = ClipScore(f"local-dir:{folder}", dtype=dtype)(PROMPTS, tiny_clip.pictures())
    assert found == pytest.approx(expected, abs=0.02) and found != pytest.approx(expected, abs=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize(("dtype", "within"), [("float32", 2e-3), ("bfloat16", 0.03), ("float16", 0.01)])
def test_on_a_gpu(folder, expected, dtype, within):
    found = ClipScore(f"local-dir:{folder}", dtype=dtype, device="cuda", batch_size=3)(PROMPTS, tiny_clip.pictures())
    assert found == pytest.approx(expected, abs=within)


def test_through_the_engine_one_bad_picture_costs_only_itself(folder, score):
    told = []
    settings = {"clip": {"model": f"local-dir:{folder}", "batch_size": 2}}
    rewards = Rewards({"clip": 2.0}, told.append, settings, "cpu", True)
    problems = [Problem(str(i), ({"role": "user", "content": prompt},), {}) for i, prompt in enumerate(PROMPTS)]
    completions = [*tiny_clip.pictures()[:3], "no picture"]
    found = rewards(problems, completions)
    assert found.failed.tolist() == [[False], [False], [False], [True]]
    alone = [2 * value for value in score(PROMPTS[:3], completions[:3])]
    assert found.total[:3].tolist() == pytest.approx(alone, abs=1e-5)
    assert len(told) == 1 and "ValueError: a picture is a PIL image, an array or a tensor, not str" in told[0]


# --- pictures -------------------------------------------------------------------------------------------


def test_arrays_and_tensors_are_the_pictures_that_they_show(score):
    pixels = tiny_clip.noise(40, 36)
    floats = pixels.astype(np.float32) / 127.5 - 1
    same = [Image.fromarray(pixels), pixels, floats, floats.astype(np.float64), torch.from_numpy(floats),
            torch.from_numpy(pixels), torch.from_numpy(floats).requires_grad_(), pixels[::-1][::-1]]
    first, *others = score([PROMPTS[0]] * len(same), same)
    assert others == pytest.approx([first] * len(others), abs=1e-6)


def test_floats_become_bytes_as_decoded_pictures_do():
    values = [-1.0, 1.0, 0.0, -2.0, 2.0, np.nan, np.inf, -np.inf, 2.4 / 255 * 2 - 1, 2.6 / 255 * 2 - 1]
    array = np.repeat(np.array(values, dtype=np.float32)[None, :, None], 3, axis=2)
    assert np.asarray(as_image(array))[0, :, 0].tolist() == [0, 255, 128, 0, 255, 0, 255, 0, 2, 3]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "YCbCr", "HSV"])
@pytest.mark.parametrize("size", [(1, 1), (1, 50), (300, 2), (31, 33)])
def test_any_mode_and_size_of_picture(score, mode, size):
    picture = Image.fromarray(tiny_clip.noise(size[1], size[0])).convert(mode)
    (value,) = score([PROMPTS[0]], [picture])
    assert -1 <= value <= 1
    assert score([PROMPTS[0]], [picture.convert("RGB")]) == [value]


@pytest.mark.parametrize(("picture", "told"), [
    ("a text", "not str"), (None, "not NoneType"), ([[1, 2], [3, 4]], "not list"), (3.0, "not float"),
    (np.zeros((8, 8), np.uint8), "not of shape (8, 8)"), (np.zeros((8, 8, 4), np.uint8), "not of shape (8, 8, 4)"),
    (np.zeros((3, 8, 8), np.float32), "not of shape (3, 8, 8)"),
    (np.zeros((0, 8, 3), np.uint8), "not of shape (0, 8, 3)"),
    (np.zeros((8, 8, 3), np.int64), "not int64"), (torch.zeros(8, 8, 3, dtype=torch.bool), "not bool"),
    (np.array(["a"]), "not of shape (1,)"), (Image.new("RGB", (0, 5)), "0 wide and 5 high"),
    (Image.new("F", (8, 8)), "PIL's mode F"), (Image.new("I;16", (8, 8)), "PIL's mode I;16"),
])
def test_what_is_no_picture(score, picture, told):
    with pytest.raises(ValueError) as caught:
        score(PROMPTS[:2], [tiny_clip.pictures()[0], picture])
    assert told in str(caught.value)


def test_a_broken_file_is_no_picture(score, tmp_path):
    Image.fromarray(tiny_clip.noise(64, 64)).save(tmp_path / "a.png")
    raw = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(raw[: len(raw) // 2])
    with pytest.raises(ValueError, match="the picture cannot be read"):
        score(PROMPTS[:1], [Image.open(tmp_path / "a.png")])


def test_as_many_pictures_as_prompts(score):
    with pytest.raises(ValueError, match="1 pictures for 2 texts"):
        score(PROMPTS[:2], tiny_clip.pictures()[:1])


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


# --- what is refused ------------------------------------------------------------------------------------


def hostile(place):
    """An object whose unpickling makes a folder."""

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(place),)

    return Evil()


@pytest.mark.parametrize("kind", ["zip", "legacy", "pickle", "inside", "renamed"])
def test_no_weights_file_runs_code(folder, tmp_path, monkeypatch, kind):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    path, evil = tmp_path / "evil.pt", hostile(tmp_path / "pwned")
    if kind == "pickle":
        path.write_bytes(pickle.dumps(evil))
    elif kind == "inside":
        torch.save({"state_dict": {**tiny_clip.weights(), "visual.proj": evil}}, path)
    elif kind == "renamed":
        path = tmp_path / "evil.safetensors"
        torch.save({"a": evil}, path)
    else:
        torch.save({"a": evil}, path, _use_new_zipfile_serialization=kind == "zip")
    told = refusal(f"local-dir:{folder}", weights=str(path))
    assert told.startswith(f"weights = '{path}': ") and "\n" not in told
    assert not (tmp_path / "pwned").exists()
    path = path.rename(tmp_path / "evil.bin")
    with contextlib.suppress(RuntimeError):  # and the file is as hostile as it says
        torch.load(path, weights_only=False)
    assert (tmp_path / "pwned").exists()


def test_a_torchscript_archive_is_refused(folder, tmp_path):
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / "jit.pt"))
    told = refusal(f"local-dir:{folder}", weights=str(tmp_path / "jit.pt"))
    assert "a TorchScript archive, which holds code" in told and "pretrained=openai" in told


@pytest.mark.parametrize(("content", "told"), [
    ([torch.zeros(2)], "holds no tensors by name"), ({}, "holds no tensors by name"),
    ({"state_dict": {}}, "holds no tensors by name"), ({"a": 1}, "holds 'a', which is no plain tensor by name"),
    ({3: torch.zeros(1)}, "holds '3', which is no plain tensor"), (torch.zeros(2), "holds no tensors by name"),
    ({"a": torch.zeros(2, device="meta")}, "holds 'a'"), ({"a": torch.zeros(2).to_sparse()}, "holds 'a'"),
    ({"a": torch.zeros(2, dtype=torch.complex64)}, "holds 'a'"),
])
def test_a_torch_file_of_something_else(folder, tmp_path, content, told):
    torch.save(content, tmp_path / "odd.pt")
    assert told in refusal(f"local-dir:{folder}", weights=str(tmp_path / "odd.pt"))


@pytest.mark.parametrize("name", ["a.pt", "a.safetensors", "a.bin"])
@pytest.mark.parametrize("content", ["", "text", "cut"])
def test_a_damaged_file(folder, tmp_path, name, content):
    path = tmp_path / name
    if content == "cut":
        whole = path if name != "a.safetensors" else folder / "open_clip_model.safetensors"
        torch.save(tiny_clip.weights(), path) if whole == path else None
        raw = whole.read_bytes()
        path.write_bytes(raw[: len(raw) // 3])
    else:
        path.write_text(content)
    assert refusal(f"local-dir:{folder}", weights=str(path)).startswith(f"weights = '{path}': ")


def test_a_zip_that_is_no_torch_file(folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02cos\nsystem\n.")
    assert "not a torch file of tensors alone" in refusal(f"local-dir:{folder}", weights=str(tmp_path / "a.pt"))


@pytest.mark.parametrize(("change", "told"), [
    (lambda t: t.pop("visual.proj"), "1 tensors are missing, such as visual.proj"),
    (lambda t: t.update(extra=torch.zeros(1)), "1 tensors have no place in it, such as extra"),
    (lambda t: t.update({"visual.proj": torch.zeros(3, 2)}),
     "1 tensors have another shape, such as visual.proj: [3, 2], not [32, 16]"),
    (lambda t: t.update({"image_encoder.model.patch_embed.0.rbr_conv.0.conv.weight": torch.zeros(1)}),
     "AttributeError"),
])
def test_another_models_weights(folder, tmp_path, change, told):
    tensors = dict(tiny_clip.weights())
    change(tensors)
    torch.save(tensors, tmp_path / "other.pt")
    message = refusal(f"local-dir:{folder}", weights=str(tmp_path / "other.pt"))
    assert f"these are not the weights of local-dir:{folder}: {told}" in message


def test_weights_for_pictures_of_another_size_are_not_resized(folder, tmp_path):
    larger = tiny_clip.save(tmp_path, config=tiny_clip.shape(image_size=64))
    message = refusal(f"local-dir:{larger}", weights=str(folder / "open_clip_model.safetensors"))
    assert "visual.positional_embedding: [17, 32], not [65, 32]" in message
    assert "these are not the weights of ViT-B-32" in refusal(
        "ViT-B-32", weights=str(folder / "open_clip_model.safetensors"))


@pytest.mark.parametrize(("settings", "told"), [
    ({"model": "ViT-B-23"}, "model = 'ViT-B-23': open_clip has no such model; did you mean 'ViT-B-32'?"),
    ({"model": "vit-l-14"}, "did you mean 'ViT-L-14'?"), ({"model": "zzzz"}, "open_clip has no such model; it has"),
    ({"model": ""}, "model = '': write text, not empty"), ({"model": 3}, "model = 3: write text"),
    ({"model": None}, "model = None: write text"), ({"pretrained": ""}, "pretrained = '': write text"),
    ({"weights": 1}, "weights = 1: write text"), ({"model": "hf-hub:"}, "'' is no well-formed hub id"),
    ({"model": "hf-hub:a/b/c"}, "'a/b/c' is no well-formed hub id"),
    ({"model": "local-dir:none"}, "model = 'local-dir:none': open_clip_config.json is missing or no model's"),
    ({"weights": "none.pt"}, "weights = 'none.pt': there is no such file"),
    ({"pretrained": "opnai"}, "pretrained = 'opnai': no weights of ViT-L-14; did you mean 'openai'?; known: openai, "),
    ({"model": "ViT-B-16-SigLIP"}, "pretrained: say which weights of ViT-B-16-SigLIP: webli; or weights=path/to/FILE"),
    ({"offline": True}, "of timm/vit_large_patch14_clip_224.openai is not in the local cache, and --offline is set\n"
                        "  get the file and write weights=path/to/FILE"),
    ({"model": "ViT-B-16-SigLIP", "pretrained": "webli", "offline": True}, "is not in the local cache"),
    ({"model": "hf-hub:owner/none", "offline": True}, "of owner/none is not in the local cache"),
])
def test_settings_that_are_wrong(settings, told, hub_cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert told in refusal(**settings)


@pytest.mark.parametrize(("settings", "told"), [
    ({"batch_size": 0}, "batch_size = 0: write a whole number, at least 1"), ({"batch_size": 2.0}, "batch_size = 2.0"),
    ({"batch_size": True}, "batch_size = True"), ({"dtype": "half"}, "dtype = 'half': write one of float32, bfloat16"),
    ({"dtype": None}, "dtype = None"),
])
def test_numbers_that_are_wrong(folder, settings, told):
    assert told in refusal(f"local-dir:{folder}", **settings)


def test_a_folder_without_weights_or_of_another_format(tmp_path):
    folder = tiny_clip.save(tmp_path, file="mine.safetensors")
    assert "the folder holds none of open_clip_model.safetensors" in refusal(f"local-dir:{folder}")
    assert "write a .safetensors file or a torch file" in refusal(
        f"local-dir:{folder}", weights=str(folder / "open_clip_config.json"))
    (folder / "open_clip_model.npz").write_bytes(b"")
    assert "write a .safetensors file" in refusal(f"local-dir:{folder}", weights=str(folder / "open_clip_model.npz"))


@pytest.mark.parametrize(("section", "key", "value", "told"), [
    ("text_cfg", "tokenizer_kwargs", {"trust_remote_code": True}, "settings that are not taken: trust_remote_code"),
    ("text_cfg", "tokenizer_kwargs", {"reduction_mask": "syntax"}, "settings that are not taken: reduction_mask"),
    ("text_cfg", "tokenizer_kwargs", {"bpe_path": "/etc/passwd"}, "settings that are not taken: bpe_path"),
    ("text_cfg", "tokenizer_kwargs", [1], "is missing or no model's"),
    ("text_cfg", "hf_model_name", "owner/evil", "takes a part of the model from elsewhere"),
    ("vision_cfg", "timm_model_name", "hf-hub:owner/evil", "takes a part of the model from elsewhere"),
    ("vision_cfg", "timm_model_name", "no_such_model", "it cannot be built"),
    ("vision_cfg", "patch_size", 0, "it cannot be built"), ("vision_cfg", "widht", 3, "it cannot be built"),
])
def test_a_config_from_elsewhere_has_no_say_in_what_runs(folder, tmp_path, section, key, value, told):
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["model_cfg"][section][key] = value
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    told_now = refusal(f"local-dir:{tmp_path}", weights=str(folder / "open_clip_model.safetensors"))
    assert told in told_now and told_now.startswith("model = ")


@pytest.mark.parametrize("text", [
    "", "[]", "{}", '{"model_cfg": 3}', '{"model_cfg": {"text_cfg": 1, "vision_cfg": {}}}',
])
def test_a_config_that_is_none(tmp_path, text):
    (tmp_path / "open_clip_config.json").write_text(text)
    assert "open_clip_config.json is missing or no model's" in refusal(f"local-dir:{tmp_path}")


def test_a_tokenizer_with_code_is_refused(folder, tmp_path):
    """transformers would import mine.py; open_clip's config alone decides that a folder's own tokenizer is read."""
    text = {**tiny_clip.SHAPE["text_cfg"], "hf_tokenizer_name": "x"}
    model = tiny_clip.save(tmp_path / "m", config={**tiny_clip.SHAPE, "text_cfg": text})
    (model / "config.json").write_text("{}")
    (model / "tokenizer_config.json").write_text(json.dumps({"auto_map": {"AutoTokenizer": ["mine.Mine", None]}}))
    (model / "mine.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'pwned')!r})\nclass Mine: pass\n")
    assert "cannot be read" in refusal(f"local-dir:{model}") and not (tmp_path / "pwned").exists()


# --- the command line and what it imports ---------------------------------------------------------------


def test_open_clip_is_imported_when_a_reward_is_made():
    script = ("import sys; import maskgrpo_cli.rewards.clip, maskgrpo_cli.rewards.hpsv2, maskgrpo_cli.engine.scoring;"
              "print(sorted({'open_clip', 'timm', 'torchvision', 'transformers'} & set(sys.modules)))")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stderr


def test_a_run_tells_of_missing_weights_before_it_begins(train, tmp_path):
    with pytest.raises(UserError, match=r"^task.reward_settings.clip: weights = 'none.pt': there is no such file$"):
        train("none", **{"task.rewards": {"clip": 1.0}, "task.reward_settings.clip.weights": "none.pt"})
    assert not (Path(tmp_path) / "none" / "metrics.jsonl").exists()
