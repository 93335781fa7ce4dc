"""`maskgrpo sft`, `grpo` and `eval` on pictures from folders, tars and tables, through the command line."""

import io
import json
import os

import pytest
import yaml
from picture_files import write, write_tar
from PIL import Image

from maskgrpo_cli.tasks.shapes import SHAPES

PROBLEMS = [SHAPES.problem("train", number) for number in range(12)]


@pytest.fixture
def run(picture_models, tmp_path, monkeypatch, maskgrpo):
    """`run(command, task, name, **changes)`: a very small run; its folder, its exit code and all that was said."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def carry_out(command, task, name="run", **changes):
        recipe = {
            "model": {"path": f"{picture_models}/model", "image_tokenizer": f"{picture_models}/tokenizer"},
            "task": {"max_prompt_length": 24, "rewards": {"shapes": 1.0}, **task},
            "sampler": {"name": "emerge", "length": 64, "block_length": 64, "steps": 3, "schedule": "cosine"},
            "sft": {"steps": 3, "batch_size": 4, "micro_batch_size": 4},
            "grpo": {"steps": 2, "prompts": 2, "group_size": 2, "updates": 1, "log_completions": 2,
                     "estimator": {"name": "uniform"}},
            "evaluation": {"final_limit": 0}, "device": "cpu",
        }  # fmt: skip
        for key, value in changes.items():
            section, _, own = key.partition("__")
            recipe[section] = recipe[section] | {own: value} if own else value
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(recipe))
        folder = tmp_path / "runs" / name
        wanted = [command, "--recipe", str(tmp_path / f"{name}.yaml"), "--output-dir", str(folder)]
        if command == "eval":
            wanted[1:1] = [task["name"], "--data", task["data"]]
        code, out, err = maskgrpo(*wanted)
        return folder, code, " ".join(f"{out} {err}".split())

    return carry_out


def drawn(number):
    """The bytes of the picture of a problem."""
    file = io.BytesIO()
    Image.fromarray(SHAPES.picture(PROBLEMS[number])).save(file, "PNG")
    return file.getvalue()


def pairs(numbers, ending="txt"):
    return {
        name: content for n in numbers
        for name, content in ((f"{n}.png", drawn(n)), (f"{n}.{ending}", PROBLEMS[n].prompt))
    }


def losses(folder):
    return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_folder_a_table_and_tars_of_the_same_pictures_are_learnt_alike(run, tmp_path):
    folder = write(tmp_path / "folder", pairs(range(8)))
    rows = [{"file_name": f"folder/{n}.png", "text": PROBLEMS[n].prompt} for n in range(8)]
    write(tmp_path, {"table.jsonl": rows})
    for shard in range(2):
        write_tar(tmp_path / f"shards/0{shard}.tar", pairs(range(4 * shard, 4 * shard + 4), "caption"))
    seen = []
    for name, data in (("folder", folder), ("table", "table.jsonl"), ("tars", "shards/{00..01}.tar")):
        where, code, said = run("sft", {"name": "captions", "data": str(tmp_path / data)}, name)
        assert code == 0, said
        seen.append(losses(where))
    assert seen[0] == seen[1] == seen[2] and len(seen[0]) == 3


def test_pictures_are_encoded_once(run, tmp_path):
    folder = write(tmp_path / "folder", pairs(range(6)))
    task = {"name": "captions", "data": str(folder)}
    first, code, said = run("sft", task, "first")
    assert code == 0, said
    (kept,) = (tmp_path / "cache/maskgrpo/codes").rglob("*.safetensors")
    for path in folder.glob("*.png"):  # with the same size and time, so that only opening would tell
        found = path.stat()
        path.write_bytes(b"\0" * found.st_size)
        os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    again, code, said = run("sft", task, "again")
    assert code == 0 and losses(first) == losses(again), said
    kept.write_bytes(kept.read_bytes()[:-1])
    _, code, said = run("sft", task, "damaged")
    assert code == 2 and f"{kept} is damaged; its pictures are encoded anew" in said
    _, code, said = run("sft", task, "off", sft__code_cache=None)
    assert code == 2 and "6 of 6 pictures cannot be read" in said and "damaged" not in said


def test_what_is_left_out_is_told_once(run, tmp_path):
    folder = write(tmp_path / "folder", pairs(range(4)) | {"x.png": drawn(1), "y.txt": "a circle"})
    _, code, said = run("sft", {"name": "captions", "data": str(folder)}, evaluation={"final_limit": 1})
    told = "1 pictures without a caption (such as x.png) and 1 texts without a picture (such as y.txt) are left out"
    assert code == 0 and said.count(told) == 1, said


def test_a_picture_that_cannot_be_read_is_one_message_and_leaves_no_run(run, tmp_path):
    folder = write(tmp_path / "folder", pairs(range(4)) | {"2.png": b"no picture"})
    where, code, said = run("sft", {"name": "captions", "data": str(folder)})
    assert code == 2 and "2.png: cannot be read as a picture: its format is none of" in said
    assert not where.exists()


@pytest.mark.parametrize("command", ["sft", "grpo", "eval"])
def test_data_that_are_not_there_are_one_message(run, tmp_path, command):
    for data, message in (
        (f"{tmp_path}/gone/", "there is no such file or folder write a folder"),
        (f"{tmp_path}/{{00..03}}.tar", "4 of 4 files are missing, such as"),
    ):
        where, code, said = run(command, {"name": "captions", "data": data})
        assert code == 2 and f"error: {data}: {message}" in said and not where.exists()


def test_questions_about_pictures_are_learnt(run, tmp_path):
    rows = [{"image": f"{n}.png", "question": "a circle ?", "answer": "red"} for n in range(4)]
    write(tmp_path, pairs(range(4)) | {"q.jsonl": rows})
    small = {"sampler__length": 8, "sampler__block_length": 8, "task__rewards": None}
    where, code, said = run("sft", {"name": "picture-questions", "data": str(tmp_path / "q.jsonl")}, **small)
    assert code == 0 and len(losses(where)) == 3, said


def test_prompts_of_a_text_file_are_rewarded(run, tmp_path):
    prompts = [problem.prompt for problem in PROBLEMS[:4]]
    write(tmp_path, {"p.txt": "\n".join(prompts)})
    where, code, said = run("grpo", {"name": "prompts", "data": str(tmp_path / "p.txt")})
    assert code == 0, said
    rows = [json.loads(line) for line in (where / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == 2 and all(0 <= row["reward"] <= 1 for row in rows)
    shown = [json.loads(line)["prompt"] for line in (where / "completions.jsonl").read_text().splitlines()]
    assert shown and set(shown) <= set(prompts)
