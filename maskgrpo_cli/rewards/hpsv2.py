"""Human preference score v2 and v2.1 (arXiv 2306.09341): a CLIP that learned which pictures people prefer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from maskgrpo_cli.errors import UserError
from maskgrpo_cli.rewards.hub import fetch_one
from maskgrpo_cli.rewards.open_clip_model import ImageTextModel
from maskgrpo_cli.rewards.open_clip_source import find

REPOSITORY = "xswu/HPSv2"
FILES = {"v2": "HPS_v2_compressed.pt", "v2.1": "HPS_v2.1_compressed.pt"}
ARCHITECTURE = "ViT-H-14"
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # CLIP's


class HPSv2:
    """The dot product of the normalised features of a picture and its prompt, without a temperature.

    Usually about 0.2 to 0.35. The whole picture is seen, padded to a square.

    Args:
        version: v2 or v2.1: which weights are fetched where `weights` names none.
        weights: a file such as HPS_v2.1_compressed.pt.
        model: the architecture of the weights, as for the CLIP score.
        batch_size: pictures at once.
        dtype: float32, bfloat16 or float16 (as published, on a GPU), by autocast.
        device: where it computes.
        offline: never ask the network.

    Raises:
        UserError: the weights are missing, damaged or another model's.
    """

    def __init__(
        self,
        version: str = "v2.1",
        weights: str | None = None,
        model: str = ARCHITECTURE,
        batch_size: int = 32,
        dtype: str = "float32",
        *,
        device: Any = "cpu",
        offline: bool = False,
    ):
        if version not in FILES:
            raise UserError(f"version = {version!r}: write one of {', '.join(FILES)}")
        if weights is None and model != ARCHITECTURE:
            raise UserError(f"model = '{model}': the published weights are of {ARCHITECTURE}; give yours as weights")
        if weights is None:
            file = FILES[version]
            weights = str(fetch_one(REPOSITORY, [file], f"weights=path/to/{file}", offline=offline))
        source = find(model, None, weights, offline=offline)
        self.model = ImageTextModel(source, device=device, dtype=dtype, batch_size=batch_size)
        if not isinstance(self.model.image_size, int):
            rows, columns = self.model.image_size
            raise UserError(f"model = '{model}': it looks at pictures of {columns}x{rows} pixels, not at squares")

    def __call__(self, prompts: Sequence[str], completions: Sequence[Any], **columns: Any) -> list[float | None]:
        """The score of each prompt and its picture. Raises ValueError for a completion that is no picture."""
        return list(self.model.cosines(prompts, completions, self.preprocess))

    def preprocess(self, image: Any) -> Tensor:
        """What the model sees of an RGB image, [3, S, S]: as published, see `whole`."""
        return whole(image, self.model.image_size)


def whole(image: Any, side: int) -> Tensor:
    """An RGB image as [3, S, S]: in [0, 1], its longer side resized to S (bicubic), padded with 0, normalised.

    As published, resized as floats and not clamped again; what is padded lies on both sides, the odd pixel last.
    """
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms import functional as F

    picture = F.to_tensor(image)
    height, width = picture.shape[1:]
    scale = side / max(height, width)
    rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
    if (rows, columns) != (height, width):
        picture = F.resize(picture, [rows, columns], InterpolationMode.BICUBIC, antialias=True)
    below, right = side - rows, side - columns
    picture = F.pad(picture, [right // 2, below // 2, right - right // 2, below - below // 2], fill=0)
    return F.normalize(picture, MEAN, STD)
