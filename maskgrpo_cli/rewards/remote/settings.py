"""The settings of `remote`: which there are, and what each may be."""

from __future__ import annotations

import math
import re
from typing import Any

from maskgrpo_cli.errors import UserError
from maskgrpo_cli.rewards.remote import chat
from maskgrpo_cli.rewards.remote.adapter import Adapter
from maskgrpo_cli.rewards.remote.flow_grpo import DIALECTS, FlowGrpo
from maskgrpo_cli.rewards.remote.maskgrpo import MaskGrpo

PROTOCOLS: dict[str, tuple[str, ...]] = {  # the settings that only one protocol has
    "maskgrpo": ("reward", "columns"),
    "flow-grpo": ("server", "answer", "only_strict"),
    "openai-chat": ("model", "question", "pattern", "low", "high", "max_tokens"),
}
WHEN_AWAY = ("wait", "leave-out", "stop")


def make_adapter(protocol: str, given: dict[str, Any], timeout: float) -> Adapter:
    """The adapter of a protocol with its own settings. Raises UserError."""
    for key in ("reward", "server", "answer", "model", "question", "pattern"):
        text(key, given.get(key))
    if protocol == "maskgrpo":
        columns = given.get("columns")
        if columns is not None and not (isinstance(columns, list) and all(isinstance(c, str) for c in columns)):
            raise UserError(f"columns = {columns!r}: a list of the task's columns, such as [answer]")
        return MaskGrpo(given.get("reward"), timeout, columns)
    if protocol == "flow-grpo":
        dialect = DIALECTS[one_of("server", given.get("server"), DIALECTS)]
        if "answer" in given:
            one_of("answer", given["answer"], dialect.answers)
        strict = given.get("only_strict", False)
        if not isinstance(strict, bool) or ("only_strict" in given and given["server"] != "geneval"):
            raise UserError(f"only_strict = {strict!r}: true or false, for server: geneval")
        return FlowGrpo(given["server"], given.get("answer"), strict)
    return _judge(given)


def _judge(given: dict[str, Any]) -> chat.Chat:
    if "model" not in given:
        raise UserError("model: openai-chat needs it; write the judge's name at the endpoint")
    for key in ("low", "high"):
        if key in given:
            number(key, given[key], zero=True)
    if "max_tokens" in given:
        count("max_tokens", given["max_tokens"])
    if given.get("low", 1.0) >= given.get("high", 5.0):
        raise UserError(f"low = {given.get('low', 1.0)!r}: below high = {given.get('high', 5.0)!r}")
    try:
        groups = re.compile(given.get("pattern", chat.PATTERN)).groups
    except re.error as error:
        raise UserError(f"pattern = {given['pattern']!r}: is no regular expression ({error})") from error
    if not groups:
        raise UserError(f"pattern = {given['pattern']!r}: put the score in parentheses, such as 'Score: ([0-9.]+)'")
    return chat.Chat(**given)


def fit(protocol: str, given: dict[str, Any]) -> None:
    """Raises UserError for a setting that another protocol has."""
    for key in given:
        if key not in PROTOCOLS[protocol]:
            owner = next(name for name, keys in PROTOCOLS.items() if key in keys)
            raise UserError(f"{key} = {given[key]!r}: is a setting of protocol {owner}; here it is {protocol}")


def one_of(key: str, value: Any, known: Any) -> Any:
    """The value, one of the words that are known. Raises UserError."""
    if not isinstance(value, str) or value not in known:
        given = f"{key} = {value!r}" if value is not None else key
        raise UserError(f"{given}: write one of {', '.join(known)}")
    return value


def text(key: str, value: Any) -> str | None:
    """A text that is not empty, or None. Raises UserError."""
    if value is not None and (not isinstance(value, str) or not value):
        raise UserError(f"{key} = {value!r}: text, not empty")
    return value


def count(key: str, value: Any) -> int:
    """A whole number above 0. Raises UserError."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UserError(f"{key} = {value!r}: a whole number, at least 1")
    return value


def seconds(key: str, value: Any) -> float:
    """Seconds above 0. Raises UserError."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise UserError(f"{key} = {value!r}: seconds, above 0")
    return float(value)


def number(key: str, value: Any, zero: bool = False) -> float:
    """A finite number; 0 only where `zero` says so. Raises UserError."""
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not good or not (zero or value):
        raise UserError(f"{key} = {value!r}: a number{'' if zero else ' other than 0'}")
    return float(value)
