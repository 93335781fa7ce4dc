"""`maskgrpo grpo --recipe text-to-image` in small: the bundled model, its rewards, and what a run leaves to look at."""

import json

import pytest
from PIL import Image
from safetensors.torch import load_file

from maskgrpo_cli.rewards.shapes import shapes
from maskgrpo_cli.tasks.shapes import SHAPES

SMALL = {
    "grpo.steps": 4, "grpo.prompts": 2, "grpo.group_size": 3, "grpo.updates": 2, "grpo.log_completions": 4,
    "sampler.steps": 3, "evaluation.final_limit": 4, "evaluation.every": 0, "task.limit": 12,
}  # fmt: skip


@pytest.fixture
def grpo(tmp_path, maskgrpo):
    """`grpo(name, *options, **changes)`: a small run through the command line; its folder."""

    def carry_out(name, *options, **changes):
        settings = SMALL | {key.replace("__", "."): value for key, value in changes.items()}
        given = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        folder = tmp_path / name
        start = ["--output-dir", str(folder)] if "--resume" not in options else []
        code, _, err = maskgrpo("grpo", "--recipe", "text-to-image", "--device", "cpu", *start, *given, *options)
        assert code == 0, err
        return folder

    return carry_out


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_run_shows_pictures_before_and_after_and_those_of_its_rollouts(grpo):
    folder = grpo("run")
    summary = json.loads((folder / "summary.json").read_text())
    assert [entry["name"] for entry in summary["rewards"]] == ["mean reward at T=1"]
    assert {path.name for path in (folder / "evaluations").iterdir()} == {"before.json", "before-T1", "after-T1"}
    for when in ("before", "after"):
        assert len(list((folder / "evaluations" / f"{when}-T1").glob("*.png"))) == 4
    with Image.open(summary["pictures"]) as sheet:
        assert sheet.height > sheet.width  # four prompts below one another
    logged = rows(folder / "completions.jsonl")
    assert len(logged) == 8  # four of each of the two rollouts
    for row in logged:
        with Image.open(folder / row["completion"]) as picture:
            assert picture.size == (32, 32)
            assert shapes([row["prompt"]], [picture]) == [pytest.approx(row["reward"])]


def test_the_first_update_sees_the_policy_that_sampled(grpo):
    metrics = rows(grpo("run", evaluation__final_limit=0) / "metrics.jsonl")
    assert [row["update"] for row in metrics] == [0, 1, 0, 1]
    for row in metrics:
        assert row["completion_length"] == 16
        if row["update"] == 0:
            assert row["clip_ratio"] == 0 and row["kl"] == 0


def test_one_seed_is_one_run_and_resuming_ends_the_same(grpo):
    settings = {"evaluation__final_limit": 0, "grpo__save_every": 1}
    whole = grpo("whole", **settings)
    stopped = grpo("stopped", **settings)
    metrics = [{key: value for key, value in row.items() if "time" not in key and "second" not in key}
               for row in rows(whole / "metrics.jsonl")]
    assert metrics == [{key: value for key, value in row.items() if "time" not in key and "second" not in key}
                       for row in rows(stopped / "metrics.jsonl")]
    final = load_file(whole / "model" / "model.safetensors")
    grpo("stopped", "--resume", str(stopped / "checkpoints" / "step-000003"), **settings)
    again = load_file(stopped / "model" / "model.safetensors")
    assert all((final[name] == again[name]).all() for name in final)


def test_the_bundled_model_draws_what_it_is_asked_for(tmp_path, maskgrpo):
    asked = [word for index in range(48) for word in ("--prompt", SHAPES.problem("validation", index).prompt)]
    code, _, err = maskgrpo("sample", "--sampler", "emerge", *asked, "--output", str(tmp_path / "drawn"))
    assert code == 0, err
    right = []
    for path in (tmp_path / "drawn").glob("*-0.png"):
        with Image.open(path) as picture:
            right += [score == 1.0 for score in shapes([json.loads(picture.text["maskgrpo"])["prompt"]], [picture])]
    assert len(right) >= 40  # a prompt that comes twice is drawn once
    assert sum(right) / len(right) >= 0.55  # of 256 prompts, 77 % were
