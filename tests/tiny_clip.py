"""open_clip models small enough to be made in a test, as open_clip itself saves and computes them."""

import contextlib
import json
from functools import lru_cache
from pathlib import Path

import numpy as np
import open_clip
import torch
from PIL import Image
from safetensors.torch import save_file

SIDE = 32
SHAPE = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": SIDE, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
PROMPTS = ["a red circle above a blue square", "", "Ein Bär, ünïcode & symbols!", "a red circle above a blue square"]


def shape(**vision):
    """The architecture with some values of its image tower changed."""
    return {**SHAPE, "vision_cfg": {**SHAPE["vision_cfg"], **vision}}


def save(folder, seed=0, config=None, file="open_clip_model.safetensors", **more):
    """A folder as open_clip writes it, for `local-dir:FOLDER`: its config and untrained weights."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    config = {"model_cfg": config or SHAPE, **more}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    tensors = weights(seed, json.dumps(config["model_cfg"]))
    if file.endswith(".safetensors"):
        save_file(tensors, folder / file)
    else:
        torch.save(tensors, folder / file)
    return folder


@lru_cache
def weights(seed=0, config=json.dumps(SHAPE)):
    """Untrained weights, spread more widely than open_clip begins with, so that features differ."""
    kinds = json.loads(config)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        kind = open_clip.CustomTextCLIP if kinds.pop("custom_text", False) else open_clip.CLIP
        tensors = kind(**kinds).state_dict()
        return {name: tensor + 0.05 * torch.randn(tensor.shape) for name, tensor in tensors.items()}


def reference(folder):
    """(model, its transform of evaluations, its tokenizer), loaded by open_clip."""
    name = f"local-dir:{folder}"
    model, _, transform = open_clip.create_model_and_transforms(name)
    return model.eval(), transform, open_clip.get_tokenizer(name)


@torch.no_grad()
def cosines(model, tokenize, prompts, inputs):
    """The formula, a pair at a time: cos(image features, text features) of pictures [3, H, W]."""
    found = []
    for prompt, picture in zip(prompts, inputs, strict=True):
        image, text = model.encode_image(picture[None]), model.encode_text(tokenize([prompt]))
        found.append((image @ text.T / (image.norm() * text.norm())).item())
    return found


def noise(height, width, seed=0, channels=3):
    """[H, W, C] uint8."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def pictures():
    """Four pictures of several shapes."""
    return [Image.fromarray(noise(*size)) for size in ((64, 64), (32, 32), (20, 50), (90, 40))]


@contextlib.contextmanager
def registered(folder, name, config=None, tags=None):
    """Makes `name` a model that open_clip knows, with pretrained tags; it forgets it afterwards."""
    from open_clip import factory, pretrained

    path = Path(folder) / f"{name}.json"
    path.write_text(json.dumps(config or SHAPE))
    open_clip.add_model_config(path)
    pretrained._PRETRAINED[name] = tags or {}
    try:
        yield name
    finally:
        del pretrained._PRETRAINED[name]
        factory._MODEL_CONFIG_PATHS.remove(path)
        factory._MODEL_CONFIGS.pop(name)


def cached(cache, repository, files):
    """Puts {name: path} into a cache of the hub, as a download leaves them."""
    base = Path(cache) / ("models--" + repository.replace("/", "--"))
    commit = "0" * 39 + "1"
    (base / "refs").mkdir(parents=True, exist_ok=True)
    (base / "refs" / "main").write_text(commit)
    for name, path in files.items():
        target = base / "snapshots" / commit / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(Path(path).resolve())
    return base / "snapshots" / commit
