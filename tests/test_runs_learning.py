"""`maskgrpo grpo --recipe math`, and `text-to-image`, whole: do they learn? Minutes long, so marked slow."""

import json
import os
import subprocess
import sys

import pytest

SEEDS = [int(seed) for seed in os.environ.get("MASKGRPO_SEEDS", "0").split(",")]


def carry_out(recipe, seed, run):
    """The summary of a whole run."""
    command = [sys.executable, "-m", "maskgrpo_cli", "grpo", "--recipe", recipe, "--seed", str(seed)]
    subprocess.run([*command, "--output-dir", str(run)], check=True, timeout=1500)
    return json.loads((run / "summary.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_the_math_recipe_learns_to_show_its_work(tmp_path, seed):
    run = tmp_path / "run"
    summary = carry_out("math", seed, run)
    change = {e["name"]: e["after"]["accuracy"] - e["before"]["accuracy"] for e in summary["evaluations"]}
    assert change["greedy accuracy"] >= 0.07 and change["accuracy at T=1"] >= 0.12
    assert all(e["after"]["total"] == 512 for e in summary["evaluations"])
    worked = next(style for style in summary["styles"] if style["name"] == "worked")
    assert worked["after"]["share"] > (worked["before"] or {"share": 0.0})["share"]
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    curve = [row["eval/accuracy"] for row in rows if "eval/accuracy" in row]
    assert len(curve) >= 3 and len(summary["solved_now"]) == 3


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_the_text_to_image_recipe_learns_to_draw_what_is_asked_for(tmp_path, seed):
    summary = carry_out("text-to-image", seed, tmp_path / "run")
    [score] = [e["after"] - e["before"] for e in summary["rewards"]]
    [right] = [e["after"]["accuracy"] - e["before"]["accuracy"] for e in summary["evaluations"]]
    assert score >= 0.06 and right >= 0.12
    assert summary["evaluations"][0]["after"]["total"] == 512
