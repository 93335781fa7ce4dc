"""Questions about pictures: their pictures' codes, computed once and kept on disk as those of answers are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from maskgrpo_cli.engine.codes import cached_answers, code_folder
from maskgrpo_cli.engine.policy import Policy
from maskgrpo_cli.engine.session import Session
from maskgrpo_cli.types import Modality, Problem

PICTURE = "picture"  # of a turn


def with_codes(
    session: Session, policy: Policy, modality: Modality, problems: Sequence[Problem]
) -> list[Problem]:
    """The problems with codes [N] in place of the pictures that they ask about, where the modality reads codes.

    Raises:
        UserError: pictures cannot be opened; names the first of them.
    """
    tokens = getattr(modality, "picture_tokens", None)
    shown = [_last(problem) for problem in problems]
    asked = [number for number, picture in enumerate(shown) if picture is not None]
    if tokens is None or not asked:
        return [*problems]
    pictures, known = policy.modalities("image"), [shown[number] for number in asked]

    def key(place: int) -> str | None:
        return known[place].identity() if hasattr(known[place], "identity") else None

    def fetch(place: int):
        return known[place]() if callable(known[place]) else known[place]

    ids = cached_answers(
        pictures, key, len(known), fetch, tokens, code_folder(session.config.sft.code_cache),
        accelerator=session.accelerator, warn=session.reporter.warn, progress=session.progress("encode"),
    )  # fmt: skip
    codes = dict(zip(asked, ids.long() - pictures.vocabulary.first, strict=True))
    return [
        _with(problem, codes[number]) if number in codes else problem for number, problem in enumerate(problems)
    ]


def _last(problem: Problem):
    """The picture that is asked about; None where there is none."""
    return next((turn[PICTURE] for turn in reversed(problem.messages) if turn.get(PICTURE) is not None), None)


def _with(problem: Problem, codes) -> Problem:
    turns = [{**turn, PICTURE: codes} if turn.get(PICTURE) is not None else turn for turn in problem.messages]
    return replace(problem, messages=tuple(turns))
