"""Evaluations that were interrupted end as undisturbed ones do, to the byte; what changed meanwhile is told."""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from two_evaluations import overrides

from maskgrpo_cli.config import Override
from maskgrpo_cli.config.evaluation import load_benchmark
from maskgrpo_cli.engine import evaluation, evaluation_files
from maskgrpo_cli.engine.evaluation_files import append, kept, key_of
from maskgrpo_cli.engine.judging import Judged
from maskgrpo_cli.errors import UserError

RUN = "from maskgrpo_cli.cli import main; main()"
OPTIONS = ["arithmetic", "--limit", "5", "--batch-size", "2", "-n", "2", "--temperature", "0.7,1", "--shots", "1",
           "--length", "8", "--block-length", "4", "--sampling-steps", "4", "--device", "cpu"]  # 12 batches


@pytest.fixture(autouse=True)
def here(monkeypatch, tmp_path):
    """Every test works in a folder of its own."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def begin(maskgrpo, tiny_model):
    """`begin(folder, *more)`: a small evaluation of two settings and two samples."""
    return lambda folder, *more: maskgrpo("eval", *OPTIONS, "--model", str(tiny_model), "--output-dir", folder, *more)


@pytest.fixture(scope="module")
def whole(tiny_model, tmp_path_factory):
    """The folder of the same evaluation, undisturbed."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    changes = [*overrides(str(tiny_model), OPTIONS), Override("output_dir", str(folder))]
    evaluation.run(load_benchmark("math", "arithmetic", changes))
    return folder


def results_of(folder):
    """results.json without what depends on the clock and the checkout."""
    results = json.loads((Path(folder) / "results.json").read_text())
    return {key: value for key, value in results.items() if key not in ("seconds", "peak_memory_bytes", "environment")}


def assert_as_undisturbed(folder, whole):
    assert (folder / "generations.jsonl").read_bytes() == (whole / "generations.jsonl").read_bytes()
    assert results_of(folder) == results_of(whole)
    assert {path.name for path in folder.iterdir()} - {"log.txt"} == {
        "config.yaml", "generations.jsonl", "results.json"}


def signalled(monkeypatch, number, after):
    """Let a signal come when `after` batches are written, once."""
    original, seen = evaluation_files.append, []

    def counted(path, batch):
        original(path, batch)
        seen.append(len(batch))
        if len(seen) == after:
            signal.raise_signal(number)

    monkeypatch.setattr(evaluation_files, "append", counted)
    return seen


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("after", [1, 3, 7])
def test_ctrl_c_and_on(begin, maskgrpo, whole, monkeypatch, tmp_path, after):
    seen = signalled(monkeypatch, signal.SIGINT, after)
    code, _, errors = begin("run 1")
    assert code == 130 and len(seen) == after
    assert errors == ("interrupted: the run is saved in run 1/generations.jsonl\n"
                      "  continue it: maskgrpo eval --resume 'run 1'\n")
    made = sum(seen)
    code, out, errors = maskgrpo("eval", "--resume", "run 1")
    assert code == 0, errors
    assert f"continuing after {made} of 20 completions\n" in out and len(seen) == 12
    assert_as_undisturbed(tmp_path / "run 1", whole)


