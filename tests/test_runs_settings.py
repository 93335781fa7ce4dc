"""Every estimator, objective, advantage and reference runs, and the odd cases of prompts."""

import itertools
import math

import pytest
from conftest import LORA
from test_runs_grpo import same

from maskgrpo_cli.errors import UserError

ESTIMATORS = ["fading-out", "uniform", "d1", "coupled"]
OBJECTIVES = ["grpo", "gmpo", "gspo"]
ADVANTAGES = ["group", "pref", "center-only", "leave-one-out"]


def combinations():
    """Every estimator with every objective, and every objective with every advantage; the others are slow."""
    for (e, estimator), (o, objective), (a, advantage) in itertools.product(
            enumerate(ESTIMATORS), enumerate(OBJECTIVES), enumerate(ADVANTAGES)):
        marks = () if a == (e + o) % 4 else pytest.mark.slow
        yield pytest.param(estimator, objective, advantage, marks=marks)


@pytest.mark.parametrize(("estimator", "objective", "advantage"), list(combinations()))
def test_every_combination_learns(train, estimator, objective, advantage):
    rows = train(**{
        "grpo.estimator.name": estimator, "grpo.objective.name": objective, "grpo.advantage": advantage,
        "grpo.steps": 2, "grpo.objective.clip_high": 0.3, "grpo.optimizer.lr": 0.001}).rows()
    assert rows[0]["kl"] == 0 and rows[1]["kl"] > 0
    for row in rows:
        assert math.isfinite(row["loss"]) and row["grad_norm"] > 0 and 0 < row["mask_ratio"] <= 1
    if estimator in ("d1", "coupled"):
        assert rows[0]["mask_ratio"] == 1  # every token is scored


@pytest.mark.parametrize("span", ["completion", "sequence"])
def test_spans_of_the_curve(train, span):
    """Fault 2: over prompt and completion the curve masks far more than the ratio."""
    rows = train(**{"grpo.estimator.span": span, "grpo.estimator.min_ratio": 0.5, "sampler.length": 32,
                    "sampler.steps": 8, "grpo.updates": 4, "grpo.estimator.keep_after_end": True}).rows()
    assert (rows[0]["mask_ratio"] > 0.75) is (span == "sequence")
    assert rows[3]["mask_ratio"] > 0.99 > rows[0]["mask_ratio"]


def test_one_update_a_rollout_with_and_without_reference(train):
    """Fault 22."""
    for beta in (0.0, 0.1):
        rows = train(f"beta{beta}", **{"grpo.updates": 1, "grpo.objective.beta": beta}).rows()
        assert [row["rollout"] for row in rows] == [0, 1, 2, 3]
        assert all(row["grad_norm"] > 0 and row["clip_ratio"] == 0 for row in rows)
        assert [row["kl"] > 0 for row in rows] == ([False, True, True, True] if beta else [False] * 4)


@pytest.mark.parametrize("adapter", [{}, LORA], ids=["full", "lora"])
def test_the_reference_is_what_the_run_began_with(train, adapter):
    """The KL starts at exactly 0 (LoRA begins as the base) and grows; a refreshed reference sets it back to 0."""
    rows = train("fixed", **adapter, **{"grpo.objective.beta": 0.01, "grpo.steps": 6}).rows()
    assert rows[0]["kl"] == 0 and all(row["kl"] > 0 for row in rows[1:])
    synced = train("synced", **adapter, **{
        "grpo.objective.beta": 0.01, "grpo.steps": 6, "grpo.objective.sync_ref_steps": 2}).rows()
    assert [row["kl"] == 0 for row in synced] == [True, False] * 3
    assert [row["loss"] for row in rows[:2]] == [row["loss"] for row in synced[:2]]


def test_lora_and_full_references_agree_on_the_base(train):
    """Before anything is learnt both give the same log-probabilities: same rollouts, same loss."""
    full = train("full", **{"grpo.objective.beta": 0.1, "grpo.steps": 1}).metrics("grad_norm")
    lora = train("lora", **LORA, **{"grpo.objective.beta": 0.1, "grpo.steps": 1}).metrics("grad_norm")
    assert full[0] == pytest.approx(lora[0], abs=1e-6)


def test_a_strong_reference_holds_the_policy(train):
    free, held = (train(f"b{beta}", **{"grpo.objective.beta": beta, "grpo.steps": 8, "grpo.optimizer.lr": 0.003})
                  .rows()[-1]["kl"] for beta in (1e-6, 10.0))
    assert held < free / 2


