"""Weights files of open_clip models: read without running anything in them, and put into a model whole."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from maskgrpo_cli.errors import UserError

TORCH_FILES = (".pt", ".pth", ".bin", ".ckpt")
NOT_READ = {"logit_scale", "logit_bias"}  # the temperature and bias of training; no score has them
LEFT_OVER = {  # in files of other versions, and no weights
    "attn_mask", "text.attn_mask", "text.transformer.embeddings.position_ids",
    "input_resolution", "context_length", "vocab_size",
}


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors or torch file by name, on the CPU; of a torch file its `state_dict` if it has one.

    Torch files are pickles: only tensors and plain containers are read from them, and whatever else they would have
    called is refused.

    Raises:
        UserError: the file is missing, of another kind, damaged, or holds something else than named tensors.
    """
    if not path.is_file():
        raise UserError(f"weights = '{path}': there is no such file")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix in TORCH_FILES:
        return _named_tensors(_read_torch(path), path)
    raise UserError(f"weights = '{path}': write a .safetensors file or a torch file ({', '.join(TORCH_FILES)})")


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise UserError(f"weights = '{path}': the file cannot be read: {error}") from error


def _read_torch(path: Path) -> object:
    if _is_torchscript(path):  # loading one can run what is in it
        raise UserError(
            f"weights = '{path}': a TorchScript archive, which holds code; for OpenAI's weights leave the file out "
            "and write pretrained=openai, or give them as .safetensors"
        )
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # a damaged or hostile pickle can make the reader raise anything
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"weights = '{path}': not a torch file of tensors alone, which is all that is read: {reason}"
        ) from error


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def _named_tensors(read: object, path: Path) -> dict[str, Tensor]:
    if isinstance(read, Mapping) and isinstance(read.get("state_dict"), Mapping):
        read = read["state_dict"]
    if not isinstance(read, Mapping) or not read:
        raise UserError(f"weights = '{path}': the file holds no tensors by name")
    for name, tensor in read.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor) or not _has_numbers(tensor):
            raise UserError(f"weights = '{path}': the file holds {str(name)[:80]!r}, which is no plain tensor by name")
    return dict(read)


def _has_numbers(tensor: Tensor) -> bool:
    odd = tensor.is_meta or tensor.is_quantized or tensor.is_complex()
    return tensor.layout == torch.strided and not odd


def put_into(model: nn.Module, tensors: dict[str, Tensor], path: Path, name: str, device: torch.device) -> None:
    """Give an open_clip model called `name` all tensors, as copies on `device`; `path` is where they were read.

    The temperature is not needed. Nothing is resized: tensors of another size are another model's.

    Raises:
        UserError: tensors are missing, unknown, or of another shape than the model's.
    """
    where, own = f"weights = '{path}': these are not the weights of {name}", model.state_dict()
    try:
        tensors = _in_own_names(model, tensors)
    except (AttributeError, KeyError, RuntimeError, ValueError) as error:
        raise UserError(f"{where}: {type(error).__name__}: {error}") from error
    tensors = {key: tensor for key, tensor in tensors.items() if key not in LEFT_OVER - own.keys() | NOT_READ}
    if missing := sorted(own.keys() - tensors.keys() - NOT_READ):
        raise UserError(f"{where}: {len(missing)} tensors are missing, such as {missing[0]}")
    if unknown := sorted(tensors.keys() - own.keys()):
        raise UserError(f"{where}: {len(unknown)} tensors have no place in it, such as {unknown[0]}")
    if other := sorted(key for key, tensor in tensors.items() if tensor.shape != own[key].shape):
        told, wanted = (list(found[other[0]].shape) for found in (tensors, own))
        raise UserError(f"{where}: {len(other)} tensors have another shape, such as {other[0]}: {told}, not {wanted}")
    tensors |= {key: torch.zeros(own[key].shape) for key in NOT_READ & own.keys()}
    copies = {key: tensor.to(device, own[key].dtype, copy=True) for key, tensor in tensors.items()}
    model.load_state_dict(copies, strict=False, assign=True)
    model.to(device)


def _in_own_names(model: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names that the model has today, for files of earlier versions and of other programs."""
    from open_clip.convert import convert_state_dict
    from open_clip.model import convert_to_custom_text_state_dict

    if all(key.startswith("module.") for key in tensors):  # saved in training on several devices
        tensors = {key.removeprefix("module."): tensor for key, tensor in tensors.items()}
    tensors = convert_state_dict(model, tensors)
    if "positional_embedding" in tensors and not hasattr(model, "positional_embedding"):
        tensors = convert_to_custom_text_state_dict(tensors)
    return tensors
