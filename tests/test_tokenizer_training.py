"""`maskgrpo tokenizer`: an image tokenizer from a task's pictures, and what the bundled one loses."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner

from maskgrpo_cli.cli import app
from maskgrpo_cli.config import load
from maskgrpo_cli.engine.round_trip import compare, measure
from maskgrpo_cli.engine.tokenizer import Pictures, run
from maskgrpo_cli.errors import RunFailed, UserError
from maskgrpo_cli.models.loading import locate
from maskgrpo_cli.models.magvit import MagvitModel
from maskgrpo_cli.rewards.shapes import shapes
from maskgrpo_cli.tasks.shapes import SHAPES

BUNDLED = "tiny-shapes-tokenizer"
SIDE = {"ch": 4, "ch_mult": [1, 1], "num_res_blocks": [1, 1]}
SMALL = {
    "tokenizer.steps": 4, "tokenizer.batch_size": 2, "tokenizer.codebook_dim": 3, "tokenizer.evaluate_every": 2,
    "tokenizer.evaluate_limit": 2, "tokenizer.final_limit": 5, "tokenizer.encoder": SIDE, "tokenizer.decoder": SIDE,
    "tokenizer.named_weight": 0.0, "task.limit": 3, "device": "cpu",
}  # fmt: skip


def command(folder, *options):
    changes = [word for key, value in SMALL.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    return ["tokenizer", "--recipe", "text-to-image", "--output-dir", str(folder), *changes, *options]


def carry_out(folder, recipe="text-to-image", **changes):
    """Weights and metrics of a run in this process."""
    given = {**SMALL, **{key.replace("__", "."): value for key, value in changes.items()}, "output_dir": str(folder)}
    run(load(recipe, given, "tokenizer"), "text-to-image")
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return load_file(folder / "tokenizer" / "model.safetensors"), rows


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer") / "run"
    return folder, CliRunner().invoke(app, command(folder))


# --- the command ---------------------------------------------------------------------------------------


def test_a_run_leaves_a_tokenizer_its_metrics_and_a_picture(finished):
    folder, done = finished
    assert done.exit_code == 0, done.output
    tokenizer = MagvitModel.from_folder(folder / "tokenizer")
    assert (tokenizer.factor, tokenizer.codebook_size) == (2, 8)
    assert tokenizer.encode(torch.zeros(1, 3, 32, 32)).shape == (1, 256)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert ["eval/accuracy" in row for row in rows] == [False, True, False, True]
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["evaluations"][0]["before"]["accuracy"] == 1.0  # as drawn
    assert summary["evaluations"][0]["after"]["total"] == 5 and 0 <= summary["score"] < 1
    assert "after the round trip: 100.0 %" in done.output and f"image_tokenizer={folder}/tokenizer" in done.output
    with Image.open(folder / "reconstruction.png") as picture:
        assert picture.size == (8 * 256 + 7 * 4, 128)  # five pairs of 32 pixels, four times as large
    assert not list(folder.glob(".*partial*"))


def test_the_same_seed_gives_the_same_weights_and_another_one_others(finished, tmp_path):
    weights = load_file(finished[0] / "tokenizer" / "model.safetensors")
    again, _ = carry_out(tmp_path / "again", recipe=str(finished[0]))
    other, _ = carry_out(tmp_path / "other", seed=1)
    assert all(torch.equal(again[name], tensor) for name, tensor in weights.items())
    assert any(not torch.equal(other[name], tensor) for name, tensor in weights.items())


@pytest.mark.parametrize("part", ["l1", "l2", "quantizer", "entropy"])
def test_the_loss_is_the_weighted_sum_of_its_parts(part, tmp_path):
    weights = {f"tokenizer__{name}_weight": 0.0 for name in ("l1", "l2", "quantizer", "entropy")}
    _, rows = carry_out(tmp_path / part, **{**weights, f"tokenizer__{part}_weight": 3.0, "tokenizer__steps": 1})
    assert rows[0]["loss"] == pytest.approx(3 * rows[0][f"loss/{part}"], rel=1e-5)


def test_named_bits_become_what_the_task_says(tmp_path):
    side = {"ch": 4, "ch_mult": [1, 1, 1, 1], "num_res_blocks": [1, 1, 1, 1]}
    weights = {f"tokenizer__{name}_weight": 0.0 for name in ("l1", "l2", "quantizer", "entropy")}
    shape = {"tokenizer__encoder": side, "tokenizer__decoder": side, "tokenizer__codebook_dim": 7}
    shape |= {"tokenizer__optimizer__warmup_steps": 0, "tokenizer__optimizer__lr": 1e-2, "tokenizer__batch_size": 8}
    _, rows = carry_out(tmp_path / "run", **weights, **shape, tokenizer__named_weight=3.0, tokenizer__steps=60)
    assert rows[0]["loss"] == pytest.approx(3 * rows[0]["loss/named"], rel=1e-5)
    assert rows[-1]["loss/named"] < 0.7 * rows[0]["loss/named"]


def test_ctrl_c_leaves_no_tokenizer(tmp_path):
    words = [sys.executable, "-m", "maskgrpo_cli", *command(tmp_path / "run", "--max-steps", "100000")]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for _ in range(1200):
        if (tmp_path / "run" / "metrics.jsonl").exists():
            break
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=100)
    assert process.returncode == 130 and told.startswith("interrupted") and "Traceback" not in told
    assert not [path for path in (tmp_path / "run").iterdir() if "tokenizer" in path.name or path.suffix == ".png"]


# --- mistakes of the user -------------------------------------------------------------------------------


def test_a_task_without_pictures_is_refused_and_leaves_no_directory(tmp_path):
    with pytest.raises(UserError, match="task.name = 'arithmetic': it has no pictures"):
        carry_out(tmp_path / "run", task__name="arithmetic")
    assert not (tmp_path / "run").exists()


def test_named_bits_of_another_number_than_the_codes_are_refused(tmp_path):
    told = "names 6 bits of 4x4 codes, but there are 3 of 16x16; write --set tokenizer.named_weight=0"
    with pytest.raises(UserError, match=told):
        carry_out(tmp_path / "run", tokenizer__named_weight=1.0)
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_not_finite_ends_the_run_and_leaves_no_tokenizer(tmp_path):
    with pytest.raises(RunFailed, match="step 2: loss nan.*\n.*tokenizer.optimizer.lr"):
        carry_out(tmp_path / "run", tokenizer__optimizer__lr=1e30, tokenizer__optimizer__warmup_steps=0)
    assert not (tmp_path / "run" / "tokenizer").exists()


@pytest.mark.parametrize(("changes", "told"), [
    ({"tokenizer.size": 33}, "tokenizer.size = 33.*a multiple of 8"),
    ({"tokenizer.encoder.ch": 6}, "tokenizer.encoder.ch = 6.*a multiple of tokenizer.group_norm_groups = 4"),
    ({"tokenizer.decoder.ch_mult": [1, 2]}, r"tokenizer.decoder.ch_mult = \[1, 2\].*4 numbers"),
    ({"tokenizer.encoder.num_res_blocks": [1]}, r"tokenizer.encoder.num_res_blocks = \[1\].*4 numbers"),
    ({"tokenizer.codebook_dim": 25}, "tokenizer.codebook_dim = 25"),
    ({"tokenizer.decoder.num_res_blocks": [1, 0, 1]}, r"tokenizer.decoder.num_res_blocks\[1\] = 0"),
    ({"tokenizer.optimizer.name": "muon"}, 'tokenizer.optimizer.name = "muon": adamw; Muon is for matrices'),
    ({"tokenizer.step": 3}, "tokenizer.step = 3.*steps"),
])  # fmt: skip
def test_shapes_that_fit_no_tokenizer_are_refused_by_key(changes, told):
    with pytest.raises(UserError, match=told):
        load("text-to-image", changes, "tokenizer")


def test_grpo_does_not_mind_a_tokenizer_that_it_does_not_train():
    load("text-to-image", {"tokenizer.size": 33}, "grpo")


# --- parts ----------------------------------------------------------------------------------------------


def test_a_batch_depends_on_its_places_alone_and_each_epoch_draws_other_pictures_of_the_same_scenes():
    problems = SHAPES.load(None, "train", limit=3)
    stream = Pictures(SHAPES, problems, 32, seed=5)
    whole = stream.batch(range(6))
    assert whole.shape == (6, 3, 32, 32) and whole.min() >= -1 and whole.max() <= 1
    assert torch.equal(stream.batch([4, 1]), whole[[4, 1]])
    first, second = ({picture.numpy().tobytes() for picture in part} for part in whole.split(3))
    assert len(first) == len(second) == 3 and first != second


class Copier:
    """Codes that hold a picture's pixels exactly; `spoil` of them are painted over."""

    factor, codebook_size = 1, 2**24

    def __init__(self, spoil=0):
        self.spoil = spoil

    def encode(self, images):
        self.size, pixels = images.shape[-1], ((images + 1) * 127.5).round().long().flatten(2)
        return pixels[:, 0] * 65536 + pixels[:, 1] * 256 + pixels[:, 2]

    def decode(self, codes, shape):
        assert shape == (self.size, self.size)
        pixels = torch.stack([codes // 65536, codes // 256 % 256, codes % 256], 1).unflatten(2, shape) / 127.5 - 1
        pixels[: self.spoil] = -1.0
        return pixels


def test_a_round_trip_without_loss_keeps_every_verdict_and_a_spoilt_picture_costs_its_own():
    problems = SHAPES.load(None, "test", limit=8)
    heard = []
    before, after, kept = measure(Copier(), SHAPES, problems, 32, lambda done, of: heard.append((done, of)))
    assert (before == after).all() and kept["score"] == kept["share_right"] == 1.0 and kept["error"] == 0.0
    assert heard == [(8, 8)]
    _, _, spoilt = measure(Copier(spoil=2), SHAPES, problems, 32, lambda done, of: None)
    assert spoilt["share_right"] == 0.75 and spoilt["evaluations"][0]["after"]["correct"] == 6
    assert spoilt["evaluations"][0]["before"]["correct"] == 8 and 0 < spoilt["error"] < 255


def test_codes_are_counted_with_their_entropy():
    class Halves(Copier):
        def encode(self, images):
            super().encode(images)
            return torch.tensor([[7] * 512 + [9] * 512]).expand(len(images), -1)

    _, _, found = measure(Halves(), SHAPES, SHAPES.load(None, "test", limit=2), 32, lambda done, of: None)
    assert found["codes_used"] == 2 and found["code_bits"] == pytest.approx(1.0)


def test_the_picture_that_compares_has_every_pair_in_its_place():
    before, after = np.zeros((9, 2, 2, 3), np.uint8), np.full((9, 2, 2, 3), 200, np.uint8)
    before[8] = 100
    sheet = np.asarray(compare(before, after))
    assert sheet.shape == (2 * 8 + 4, 8 * 16 + 7 * 4, 3)
    assert (sheet[:8, :8] == 0).all() and (sheet[:8, 8:16] == 200).all()
    assert (sheet[12:, :8] == 100).all() and (sheet[12:, 20:] == 255).all()  # the ninth pair, then nothing


# --- the bundled tokenizer --------------------------------------------------------------------------------


def test_the_bundled_tokenizer_brings_shapes_back():
    """All of 2,000 test scenes come back entirely right."""
    tokenizer = MagvitModel.from_folder(locate(BUNDLED))
    problems = SHAPES.load(None, "validation", limit=200)
    _, after, found = measure(tokenizer, SHAPES, problems, 32, lambda done, of: None)
    assert found["score"] >= 0.995 and found["share_right"] >= 0.99
    rewards = shapes([problem.prompt for problem in problems], list(after))
    assert np.mean(rewards) == pytest.approx(found["score"])
