"""LoRA through peft: making, loading, merging adapters, and the reference behind them."""

from __future__ import annotations

import contextlib
from pathlib import Path

import torch
from torch import nn

from maskgrpo_cli.errors import UserError

POLICY, REFERENCE = "default", "reference"


def add_lora(model: nn.Module, *, rank: int, alpha: float, dropout: float, targets: list[str]) -> nn.Module:
    """Wrap `model` so that only a fresh adapter is trained.

    Args:
        targets: last parts of the names of linear layers inside the blocks; the head, which shares the name
            `ff_out`, is never touched.

    Raises:
        UserError: a target names no layer of this model.
    """
    from peft import LoraConfig, get_peft_model

    layers = {
        name.rsplit(".", 1)[-1]
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and ".blocks." in name
    }
    unknown = [target for target in targets if target not in layers]
    if unknown:
        raise UserError(
            f"model.lora.targets: {', '.join(unknown)}: no such layer; there are {', '.join(sorted(layers))}"
        )
    pattern = rf".*\.blocks\.\d+\.({'|'.join(targets)})"
    return get_peft_model(
        model, LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=pattern, bias="none")
    )


def load_lora(model: nn.Module, folder: str, trainable: bool) -> nn.Module:
    """Wrap `model` with an adapter in peft's layout.

    Raises:
        UserError: there is no adapter in the folder, or it does not fit the model.
    """
    from peft import PeftModel

    path = Path(folder).expanduser()
    for candidate in (path, path / "model"):
        if (candidate / "adapter_config.json").is_file():
            path = candidate
            break
    else:
        raise UserError(f"adapter '{folder}': there is no adapter_config.json in this folder")
    if not (path / "adapter_model.safetensors").is_file():
        raise UserError(f"adapter '{path}': there is no adapter_model.safetensors; pickled adapters are not read")
    try:
        return PeftModel.from_pretrained(model, str(path), is_trainable=trainable)
    except (RuntimeError, ValueError, KeyError) as error:
        raise UserError(f"adapter '{path}' does not fit the model: {str(error).splitlines()[0]}") from error


def is_lora(model: nn.Module) -> bool:
    """Whether the model carries peft adapters."""
    return hasattr(model, "peft_config")


def merge(model: nn.Module) -> nn.Module:
    """The plain model with the adapter added into its weights."""
    return model.merge_and_unload()


def copy_policy_to_reference(model: nn.Module) -> None:
    """Make, or refresh, a second frozen adapter that holds the policy's present weights."""
    if REFERENCE not in model.peft_config:
        with torch.random.fork_rng(devices=[]):  # peft draws first weights, which are overwritten below
            model.add_adapter(REFERENCE, model.peft_config[POLICY])
        model.set_adapter(POLICY)
    weights = dict(model.named_parameters())
    for name, parameter in weights.items():
        if f".{REFERENCE}." in name:
            parameter.data.copy_(weights[name.replace(f".{REFERENCE}.", f".{POLICY}.")].data)
            parameter.requires_grad_(False)


@contextlib.contextmanager
def as_reference(model: nn.Module):
    """Within the context the model is its reference: the frozen second adapter, else the base without adapters."""
    if REFERENCE in model.peft_config:
        model.set_adapter(REFERENCE)
        try:
            yield
        finally:
            model.set_adapter(POLICY)
            for name, parameter in model.named_parameters():
                if f".{REFERENCE}." in name:
                    parameter.requires_grad_(False)
    else:
        with model.disable_adapter():
            yield
