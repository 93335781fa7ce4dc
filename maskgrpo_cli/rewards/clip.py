"""The CLIP score (arXiv 2103.00020): how well a picture goes with its prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from maskgrpo_cli.rewards.open_clip_model import ImageTextModel
from maskgrpo_cli.rewards.open_clip_source import find


class ClipScore:
    """The cosine of CLIP's features of a picture and its prompt, in -1..1 and usually 0.15 to 0.35.

    Pictures are resized, cut and normalised as the model asks for; texts are cut at its 77 tokens.

    Args:
        model: a name that open_clip knows, `hf-hub:owner/name`, or `local-dir:path` with open_clip_config.json.
        pretrained: open_clip's tag of weights, which also says how they want to be used; default: `openai` where
            the model has them and `weights` names no file.
        weights: a .safetensors or torch file, instead of a download.
        batch_size: pictures at once.
        dtype: float32, bfloat16 or float16, by autocast.
        device: where it computes.
        offline: never ask the network.

    Raises:
        UserError: the model is unknown, or its weights are missing, damaged or another model's.
    """

    def __init__(
        self,
        model: str = "ViT-L-14",
        pretrained: str | None = None,
        weights: str | None = None,
        batch_size: int = 32,
        dtype: str = "float32",
        *,
        device: Any = "cpu",
        offline: bool = False,
    ):
        source = find(model, pretrained, weights, offline=offline)
        self.model = ImageTextModel(source, device=device, dtype=dtype, batch_size=batch_size)

    def __call__(self, prompts: Sequence[str], completions: Sequence[Any], **columns: Any) -> list[float | None]:
        """The cosine of each prompt and its picture. Raises ValueError for a completion that is no picture."""
        return list(self.model.cosines(prompts, completions, self.model.preprocess))
