"""Pictures with captions: to learn to draw from, and prompts for rewards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from maskgrpo_cli.domains.pictures import open_picture
from maskgrpo_cli.tasks.base import Built, Row
from maskgrpo_cli.tasks.picture_prompts import uncounted
from maskgrpo_cli.tasks.pictures.task import PictureTask
from maskgrpo_cli.types import Problem

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class CaptionsTask(PictureTask):
    """A picture and its caption; a row with a list of captions stands for a problem each."""

    modality: str = "image"

    def spread(self, values: Row) -> list[Row]:
        """A row for each caption."""
        said = values["caption"]
        return [{**values, "caption": one} for one in (said if isinstance(said, list) else [said])]

    def picture(self, problem: Problem, index: int = 0, side: int | None = None) -> Image.Image:
        """The picture of a problem, as large as it lies there whatever `index` and `side`.

        Raises:
            UserError: it cannot be opened; see `maskgrpo_cli.domains.pictures.open_picture`.
        """
        return open_picture(problem.picture)

    def has_picture(self, problem: Problem) -> bool:
        """Whether there is a picture to learn from."""
        return getattr(problem, "picture", None) is not None

    def picture_key(self, problem: Problem, index: int = 0) -> str:
        """What tells the picture from every other, and from itself once it has changed; it is not opened."""
        return problem.picture.identity()


def _build(row: Row) -> Built:
    if isinstance(row["caption"], Mapping):
        raise ValueError("a caption is text")
    return str(row["caption"]).strip(), {}, None


CAPTIONS = CaptionsTask(
    name="captions",
    rewards={"clip": 1.0},
    needed={"caption": ("text", "prompt", "txt", "Caption", "Prompt", "TEXT")},
    build=_build,
    verdict=uncounted,
    judges=False,
    others=True,
    unpack=lambda question, ground_truth: {"caption": question},
)
