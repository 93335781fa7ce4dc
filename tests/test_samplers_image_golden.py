"""The image samplers play golden traces again, step by step, wherever the released ones did as they should."""

import pytest
import torch
from image_traces import (
    ALMOST_ONE,
    CODES,
    EDITS,
    FIRST,
    MASK,
    START,
    TABLE,
    TOKENS,
    TRACES,
    WORDS,
    Replay,
    denoiser,
    drawing,
    flat,
    probabilities,
    traced_canvas,
)  # fmt: skip
from parity import GivenNoise, noise

from maskgrpo_cli.samplers import schedules
from maskgrpo_cli.samplers.edit import MODES, edit, flow
from maskgrpo_cli.samplers.maskgit import maskgit
from maskgrpo_cli.samplers.planned import emerge
from maskgrpo_cli.types import Canvas

RUNS = {run["key"]: run for run in TABLE["runs"]}
EMERGE = [key for key, run in RUNS.items() if run["sampler"] == "emerge"]
MASKGIT = [key for key, run in RUNS.items() if run["sampler"] == "maskgit"]
EDIT = {run["key"]: run for run in TABLE["edit_runs"]}
STATISTICS = [case for case in TABLE["statistics"] if case["sampler"] == "emerge_image"]


def canvases(traces: dict, key: str, name: str = "canvas_before_step") -> torch.Tensor:
    """[passes + 1, 2, N]: before each pass, and the result."""
    return torch.cat([traces[f"{key}.{name}"], traces[f"{key}.final_codes"][None] + FIRST])


def observed(sampler, canvas: Canvas, draws, **options) -> torch.Tensor:
    """[steps, 2, N] after each step."""
    seen = []
    result = sampler(
        canvas=canvas, vocabulary=WORDS, noise=draws, temperature=1.0,
        observe=lambda step, steps, now: seen.append((step, steps, now.clone())), **options,
    )  # fmt: skip
    assert [(step, steps) for step, steps, _ in seen] == [(step, len(seen)) for step in range(len(seen))]
    assert torch.equal(seen[-1][2], result)
    return torch.stack([now for _, _, now in seen])


@pytest.mark.parametrize("key", [key for key in EMERGE if f"{key}.probs_steps" in TRACES])
def test_emerge_draws_from_the_golden_distributions(key):
    run, masks = RUNS[key], canvases(TRACES, key)
    stay = schedules.stay_probabilities(schedules.schedule(run["schedule"]), run["T"])
    for step in range(3):
        outcome = TRACES[f"{key}.probs_steps"][step]
        p = probabilities(TRACES["cond_ids"], masks[step], run["guidance_scale"])
        masked = masks[step] == MASK
        torch.testing.assert_close(outcome[..., CODES][masked], stay[step].expand(masked.sum()), atol=1e-6, rtol=0)
        torch.testing.assert_close(outcome[..., :CODES][masked], (p * (1 - stay[step]))[masked], atol=1e-5, rtol=0)
    last = probabilities(TRACES["cond_ids"], masks[-2], run["guidance_scale"])
    torch.testing.assert_close(TRACES[f"{key}.probs_last"], last, atol=1e-4, rtol=0)


@pytest.mark.parametrize("key", EMERGE)
def test_emerge_plays_the_golden_trace(key):
    run, trace = RUNS[key], canvases(TRACES, key)
    steps, guidance = run["T"], run["guidance_scale"]
    golden = TRACES.get(f"{key}.probs_steps")

    def likely(step, image):
        if golden is not None and step < len(golden):
            given = golden[step][..., :CODES]
            return given / given.sum(-1, keepdim=True)
        if golden is not None and step == steps - 1:
            return TRACES[f"{key}.probs_last"]
        return probabilities(TRACES["cond_ids"], image, guidance)

    draws = Replay(trace, steps, 0, likely).noise()
    after = observed(
        emerge, traced_canvas(TRACES["cond_ids"]), draws,
        denoise=denoiser(guidance), steps=steps, block_length=TOKENS, schedule=run["schedule"],
    )  # fmt: skip
    assert torch.equal(after, trace[1:])


@pytest.mark.parametrize("case", STATISTICS, ids=lambda case: f"{case['schedule']}_{case['T']}")
def test_emerge_masks_as_many_as_the_golden_samples(case):
    """Both are samples of one binomial; ours against its mean and spread, theirs against ours."""
    rows, length, steps = 1536, case["N"], case["T"]
    ids = torch.full((rows, 1 + length), MASK)
    counts = [torch.full((rows,), float(length))]
    result = emerge(
        flat, Canvas(ids, None, 1, length), WORDS, noise(rows), steps=steps, block_length=length, temperature=0,
        schedule=case["schedule"], observe=lambda step, of, now: counts.append((now == MASK).sum(-1).float()),
    )  # fmt: skip
    assert (result != MASK).all() and case["masked_in_output"] == 0
    for step in range(steps):
        mean, std = case["expected_mean"][step], case["expected_std"][step]
        error = 5 * std / rows**0.5 + 1e-4
        assert counts[step].mean().item() == pytest.approx(mean, abs=error)
        assert counts[step].std().item() == pytest.approx(std, rel=5 / (2 * rows) ** 0.5)
        theirs = 5 * std / case["num_samples"] ** 0.5 + 1e-4
        assert counts[step].mean().item() == pytest.approx(case["mean_masked_before_step"][step], abs=error + theirs)
        assert counts[step].std().item() == pytest.approx(case["std_masked_before_step"][step], rel=0.3)


