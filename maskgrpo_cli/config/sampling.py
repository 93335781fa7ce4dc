"""The section of the schema on what `maskgrpo sample` does otherwise than rollouts."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from pydantic import Field

from maskgrpo_cli.config.section import Count, NonNegative, Section

if TYPE_CHECKING:
    from maskgrpo_cli.config.schema import Config


class SamplingConfig(Section):
    """How `maskgrpo sample` draws, where one wants the best rather than what can be learnt from.

    Keys left out are taken from `sampler`.
    """

    steps: Count | None = Field(None, description="sample: denoising steps.")
    temperature: NonNegative | None = Field(None, description="sample: 0 takes the most likely token.")
    guidance: NonNegative | None = Field(None, description="sample: weight of classifier-free guidance.")


def for_sample(config: Config, said: Collection[str]) -> Config:
    """The config with `sampling` laid over `sampler`, except for the keys in `said`, such as `sampler.steps`."""
    given = config.sampling.model_dump(exclude_none=True)
    changed = {key: value for key, value in given.items() if not {"sampler", f"sampler.{key}"} & set(said)}
    return config.model_copy(update={"sampler": config.sampler.model_copy(update=changed)})