@pytest.fixture(scope="module")
def left(tiny_model, tmp_path_factory):
    """The folder of what other processes left: see two_evaluations.py."""
    if not hasattr(os, "fork"):
        pytest.skip("forks")
    folder = tmp_path_factory.mktemp("left")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    script = Path(__file__).parent / "two_evaluations.py"
    done = subprocess.run([sys.executable, str(script), port, str(tiny_model), *OPTIONS], cwd=folder,
                          env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return folder


def test_killed_and_half_a_line(left, maskgrpo, whole, tmp_path):
    shutil.copytree(left / "killed", tmp_path / "first")
    assert not (tmp_path / "first" / "results.json").exists()
    with (tmp_path / "first" / "generations.jsonl").open("ab") as file:
        file.write(b'{"id": "arithmetic-test-51')
    code, _, errors = maskgrpo("eval", "--resume", "first")
    assert code == 0, errors
    assert_as_undisturbed(tmp_path / "first", whole)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_killed_at_ten_moments(tiny_model, maskgrpo, tmp_path):
    """Loading, drawing, writing: wherever the kill strikes, at most a batch is lost and the end is the same."""
    more = [*OPTIONS, "--limit", "64", "--sampling-steps", "8", "--model", str(tiny_model)]
    assert maskgrpo("eval", *more, "--output-dir", "whole")[0] == 0
    first, moments, kills = tmp_path / "first", random.Random(0), 0
    part = first / "generations.jsonl"
    arguments = ["eval", *more, "--output-dir", "first"]
    while kills < 10:
        process = subprocess.Popen([sys.executable, "-c", RUN, *arguments], cwd=tmp_path, stdout=subprocess.DEVNULL)
        before = part.stat().st_size if part.exists() else 0
        while process.poll() is None and not (part.exists() and part.stat().st_size > before):
            time.sleep(0.002)
        time.sleep(moments.uniform(0.0, 0.1))
        process.kill()
        assert process.wait() == -signal.SIGKILL, "the evaluation is too short for this machine"
        kept_so_far = part.read_bytes().count(b"\n")
        arguments, kills = ["eval", "--resume", "first"], kills + 1
    code, out, errors = maskgrpo("eval", "--resume", "first")
    assert code == 0, errors
    said = int(out.split("continuing after ")[1].split()[0])
    assert kept_so_far - 2 < said <= kept_so_far
    assert_as_undisturbed(first, tmp_path / "whole")


@pytest.fixture
def halfway(begin, monkeypatch, tmp_path):
    """The folder of an evaluation that was interrupted after four of its twelve batches."""
    with monkeypatch.context() as patched:
        signalled(patched, signal.SIGTERM, 4)
        assert begin("first")[0] == 143
    return tmp_path / "first"


def test_a_half_written_batch_is_made_as_a_whole(halfway, maskgrpo, whole):
    """And nothing else of what is there."""
    path = halfway / "generations.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    assert [json.loads(line)["sample"] for line in lines] == [0] * 5 + [1] * 2
    path.write_bytes(b"".join(lines[:6]))
    code, out, errors = maskgrpo("eval", "--resume", "first")
    assert code == 0 and "continuing after 5 of 20" in out, errors
    assert_as_undisturbed(halfway, whole)


def test_before_the_first_batch(halfway, maskgrpo, whole):
    (halfway / "generations.jsonl").unlink()
    code, out, errors = maskgrpo("eval", "--resume", "first")
    assert code == 0 and "continuing after 0 of 20" in out, errors
    assert_as_undisturbed(halfway, whole)


def test_a_finished_one_shows_its_results_again(whole, maskgrpo, tmp_path):
    shutil.copytree(whole, tmp_path / "done")
    before = (tmp_path / "done" / "results.json").read_bytes()
    code, out, _ = maskgrpo("eval", "--resume", "done")
    assert code == 0 and out.count("accuracy") == 2 and out.endswith("results in done\n")
    assert (tmp_path / "done" / "results.json").read_bytes() == before
    (tmp_path / "done" / "results.json").write_text("[]")
    code, _, errors = maskgrpo("eval", "--resume", "done")
    assert code == 2 and "results.json is damaged" in errors


def refused(maskgrpo, halfway, told):
    """Resuming is refused with a message, and leaves what is there."""
    before = (halfway / "generations.jsonl").read_bytes()
    code, _, errors = maskgrpo("eval", "--resume", "first")
    assert code == 2 and told in errors and "Traceback" not in errors
    assert (halfway / "generations.jsonl").read_bytes() == before


def test_a_changed_config(halfway, maskgrpo):
    with (halfway / "config.yaml").open("a") as file:
        file.write("# mine\n")
    refused(maskgrpo, halfway, "config.yaml was changed since the evaluation began; put it back, or begin again")


def test_a_changed_line(halfway, maskgrpo):
    path = halfway / "generations.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[1], lines[0], *lines[2:]]) + "\n")
    refused(maskgrpo, halfway, "holds arithmetic-test-513 (sample 0, temperature 0.7, length 8) where arith")
    path.write_text("\n".join([lines[0], lines[1][:30], *lines[2:]]) + "\n")
    refused(maskgrpo, halfway, "generations.jsonl, line 2: is damaged")
    (halfway / "evaluation.json").write_text("{")
    refused(maskgrpo, halfway, "evaluation.json is damaged")


def test_changed_data_and_weights(maskgrpo, tiny_model, monkeypatch, tmp_path):
    from safetensors.torch import load_file, save_file

    model = tmp_path / "model"
    shutil.copytree(tiny_model, model)
    data = tmp_path / "data.jsonl"
    rows = [{"question": f"What is {n} + 1?", "answer": str(n + 1)} for n in range(5)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with monkeypatch.context() as patched:
        signalled(patched, signal.SIGTERM, 1)
        assert maskgrpo("eval", *OPTIONS, "--model", str(model), "--data", str(data), "--output-dir", "first")[0] == 143
    text = data.read_text()
    data.write_text(text.replace('"5"', '"6"'))
    refused(maskgrpo, tmp_path / "first", "the problems are not those that the evaluation in first began with: "
                                          "problems.sha256 was")
    data.write_text(text)
    weights = load_file(model / "model.safetensors")
    save_file({name: value + 0.01 for name, value in weights.items()}, model / "model.safetensors")
    refused(maskgrpo, tmp_path / "first", "the model's weights or chat template are not those")


@pytest.mark.parametrize(("arguments", "told"), [
    (["--resume", "nowhere"], "there is no evaluation in 'nowhere' (no config.yaml)"),
    (["--resume", "trained"], "'trained' is no evaluation"),
    (["arithmetic", "--resume", "first", "--limit", "3"], "leave out --limit, BENCHMARK"),
    ([], "name a BENCHMARK"),
])
def test_what_cannot_be_continued(maskgrpo, tmp_path, arguments, told):
    (tmp_path / "trained").mkdir()
    (tmp_path / "trained" / "config.yaml").write_text("seed: 0\n")
    code, _, errors = maskgrpo("eval", *arguments)
    assert code == 2 and told in errors


def test_two_at_once_do_not_mix(halfway, maskgrpo):
    holds = ("import sys; from maskgrpo_cli.engine.lock import RunLock; RunLock(sys.argv[1]).take(); "
             "print('taken', flush=True); input()")
    other = subprocess.Popen([sys.executable, "-c", holds, str(halfway)], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "taken\n"
        refused(maskgrpo, halfway, "first is being written by")
    finally:
        other.communicate("\n", timeout=30)
    assert maskgrpo("eval", "--resume", "first")[0] == 0


# --- the part file --------------------------------------------------------------------------------------


def judged(number):
    """A result with separators, quotes and half a character in its text."""
    return Judged(id=f"t-{number}", prompt="a\u2028b", completion='"\n\udc80\x85', reference={"answer": "1"},
                  answer=None, score=0.1, correct=False, reason="", reward=None, style=None, temperature=0.7, length=8)


@settings(max_examples=40)
@given(st.lists(st.integers(1, 3), min_size=1, max_size=4), st.data())
def test_wherever_a_file_is_cut_whole_batches_are_kept(tmp_path_factory, sizes, data):
    path = tmp_path_factory.mktemp("cut") / "part.jsonl"
    items = [judged(number) for number in range(sum(sizes))]
    batches = [items[sum(sizes[:place]) : sum(sizes[: place + 1])] for place in range(len(sizes))]
    ends = [0]
    for batch in batches:
        append(path, batch)
        ends.append(path.stat().st_size)
    cut = data.draw(st.integers(0, ends[-1]))
    os.truncate(path, cut)
    expected = max(place for place, end in enumerate(ends) if end <= cut)
    found = kept(path, [[key_of(item) for item in batch] for batch in batches])
    assert found == items[: sum(sizes[:expected])] and path.stat().st_size == ends[expected]


def test_more_results_than_were_asked_for(tmp_path):
    path = tmp_path / "part.jsonl"
    append(path, [judged(0), judged(1)])
    assert kept(path, [[key_of(judged(0))]]) == [judged(0)]
    with pytest.raises(UserError, match="line 1: is damaged"):
        path.write_text('{"id": 3}\n')
        kept(path, [[key_of(judged(0))]])


# --- two processes --------------------------------------------------------------------------------------


def test_two_processes_do_what_one_does_and_go_on_where_they_stopped(left, whole):
    pair = left / "pair"
    assert (pair / "generations.jsonl").read_text() == (whole / "generations.jsonl").read_text()
    assert results_of(pair) == results_of(whole)
    assert {path.name for path in pair.iterdir()} - {"log.txt"} == {"config.yaml", "generations.jsonl", "results.json"}


def test_each_process_keeps_a_part_of_its_own(left, maskgrpo, tmp_path):
    shutil.copytree(left / "cut", tmp_path / "cut")
    assert {path.name for path in (tmp_path / "cut").glob("generations*")} == {
        "generations.0-of-2.jsonl", "generations.1-of-2.jsonl"}
    code, _, errors = maskgrpo("eval", "--resume", "cut")
    assert code == 2 and "begun by 2 processes; now there are 1\n" in errors and "--num_processes 2" in errors
