"""The published benchmarks of pictures: their prompts, and the layout in which their own scorers take the answers.

A prompt of them is judged by detectors and judges that are no part of this program, so that nothing is right or wrong
here; an evaluation measures the rewards that are asked for and lays the pictures out for the scorer.
"""

from __future__ import annotations

from dataclasses import dataclass

from maskgrpo_cli.tasks.base import Built, Row, TableTask
from maskgrpo_cli.tasks.picture_prompts import uncounted


@dataclass(frozen=True)
class PictureBenchmark(TableTask):
    """Prompts with what their benchmark knows of them, from its own file."""

    layout: str | None = None  # the registered name of the layout of its files


def _build(row: Row) -> Built:
    prompt = str(row["prompt"]).strip()
    if not prompt:
        raise ValueError("the prompt is empty")
    return prompt, {name: value for name, value in row.items() if name != "prompt"}, None


def _benchmark(name: str, *needed: str) -> PictureBenchmark:
    return PictureBenchmark(
        name=name,
        rewards={},
        needed={column: () for column in (*needed, "prompt")},
        build=_build,
        verdict=uncounted,
        others=True,
        modality="image",
        judges=False,
        layout=name,
    )


GENEVAL = _benchmark("geneval", "tag", "include")  # Ghosh et al. 2023, arXiv 2310.11513
DPG = _benchmark("dpg", "item_id")  # DPG-Bench of ELLA, Hu et al. 2024, arXiv 2403.05135
HPSV2 = _benchmark("hpsv2", "tag")  # Wu et al. 2023, arXiv 2306.09341
IMAGEREWARD = _benchmark("imagereward", "id")  # Xu et al. 2023, arXiv 2304.05977