def test_guidance_is_scored_only_when_asked(train):
    plain = train("plain", **{"sampler.guidance": 2.0})
    guided = train("guided", **{"sampler.guidance": 2.0, "grpo.score_with_guidance": True})
    first = [run.rows()[0] for run in (plain, guided)]
    assert first[0]["reward"] == first[1]["reward"] and first[0]["grad_norm"] != first[1]["grad_norm"]
    assert first[0]["entropy"] != first[1]["entropy"]
    assert all(run.rows()[0]["kl"] == 0 for run in (plain, guided))
    assert plain.completions() != train("none").completions()


def test_dropout_makes_new_and_old_differ(train):
    """Old log-probabilities are scored without dropout, so the first update has a ratio too."""
    rows = train(**{"model.lora": {"rank": 2, "alpha": 64.0, "dropout": 0.5}, "grpo.steps": 4}).rows()
    assert rows[2]["kl"] > 0 and all(math.isfinite(row["loss"]) for row in rows)


def test_gradient_checkpointing_changes_nothing(train):
    plain, thrifty = train("plain"), train("thrifty", model__gradient_checkpointing=True)
    for a, b in zip(plain.metrics(), thrifty.metrics()):
        assert a == pytest.approx(b, abs=1e-6)


def test_a_group_larger_than_the_device_batch(train):
    big = {"grpo.prompts": 1, "grpo.group_size": 8}
    whole = train("whole", **big)
    parts = train("parts", **big, **{"sampler.batch_size": 3, "grpo.micro_batch_size": 3})
    assert whole.completions() == parts.completions()
    for a, b in zip(whole.metrics(), parts.metrics()):
        assert a == pytest.approx(b, abs=1e-5)


def test_more_prompts_than_the_data_holds(train):
    run = train(**{"task.limit": 2, "grpo.prompts": 3})
    assert len({row["prompt"] for row in run.rows("completions.jsonl")}) == 2


def lengths(tiny_model):
    """The prompt lengths of the first eight problems in tokens."""
    from maskgrpo_cli.modalities.text import TextModality
    from maskgrpo_cli.models.tokenizer import build_tokenizer
    from maskgrpo_cli.tasks.arithmetic import ARITHMETIC

    tokenizer = build_tokenizer(ARITHMETIC.vocabulary())
    modality = TextModality(tokenizer, tokenizer.mask_token_id, len(tokenizer))
    problems = ARITHMETIC.load(None, "train", limit=8)
    return {p.prompt: len(ids) for p, ids in zip(problems, modality.encode([p.messages for p in problems]))}


def test_long_prompts_are_dropped_with_a_count(train, tiny_model):
    of = lengths(tiny_model)
    limit = sorted(of.values())[3]
    short = {prompt for prompt, length in of.items() if length <= limit}  # those at the limit stay
    run = train(**{"task.max_prompt_length": limit, "grpo.prompts": 8, "grpo.log_completions": 32})
    assert {row["prompt"] for row in run.rows("completions.jsonl")} == short
    assert f"{8 - len(short)} of 8 prompts are longer" in run.log() and "dropped" in run.log()


def test_long_prompts_are_cut_at_the_left(train, tiny_model):
    limit = min(lengths(tiny_model).values())
    cut = train("cut", **{"task.max_prompt_length": limit, "task.over_long": "truncate"})
    assert "were cut" in cut.log()
    assert len({row["prompt"] for row in cut.rows("completions.jsonl")}) > 1
    assert cut.completions() != train("whole").completions()


def test_no_prompt_short_enough(train):
    with pytest.raises(UserError, match="every prompt is longer"):
        train(**{"task.max_prompt_length": 2})


def test_bfloat16_runs(train, monkeypatch):
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(True)
    try:
        run = train(dtype="bfloat16", grpo__objective__beta=0.1, **LORA)
    finally:
        AcceleratorState._reset_state(True)
    assert all(math.isfinite(row["loss"]) and row["grad_norm"] > 0 for row in run.rows())
    assert run.rows()[0]["kl"] == 0
    assert {value.dtype.itemsize for value in run.weights("adapter").values()} == {4}  # trained weights


def test_freed_from_the_clip_a_run_is_another(train):
    tight, loose = (train(f"clip{low}", **{"grpo.objective.clip_low": low}) for low in (1e-3, 0.9))
    assert tight.rows()[1]["clip_ratio"] > loose.rows()[1]["clip_ratio"]
    assert not same(tight.weights(), loose.weights())
