"""The modalities of a model: what it reads and writes, made with what each of them needs."""

from __future__ import annotations

import inspect

import torch

from maskgrpo_cli import registry
from maskgrpo_cli.config.schema import Config
from maskgrpo_cli.engine.arguments import taken
from maskgrpo_cli.errors import UserError
from maskgrpo_cli.models.loading import locate
from maskgrpo_cli.models.magvit import MagvitModel
from maskgrpo_cli.types import Modality, Task

DEFAULT = "text"
IMAGE_TOKENIZERS = "tiny-shapes-tokenizer, a folder, or a hub id such as showlab/magvitv2"


def modality_of(task: Task) -> str:
    """What a task's answers are; a task that does not say is answered with text."""
    return getattr(task, "modality", DEFAULT)


class Modalities:
    """The modalities of one model, made when they are first asked for; they share the image tokenizer.

    Args:
        config: names the image tokenizer and the longest prompt.
        tokenizer: the model's text tokenizer.
        shape: the model's own config.
        device: where the image tokenizer computes.
    """

    def __init__(self, config: Config, tokenizer, shape, device: torch.device):
        self.config, self.tokenizer, self.shape, self.device = config, tokenizer, shape, device
        self._made: dict[str, Modality] = {}
        self._pictures: MagvitModel | None = None

    def __call__(self, name: str) -> Modality:
        """The modality of a registered name, or `module.path:attribute`.

        Raises:
            UserError: it works with pictures, and the image tokenizer is not named, missing, or another model's.
        """
        if name not in self._made:
            kind = registry.resolve("modality", name)
            offered = {
                "text_length": self.config.task.max_prompt_length + 2,  # task token, start and end are T + 1 with it
                "picture_tokens": getattr(self.shape, "num_vq_tokens", None),
            }
            if "pictures" in inspect.signature(kind).parameters:
                offered["pictures"] = self.pictures(name)
            self._made[name] = kind(
                self.tokenizer, self.shape.mask_token_id, self.shape.embedding_size, **taken(kind, offered)
            )
        return self._made[name]

    def pictures(self, wanted_by: str) -> MagvitModel:
        """The image tokenizer."""
        if self._pictures is None:
            self._pictures = image_tokenizer(self.config, wanted_by, self.device)
        return self._pictures


def image_tokenizer(config: Config, wanted_by: str, device: torch.device) -> MagvitModel:
    """The image tokenizer that a config names, frozen, in float32: codes hang on signs that lower precision moves.

    Raises:
        UserError: none is named, or there is none.
    """
    name = config.model.image_tokenizer
    if name is None:
        raise UserError(
            f"model.image_tokenizer: task '{config.task.name}' needs one (modality '{wanted_by}'): "
            f"write {IMAGE_TOKENIZERS}"
        )
    folder = locate(name, offline=config.offline, what="model.image_tokenizer", bundled="tiny-shapes-tokenizer")
    tokenizer = MagvitModel.from_folder(folder)
    return tokenizer.requires_grad_(False).to(device)
