"""`maskgrpo sample` for pictures, through the command line, on an untrained model."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageDraw
from tiny_pictures import save_tiny_pictures

from maskgrpo_cli import __version__


@pytest.fixture
def here(tmp_path, monkeypatch, picture_models):
    """An empty working directory, with a picture and masks beside it."""
    given = tmp_path / "given"
    given.mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(given / "a.png")
    half = Image.new("L", (64, 64), 0)
    ImageDraw.Draw(half).rectangle((0, 0, 31, 63), fill=255)
    half.save(given / "half.png")
    (given / "broken.png").write_bytes((given / "a.png").read_bytes()[:2000])
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


@pytest.fixture
def sample(here, picture_models, maskgrpo):
    """`sample(*words, recipe=True)`: exit code, and what was written to both streams; run in this process."""

    def run(*words, recipe=True):
        named = ["--recipe", str(picture_models / "pictures.yaml")] if recipe else []
        return maskgrpo("sample", *named, *words)

    return run


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB"))


def facts(path):
    return json.loads(Image.open(path).text["maskgrpo"])


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# --- what is written ----------------------------------------------------------------------------------


def test_pictures_and_a_sheet_in_a_new_folder(sample, here, picture_models):
    code, out, err = sample("--prompt", "a red circle left of a blue square", "-n", 2, "--seed", 7)
    assert code == 0 and err == "", err
    (folder,) = (here / "samples").iterdir()
    assert folder.name.startswith("a-red-circle-left-of-a-blue-square-20")
    names = [f"a-red-circle-left-of-a-blue-square-seed7-{index}.png" for index in range(2)]
    assert out.splitlines() == [f"samples/{folder.name}/{name}" for name in [*names, "grid.png"]], "names alone"
    assert files(folder) == [*names, "grid.png"]
    for index, name in enumerate(names):
        assert Image.open(folder / name).size == (32, 32), "the pixels stay as they are"
        told = facts(folder / name)
        assert Image.open(folder / name).text["prompt"] == told["prompt"] == "a red circle left of a blue square"
        assert (told["seed"], told["sample"], told["versions"]["maskgrpo"]) == (7, index, __version__)
        assert told["model"]["path"] == f"{picture_models}/model" and len(told["model"]["weights"]) == 64
        expected = {"name": "emerge", "steps": 6, "guidance": 1.0, "length": 64, "schedule": "cosine"}
        assert expected.items() <= told["sampler"].items()
    assert (pixels(folder / names[0]) != pixels(folder / names[1])).any()
    grid = pixels(folder / "grid.png")
    assert (grid[:, 20:212] == pixels(folder / names[0]).repeat(6, 0).repeat(6, 1)[100]).all((1, 2)).any()


def test_a_sample_depends_on_its_number_alone(sample, here):
    one, two = "a red circle", "two green crosses"
    sample("--prompt", one, "--prompt", two, "-n", 3, "--output", "many")
    sample("--prompt", two, "--output", "few")
    sample("--prompt", two, "--prompt", one, "-n", 2, "--output", "turned")
    for name in ("two-green-crosses-seed0-0.png", "a-red-circle-seed0-1.png"):
        others = [here / folder / name for folder in ("many", "few", "turned")]
        same = [path for path in others if path.exists()]
        assert len(same) >= 2 and all(path.read_bytes() == same[0].read_bytes() for path in same)
    assert (pixels("many/a-red-circle-seed0-0.png") != pixels("many/two-green-crosses-seed0-0.png")).any()


def test_steps_have_two_names(sample):
    for option in ("--steps", "--sampling-steps"):
        assert sample("--prompt", "x", option, 3, "--guidance", 0.5, "--output", option[2:])[0] == 0
    assert facts("steps/x-seed0-0.png")["sampler"]["steps"] == 3
    assert facts("steps/x-seed0-0.png")["sampler"]["guidance"] == 0.5
    assert pixels("steps/x-seed0-0.png").tolist() == pixels("sampling-steps/x-seed0-0.png").tolist()


def test_a_folder_that_is_there_keeps_what_it_has(sample, here):
    assert sample("--prompt", "x", "--output", "out")[0] == 0
    before = {name: (here / "out" / name).read_bytes() for name in files(here / "out")}
    code, out, _ = sample("--prompt", "x", "--output", "out", "--steps", 2)
    assert code == 0 and out.splitlines() == ["out/x-seed0-0-2.png", "out/grid-2.png"]
    assert all((here / "out" / name).read_bytes() == content for name, content in before.items())
    assert sample("--prompt", "x", "--prompt", "X!", "--output", "twice")[0] == 0
    assert files(here / "twice") == ["grid.png", "x-seed0-0-2.png", "x-seed0-0.png"]


def test_a_second_sampler_side_by_side(sample, here):
    sample("--prompt", "a cross", "-n", 2, "--output", "alone")
    code, out, _ = sample("--prompt", "a cross", "-n", 2, "--compare", "maskgit", "--output", "both")
    assert code == 0
    for index in range(2):
        emerge, maskgit = (f"both/a-cross-seed0-{index}-{name}.png" for name in ("emerge", "maskgit"))
        assert (pixels(emerge) == pixels(f"alone/a-cross-seed0-{index}.png")).all()
        assert (pixels(emerge) != pixels(maskgit)).any()
        assert facts(maskgit)["sampler"] == {**facts(emerge)["sampler"], "name": "maskgit"}
        large = [pixels(path).repeat(6, 0).repeat(6, 1) for path in (emerge, maskgit)]
        x = 20 + index * (2 * 192 + 5 + 18)
        rows = pixels("both/grid.png")
        top = next(y for y in range(len(rows)) if (rows[y, x : x + 192] == large[0][0]).all())
        assert (rows[top : top + 192, x : x + 192] == large[0]).all()
        assert (rows[top : top + 192, x + 197 : x + 389] == large[1]).all()


def test_a_film_begins_grey_and_ends_with_the_picture(sample, here):
    code, out, _ = sample("--prompt", "x", "-n", 2, "--trace", "film.webp", "--output", "out")
    assert code == 0 and out.splitlines()[-2:] == ["film.webp", "film-filmstrip.png"]
    film, grid = Image.open("film.webp"), pixels("out/grid.png")
    line = film.height - len(grid)  # it tells the step
    assert film.n_frames == 7 and film.width == grid.shape[1] and 10 < line < 20
    masked = []
    for index in range(7):
        film.seek(index)
        seen = np.asarray(film.convert("RGB"))
        masked.append((seen[:, 20:212] == 128).all(-1).sum())
    assert masked[0] == 192 * 192 and masked == sorted(masked, reverse=True) and masked[-1] < 192
    above = 20 + 192 + 60
    assert (seen[:above] == grid[:above]).all(), "all but the step"
    assert Image.open("film-filmstrip.png").width > 7 * 192


def test_a_film_draws_the_same_pictures(sample, here):
    sample("--prompt", "x", "-n", 3, "--output", "quick")
    sample("--prompt", "x", "-n", 3, "--output", "filmed", "--trace", "a.gif")
    for index in range(3):
        assert (pixels(f"quick/x-seed0-{index}.png") == pixels(f"filmed/x-seed0-{index}.png")).all()
    assert Image.open("a.gif").format == "GIF"


def test_a_long_caption_is_cut_with_a_warning(sample):
    code, out, err = sample("--prompt", "red " * 40, "--output", "out")
    assert code == 0 and "warning: the prompt 'red red" in err
    assert "has 40 tokens, of which the model sees the first 24" in err
    assert "warning" not in sample("--prompt", "red " * 24, "--output", "out")[2]


# --- again --------------------------------------------------------------------------------------------


def test_a_picture_can_be_drawn_again_from_its_file(sample, here, picture_models):
    sample("--prompt", "a 'red' circle", "-n", 3, "--seed", 5, "--steps", 3, "--output", "first")
    original = here / "first" / "a-red-circle-seed5-2.png"
    code, out, err = sample("--like", original, "--output", "again", recipe=False)
    assert code == 0 and "warning" not in err
    assert out.splitlines()[0] == "again/a-red-circle-seed5-2.png"
    assert (here / "again/a-red-circle-seed5-2.png").read_bytes() == original.read_bytes()
    code, out, err = sample("--like", original, "--seed", 6, "--output", "other", recipe=False)
    assert facts("other/a-red-circle-seed6-2.png")["sampler"]["steps"] == 3


def test_other_weights_are_told(sample, here, picture_models, tmp_path):
    sample("--prompt", "x", "--output", "first")
    other = save_tiny_pictures(tmp_path / "other", seed=1)
    code, _, err = sample("--like", "first/x-seed0-0.png", "--model", other / "model", recipe=False)
    assert code == 0 and "others than those that drew the picture" in err
    assert sample("--like", "../given/a.png", recipe=False)[0] == 2


# --- edits --------------------------------------------------------------------------------------------


def test_an_edit_with_a_mask(sample, here):
    code, out, err = sample(
        "--edit", "../given/a.png", "--keep", "../given/half.png", "--prompt", "a cross", "-n", 2, "--output", "out",
        "--trace", "e.png",
    )  # fmt: skip
    assert code == 0, err
    assert facts("out/a-cross-seed0-1.png")["edit"] == {"picture": "a.png", "mask": "half.png"}
    film = Image.open("e.png")
    film.seek(0)
    grey = (np.asarray(film.convert("RGB")) == 128).all(-1)
    first = 20 + 2 * (192 + 18)  # after what was given and what is kept
    assert not grey[60:150, first : first + 90].any() and grey[60:150, first + 97 : first + 190].all()


@pytest.mark.parametrize("mode", ["prob-remask", "flow-remask"])
def test_an_edit_with_a_strength(sample, here, mode):
    words = ["--edit", "../given/a.png", "--prompt", "a cross", "--mode", mode, "--sampler", "edit"]
    for strength in (0.3, 1):
        code, _, err = sample(*words, "--strength", strength, "--output", f"s{strength}")
        assert code == 0, err
    told = facts("s0.3/a-cross-seed0-0.png")["edit"]
    assert told == {"picture": "a.png", "strength": 0.3, "mode": mode, "repair_from": 5, "hidden_share": 0.2588}
    given = pixels("s1/grid.png")
    top = int((given[:, 20:60] != (250, 250, 248)).all((1, 2)).argmax())
    before = given[top + 3 : top + 192 : 6, 23:212:6].astype(int)
    changed = [abs(pixels(f"s{strength}/a-cross-seed0-0.png") - before).mean() for strength in (0.3, 1)]
    assert 0 < changed[0] < changed[1]


# --- which recipe -------------------------------------------------------------------------------------


@pytest.fixture
def chosen(sample, monkeypatch):
    """`chosen(*words)`: the path of the model in the config that would be drawn with, and what was said."""
    from maskgrpo_cli.engine import sampling

    def find(*words):
        seen = []
        monkeypatch.setattr(sampling, "run", lambda config, *rest, **more: seen.append(config))
        code, _, err = sample("--prompt", "x", *words, recipe=False)
        assert code == 0, err
        return seen[0], err

    return find


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ([], "math"),
        (["--temperature", "1"], "math"),
        (["--sampler", "low-confidence"], "math"),
        (["--sampler", "emerge"], "text-to-image"),
        (["--sampler", "maskgit"], "text-to-image"),
        (["--edit", "a.png", "--strength", "0.5"], "text-to-image"),
        (["--compare", "maskgit"], "text-to-image"),
        (["--output", "out"], "text-to-image"),
        (["--model", "tiny-math", "--sampler", "emerge"], "math"),
        (["--model", "GSAI-ML/LLaDA-8B-Instruct", "--sampler", "emerge"], "math-llada-8b"),
        (["--model", "some/hub-id"], "math"),
        (["--model", "some/hub-id", "--sampler", "emerge"], "text-to-image"),
    ],
)
def test_the_recipe_is_guessed_and_told(chosen, words, name):
    config, err = chosen(*words)
    assert config.description == recipes_of(name).description
    assert err == f"recipe: {name}; another with --recipe NAME\n"


def recipes_of(name):
    from maskgrpo_cli.config import load

    return load(name)


def test_a_models_own_kind_decides(chosen, picture_models, tiny_model, here):
    config, _ = chosen("--model", picture_models / "model")
    assert config.task.name == "shapes" and config.model.path == f"{picture_models}/model"
    config, _ = chosen("--model", tiny_model, "--sampler", "emerge")
    assert config.task.name == "arithmetic"
    run = here / "runs" / "mine"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text("description: mine\n")
    config, err = chosen("--model", run, "--sampler", "emerge")
    assert config.description == "mine" and "recipe: " in err


def test_a_named_recipe_always_wins(sample, chosen, tiny_model, here):
    config, err = chosen("--recipe", "math", "--sampler", "emerge")
    assert config.task.name == "arithmetic" and config.sampler.name == "emerge" and not err


def test_text_stays_text(sample, tiny_model, here):
    words = ["--recipe", "math", "--model", tiny_model, "--prompt", "What is 3 + 4?", "--device", "cpu"]
    code, out, err = sample(*words, "--sampler", "emerge", "-n", 2, "--trace", "t.html", recipe=False)
    assert code == 0 and "step" in out and "the denoising, step by step: t.html" in out, err
    assert (here / "t.html").read_text().startswith("<!doctype html>") and files(here) == ["t.html"]
    code, out, err = sample(*words, "--compare", "random", "--keep", "m.png", recipe=False)
    assert code == 2 and "error: --compare, --keep: this recipe's task, 'arithmetic', is answered with text" in err


# --- mistakes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--trace", "film.html"], "--trace film.html: .* such as film.gif"),
        (["--trace", "../given/a.png/film.gif"], "--trace .*a.png is no folder"),
        (["--output", "../given/a.png"], "--output .*a.png is no folder"),
        (["--compare", "emerge"], "--compare emerge: that is the first sampler already"),
        (["--compare", "maskgti"], "sampler 'maskgti' is unknown; did you mean 'maskgit'?"),
        (["--sampler", "edit"], "--sampler edit: name the picture to edit"),
        (["--sampler", "maskgit", "--edit", "x.png", "--strength", "1"], "an edit takes the steps of emerge"),
        (["--keep", "m.png"], "--keep m.png: name the picture to edit too: add --edit IMAGE"),
        (["--edit", "../given/a.png"], "say what may change"),
        (["--edit", "none.png", "--strength", "0.5"], "--edit none.png: there is no such file"),
        (["--edit", "../given/broken.png", "--strength", "0.5"], "broken.png: the picture cannot be read: .*truncated"),
        (["--edit", "../given/a.png", "--strength", "2"], "--strength 2: write a number above 0, up to 1"),
        (["--edit", "../given/a.png", "--strength", "much"], "--strength"),
        (["--like", "none.png"], "--like none.png: there is no such file"),
        (["--like", "../given/a.png"], "does not say how it was drawn"),
        (["--length", "63", "--block-length", "63"], "a picture of 63 image tokens: write a square number"),
        (["-n", "0"], "-n"),
    ],
)
def test_a_mistake_is_one_message_and_nothing_is_written(sample, here, words, told):
    import re

    code, out, err = sample("--prompt", "a cross", *words)
    assert code == 2 and out == ""
    assert re.search(told, err) and "Traceback" not in err
    assert list(here.iterdir()) == []


def test_a_mask_that_keeps_nothing(sample, here):
    Image.new("L", (64, 64), 0).save("../given/black.png")
    code, _, err = sample("--prompt", "x", "--edit", "../given/a.png", "--keep", "../given/black.png")
    assert code == 2 and "no token of the picture is kept" in err and list(here.iterdir()) == []


def test_a_prompt_is_needed(sample):
    code, _, err = sample()
    assert code == 2 and "--prompt: say what to ask, or to draw" in err


# --- as a process -------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="a terminal of Unix")
def test_a_terminal_shows_the_picture(here, picture_models):
    import pty

    ours, theirs = pty.openpty()
    words = ["--recipe", str(picture_models / "pictures.yaml"), "--prompt", "a cross", "--output", "out"]
    environment = {
        name: value for name, value in os.environ.items()
        if name not in ("TMUX", "KITTY_WINDOW_ID", "LC_TERMINAL", "TERM_PROGRAM", "NO_COLOR")
    }  # fmt: skip
    environment |= {"TERM": "xterm-256color", "COLORTERM": "truecolor", "PYTHONIOENCODING": "utf-8", "COLUMNS": "80"}
    process = subprocess.Popen(
        [sys.executable, "-m", "maskgrpo_cli", "sample", *words], stdout=theirs, stderr=subprocess.PIPE, env=environment
    )
    os.close(theirs)
    seen = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:
            break
        if not part:
            break
        seen += part
    _, err = process.communicate(timeout=60)
    os.close(ours)
    assert process.returncode == 0, err
    text = seen.decode()
    assert text.count("▀") == 32 * 16 and "\x1b[38;2;" in text
    assert text.splitlines()[-2:] == ["out/a-cross-seed0-0.png", "out/grid.png"]
