"""The files that `maskgrpo eval` leaves for the scorers of published picture benchmarks."""

import json
import signal
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from maskgrpo_cli import registry
from maskgrpo_cli.config import Override
from maskgrpo_cli.config.evaluation import load_benchmark
from maskgrpo_cli.engine import evaluation_files
from maskgrpo_cli.engine.judging import Judged
from maskgrpo_cli.engine.pictures.contact import page, write
from maskgrpo_cli.engine.pictures.laid_out import grid
from maskgrpo_cli.engine.pictures.layouts import Page, dpg, geneval, hpsv2, imagereward, planned
from maskgrpo_cli.errors import UserError
from maskgrpo_cli.types import Parts, Problem

SIDE = 32  # pixels of the tiny model's pictures
GENEVAL = [
    {"tag": "single_object", "include": [{"class": "cow", "count": 1}], "prompt": "a red circle"},
    {"tag": "counting", "include": [{"class": "dog", "count": 2}], "exclude": [{"class": "dog", "count": 3}],
     "prompt": "two green triangles"},
    {"tag": "colors", "include": [{"class": "car", "count": 1, "color": "red"}], "prompt": "a blue square"},
]
HPSV2 = [{"tag": tag, "prompt": f"a {colour} circle"} for tag, colour in (
    ("anime", "red"), ("concept", "red"), ("anime", "blue"), ("photo", "green"))]


