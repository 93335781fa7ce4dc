"""The embedded task of pictures: coloured shapes as in GenEval's categories, judged without any weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from maskgrpo_cli.domains.arithmetic import SPLITS, Draws
from maskgrpo_cli.domains.shapes.checking import check, describe_seen, reasons, share
from maskgrpo_cli.domains.shapes.drawing import SIDE, Placed, bits, draw, layout
from maskgrpo_cli.domains.shapes.reading import parse
from maskgrpo_cli.domains.shapes.seeing import look
from maskgrpo_cli.domains.shapes.splits import CATEGORIES, asked, scene_for
from maskgrpo_cli.domains.shapes.words import describe, in_words, vocabulary
from maskgrpo_cli.errors import UserError
from maskgrpo_cli.tasks.base import TableTask
from maskgrpo_cli.types import DEFAULT_PROTOCOL, Judge, Problem, Verdict

if TYPE_CHECKING:
    import numpy as np

SIZES = {"train": 20_000, "validation": 512, "test": 512}
FIRST = {"train": 0, "validation": 0, "test": 1024}  # the earlier test problems were looked at while choosing settings
CELLS = 4  # objects lie on a lattice of 4x4, as the codes of the bundled tokenizer do
DRAWING = 2  # to be raised with any change in how scenes are drawn: codes of their pictures are kept on disk


@dataclass(frozen=True)
class ShapesTask:
    """Generated prompts, the categories in turn; the splits draw disjoint scenes (see `domains.shapes.splits`).

    A problem's `target` describes one scene that answers its prompt, with all its colours; `picture` draws it.
    """

    name: str
    rewards: Mapping[str, float]
    modality: str = "image"  # what its answers are

    def load(
        self, data: str | None, split: str, *, columns: Mapping[str, str] | None = None,
        limit: int | None = None, offline: bool = False, seed: int = 0,
    ) -> list[Problem]:
        """The first `limit` problems of a split (default: `SIZES`), the same for every seed; or a file's.

        A file needs the column prompt. Raises UserError for an unknown split and a prompt that is not understood.
        """
        if data is not None:
            return self._table().load(data, split, columns=columns, limit=limit, offline=offline, seed=seed)
        if split not in SPLITS:
            raise UserError(f"the task {self.name} has no split '{split}'; it has: {', '.join(SPLITS)}")
        count = SIZES[split] if limit is None else limit
        return [self.problem(split, FIRST[split] + index) for index in range(count)]

    def problem(self, split: str, index: int) -> Problem:
        """Problem number `index` of a split: a pure function of both, without end."""
        draws = Draws.of("shapes", split, index)
        category = CATEGORIES[index % len(CATEGORIES)]
        scene = scene_for(split, category, draws)
        wanted = asked(category, scene, draws)
        turn = {"role": "user", "content": describe(wanted, draws)}
        columns = {"category": category, "statements": in_words(wanted)}
        return Problem(f"{self.name}-{split}-{index}", (turn,), columns, describe(scene))

    def picture(self, problem: Problem, index: int = 0, side: int = SIDE) -> np.ndarray:
        """Picture number `index` [side, side, 3] uint8 that answers a problem: a pure function of the arguments."""
        return draw(self._layout(problem, index), side)

    def picture_bits(self, problem: Problem, index: int = 0) -> np.ndarray:
        """Signs [6, CELLS, CELLS] that say what each cell of `picture` shows: something, its shape, its colour."""
        return bits(self._layout(problem, index), CELLS)

    def picture_key(self, problem: Problem, index: int = 0) -> str:
        """What tells `picture(problem, index)` from every other picture, without drawing it."""
        scene = problem.prompt if problem.target is None else problem.target
        return f"{self.name} {DRAWING} {problem.id} {index} {scene}"

    @property
    def protocols(self) -> dict[str, Judge]:
        """Its own way of judging alone: a picture is right when all statements of its prompt hold."""
        return {DEFAULT_PROTOCOL: lambda picture, columns: judged([columns["prompt"]], [picture])[0]}

    def judge(self, completion: Any, problem: Problem, protocol: str = DEFAULT_PROTOCOL) -> Verdict:
        """The verdict on a picture: the share of statements that hold, and why the others do not.

        Raises ValueError for what is no picture; see `domains.shapes.pixels.as_array`.
        """
        return self.protocols[protocol](completion, {**problem.columns, "prompt": problem.prompt})

    def restore(self, question: str, ground_truth: Any, key: str) -> Problem:
        """The problem of a prompt made elsewhere; raises ValueError where it is not understood."""
        message, columns, _ = _from_row({"prompt": question})
        return Problem(f"{self.name}-{key}", ({"role": "user", "content": message},), columns)

    def style(self, completion: Any) -> str | None:
        """None: pictures have no styles."""
        return None

    def vocabulary(self) -> list[str]:
        """The words and signs that prompts are made of; a tokenizer is built from them."""
        return vocabulary()

    def _layout(self, problem: Problem, index: int) -> list[Placed]:
        scene = parse(problem.prompt if problem.target is None else problem.target)
        return layout(scene, Draws.of("picture", problem.id, index), CELLS)

    def _table(self) -> TableTask:
        return TableTask(self.name, self.rewards, {"prompt": ()}, _from_row, self.protocols[DEFAULT_PROTOCOL])


def judged(prompts: Sequence[str], pictures: Sequence[Any]) -> list[Verdict]:
    """The verdicts on pictures of prompts, many at once."""
    verdicts = []
    for prompt, seen in zip(prompts, look(pictures), strict=True):
        checked = check(parse(prompt), seen)
        verdicts.append(Verdict(share(checked), describe_seen(seen), reasons(checked)))
    return verdicts


def _from_row(row: Mapping[str, Any]) -> tuple[str, dict[str, Any], None]:
    prompt = str(row["prompt"])
    return prompt, {"category": None, "statements": in_words(parse(prompt))}, None


SHAPES = ShapesTask("shapes", {"shapes": 1.0})
