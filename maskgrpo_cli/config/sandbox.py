"""The section of the schema on running programs that a model wrote."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from maskgrpo_cli.config.section import Count, Natural, Positive, Section


class SandboxConfig(Section):
    """Where and how long programs run, in tasks whose completions are programs."""

    backend: Literal["auto", "bubblewrap", "landlock", "docker", "e2b"] = Field(
        "auto", description="What isolates programs; auto: bubblewrap, then landlock, whichever works here."
    )
    workers: Natural = Field(0, description="Programs at once in a process; 0: its share of the processors.")
    timeout: Positive = Field(10.0, description="Wall-clock seconds for each test.")
    memory: Count = Field(512, description="MiB that a program may take.")
    unsafe_local: bool = Field(
        False, description="Run programs with your own rights, isolated from nothing. Only the option --unsafe-local "
        "sets it.",
    )
