"""From prompts to completions: a sampler run over batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from maskgrpo_cli import registry
from maskgrpo_cli.config.schema import SamplerConfig
from maskgrpo_cli.engine.arguments import taken
from maskgrpo_cli.engine.policy import Policy
from maskgrpo_cli.errors import UserError
from maskgrpo_cli.noise import Noise
from maskgrpo_cli.types import Observe

Progress = Callable[[int, int], None]
OPTIONS = {
    "steps", "block_length", "temperature", "schedule", "remask_temperature", "threshold", "cache", "stop_at_end",
}  # fmt: skip


def sampler_options(settings: SamplerConfig, sampler: Callable | None = None) -> tuple[Callable, dict]:
    """The sampler, by default the one that is named, and those of the settings that it takes."""
    sampler = sampler or registry.resolve("sampler", settings.name)
    options = taken(sampler, settings.model_dump(include=OPTIONS))
    if settings.cache != "none" and "cache" not in options:
        raise UserError(f"sampler.cache = {settings.cache}: sampler '{settings.name}' has no cache; write none")
    return sampler, options


def check_length(columns: int, policy: Policy) -> None:
    """Raises UserError where prompt and completion together are longer than the model can take."""
    longest = policy.plain.config.max_sequence_length
    if columns > longest:
        raise UserError(
            f"prompt and completion are {columns} tokens long; the model takes max_sequence_length = {longest}\n"
            "  shorten the prompt (task.max_prompt_length), or ask for fewer tokens with --length"
        )


def generate(
    policy: Policy,
    prompts: Sequence[Sequence[int]],
    settings: SamplerConfig,
    noise: Noise,
    progress: Progress | None = None,
    observe: Observe | None = None,
    sampler: Callable | None = None,
    made: Callable[[range, Tensor], None] | None = None,
) -> Tensor:
    """Complete prompts (token ids), `batch_size` at a time.

    Args:
        noise: the draws of these prompts, one sample each; a completion depends on its own draws only.
        progress: called with (denoising steps done, all of them) over all batches.
        observe: called by the sampler after each step of each batch.
        sampler: one that is in no table, instead of the one that the settings name.
        made: called with the places of a batch's prompts and its responses, before the next batch is begun.

    Returns:
        [N, L] responses on the CPU.
    """
    sampler, options = sampler_options(settings, sampler)
    denoise = policy.denoiser(settings.guidance)
    batches = range(0, len(prompts), settings.batch_size)
    responses = []
    for number, start in enumerate(batches):
        rows = range(start, min(start + settings.batch_size, len(prompts)))
        canvas = policy.modality.canvas([prompts[row] for row in rows], settings.length)
        check_length(canvas.ids.shape[1], policy)

        def step(done: int, steps: int, response: Tensor, number: int = number) -> None:
            if progress:
                progress(number * steps + done + 1, len(batches) * steps)
            if observe:
                observe(done, steps, response)

        if not settings.guidance:
            canvas.unconditional = None
        responses.append(
            sampler(
                denoise,
                canvas.to(policy.accelerator.device),
                policy.modality.vocabulary,
                noise.rows(rows),
                observe=step if progress or observe else None,
                **options,
            ).cpu()
        )
        if made:
            made(rows, responses[-1])
    return torch.cat(responses) if responses else torch.zeros(0, settings.length, dtype=torch.int64)
