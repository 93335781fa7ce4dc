"""Writing the pictures of an evaluation where a benchmark's own scorer looks for them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from PIL import Image

from maskgrpo_cli.engine.judging import Judged
from maskgrpo_cli.engine.pictures.layouts import Page
from maskgrpo_cli.errors import RunFailed, UserError

FORMATS = {".png": "PNG", ".jpg": "JPEG"}  # JPEG at Pillow's own quality, as the published scripts save it


class LaidOut:
    """The files of a layout in a run directory, each written as soon as its last picture is there.

    Args:
        run: where the pictures lie, by the names that results give them.
        folder: the layout's folder.
        pages: the pages of each problem by its id; see `maskgrpo_cli.engine.pictures.layouts`.
    """

    def __init__(self, run: Path, folder: Path, pages: Mapping[str, Sequence[Page]]):
        self.run, self.folder, self.pages = run, folder, pages
        self._pictures: dict[tuple[str, int], str] = {}

    def add(self, batch: Sequence[Judged], anew: bool = True) -> None:
        """Take in results whose pictures were saved, in the order of their samples.

        Args:
            anew: False leaves the files as they are that lie there already.

        Raises:
            UserError: a picture that was saved earlier is gone.
            RunFailed: a file cannot be written.
        """
        for item in batch:
            self._pictures[item.id, item.sample] = item.completion
            for page in self.pages[item.id]:
                path = self.folder / page.path
                due = item.sample == max(page.samples, default=0)
                if due and (anew or not path.is_file()):
                    self._write(page, path, item.id)

    def _write(self, page: Page, path: Path, problem: str) -> None:
        partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        sources = [self.run / self._pictures[problem, sample] for sample in page.samples]
        for source in sources:
            if not source.is_file():
                raise UserError(f"{source} is gone; evaluate again in another directory")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if page.text is not None:
                partial.write_text(page.text, encoding="utf-8")
            elif len(sources) == 1 and sources[0].suffix == path.suffix:
                shutil.copyfile(sources[0], partial)
            else:
                grid([*_opened(sources)], page.columns).save(partial, FORMATS[path.suffix])
            os.replace(partial, path)
        except OSError as error:
            raise RunFailed(f"{path} cannot be written: {error.strerror or error}") from error
        finally:
            partial.unlink(missing_ok=True)


def _opened(sources: Sequence[Path]) -> Iterator[Image.Image]:
    for source in sources:
        with Image.open(source) as picture:
            yield picture.convert("RGB")


def grid(pictures: Sequence[Image.Image], columns: int) -> Image.Image:
    """Pictures of one size in rows, edge to edge and without a margin; what is left of the last row is black."""
    width, height = pictures[0].size
    paper = Image.new("RGB", (columns * width, -(-len(pictures) // columns) * height))
    for place, picture in enumerate(pictures):
        row, column = divmod(place, columns)
        paper.paste(picture, (column * width, row * height))
    return paper
