"""Where an open_clip model comes from: its architecture, its preprocessing and the file with its weights."""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maskgrpo_cli.errors import UserError
from maskgrpo_cli.rewards.hub import fetch, fetch_one

HUB, FOLDER = "hf-hub:", "local-dir:"
CONFIG = "open_clip_config.json"
WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin", "model.safetensors", "pytorch_model.bin")
TEXT_FILES = ("*.json", "*.txt", "*.model")  # a tokenizer's; never code
TOKENIZER_SETTINGS = {"clean", "strip_sep_token"}  # of others some download, some draw at random, some run code
INSTEAD = "weights=path/to/FILE"


@dataclass(frozen=True)
class Source:
    """What a model is made of."""

    name: str
    config: dict[str, Any]  # open_clip's model_cfg: embed_dim, vision_cfg, text_cfg, ...
    weights: Path
    preprocess: Mapping[str, Any] = field(default_factory=dict)  # what differs from CLIP's own
    folder: Path | None = None  # of the files of a tokenizer that is not CLIP's


def find(model: str, pretrained: str | None, weights: str | None, *, offline: bool) -> Source:
    """What the settings name, fetched where it is not there.

    Args:
        model: a name that open_clip knows (a slash counts as a dash), `hf-hub:owner/name` or `local-dir:path`.
        pretrained: open_clip's tag of weights; with `weights` it says what is in that file.
        weights: a file, instead of those of the tag, the repository or the folder.
        offline: never ask the network.

    Raises:
        UserError: any of them is unknown, missing, or does not go with the others.
    """
    for key, value in {"model": model, "pretrained": pretrained, "weights": weights}.items():
        if not (isinstance(value, str) and value) and (key == "model" or value is not None):
            raise UserError(f"{key} = {value!r}: write text, not empty")
    given = None if weights is None else Path(weights).expanduser()
    if model.startswith((HUB, FOLDER)):
        if pretrained is not None:
            raise UserError(f"pretrained = '{pretrained}': '{model}' has weights of its own; take this out")
        return _in_repository(model, given, offline)
    return _built_in(model.replace("/", "-"), pretrained, given, offline)


def _built_in(name: str, pretrained: str | None, weights: Path | None, offline: bool) -> Source:
    import open_clip

    if (config := open_clip.get_model_config(name)) is None:
        known = open_clip.list_models()
        raise UserError(
            f"model = '{name}': open_clip has no such model{_did_you_mean(name, known)}; it has {len(known)}, such as "
            f"ViT-B-32 and ViT-L-14, and takes {HUB}owner/name and {FOLDER}path"
        )
    tags = open_clip.list_pretrained_tags_by_model(name)
    if pretrained is None and weights is None and "openai" in tags:
        pretrained = "openai"
    if pretrained is None and weights is None:
        raise UserError(f"pretrained: say which weights of {name}: {', '.join(tags) or 'it has none'}; or {INSTEAD}")
    if pretrained is None:
        return Source(name, config, weights, folder=_text_files(config, offline))
    tag = open_clip.get_pretrained_cfg(name, pretrained)
    if not tag:
        raise UserError(
            f"pretrained = '{pretrained}': no weights of {name}{_did_you_mean(pretrained, tags)}; "
            f"{'known: ' + ', '.join(tags) if tags else 'none are known'}; or write {INSTEAD}"
        )
    if tag.get("quick_gelu"):  # OpenAI's need it, whatever the name of the architecture
        config["quick_gelu"] = True
    return Source(name, config, weights or _of_tag(tag, offline), tag, _text_files(config, offline))


def _of_tag(tag: Mapping[str, Any], offline: bool) -> Path:
    """The weights of a tag, from the hub: `owner/name/file`, or `owner/name/` for the usual ones."""
    repository, _, file = str(tag.get("hf_hub", "")).rpartition("/")
    if not repository:
        raise UserError(f"pretrained: these weights are not on the hub; get {tag.get('url')} and write {INSTEAD}")
    names = (f"{Path(file).stem}.safetensors", file) if file else WEIGHTS
    return fetch_one(repository, names, INSTEAD, offline=offline)


def _in_repository(model: str, weights: Path | None, offline: bool) -> Source:
    """A repository or folder as open_clip writes it: open_clip_config.json beside the weights."""
    if model.startswith(FOLDER):
        folder = Path(model.removeprefix(FOLDER)).expanduser()
    else:
        repository = model.removeprefix(HUB)
        folder = fetch(repository, TEXT_FILES, f"model={FOLDER}path", offline=offline)
        weights = weights or fetch_one(repository, WEIGHTS, INSTEAD, offline=offline)
    try:
        read = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        config, preprocess = read["model_cfg"], read.get("preprocess_cfg") or {}
        text, vision = config["text_cfg"], config["vision_cfg"]
        _check(model, text, vision)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"model = '{model}': {CONFIG} is missing or no model's: {reason}") from error
    if weights is None:
        weights = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if weights is None:
        raise UserError(f"model = '{model}': the folder holds none of {', '.join(WEIGHTS)}; or write {INSTEAD}")
    return Source(model, config, weights, preprocess, folder if text.get("hf_tokenizer_name") else None)


def _check(model: str, text: Mapping[str, Any], vision: Mapping[str, Any]) -> None:
    """Refuses what a config from elsewhere could have the libraries fetch or run."""
    odd = sorted(text.get("tokenizer_kwargs", {}).keys() - TOKENIZER_SETTINGS)
    if odd:
        raise UserError(f"model = '{model}': {CONFIG} has tokenizer settings that are not taken: {', '.join(odd)}")
    if "hf_model_name" in text or ":" in str(vision.get("timm_model_name", "")):
        raise UserError(f"model = '{model}': {CONFIG} takes a part of the model from elsewhere, which is not supported")


def _text_files(config: dict[str, Any], offline: bool) -> Path | None:
    """The tokenizer of a model that open_clip knows, where it is not CLIP's own, which lies in the package.

    A text tower of transformers gets its config in the same way; its weights are among the model's.
    """
    text, instead = config["text_cfg"], "a model whose text tower is CLIP's, such as ViT-L-14"
    if text.get("hf_model_name"):
        text["hf_model_name"] = str(fetch(text["hf_model_name"], TEXT_FILES, instead, offline=offline))
    name = text.get("hf_tokenizer_name")
    return fetch(name, TEXT_FILES, instead, offline=offline) if name else None


def _did_you_mean(name: str, known: Collection[str]) -> str:
    by_lower = {other.lower(): other for other in known}
    near = difflib.get_close_matches(name.lower(), list(by_lower), n=1, cutoff=0.5)
    return f"; did you mean '{by_lower[near[0]]}'?" if near else ""
