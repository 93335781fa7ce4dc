"""What is left of pictures after an image tokenizer's round trip, pictures to codes and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image

from maskgrpo_cli.engine.reporting.statistics import wilson
from maskgrpo_cli.modalities.image import ImageTokenizer, as_bytes, as_pixels
from maskgrpo_cli.types import Problem, Task

PICTURES = "reconstruction.png"
BATCH = 50
COLUMNS, ROWS, SCALE, GAP = 8, 4, 4, 4  # of the picture that compares: pairs, pairs, and pixels


@torch.no_grad()
def measure(
    tokenizer: ImageTokenizer, task: Task, problems: Sequence[Problem], size: int, progress: Callable[[int, int], None]
) -> tuple[np.ndarray, np.ndarray, dict]:
    """Draw a picture of each problem, take it through the tokenizer, and judge what comes back.

    Args:
        size: pixels of a picture's side.
        progress: told how many of how many pictures are done.

    Returns:
        The pictures before and after, [B, size, size, 3] uint8; and the part of a summary about them: `score` is the
        mean verdict, `share_right` the share of pictures that are entirely right, `error` the mean absolute error of
        values in [0, 255], `codes_used` how many different codes there are and `code_bits` their entropy.
    """
    originals, rebuilt, codes = [], [], []
    for start in range(0, len(problems), BATCH):
        part = problems[start : start + BATCH]
        images = torch.stack([as_pixels(task.picture(problem, side=size), (size, size)) for problem in part])
        found = tokenizer.encode(images)
        side = size // tokenizer.factor
        originals.append(as_bytes(images))
        rebuilt.append(as_bytes(tokenizer.decode(found, (side, side))))
        codes.append(found.flatten().cpu())
        progress(min(start + BATCH, len(problems)), len(problems))
    before, after = (torch.cat(parts).numpy() for parts in (originals, rebuilt))
    summary = {
        **_judged(task, problems, before, after),
        **_usage(torch.cat(codes), tokenizer.codebook_size),
        "error": float(np.abs(after.astype(np.float64) - before).mean()),
    }
    return before, after, summary


def _judged(task: Task, problems: Sequence[Problem], before: np.ndarray, after: np.ndarray) -> dict:
    """The verdicts on the pictures as drawn and as they come back."""
    verdicts = [
        [task.judge(picture, problem) for picture, problem in zip(pictures, problems, strict=True)]
        for pictures in (before, after)
    ]
    scores = [float(np.mean([verdict.score for verdict in part])) for part in verdicts]
    counted = []
    for part in verdicts:
        right = sum(verdict.correct for verdict in part)
        counted.append({"accuracy": right / len(part), "correct": right, "total": len(part),
                        "interval": wilson(right, len(part))})
    return {
        "evaluations": [{"name": "entirely right after the round trip", "before": counted[0], "after": counted[1]}],
        "rewards": [{"name": "mean score after the round trip", "before": scores[0], "after": scores[1]}],
        "score": scores[1],
        "share_right": counted[1]["accuracy"],
    }


def _usage(codes: torch.Tensor, size: int) -> dict:
    share = torch.bincount(codes, minlength=size).double() / len(codes)
    used = share[share > 0]
    return {"codes_used": len(used), "code_bits": float(-(used * used.log2()).sum())}


def compare(before: np.ndarray, after: np.ndarray) -> Image.Image:
    """The first pictures in pairs, as drawn and as they come back, enlarged; [B, H, W, 3] uint8 each."""
    most = COLUMNS * ROWS
    pairs = [np.concatenate(pair, axis=1) for pair in zip(before[:most], after[:most], strict=True)]
    height, width = pairs[0].shape[0] * SCALE, pairs[0].shape[1] * SCALE
    rows = -(-len(pairs) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (width + GAP) - GAP, rows * (height + GAP) - GAP), "white")
    for number, pair in enumerate(pairs):
        place = (number % COLUMNS * (width + GAP), number // COLUMNS * (height + GAP))
        sheet.paste(Image.fromarray(pair).resize((width, height), Image.Resampling.NEAREST), place)
    return sheet
