"""Where weights come from: a bundled name, a folder, a run directory, or a hub id."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from maskgrpo_cli.errors import UserError

BUNDLED = Path(__file__).parent.parent / "assets"
_PATTERNS = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]  # never pickles


def bundled_names() -> list[str]:
    """The models that lie in the package; an image tokenizer, which has none for text, is part of one."""
    return sorted(path.parent.name for path in BUNDLED.glob("*/tokenizer.json"))


def locate(
    name: str, *, revision: str | None = None, offline: bool = False, what: str = "model", bundled: str | None = None
) -> Path:
    """The folder with config.json and safetensors for a bundled name, folder, run directory or hub id.

    Args:
        what: what is looked for, as messages call it.
        bundled: the bundled names that a message offers; default: the models.

    Raises:
        UserError: nothing is there, or the hub cannot be reached; says what was tried.
    """
    folder = Path(name).expanduser()
    if (BUNDLED / name / "config.json").is_file() and not folder.exists():
        return BUNDLED / name
    if folder.exists():
        return _in_folder(folder, what)
    if name.count("/") > 1 or name.startswith((".", "/", "~")) or name.endswith("/"):
        raise UserError(f"{what} '{name}': no such folder")
    if "/" not in name:
        raise UserError(
            f"{what} '{name}': no such folder or bundled model\n"
            f"  bundled: {bundled or ', '.join(bundled_names())}; a hub id reads owner/name"
        )
    return _from_hub(name, revision, offline, what)


def _in_folder(folder: Path, what: str) -> Path:
    for candidate in (folder, folder / "model"):
        if (candidate / "config.json").is_file():
            if any(candidate.glob("*.safetensors")):
                return candidate
            raise UserError(
                f"{what} '{candidate}': config.json but no .safetensors; pickled weights (.bin, .pt) are not read"
            )
    adapter = what == "model" and (folder / "adapter_config.json").is_file()
    hint = "; for a LoRA adapter use --adapter" if adapter else ""
    raise UserError(f"{what} '{folder}': there is no config.json in this folder{hint}")


def _from_hub(name: str, revision: str | None, offline: bool, what: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=_PATTERNS, local_files_only=offline))
    except HFValidationError as error:
        raise UserError(f"{what} '{name}': neither a folder nor a well-formed hub id (owner/name)") from error
    except LocalEntryNotFoundError as error:
        why = "--offline is set and it" if offline else "the hub cannot be reached and it"
        option = "--model " if what == "model" else f"{what}="
        raise UserError(
            f"{what} '{name}': {why} is not in the local cache\n  give a folder: {option}path/to/{name.split('/')[-1]}"
        ) from error
    except (HfHubHTTPError, OSError) as error:
        raise UserError(f"{what} '{name}': the hub answered: {str(error).splitlines()[0]}") from error


def read_config(folder: Path) -> dict:
    """config.json of a model folder, as a dict."""
    try:
        return json.loads((folder / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"model '{folder}': config.json cannot be read: {error}") from error


def load_tokenizer(folder: Path):
    """The checkpoint's fast tokenizer with its chat template; no code from the checkpoint runs.

    Raises:
        UserError: there is no tokenizer.json, or it is damaged.
    """
    from transformers import PreTrainedTokenizerFast

    if not (folder / "tokenizer.json").is_file():
        raise UserError(f"model '{folder}': there is no tokenizer.json; copy the tokenizer's files beside the weights")
    try:
        return PreTrainedTokenizerFast.from_pretrained(str(folder))
    except Exception as error:  # the Rust parser raises plain Exception
        raise UserError(f"model '{folder}': tokenizer.json cannot be read: {error}") from error


def load_weights(model_class: type, folder: Path, dtype):
    """The model with its weights in `dtype`, in evaluation mode; safetensors only.

    Args:
        model_class: made of its `config_class` alone; see `models.saved`.

    Raises:
        UserError: weights are missing, damaged, or of another shape than config.json says.
    """
    from maskgrpo_cli.models.saved import without_weights

    try:
        config = model_class.config_class.from_pretrained(folder)
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"model '{folder}': config.json cannot be read: {error}") from error
    with without_weights():
        model = model_class(config)
    read = _fitting(model, folder)
    # copies: what safetensors gives may lie in the file itself, which a later save replaces
    model.load_state_dict({name: tensor.to(dtype, copy=True) for name, tensor in read.items()}, assign=True)
    return model.eval()


def load_tensors(module, folder: Path, optional: Collection[str] = ()) -> None:
    """Copy the tensors of a folder's .safetensors into a plain torch module, by name.

    Args:
        module: any torch module.
        folder: a model's folder, as `locate` finds it.
        optional: names that the folder need not hold.

    Raises:
        UserError: tensors are missing, unknown, damaged, or of another shape than the module's.
    """
    module.load_state_dict(_fitting(module, folder, optional), strict=False)


def _fitting(module, folder: Path, optional: Collection[str] = ()) -> dict:
    """The tensors of a folder by name, which are those that the module has."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        read = {name: tensor for file in _weight_files(folder) for name, tensor in load_file(file).items()}
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise UserError(f"model '{folder}': the weights cannot be read: {error}") from error
    own = module.state_dict()
    if missing := sorted(own.keys() - read.keys() - set(optional)):
        raise UserError(f"model '{folder}': {len(missing)} tensors are missing, such as {missing[0]}")
    if unknown := sorted(read.keys() - own.keys()):
        raise UserError(f"model '{folder}': {len(unknown)} tensors have no place in this model, such as {unknown[0]}")
    if other := sorted(name for name, tensor in read.items() if tensor.shape != own[name].shape):
        told, wanted = (list(tensors[other[0]].shape) for tensors in (read, own))
        raise UserError(
            f"model '{folder}': the weights are of another shape than config.json says: {len(other)} tensors, "
            f"such as {other[0]}: {told}, not {wanted}"
        )
    return read


def _weight_files(folder: Path) -> list[Path]:
    """The files with a model's tensors: the usual names, else whatever safetensors there are."""
    index, single = folder / "model.safetensors.index.json", folder / "model.safetensors"
    if index.is_file():
        return [folder / name for name in sorted(set(json.loads(index.read_text())["weight_map"].values()))]
    return [single] if single.is_file() else sorted(folder.glob("*.safetensors"))
