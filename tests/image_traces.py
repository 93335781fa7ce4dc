"""Golden traces of the image samplers: the tiny model they were made with, and noise that plays them again."""

from functools import cache

import torch
from hypothesis import strategies as st
from parity import GOLDEN, GivenNoise, noise, table, tensors

from maskgrpo_cli.models.denoiser import Denoiser
from maskgrpo_cli.models.loading import load_weights
from maskgrpo_cli.models.mmada import MMadaModelLM
from maskgrpo_cli.types import Canvas, Vocabulary

TABLE = table("samplers_image/samplers")
TRACES, EDITS = tensors("samplers_image/traces"), tensors("samplers_image/edit_traces")
MASK, FIRST, CODES, TOKENS, START = 110, 119, 64, 16, 14  # 13 of text, then begin-of-image
WORDS = Vocabulary(mask_id=MASK, first=FIRST, last=FIRST + CODES, forbidden=None)
ALMOST_ONE = 1 - 2**-24
SCHEDULE = st.sampled_from(["cosine", "linear", "sigmoid", "pow2", "pow0.5"])
CODEBOOK = torch.randint(FIRST, FIRST + CODES, (4, TOKENS), generator=torch.Generator().manual_seed(0))


def fresh_model() -> MMadaModelLM:
    return load_weights(MMadaModelLM, GOLDEN / "mmada", torch.float32)


model = cache(fresh_model)


def denoiser(guidance: float = 0.0) -> Denoiser:
    return Denoiser(model(), WORDS, guidance)


def traced_canvas(ids: torch.Tensor) -> Canvas:
    """Golden rows [2, S]; the released model attended to the padding (fault 10), so nothing is hidden here."""
    return Canvas(ids.clone(), None, START, TOKENS, Canvas(TRACES["uncond_ids"].clone(), None, START, TOKENS))


def image_canvas(rows: int, length: int = TOKENS, known: torch.Tensor | None = None) -> Canvas:
    """Prompts of several lengths, left-padded, before an image; known: [rows, length] ids and masks."""

    def canvas(texts: list[list[int]]) -> Canvas:
        pads = [13 - len(text) for text in texts]
        ids = torch.tensor([[93] * pad + text + [84] for pad, text in zip(pads, texts)])
        image = torch.full((rows, length), MASK) if known is None else known
        ids = torch.cat([ids, image, torch.full((rows, 1), 85)], dim=1)
        seen = torch.arange(ids.shape[1])[None] >= torch.tensor(pads)[:, None]
        return Canvas(ids, seen, START, length)

    result = canvas([[88, 80, *range(20 + row, 24 + row + 3 * row % 5), 81] for row in range(rows)])
    result.unconditional = canvas([[88, 80, 81]] * rows)
    return result


@torch.no_grad()
def by_hand(canvas: Canvas, guidance: float = 0.0) -> torch.Tensor:
    """[B, N, K] (1 + w) c - w u over the image, from one pass each over the full width."""
    image, codes = slice(START, START + canvas.length), slice(FIRST, FIRST + CODES)
    logits = model()(canvas.ids, attention_mask=canvas.attention_mask).logits[:, image, codes]
    if not guidance:
        return logits
    without = canvas.unconditional
    ids = torch.cat([without.ids[:, :START], canvas.ids[:, START:]], dim=1)
    unguided = model()(ids, attention_mask=without.attention_mask).logits[:, image, codes]
    return (1 + guidance) * logits - guidance * unguided


def probabilities(ids: torch.Tensor, image: torch.Tensor, guidance: float) -> torch.Tensor:
    """[B, N, K] of golden rows showing `image`."""
    canvas = traced_canvas(ids)
    canvas.response[:] = image
    return by_hand(canvas, guidance).softmax(-1)


def drawing(probabilities: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    """Uniforms whose draws are `codes`: in the middle of what each of them covers."""
    share = probabilities.gather(-1, codes[..., None]).squeeze(-1)
    return probabilities.cumsum(-1).gather(-1, codes[..., None]).squeeze(-1) - share / 2


class Replay:
    """The noise under which an emerge sampler goes through the canvases of a trace, from step `first` of `steps` on.

    Args:
        canvases: [steps - first + 1, B, N] before each of the steps, and the result.
        likely: step, canvas [B, N] -> [B, N, K] probabilities of that pass.
    """

    def __init__(self, canvases: torch.Tensor, steps: int, first: int, likely):
        batch, length = canvases.shape[1:]
        reveal, token = torch.zeros(batch, steps, length), torch.full((batch, length), 0.5)
        for step, (before, after) in enumerate(zip(canvases, canvases[1:])):
            leaves = (before == MASK) & (after != MASK)
            reveal[:, first + step][leaves] = ALMOST_ONE
            uniform = drawing(likely(step, before), (after - FIRST).clamp(min=0))
            token[leaves] = uniform[leaves]
        self.reveal, self.token = reveal, token

    def noise(self, **more: torch.Tensor) -> GivenNoise:
        return GivenNoise(REVEAL=self.reveal, TOKEN=self.token, **more)


def flat(canvas, positions):
    """A denoiser without an opinion."""
    return torch.zeros(*positions.shape, CODES)


@st.composite
def partly_known(draw) -> torch.Tensor:
    """[4, N] image ids and masks."""
    known = draw(st.lists(st.booleans(), min_size=4 * TOKENS, max_size=4 * TOKENS))
    return torch.where(torch.tensor(known).view(4, TOKENS), CODEBOOK, MASK)


def masked_before_each_step(sampler, rows: int, length: int, **options) -> torch.Tensor:
    """[steps + 1, rows, N]."""
    canvas = Canvas(torch.full((rows, 1 + length), MASK), None, 1, length)
    seen = [canvas.response == MASK]
    sampler(
        flat, canvas, WORDS, noise(rows), temperature=0,
        observe=lambda step, of, now: seen.append(now == MASK), **options,
    )  # fmt: skip
    return torch.stack(seen)
