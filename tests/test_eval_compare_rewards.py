"""Comparing evaluations by their rewards: numbers by hand, and through the command line where nothing is judged."""

import itertools
import json
import math

import numpy as np
import pytest

from maskgrpo_cli.engine.evaluation_compare_rewards import asked, compare, measures, moved, not_comparable
from maskgrpo_cli.engine.judging import Judged, tally
from maskgrpo_cli.engine.reporting.statistics import mean_interval, sign_flip
from maskgrpo_cli.types import Parts

BRIGHT, RED = "test_eval_pictures:brightness", "test_eval_pictures:redness"
PROMPTS = ["a red circle", "a blue square", "two green triangles", "a red square"]


def judgements(*rewards, samples=1, parts=None):
    """Completions with these rewards, `samples` of each problem one after another; a dict has functions by name."""
    found = {}
    for place, value in enumerate(rewards):
        problem, sample = divmod(place, samples)
        own = value if isinstance(value, dict) else {"only": value}
        total = math.fsum(own.values()) if None not in own.values() else None
        item = Judged(f"p{problem}", "prompt", "", {}, None, 0.0, False, "", total, None,
                      parts or Parts(0, 0, "pictures"), sample, rewards=own)
        found[item.id, sample] = item
    return found


# --- by hand ------------------------------------------------------------------------------------------------


def test_the_numbers_by_hand():
    """Gains of 0.5, -0.25 and 0.25: two of the eight sign patterns sum to at least 1.0, four to at least 0.5."""
    row = compare(judgements(0.0, 0.5, 0.25), judgements(0.5, 0.25, 0.5), {})["reward"]
    assert (row["a"], row["b"], row["difference"]) == (0.25, pytest.approx(1.25 / 3), pytest.approx(1 / 6))
    patterns = [abs(sum(sign * gain for sign, gain in zip(signs, (0.5, 0.25, 0.25), strict=True)))
                for signs in itertools.product((1, -1), repeat=3)]
    exact = sum(total >= 0.5 for total in patterns) / 8
    assert row["p_value"] == pytest.approx(exact, abs=0.02) and row["test"] == "paired permutation"
    assert (row["problems"], row["unpaired"]) == (3, 0)
    assert row["interval"][0] <= row["difference"] <= row["interval"][1]


def test_samples_of_a_problem_count_once():
    """Two problems of three completions: the mean gains are 1 and 0, not six gains."""
    row = compare(judgements(0, 0, 0, 1, 2, 3, samples=3), judgements(1, 1, 1, 3, 2, 1, samples=3), {})["reward"]
    assert (row["difference"], row["problems"], row["p_value"]) == (0.5, 2, sign_flip([1.0]))


def test_what_one_side_could_not_score_has_no_pair():
    row = compare(judgements(1.0, math.nan, 0.0, None), judgements(2.0, 5.0, 0.0, 1.0), {})["reward"]
    assert (row["a"], row["b"], row["problems"], row["unpaired"]) == (0.5, 1.0, 2, 2)
    assert compare(judgements(math.nan), judgements(1.0), {}) == {}


def test_each_function_is_compared_where_it_applies():
    a = judgements({"x": 1.0, "y": 0.0}, {"x": 1.0, "y": None})
    b = judgements({"x": 3.0, "y": 1.0}, {"x": 2.0, "y": None})
    found = compare(a, b, {})
    assert [*found] == ["reward", "reward/x", "reward/y"]
    assert found["reward/x"]["difference"] == 1.5 and found["reward/y"]["problems"] == 1
    assert [*compare(a, b, {"reward": "why", "reward/y": "why"})] == ["reward/x"]


def test_a_score_is_compared_where_answers_are_right_in_part():
    a, b = judgements(0.0, parts=Parts(1, 2, "cells")), judgements(0.0, parts=Parts(1, 2, "cells"))
    assert "score" not in [name for name, _ in measures(a, b)]
    b["p0", 0].score = 0.5
    assert compare(a, b, {})["score"]["difference"] == 0.5