@pytest.fixture
def evaluate(picture_models, tmp_path, monkeypatch, maskgrpo):
    """`evaluate(benchmark, rows, folder, *words)`: exit code and what was said; run in this process."""
    monkeypatch.chdir(tmp_path)

    def run(benchmark, rows, folder, *words):
        (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return call(benchmark, "--data", "rows.jsonl", "--recipe", picture_models / "pictures.yaml",
                    "--sampling-steps", 2, "--batch-size", 2, "--output-dir", folder, *words)

    def call(*words):
        code, out, err = maskgrpo("eval", *words)
        return code, " ".join(f"{out} {err}".split())

    run.call = call
    return run


def files(folder):
    """Path below a folder -> content, of every file."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB"))


def problem(key, prompt="p", **columns):
    return Problem(key, ({"role": "user", "content": prompt},), columns)


# --- through the command line ---------------------------------------------------------------------------


def test_geneval(evaluate, tmp_path):
    code, said = evaluate("geneval", GENEVAL, "run")
    assert code == 0, said
    assert "geneval: made 12 pictures (nothing is judged right or wrong)" in said
    assert "results in run, pictures for the scorer of geneval in run/geneval" in said
    made = files(tmp_path / "run" / "geneval")
    each = ["grid.png", "metadata.jsonl", *(f"samples/{sample:04d}.png" for sample in range(4))]
    assert sorted(made) == [f"{number:05d}/{name}" for number in range(3) for name in each]
    rows = [json.loads(made[f"{number:05d}/metadata.jsonl"]) for number in range(3)]
    assert rows == GENEVAL and list(rows[1]) == list(GENEVAL[1])  # the row as it was, without an empty `exclude`
    folder = tmp_path / "run" / "geneval" / "00001"
    one, two, three, four = (pixels(folder / "samples" / f"{sample:04d}.png") for sample in range(4))
    assert one.shape == (SIDE, SIDE, 3) and (one != two).any()
    assert (pixels(folder / "grid.png") == np.vstack([np.hstack([one, two]), np.hstack([three, four])])).all()
    assert (one == pixels(tmp_path / "run" / "pictures" / "geneval-test-1-0.png")).all()
    assert json.loads((tmp_path / "run" / "results.json").read_text())["layout"] == ["geneval"]


def test_dpg(evaluate, tmp_path):
    rows = [{"item_id": "partiprompts97", "prompt": "a red circle"}, {"item_id": "COCOval2014", "prompt": "a square"}]
    code, said = evaluate("dpg", rows, "run")
    assert code == 0, said
    assert sorted(files(tmp_path / "run" / "dpg")) == ["COCOval2014.png", "partiprompts97.png"]
    sheet = pixels(tmp_path / "run" / "dpg" / "partiprompts97.png")
    parts = [pixels(tmp_path / "run" / "pictures" / f"dpg-test-0-{sample}.png") for sample in range(4)]
    assert sheet.shape == (2 * SIDE, 2 * SIDE, 3)
    for sample, part in enumerate(parts):
        row, column = divmod(sample, 2)
        assert (sheet[row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE] == part).all()
    code, said = evaluate("dpg", rows, "other", "-n", 3)
    assert code == 2 and "evaluation.samples = 3: a sheet of DPG-Bench holds 4 pictures; write -n 4" in said
    assert not (tmp_path / "other").exists()


def test_hpsv2(evaluate, tmp_path):
    code, said = evaluate("hpsv2", HPSV2, "run")
    assert code == 0, said
    made = files(tmp_path / "run" / "hpsv2")
    assert sorted(made) == ["anime/00000.jpg", "anime/00001.jpg", "concept-art/00000.jpg", "photo/00000.jpg"]
    picture = Image.open(tmp_path / "run" / "hpsv2" / "anime" / "00001.jpg")
    assert (picture.format, picture.size) == ("JPEG", (SIDE, SIDE))
    own = pixels(tmp_path / "run" / "pictures" / "hpsv2-test-2-0.png").astype(float)  # the third row
    assert abs(np.asarray(picture, dtype=float).mean((0, 1)) - own.mean((0, 1))).max() < 2
    code, said = evaluate("hpsv2", HPSV2, "other", "-n", 2)
    assert code == 2 and "HPSv2 scores one picture of each prompt; write -n 1" in said


def test_imagereward_at_two_temperatures(evaluate, tmp_path):
    rows = [{"id": "005695-0057", "prompt": "a red circle"}, {"id": "005784-0093", "prompt": "a blue square"}]
    code, said = evaluate("imagereward", rows, "run", "-n", 2, "--temperature", "0.5,1")
    assert code == 0, said
    assert "in run/imagereward-T0.5-L64, run/imagereward-T1-L64" in said
    names = [f"{row['id']}_{sample}.png" for row in rows for sample in range(2)]
    cold, warm = (files(tmp_path / "run" / f"imagereward-T{t}-L64") for t in ("0.5", "1"))
    assert sorted(cold) == sorted(warm) == sorted(names)
    assert all(cold[name] != warm[name] for name in names)  # neither overwrites the other


@pytest.mark.parametrize("after", [2, 7])
def test_interrupted_and_on(evaluate, tmp_path, monkeypatch, after):
    """4 samples of 3 prompts, 2 at once: 8 batches; a file that a kill left out is made when it goes on."""
    assert evaluate("geneval", GENEVAL, "whole")[0] == 0
    original, seen = evaluation_files.append, []

    def counted(path, batch):
        original(path, batch)
        seen.append(len(batch))
        if len(seen) == after:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(evaluation_files, "append", counted)
    code, said = evaluate("geneval", GENEVAL, "run")
    assert code == 130 and "continue it: maskgrpo eval --resume run" in said
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    begun = tmp_path / "run" / "geneval"
    made = files(begun)
    assert {"00000/metadata.jsonl", "00000/samples/0000.png"} < set(made) and "00002/grid.png" not in made
    (begun / "00000" / "samples" / "0000.png").unlink()
    code, said = evaluate.call("--resume", "run")
    assert code == 0, said
    assert f"continuing after {sum(seen)} of 12 completions" in said
    assert files(begun) == files(tmp_path / "whole" / "geneval")


def test_a_picture_that_is_gone_is_named(evaluate, tmp_path, monkeypatch):
    original, seen = evaluation_files.append, []

    def counted(path, batch):
        original(path, batch)
        seen.append(batch)
        if len(seen) == 4:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(evaluation_files, "append", counted)
    assert evaluate("geneval", GENEVAL, "run")[0] == 130
    (tmp_path / "run" / "pictures" / "geneval-test-0-1.png").unlink()
    code, said = evaluate.call("--resume", "run")
    assert code == 2 and "run/pictures/geneval-test-0-1.png is gone; evaluate again in another directory" in said


# --- the page of all pictures ---------------------------------------------------------------------------


class Links(HTMLParser):
    """The links of a page, what it says, and whether every element was closed in its order."""

    def __init__(self, text):
        super().__init__()
        self.links, self.said, self.open, self.classes = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.links += [value for name, value in attributes if name in ("src", "href")]
        self.classes += [value for name, value in attributes if name == "class"]
        self.open += [tag] if tag not in ("meta", "img") else []

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.said.append(data)


def test_the_page_shows_every_picture_beside_its_prompt(evaluate, tmp_path):
    rows = [*GENEVAL[:2], {**GENEVAL[2], "prompt": "<b>a & \"b\"</b>"}]
    assert evaluate("geneval", rows, "run", "-n", 2, "--temperature", "0.5,1")[0] == 0
    seen = Links((tmp_path / "run" / "contact.html").read_text())
    assert seen.open == [] and len(seen.links) == 2 * 3 * 2 * 2  # settings, prompts, samples; each shown and linked
    assert all((tmp_path / "run" / link).is_file() for link in seen.links)
    assert "<b>a & \"b\"</b>" in seen.said and not {"right", "wrong"} & {*seen.classes}


def test_a_page_is_made_where_its_first_picture_was_taken_away(tmp_path):
    row = {"temperature": 1.0, "steps": 4, "accuracy": None, "completions": 1, "unit": "pictures", "reward": 0.5}
    gone = Judged("a", "prompt", "pictures/a.png", {}, None, 0.0, False, "", 0.5, None, Parts(0, 0, "pictures"))
    write(tmp_path, {"benchmark": "dpg", "model": {"path": "tiny"}, "results": [row]}, [[gone]])
    said = Links((tmp_path / "contact.html").read_text()).said
    assert "T=1, 4 steps: reward 0.500 (1 pictures, nothing is judged right or wrong)" in said


def test_the_page_says_what_is_right_and_why_not():
    row = {"temperature": 1.0, "steps": 4, "accuracy": 0.5, "correct": 1, "total": 2, "interval": [0.1, 0.9],
           "unit": "completions", "pass_at": {}, "reward": None, "score": 0.75, "graded": True}
    judged = [Judged(key, f"prompt {key}", f"pictures/{key} 0.png", {}, None, score, score == 1, why, 0.25, None)
              for key, score, why in (("a", 1.0, ""), ("b", 0.5, "there is <no> circle"))]
    text = page({"benchmark": "shapes", "model": {"path": "tiny"}, "results": [row]}, [judged])
    said = Links(text).said
    assert "T=1, 4 steps: accuracy 50.0% (1/2), score 0.750" in said
    assert "right 1.00" in said and "wrong 0.50" in said and " · reward 0.250 · there is <no> circle" in said
    assert 'src="pictures/b%200.png"' in text


# --- settings, plans and grids --------------------------------------------------------------------------


def test_the_number_of_pictures_and_their_temperature(picture_models):
    recipe = str(picture_models / "pictures.yaml")

    def of(benchmark, *changes):
        own = load_benchmark(recipe, benchmark, changes).evaluation
        return own.samples, own.temperatures

    assert [of(name)[0] for name in ("geneval", "dpg", "hpsv2", "imagereward", "shapes")] == [4, 4, 1, 10, 1]
    assert of("geneval") == (4, [1.0]) and of("shapes") == (1, [0.0])
    assert of("geneval", "sampler.temperature=0.5") == (4, [1.0])  # that of the recipe, as for every benchmark
    assert of("geneval", Override("evaluation.samples", 2), "evaluation.temperatures=[0.3]") == (2, [0.3])


def test_every_layout_has_its_task_and_its_number_of_pictures():
    layouts = {getattr(registry.resolve("task", name), "layout", None) for name in registry.names("task")} - {None}
    assert layouts == {*registry.names("layout")} == {*registry.SAMPLES}


def test_plans():
    first, second = problem("a", "x", include=[1], exclude=None, tag="t", more=3), problem("b", "y", tag="u")
    plan = geneval([first, second], 3)
    assert plan[0][0].text == '{"tag": "t", "include": [1], "more": 3, "prompt": "x"}\n'
    assert plan[1][-1] == Page("00001/grid.png", (0, 1, 2), 2) and len(plan[1]) == 5
    assert dpg([problem("a", item_id="i")], 1) == [[Page("i.png", (0,), 1)]]
    assert [page.path for (page,) in hpsv2([problem("a", tag=tag) for tag in ("concept", "photo", "concept")], 1)] == [
        "concept-art/00000.jpg", "photo/00000.jpg", "concept-art/00001.jpg"]
    assert [page.path for page in imagereward([problem("a", id=7)], 2)[0]] == ["7_0.png", "7_1.png"]


@pytest.mark.parametrize("name", ["../x", "a/b", "a\\b", ".hidden", "", "a\nb", "c:d"])
def test_names_that_are_no_files(name):
    with pytest.raises(UserError, match="row-1: the column 'item_id' names a file"):
        dpg([problem("row-1", item_id=name)], 4)


def test_one_file_for_two_prompts():
    with pytest.raises(UserError, match="two prompts have the same name, i.png"):
        planned(dpg, [problem("a", item_id="i"), problem("b", item_id="i")], 4)


def test_a_grid_leaves_what_is_missing_black():
    made = np.asarray(grid([Image.new("RGB", (2, 3), (one, 0, 0)) for one in (10, 20, 30)], 2))
    assert made.shape == (6, 4, 3)
    assert made[0, 0, 0] == 10 and made[2, 3, 0] == 20 and made[3, 1, 0] == 30 and not made[3:, 2:].any()


@pytest.mark.parametrize("name, count, first, last", [
    ("geneval", 553, "00000/metadata.jsonl", "00552/grid.png"),
    ("dpg", 1065, "partiprompts97.png", None),
    ("hpsv2", 3200, "anime/00000.jpg", "photo/00799.jpg"),
    ("imagereward", 100, "005695-0057_0.png", None),
])
def test_the_real_files(benchmark_data, name, count, first, last):
    task = registry.resolve("task", name)
    problems = task.load(benchmark_data(f"{name}_prompts.jsonl.gz"), "test")
    plan = planned(registry.resolve("layout", task.layout), problems, registry.SAMPLES[name])
    paths = [page.path for pages in plan.values() for page in pages]
    assert len(plan) == len(problems) == count and paths[0] == first and last in (None, paths[-1])
    assert len({frozenset(one.columns) for one in problems}) == 1  # rewards get the same columns for all


def tags(completions, tag, include, exclude, **columns):
    """A reward of the user's own that sees the rows: how many classes the prompt asks for."""
    return [float(len(wanted)) for wanted in include]


def test_real_prompts_through_the_command_line(benchmark_data, evaluate, picture_models, tmp_path):
    code, said = evaluate.call("hpsv2", "--data", benchmark_data("hpsv2_prompts.jsonl.gz"), "--limit", 3,
                               "--recipe", picture_models / "pictures.yaml", "--sampling-steps", 2,
                               "--output-dir", "run")
    assert code == 0, said
    assert sorted(files(tmp_path / "run" / "hpsv2")) == [f"anime/{number:05d}.jpg" for number in range(3)]


def test_rewards_see_the_rows(evaluate, tmp_path):
    code, said = evaluate("geneval", GENEVAL, "run", "-n", 1, "--set", "task.rewards.test_eval_layouts:tags=1")
    assert code == 0 and "geneval: reward 1.000 (3 pictures, nothing is judged right or wrong)" in said
    assert evaluate.call("--resume", "run")[1].startswith("geneval: reward 1.000")


def test_real_rows_of_geneval_come_back(benchmark_data):
    from maskgrpo_cli.tasks.files import read_rows

    rows = read_rows(benchmark_data("geneval_prompts.jsonl.gz"))
    problems = registry.resolve("task", "geneval").load(benchmark_data("geneval_prompts.jsonl.gz"), "test")
    assert [json.loads(pages[0].text) for pages in geneval(problems, 4)] == rows
