"""Checkpoints: the published layout in and out, and one clear message for what cannot be read."""

import json
import shutil
import subprocess
import sys

import pytest
import torch
from parity import GOLDEN, MODELS, fresh_model, table
from safetensors.torch import load_file, save_file

from maskgrpo_cli.errors import UserError
from maskgrpo_cli.models import saved
from maskgrpo_cli.models.llada import LLaDAConfig, LLaDAModelLM
from maskgrpo_cli.models.loading import load_tokenizer, load_weights, locate, read_config


@pytest.fixture
def folder(tmp_path):
    """A writable copy of the small published model."""
    return shutil.copytree(GOLDEN / "llada" / "base", tmp_path / "base")


@pytest.mark.parametrize("name", MODELS)
def test_what_is_saved_reads_back_to_the_bit_under_the_published_names(tmp_path, name):
    fresh_model(name).save_pretrained(tmp_path)
    published = load_file(GOLDEN / "llada" / name / "model.safetensors")
    saved = load_file(tmp_path / "model.safetensors")
    assert saved.keys() == published.keys()
    assert all(torch.equal(saved[key], published[key]) for key in published)
    again = load_weights(LLaDAModelLM, tmp_path, torch.float32).state_dict()
    assert all(torch.equal(again[key], published[key]) for key in published)


@pytest.mark.parametrize("name", [*MODELS, "published"])
def test_the_saved_config_has_the_published_keys_and_values(tmp_path, name):
    published = table(f"llada/{name}/config")
    LLaDAConfig.from_pretrained(GOLDEN / "llada" / name).save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    for key in published.keys() - {"transformers_version", "architectures"}:
        assert saved[key] == published[key], key


def test_a_saved_model_names_its_architecture_and_dtype(tmp_path):
    fresh_model().to(torch.bfloat16).save_pretrained(tmp_path)
    saved = read_config(tmp_path)
    assert saved["architectures"] == ["LLaDAModelLM"] and saved["model_type"] == "llada"
    assert saved["torch_dtype"] == "bfloat16"


def test_the_8b_model_has_exactly_the_published_tensors():
    index = table("llada/published/model.safetensors.index")
    with torch.device("meta"):
        model = LLaDAModelLM(LLaDAConfig(**table("llada/published/config")))
    tensors = model.state_dict()
    assert tensors.keys() == index["weight_map"].keys()
    assert len(tensors) == 32 * 9 + 3
    assert sum(tensor.numel() for tensor in tensors.values()) * 2 == index["metadata"]["total_size"]  # bf16


def test_grouped_queries_keep_fewer_keys_and_values():
    block = fresh_model("gqa_pad_embed").model.transformer["blocks"][0]
    assert block.q_proj.weight.shape == (64, 64)
    assert block.k_proj.weight.shape == block.v_proj.weight.shape == (32, 64)


@pytest.mark.parametrize(
    ("key", "value"),
    [("activation_type", "gelu"), ("weight_tying", True), ("layer_norm_type", "default"), ("alibi", True),
     ("include_bias", True), ("block_type", "sequential"), ("rope", False)],
)
def test_a_config_that_cannot_be_computed_is_refused_by_name(folder, key, value):
    config = read_config(folder)
    (folder / "config.json").write_text(json.dumps(config | {key: value}))
    with pytest.raises(UserError, match=f"{key} = {value!r} is not supported"):
        load_weights(LLaDAModelLM, folder, torch.float32)


def test_missing_tensors_are_counted_and_named(folder):
    weights = load_file(folder / "model.safetensors")
    weights = {key: value for key, value in weights.items() if "blocks.1.up_proj" not in key}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"1 tensors are missing, such as .*\.blocks\.1\.up_proj"):
        load_weights(LLaDAModelLM, folder, torch.float32)


def test_weights_of_another_shape_are_refused(folder):
    config = read_config(folder)
    (folder / "config.json").write_text(json.dumps(config | {"mlp_hidden_size": 128}))
    with pytest.raises(UserError, match="of another shape than config.json says: 6 tensors"):
        load_weights(LLaDAModelLM, folder, torch.float32)


@pytest.mark.parametrize("damage", [b"", b"not a safetensors file at all"])
def test_damaged_weights_are_one_message(folder, damage):
    (folder / "model.safetensors").write_bytes(damage)
    with pytest.raises(UserError, match="the weights cannot be read"):
        load_weights(LLaDAModelLM, folder, torch.float32)


