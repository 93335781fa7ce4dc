"""What the CLIP score refuses: files that would run code, damage, other models' weights, wrong settings."""

# ruff: noqa: F811

import contextlib
import json
import os
import pickle
import zipfile

import pytest
import tiny_clip
import torch
from clip_parts import expected, folder, hub_cache, refusal, score  # noqa: F401

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