def test_alike_is_no_difference():
    row = compare(judgements(0.3, 0.7), judgements(0.3, 0.7), {})["reward"]
    assert (row["difference"], row["p_value"], row["interval"]) == (0.0, 1.0, [0.0, 0.0])
    assert moved(judgements(0.3), judgements(0.3)) == {"up": [], "down": []}


def test_the_most_moved_come_first():
    a, b = judgements(*[0.0] * 14), judgements(*range(-7, 7))
    found = moved(a, b)
    assert [row["b"] for row in found["up"]] == [6, 5, 4, 3, 2]
    assert [row["b"] for row in found["down"]] == [-7, -6, -5, -4, -3]


def test_rewards_that_differ_are_left_out_by_name():
    def results(weights, settings=None):
        return {"reward_weights": weights, "settings": {"task": {"reward_settings": settings or {}}}}

    assert not_comparable(results({"clip": 1.0}), results({"clip": 1.0})) == {}
    assert not_comparable(results({"clip": 1.0}), results({"clip": 2.0})) == {"reward": "clip x 1 and clip x 2"}
    one, other = ({"clip": {"model": name}} for name in ("ViT-B-32", "ViT-L-14"))
    assert not_comparable(results({"clip": 1.0}, one), results({"clip": 1.0}, other)) == {
        "reward": "the settings of its parts differ", "reward/clip": "its settings differ"}
    earlier = {"settings": {"task": {"rewards": {"clip": 1.0}}}}  # a version that wrote no weights
    assert asked(earlier) == {"clip": (1.0, {})} and asked({}) == {}


def test_the_mean_interval_covers_and_does_not_draw_globally():
    draw = np.random.default_rng(1)
    state = np.random.get_state()[1].copy()
    inside = 0
    for _ in range(40):
        low, high = mean_interval(draw.normal(0.3, 1.0, 60))
        inside += low <= 0.3 <= high
    assert 34 <= inside <= 40  # 38 expected, a little less for 60 problems
    assert (np.random.get_state()[1] == state).all()
    assert mean_interval([2.0]) == (2.0, 2.0) and mean_interval([1e9, 1e9 + 2])[0] >= 1e9


def test_large_whole_rewards_are_drawn_and_small_ones_keep_their_scale():
    assert sign_flip([10**9] * 10) == pytest.approx(2 / 2**10, abs=2e-3)  # counting out would take 10^10 places
    tiny, usual = (sign_flip([scale * value for value in (0.5, -0.3, 0.4, 0.1)]) for scale in (1e-12, 1.0))
    assert tiny == usual


def test_a_tally_has_the_mean_of_each_function():
    rows = [*judgements({"x": 1.0, "y": None}, {"x": 0.0, "y": 3.0}, {"x": None, "y": None}).values()]
    assert tally(rows)["rewards"] == {"x": 0.5, "y": 3.0} and tally([])["rewards"] == {}


# --- through the command line -------------------------------------------------------------------------------


