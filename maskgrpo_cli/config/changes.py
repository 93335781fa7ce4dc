"""What differs between the recipe that a checkpoint was made with and the one it is to go on with."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from maskgrpo_cli.config.mistakes import MISSING, show
from maskgrpo_cli.config.schema import Config

# Where things are written, what is said and how much is kept: none of these keys enters a draw, a loss, a gradient
# or an accuracy. `device` does not either, though another device rounds differently. How the work is cut into batches
# is not among them: a sampler that compares probabilities may turn on the last digit.
HARMLESS = {
    "description", "next_command", "device", "offline", "tracker", "model.merge", "evaluation.keep",
    "grpo.save_every", "grpo.keep_checkpoints", "grpo.log_completions", "sft.save_every", "sft.keep_checkpoints",
    "sft.code_cache", "sandbox.backend", "sandbox.workers", "sandbox.unsafe_local",
}
# Where the servers of a reward are, and how patiently they are asked: what they answer is the same.
SERVERS = re.compile(
    r"task\.reward_settings\.remote(\..+)?\."
    r"(urls|when_away|token_env|ca_file|concurrency|connect_timeout|read_timeout|deadline|rest)"
)
# What the saved tensors themselves look like, and which steps share a rollout.
FIXED = {
    "model.lora.rank": "the adapter has this shape",
    "model.lora.targets": "the adapter has this shape",
    "model.lora": "an adapter was trained then, or is to be now",
    "model.adapter": "an adapter was trained then, or is to be now",
    "sft.from_scratch": "the model has this shape",
    "sft.optimizer.name": "the running means are those of another optimiser",
    "grpo.optimizer.name": "the running means are those of another optimiser",
    "grpo.updates": "it says which steps share a rollout",
}
# With these a rollout that was drawn and scored stays what it was; with any other it is drawn again.
KEEP_ROLLOUT = (
    "evaluation.", "grpo.optimizer.", "grpo.steps", "grpo.evaluate_every", "grpo.micro_batch_size", "grpo.logit_chunk",
)
# With these an accuracy or reward of the curve cannot be compared with those before.
MEASURE = ("seed", "task.", "sampler.", "evaluation.", "sandbox.")
KEEP_MEASURE = {"evaluation.every", "evaluation.patience", "evaluation.final_limit"}
_OTHER = {"grpo": "sft", "sft": "grpo"}  # the section that a command does not read


@dataclass(frozen=True)
class Change:
    """A key whose value is another now."""

    key: str
    then: object
    now: object

    @property
    def harmless(self) -> bool:
        """Whether the run goes on exactly as it would have."""
        return self.key in HARMLESS or SERVERS.fullmatch(self.key) is not None

    @property
    def keeps_rollout(self) -> bool:
        """Whether a rollout that is in use can be used up."""
        return self.harmless or self.key.startswith(KEEP_ROLLOUT)

    @property
    def keeps_measure(self) -> bool:
        """Whether evaluations can be compared with those before."""
        return self.harmless or self.key in KEEP_MEASURE or not self.key.startswith(MEASURE)

    @property
    def impossible(self) -> str | None:
        """Why a checkpoint cannot be taken up with this change; None where it can."""
        if self.key == "model.adapter" and None not in (self.then, self.now):
            return None  # another start of an adapter that the checkpoint replaces
        return FIXED.get("sft.from_scratch" if self.key.startswith("sft.from_scratch.") else self.key)


def changes(then: Mapping, now: Config, command: str) -> list[Change]:
    """The keys in which a recipe that was written down (`model_dump(mode="json")`) differs from `now`, for `command`.

    Keys that the package has come to know since have their defaults. Where the run lies is no matter.
    """
    try:
        then = Config.model_validate(then).model_dump(mode="json")
    except ValidationError:  # of another version: its keys are compared as they are
        then = dict(then)
    unread = f"{_OTHER[command]}."
    found = _differences(then, now.model_dump(mode="json"), "")
    return [change for change in found if change.key != "output_dir" and not change.key.startswith(unread)]


def _differences(then: Mapping, now: Mapping, prefix: str) -> Iterator[Change]:
    for key in dict.fromkeys([*then, *now]):
        a, b = then.get(key, MISSING), now.get(key, MISSING)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            yield from _differences(a, b, f"{prefix}{key}.")
        elif a != b:
            yield Change(f"{prefix}{key}", a, b)


def table(found: list[Change]) -> str:
    """The changes in columns: key, then, now."""
    rows = [("key", "then", "now")]
    rows += [(change.key, *("-" if v is MISSING else show(v) for v in (change.then, change.now))) for change in found]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return "\n".join(f"  {key:{widths[0]}}  {then:{widths[1]}}  {now}" for key, then, now in rows)
