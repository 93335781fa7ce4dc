"""A torch module with a configuration, saved in the published layout: config.json and safetensors.

What transformers' `PreTrainedModel` would do, less what these models have no use for; importing it takes longer than
drawing a picture and everything before it.
"""

from __future__ import annotations

import contextlib
import copy
from pathlib import Path

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from transformers import PretrainedConfig

SHARD = "5GB"  # of the published checkpoints


class SavedModel(nn.Module):
    """A module that is made of a configuration alone.

    `config` and `name_or_path`, the folder that it was read from, are what peft and accelerate look for.
    """

    config_class = PretrainedConfig

    def __init__(self, config: PretrainedConfig):
        super().__init__()
        self.config = config
        self.name_or_path = config.name_or_path

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `config.json` and `model.safetensors`, or its shards with their index, below a folder."""
        from huggingface_hub import save_torch_state_dict

        Path(folder).mkdir(parents=True, exist_ok=True)
        said = copy.deepcopy(self.config)
        said.architectures = [type(self).__name__]
        said.dtype = str(next(self.parameters()).dtype).removeprefix("torch.")
        said.save_pretrained(folder)
        save_torch_state_dict(self.state_dict(), folder, max_shard_size=SHARD)


class _Undrawn(TorchFunctionMode):
    """Leaves tensors as they are where `torch.nn.init` would fill them."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == nn.init.__name__:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


@contextlib.contextmanager
def without_weights():
    """Modules made within have shapes alone: what would be drawn would be thrown away when weights are read.

    Drawing on the meta device itself brings in torch's compiler, which takes seconds to import.
    """
    with torch.device("meta"), _Undrawn():
        yield
