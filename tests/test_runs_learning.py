"""`maskgrpo grpo` with the recipes math and text-to-image, whole: do they learn? Minutes long, so marked slow."""

import json
import os
import subprocess
import sys

import pytest

SEEDS = [int(seed) for seed in os.environ.get("MASKGRPO_SEEDS", "0").split(",")]


def learned(folder, recipe, seed):
    """The summary of a whole run."""
    command = [sys.executable, "-m", "maskgrpo_cli", "grpo", "--recipe", recipe, "--seed", str(seed)]
    subprocess.run([*command, "--output-dir", str(folder)], check=True, timeout=1500)
    return json.loads((folder / "summary.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_the_math_recipe_learns_to_show_its_work(tmp_path, seed):
    run = tmp_path / "run"
    summary = learned(run, "math", seed)
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
def test_the_picture_recipe_learns_to_follow_the_prompt(tmp_path, seed):
    summary = learned(tmp_path / "run", "text-to-image", seed)
    (accuracy,), (score,) = summary["evaluations"], summary["rewards"]
    assert accuracy["before"]["total"] == accuracy["after"]["total"] == 512
    assert score["after"] - score["before"] >= 0.08
    assert accuracy["after"]["accuracy"] - accuracy["before"]["accuracy"] >= 0.2