@pytest.fixture
def evaluate(picture_models, tmp_path, monkeypatch, maskgrpo):
    """`evaluate(folder, *words)`: evaluate the prompts; fails unless it ends well."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps({"prompt": one}) + "\n" for one in PROMPTS))

    def run(folder, *words, rewards=(f"{BRIGHT}=1", f"{RED}=2")):
        given = [word for one in rewards for word in ("--set", f"task.rewards.{one}")] or ["--set", "task.rewards={}"]
        code, _, err = maskgrpo(
            "eval", "prompts", "--data", "prompts.jsonl", "--recipe", picture_models / "pictures.yaml", "-n", 2,
            "--sampling-steps", 2, "--temperature", 1, "--output-dir", folder, *given, *words)
        assert code == 0, err

    return run


def rows(folder, name="generations.jsonl"):
    return [json.loads(line) for line in (folder / name).open()]


def test_pictures_are_compared_by_their_rewards(evaluate, maskgrpo, tmp_path):
    evaluate("a")
    evaluate("b", "--set", "sampler.guidance=4")
    made = {name: rows(tmp_path / name) for name in "ab"}
    for name, judged in made.items():
        measured = json.loads((tmp_path / name / "results.json").read_text())
        for function in (BRIGHT, RED):
            known = [row["rewards"][function] for row in judged if row["rewards"][function] is not None]
            assert measured["rewards"][function] == pytest.approx(sum(known) / len(known))
            assert len(known) == (8 if function == BRIGHT else 4)
        assert measured["reward_weights"] == {BRIGHT: 1.0, RED: 2.0}
        assert all(row["reward"] == pytest.approx(row["rewards"][BRIGHT] + 2 * (row["rewards"][RED] or 0))
                   for row in judged)
    code, out, err = maskgrpo("eval", "--compare", "a", "b", "--output-dir", "out")
    assert code == 0, err
    found = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert found["differs"] == {"sampler.guidance": [1.0, 4.0]} and found["left_out"] == []
    (row,) = found["results"]
    assert [*row["measures"]] == ["reward", f"reward/{BRIGHT}", f"reward/{RED}"] and "counts" not in row
    gains = {}
    for before, after in zip(made["a"], made["b"], strict=True):
        gains.setdefault(before["id"], []).append(after["reward"] - before["reward"])
    means = [sum(own) / 2 for own in gains.values()]
    total = row["measures"]["reward"]
    assert total["difference"] == pytest.approx(sum(means) / 4) and total["p_value"] == sign_flip(means)
    assert (total["problems"], row["measures"][f"reward/{RED}"]["problems"]) == (4, 2)
    lines = out.splitlines()
    start = f"prompts T=1 length 64: reward A {total['a']:.4g}, B {total['b']:.4g}, B - A {total['difference']:+.4g} ("
    assert any(line.startswith(start) and line.endswith("(paired permutation)") for line in lines), out
    assert any(line.startswith(("more reward: prompts-test-", "less reward: prompts-test-")) for line in lines)
    assert "accuracy" not in out and "both right" not in out


def test_what_has_no_reward_in_common_is_refused(evaluate, maskgrpo, tmp_path):
    evaluate("a", rewards=(f"{BRIGHT}=1",))
    evaluate("none", rewards=())
    evaluate("c", rewards=(f"{RED}=1",))
    code, _, err = maskgrpo("eval", "--compare", "a", "none")
    assert code == 2 and "nothing is judged right or wrong in none, and no rewards were asked for" in err
    code, _, err = maskgrpo("eval", "--compare", "a", "c")
    assert code == 2 and f"have no reward in common: reward: {BRIGHT} x 1 and {RED} x 1" in " ".join(err.split())
    evaluate("d", rewards=(f"{BRIGHT}=3", f"{RED}=1"))
    code, out, err = maskgrpo("eval", "--compare", "a", "d")
    assert code == 0, err
    assert f"reward/{BRIGHT} A " in out and ": reward A " not in out
    assert f"left out: reward: {BRIGHT} x 1 and {BRIGHT} x 3, {RED} x 1" in out
    path = tmp_path / "a" / "generations.jsonl"
    changed = rows(tmp_path / "a")
    changed[0]["reward"] += 1
    path.write_text("".join(json.dumps(row) + "\n" for row in changed))
    code, _, err = maskgrpo("eval", "--compare", "a", "d")
    assert code == 2 and "does not add up to results.json: a mean reward of" in " ".join(err.split())


def test_judged_pictures_are_compared_by_both(evaluate, picture_models, maskgrpo):
    for folder, *words in (("a",), ("b", "--seed", 5)):
        code, _, err = maskgrpo("eval", "shapes", "--limit", 4, "--recipe", picture_models / "pictures.yaml",
                                "--sampling-steps", 2, "--set", f"task.rewards.{BRIGHT}=1", "--output-dir", folder,
                                *words)
        assert code == 0, err
    code, out, err = maskgrpo("eval", "--compare", "a", "b")
    assert code == 0, err
    assert "accuracy A " in out and "reward A 0." in out and "neither" in out and "more reward" not in out