def test_weights_in_shards_are_read(folder):
    weights = load_file(folder / "model.safetensors")
    names = sorted(weights)
    shards = {"model-00001-of-00002.safetensors": names[:10], "model-00002-of-00002.safetensors": names[10:]}
    for file, held in shards.items():
        save_file({name: weights[name] for name in held}, folder / file, {"format": "pt"})
    (folder / "model.safetensors").unlink()
    places = {name: file for file, held in shards.items() for name in held}
    index = {"metadata": {}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    loaded = load_weights(LLaDAModelLM, locate(str(folder)), torch.float32).state_dict()
    assert all(torch.equal(loaded[name], weights[name]) for name in names)


def test_a_folder_of_pickles_is_refused(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    (folder / "io.safetensors").unlink()
    with pytest.raises(UserError, match="pickled weights"):
        locate(str(folder))


def test_a_run_directory_leads_to_its_model(folder, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    folder.rename(run / "model")
    assert locate(str(run)) == run / "model"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("./nowhere", "no such folder"),
        ("nowhere/at/all", "no such folder"),
        ("nowhere", "no such folder or bundled model"),
        ("owner/na me", "neither a folder nor a well-formed hub id"),
    ],
)
def test_a_name_that_leads_nowhere(name, message):
    with pytest.raises(UserError, match=message):
        locate(name, offline=True)


def test_a_folder_without_a_config(tmp_path):
    with pytest.raises(UserError, match=r"no config\.json in this folder$"):
        locate(str(tmp_path))
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(UserError, match="use --adapter"):
        locate(str(tmp_path))


def test_a_hub_id_without_network_is_one_message(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError) as told:
        locate("maskgrpo-tests/not-in-any-cache", offline=True)
    assert str(told.value).splitlines() == [
        "model 'maskgrpo-tests/not-in-any-cache': --offline is set and it is not in the local cache",
        "  give a folder: --model path/to/not-in-any-cache",
    ]


def test_a_config_that_is_not_json(folder):
    (folder / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config\.json cannot be read"):
        read_config(folder)


def test_a_folder_without_a_tokenizer_or_with_a_damaged_one(folder):
    with pytest.raises(UserError, match=r"there is no tokenizer\.json"):
        load_tokenizer(folder)
    (folder / "tokenizer.json").write_text('{"model": 3}')
    with pytest.raises(UserError, match=r"tokenizer\.json cannot be read"):
        load_tokenizer(folder)


def test_a_hub_that_cannot_be_reached_is_one_message(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError) as told:
        locate("maskgrpo-tests/not-in-any-cache")
    first, second = str(told.value).splitlines()
    assert first.startswith("model 'maskgrpo-tests/not-in-any-cache': the hub cannot be reached")
    assert second == "  give a folder: --model path/to/not-in-any-cache"


def test_weights_are_copies_of_what_the_file_holds(folder):
    """A later save replaces the file, or writes over it; the model must not see that."""
    model = load_weights(LLaDAModelLM, folder, torch.float32)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    path = folder / "model.safetensors"
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\xff" * (path.stat().st_size // 2))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.requires_grad and not parameter.is_meta for parameter in model.parameters())


def test_weights_are_read_in_the_dtype_that_is_asked_for(folder):
    held = load_file(folder / "model.safetensors")
    read = load_weights(LLaDAModelLM, folder, torch.bfloat16).state_dict()
    assert all(torch.equal(read[name], held[name].bfloat16()) for name in held)


def test_a_damaged_config_is_one_message(folder):
    (folder / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config\.json cannot be read"):
        load_weights(LLaDAModelLM, folder, torch.float32)


def test_large_models_are_saved_in_shards(tmp_path, monkeypatch):
    monkeypatch.setattr(saved, "SHARD", "100KB")
    model = fresh_model()
    model.save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert len(set(index["weight_map"].values())) > 1 and not (tmp_path / "model.safetensors").exists()
    again = load_weights(LLaDAModelLM, tmp_path, torch.float32).state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in model.state_dict().items())


def test_a_fresh_model_has_the_published_initialisation():
    torch.manual_seed(0)
    model = LLaDAModelLM(LLaDAConfig(**table("llada/base/config")))
    spread = model.get_output_embeddings().weight.std().item()
    assert spread == pytest.approx(0.02, rel=0.02) and (model.model.transformer["ln_f"].weight == 1).all()


def test_a_model_is_made_without_what_takes_long_to_import():
    """transformers' modelling utilities bring torch's compiler, torchvision and scipy: seconds, for nothing here."""
    script = ("import sys, maskgrpo_cli.engine.sampling, maskgrpo_cli.models.mmada, maskgrpo_cli.models.magvit\n"
              "print(sorted({'transformers.modeling_utils', 'torch._dynamo', 'torchvision', 'scipy', 'pandas', "
              "'pyarrow', 'sklearn', 'datasets', 'peft', 'open_clip', 'sympy'} & set(sys.modules)))")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
