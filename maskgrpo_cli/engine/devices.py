"""Which device and arithmetic a run uses, and the processes it has (accelerate)."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from accelerate.utils import (
    TORCH_DISTRIBUTED_OPERATION_TYPES,
    is_tensorboard_available,
    is_wandb_available,
    parse_flag_from_env,
)
from transformers.utils import logging

from maskgrpo_cli.config.schema import Config
from maskgrpo_cli.errors import UserError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
SHARDING = {"FSDP": "ACCELERATE_USE_FSDP", "DeepSpeed": "ACCELERATE_USE_DEEPSPEED",
            "Megatron-LM": "ACCELERATE_USE_MEGATRON_LM"}  # fmt: skip


def check_device(device: str) -> None:
    """Raises UserError when a device is asked for that this machine does not have."""
    available = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
    if device in available and not available[device]():
        raise UserError(f"device '{device}' is not available here; write --device cpu, or auto to take what there is")


def check_launch() -> None:
    """Raises UserError where accelerate is told to split the model: samplers and checkpoints need it whole.

    With a sharded model every pass is a collective call, but processes take as many passes as their answers need,
    and only the main one saves.
    """
    for name, flag in SHARDING.items():
        if parse_flag_from_env(flag):
            raise UserError(
                f"{flag}=true: {name} splits the model, but here every process holds all of it\n"
                f"  answer no to {name} in accelerate config, or launch with --multi_gpu; what saves memory is "
                "model.lora and model.gradient_checkpointing"
            )


def check_tracker(tracker: str | None) -> None:
    """Raises UserError where a tracker is not installed; accelerate would warn, and go on without it."""
    installed = {"tensorboard": is_tensorboard_available, "wandb": is_wandb_available}
    if tracker and not installed[tracker]():
        raise UserError(f"tracker '{tracker}' is not installed; write: pip install 'maskgrpo[{tracker}]'")


def make_accelerator(config: Config, directory: str | None = None) -> Accelerator:
    """The accelerator of a run: device, bfloat16 autocast, processes and tracker.

    Raises:
        UserError: the device is missing, the model would be split, or the tracker is not installed.
    """
    check_device(config.device)
    check_launch()
    check_tracker(config.tracker)
    logging.disable_progress_bar()  # the run has bars of its own
    return Accelerator(
        cpu=config.device == "cpu",
        mixed_precision="bf16" if config.dtype == "bfloat16" else "no",
        log_with=config.tracker,
        project_dir=directory,
        step_scheduler_with_optimizer=False,
    )


def total(accelerator: Accelerator, values: torch.Tensor) -> torch.Tensor:
    """Elementwise sum over the processes."""
    return accelerator.reduce(values.to(accelerator.device), "sum").cpu()


def gather_rows(accelerator: Accelerator, rows: list) -> list:
    """The rows of all processes, in the order of the processes."""
    if accelerator.distributed_type not in TORCH_DISTRIBUTED_OPERATION_TYPES:
        return rows
    gathered = [None] * accelerator.num_processes
    torch.distributed.all_gather_object(gathered, rows)
    return [row for part in gathered for row in part]


def share(accelerator: Accelerator, count: int) -> range:
    """The consecutive part of `count` items that this process works on."""
    first = count * accelerator.process_index // accelerator.num_processes
    last = count * (accelerator.process_index + 1) // accelerator.num_processes
    return range(first, last)
