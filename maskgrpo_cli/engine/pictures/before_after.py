"""What training changed, to look at: pictures of the same prompts with the same draws, before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from maskgrpo_cli.engine.judging import Judged
from maskgrpo_cli.engine.pictures.folder import write
from maskgrpo_cli.engine.pictures.grid import Cell, Section, sheet
from maskgrpo_cli.engine.pictures.metadata import png

SHOWN = 8  # prompts, the first of the test


def before_after(
    before: Mapping[float, Sequence[Judged]], after: Mapping[float, Sequence[Judged]], folder: Path, path: Path
) -> Path | None:
    """The sheet of the first temperature, written to `path`; None where either side has no pictures.

    Args:
        before, after: results by temperature, whose completions are files below `folder`.
    """
    temperature = next(iter(after), None)
    then = {item.id: item for item in before.get(temperature, ())}
    pairs = [(then[item.id], item) for item in after.get(temperature, ()) if item.id in then][:SHOWN]
    if not pairs or not all((folder / item.completion).is_file() for pair in pairs for item in pair):
        return None
    sections = [
        Section(one.prompt, [[_cell(folder, "before", one), _cell(folder, "after", other)]]) for one, other in pairs
    ]
    footer = f"the same prompts, seed and sampler at T={temperature:g}; below each its score or reward"
    return write(path, png(sheet(sections, footer)))


def _cell(folder: Path, when: str, item: Judged) -> Cell:
    with Image.open(folder / item.completion) as picture:
        value = item.score if item.counted()[1] else item.reward  # some tasks only have rewards
        return Cell(picture.convert("RGB"), when if value is None else f"{when} · {value:.2f}")