@pytest.mark.parametrize("key", MASKGIT)
def test_maskgit_plays_the_golden_trace(key):
    """The golden Gumbel noise, scaled from the released temperatures to linear ones (fault 15)."""
    run, trace = RUNS[key], canvases(TRACES, key)
    steps, guidance = run["T"], run["guidance_scale"]
    tokens, order = torch.full((2, steps, TOKENS), 0.5), torch.full((2, steps, TOKENS), 0.5)
    for step, (before, after) in enumerate(zip(trace, trace[1:])):
        p = probabilities(TRACES["cond_ids"], before, guidance)
        masked, revealed = before == MASK, (before == MASK) & (after != MASK)
        selected = TRACES[f"{key}.selected_probs"][step]
        code = (p - selected[..., None]).abs().argmin(-1)
        code[revealed] = (after - FIRST)[revealed]
        ours = p.gather(-1, code[..., None]).squeeze(-1)
        torch.testing.assert_close(ours[masked], selected[masked], atol=1e-4, rtol=1e-3)
        tokens[:, step] = drawing(p, code)
        linear = 1 - (step + 1) / steps
        if linear:
            gumbel = -(-TRACES[f"{key}.uniform"][step].log()).log()
            order[:, step] = (-(-gumbel * TRACES[f"{key}.topk_temperature"][step] / linear).exp()).exp()
        if step < steps - 1:
            assert torch.equal(after == MASK, TRACES[f"{key}.masking"][step])
            assert (TRACES[f"{key}.mask_len"][step] == (after == MASK).sum(-1, keepdim=True)).all()
    after = observed(
        maskgit, traced_canvas(TRACES["cond_ids"]), GivenNoise(TOKEN=tokens, CONFIDENCE=order),
        denoise=denoiser(guidance), steps=steps, schedule=run["schedule"], remask_temperature=run["temperature"],
    )  # fmt: skip
    assert torch.equal(after, trace[1:])


@pytest.mark.parametrize("key", [key for key in EDIT if EDIT[key]["mode"] == "flow_remask"])
def test_flow_is_the_golden_one(key):
    run = EDIT[key]
    given = traced_canvas(EDITS[f"{key}.input_ids"])
    assert (given.response != MASK).all(), "the model is shown the whole image"
    ours = flow(denoiser(run["guidance_scale"]), given, WORDS)
    torch.testing.assert_close(ours, EDITS[f"{key}.flow_out"], atol=1e-4, rtol=0)


@pytest.mark.parametrize("key", EDIT)
def test_edits_play_the_golden_traces(key):
    """All of them but for what prob-remask does to tokens that it does not hide (fault 14)."""
    run, trace = EDIT[key], canvases(EDITS, key, "canvas_before_model_call")
    mode, steps, first = run["mode"].replace("_", "-"), run["T"], run["repair_from"]
    ids, guidance = EDITS[f"{key}.input_ids"], run["guidance_scale"]
    unmasked = EDITS[f"{key}.unmasked_at_loop_start"]
    loop = trace[-(steps - first + 1) :]
    assert mode in MODES and torch.equal(loop[0] != MASK, unmasked)
    replay = Replay(loop, steps, first, lambda _, image: probabilities(ids, image, guidance))
    given = traced_canvas(ids)
    if mode == "prob-remask":  # begin where the released sampler did: its tokens, not the originals
        given.response[:] = torch.where(unmasked, loop[0], EDITS["original_codes"] + FIRST)
    draws = replay.noise(REMASK=torch.where(unmasked, ALMOST_ONE, 0.0))
    after = observed(
        edit, given, draws, denoise=denoiser(guidance), mode=mode, steps=steps, repair_from=first,
        schedule=run["schedule"],
    )  # fmt: skip
    assert torch.equal(after, loop[1:])


@pytest.mark.parametrize("key", [key for key in EDIT if EDIT[key]["mode"] == "prob_remask"])
def test_fault_14_prob_remask_keeps_the_original_of_what_it_does_not_hide(key):
    run, original = EDIT[key], EDITS["original_codes"] + FIRST
    unmasked = EDITS[f"{key}.unmasked_at_loop_start"]
    released = EDITS[f"{key}.canvas_before_model_call"][1]
    assert run["unmasked_equal_to_original"] == [0, 0] and (released != original)[unmasked].all()

    class Draws(GivenNoise):
        def uniform(self, purpose, *shape):
            return super().uniform(purpose, *shape) if purpose.name in self.draws else noise(2).uniform(purpose, *shape)

    given = traced_canvas(EDITS[f"{key}.input_ids"])
    given.ids[:, START : START + TOKENS] = original
    result = edit(
        denoiser(run["guidance_scale"]), given, WORDS, Draws(REMASK=torch.where(unmasked, ALMOST_ONE, 0.0)),
        mode="prob-remask", steps=run["T"], repair_from=run["repair_from"], schedule=run["schedule"], temperature=1.0,
    )  # fmt: skip
    assert torch.equal(result[unmasked], original[unmasked])
    assert (result != original).any()
