"""An open_clip model that says how well pictures go with texts.

Shapes: B pairs, H x W pixels, D features.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from maskgrpo_cli.errors import UserError
from maskgrpo_cli.rewards.open_clip_files import put_into, read_tensors
from maskgrpo_cli.rewards.open_clip_source import Source
from maskgrpo_cli.rewards.pictures import as_image

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
Preprocess = Callable[[Any], Tensor]  # an RGB image -> [3, H, W]


class ImageTextModel:
    """A frozen model with its tokenizer, in evaluation mode.

    Args:
        source: what it is made of.
        device: where it computes.
        dtype: float32, bfloat16 or float16: what is multiplied in; weights and cosines stay float32.
        batch_size: pictures, or texts, at once.

    Raises:
        UserError: the weights are missing or another model's, or a setting is out of its range.
    """

    def __init__(self, source: Source, *, device: torch.device | str, dtype: str, batch_size: int):
        if dtype not in DTYPES:
            raise UserError(f"dtype = {dtype!r}: write one of {', '.join(DTYPES)}")
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise UserError(f"batch_size = {batch_size!r}: write a whole number, at least 1")
        self.device, self.dtype, self.batch_size = torch.device(device), DTYPES[dtype], batch_size
        tensors = read_tensors(source.weights)
        self.model = _built(source)
        put_into(self.model, tensors, source.weights, source.name, self.device)
        self.model.requires_grad_(False).eval()
        self.tokenize = _tokenizer(source)
        self.preprocess = _preprocess(source, self.image_size)

    @property
    def image_size(self) -> int | tuple[int, int]:
        """Pixels of a side of the pictures that it takes, or rows and columns."""
        size = self.model.visual.image_size
        return size[0] if isinstance(size, (tuple, list)) and size[0] == size[1] else size

    def cosines(self, texts: Sequence[str], pictures: Sequence[Any], preprocess: Preprocess) -> list[float]:
        """The cosine of each text's features and its picture's, in -1..1.

        Args:
            texts: B texts; those longer than the model's context are cut by its tokenizer.
            pictures: B pictures, as `pictures.as_image` takes them.
            preprocess: from an RGB image to what the model sees.

        Raises:
            ValueError: a picture is none, or there is another number of them than of texts.
        """
        if len(texts) != len(pictures):
            raise ValueError(f"{len(pictures)} pictures for {len(texts)} texts")
        if not texts:
            return []
        images = [as_image(picture) for picture in pictures]  # all of them before anything is computed
        different = list(dict.fromkeys(texts))  # a group shares its prompt
        of_texts = self._features(self.model.encode_text, different, self.tokenize)
        of_images = self._features(
            self.model.encode_image, images, lambda part: torch.stack([preprocess(image) for image in part])
        )
        place = {text: row for row, text in enumerate(different)}
        rows = torch.tensor([place[text] for text in texts], device=self.device)
        return (of_images * of_texts[rows]).sum(dim=1).tolist()

    @torch.no_grad()
    def _features(self, encode: Callable[[Tensor], Tensor], items: Sequence, prepare: Callable) -> Tensor:
        """[B, D] float32 features of length 1."""
        found = []
        for start in range(0, len(items), self.batch_size):
            inputs = prepare(items[start : start + self.batch_size]).to(self.device)
            with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
                features = encode(inputs)
            found.append(nn.functional.normalize(features.float(), dim=-1))
        return torch.cat(found)


def _built(source: Source) -> nn.Module:
    """The architecture without weights; nothing is downloaded, unlike by `open_clip.create_model`."""
    import open_clip
    from accelerate import init_empty_weights

    config = copy.deepcopy(source.config)
    if "timm_model_name" in config["vision_cfg"]:
        config["vision_cfg"]["timm_model_pretrained"] = False
    foreign = "hf_model_name" in config["text_cfg"]
    if foreign:
        config["text_cfg"]["hf_model_pretrained"] = False
    separate = config.pop("custom_text", False) or foreign
    kind = open_clip.CLIP
    if separate:
        kind = open_clip.CoCa if "multimodal_cfg" in config else open_clip.CustomTextCLIP
    try:
        # the weights are not even drawn, which takes longer than reading them; what still is leaves no trace
        with init_empty_weights(include_buffers=False), torch.random.fork_rng(devices=[]):
            return kind(**config)
    except (TypeError, ValueError, RuntimeError, AssertionError, KeyError, ZeroDivisionError, OSError) as error:
        raise UserError(f"model = '{source.name}': it cannot be built: {type(error).__name__}: {error}") from error


def _tokenizer(source: Source) -> Callable[[list[str]], Tensor]:
    """Texts -> ids [B, T], cut at the model's context (77) behind which the end token stands."""
    from open_clip.tokenizer import HFTokenizer, SimpleTokenizer

    text = source.config["text_cfg"]
    settings = {"context_length": text.get("context_length", 77), **text.get("tokenizer_kwargs", {})}
    if source.folder is None:
        return SimpleTokenizer(**settings)
    mode = {"tokenizer_mode": text["tokenizer_mode"]} if text.get("tokenizer_mode") else {}
    try:
        return HFTokenizer(str(source.folder), trust_remote_code=False, **mode, **settings)
    except Exception as error:  # of several packages; each means that the files are not a tokenizer's
        raise UserError(f"model = '{source.name}': its tokenizer in {source.folder} cannot be read: {error}") from error


def _preprocess(source: Source, size: int | tuple[int, int]) -> Preprocess:
    """open_clip's transform of evaluations: resized, cut about the middle, scaled to [0, 1], normalised."""
    from dataclasses import asdict

    from open_clip.transform import PreprocessCfg, image_transform_v2, merge_preprocess_dict

    settings = merge_preprocess_dict(asdict(PreprocessCfg()), {**source.preprocess, "size": size})
    return image_transform_v2(PreprocessCfg(**settings), is_train=False)
