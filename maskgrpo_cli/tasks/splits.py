"""Train, validation and test of sources that do not have all three: training rows that serve as validation."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from maskgrpo_cli.errors import UserError

VALIDATION_SHARE = 0.05  # of a training set whose source has no validation split


def chosen_split(split: str, have: Sequence[str], place: str) -> str:
    """The split of the source that a split's rows are in: where validation is missing, train lends some.

    Raises:
        UserError: the source has neither.
    """
    found = "train" if split == "validation" and split not in have else split
    if found not in have:
        raise UserError(f"{place} has no split '{split}'; it has: {', '.join(have)}")
    return found


def is_in_split(row: Mapping[str, Any], split: str, have: Sequence[str]) -> bool:
    """Whether a row of the `chosen_split` is of `split`: what train lends, it leaves out itself.

    A twentieth is lent, chosen by a hash of the content; equal rows always fall on the same side.
    """
    if "validation" in have or split not in ("train", "validation"):
        return True
    content = json.dumps(row, sort_keys=True, ensure_ascii=False, default=str).encode()
    place = int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big") / 2**64
    return (place < VALIDATION_SHARE) == (split == "validation")
