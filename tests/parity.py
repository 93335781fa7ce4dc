"""Golden values, the small models they were made with, and what tests hand to samplers and estimators."""

import json
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load_file

from maskgrpo_cli.models.denoiser import Denoiser
from maskgrpo_cli.models.llada import LLaDAModelLM
from maskgrpo_cli.models.loading import load_weights
from maskgrpo_cli.noise import Noise
from maskgrpo_cli.types import Canvas, Vocabulary

torch.set_num_threads(1)  # these models are so small that threads only wait for one another

GOLDEN = Path(__file__).parent / "golden"
MODELS = ("base", "gqa_pad_embed")
MASK = {"base": 510, "gqa_pad_embed": 490}
ROWS = 512  # embedding rows of both


def tensors(name: str) -> dict[str, torch.Tensor]:
    return load_file(GOLDEN / f"{name}.safetensors")


def table(name: str):
    return json.loads((GOLDEN / f"{name}.json").read_text())


def fresh_model(name: str = "base") -> LLaDAModelLM:
    return load_weights(LLaDAModelLM, GOLDEN / "llada" / name, torch.float32)


@cache
def model(name: str = "base") -> LLaDAModelLM:
    """A model to read from; a test that changes its model takes a fresh one."""
    return fresh_model(name)


def vocabulary(name: str = "base", forbidden=(), **more) -> Vocabulary:
    """All embedding rows; `forbidden` ids, or None to exclude nothing at all."""
    refused = None
    if forbidden is not None:
        refused = torch.zeros(ROWS, dtype=torch.bool)
        refused[[MASK[name], *forbidden]] = True
    return Vocabulary(mask_id=MASK[name], first=0, last=ROWS, forbidden=refused, **more)


def canvas(prompt: torch.Tensor, length: int, mask_id: int, padding: int = 0, fill: int = 509) -> Canvas:
    """Prompts [B, P] behind `padding` unseen columns, then `length` masks; guidance masks the prompt."""
    batch = len(prompt)
    pad, response = torch.full((batch, padding), fill), torch.full((batch, length), mask_id)
    ids = torch.cat([pad, prompt, response], dim=1)
    attention = torch.ones(ids.shape, dtype=torch.bool)
    attention[:, :padding] = False
    seen, start = (attention if padding else None), padding + prompt.shape[1]
    without = ids.clone()
    without[:, padding:start] = mask_id
    return Canvas(ids, seen, start, length, Canvas(without, seen, start, length))


def completed(prompt: torch.Tensor, completion: torch.Tensor, padding: int = 0) -> Canvas:
    """The canvas of prompts and their completions."""
    result = canvas(prompt, completion.shape[1], 0, padding)
    result.ids[:, result.start :] = completion
    return result


def noise(count: int, *key: int) -> Noise:
    return Noise(key or (0,), tuple(range(count)))


def denoiser(name: str = "base", guidance: float = 0.0) -> Denoiser:
    return Denoiser(model(name), vocabulary(name), guidance)


class GivenNoise(Noise):
    """Noise whose draws are given, by purpose: golden masks were drawn by another generator."""

    def __init__(self, **draws: torch.Tensor):
        super().__init__((0,), tuple(range(len(next(iter(draws.values()))))))
        object.__setattr__(self, "draws", draws)

    def uniform(self, purpose, *shape: int) -> torch.Tensor:
        drawn = self.draws[purpose.name]
        assert drawn.shape[1:] == shape
        return drawn
