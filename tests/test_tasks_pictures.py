"""Prompts for pictures, pictures with captions and questions about pictures, from every kind of source."""

import json
from dataclasses import replace
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from picture_files import image, raw, write, write_tar

from maskgrpo_cli import registry
from maskgrpo_cli.engine.judging import judge, tally
from maskgrpo_cli.errors import UserError
from maskgrpo_cli.tasks.hub import Hub
from maskgrpo_cli.tasks.pictures.tars import expand

PROMPTS, CAPTIONS, QUESTIONS = (registry.resolve("task", n) for n in ("prompts", "captions", "picture-questions"))


def load(data, task=CAPTIONS, split="train", **options):
    """The problems and what was told of them."""
    told = []
    problems = task.load(str(data), split, warn=told.append, **options)
    return problems, told


def said(problems):
    return [problem.prompt for problem in problems]


def shades(problems, task=CAPTIONS):
    """The red of each picture, which JPEG changes a little."""
    return [round(task.picture(problem).getpixel((3, 3))[0] / 10) * 10 for problem in problems]


# --- prompts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, content", [
    ("a.txt", "a cat\n\n  two dogs \r\nein B\u00e4r\u2028zwei\n"),
    ("a.jsonl", [{"prompt": "a cat"}, {"prompt": "two dogs"}, {"prompt": "ein B\u00e4r"}, {"prompt": "zwei"}]),
    ("a.json", json.dumps(["a cat", {"prompt": "two dogs"}, {"prompt": " ein B\u00e4r"}, "zwei"])),
    ("a.csv", "Prompt,Category\na cat,x\ntwo dogs,y\nein B\u00e4r,z\nzwei,\n"),
    ("a.jsonl", [{"caption": "a cat"}, {"caption": "two dogs"}, {"caption": "ein B\u00e4r"}, {"caption": "zwei"}]),
])
def test_prompts_of_every_format(tmp_path, name, content):
    write(tmp_path, {name: content})
    problems = PROMPTS.load(str(tmp_path / name), "train")
    assert said(problems) == ["a cat", "two dogs", "ein B\u00e4r", "zwei"]
    assert [problem.id for problem in problems] == [f"prompts-train-{n}" for n in range(4)]
    assert all(problem.target is None for problem in problems)


def test_other_columns_reach_the_rewards_under_the_same_names_in_every_row(tmp_path):
    rows = [{"prompt": "a", "tag": "x", "prompts": "no"}, {"prompt": "b", "include": [{"class": "dog"}], "tag": None}]
    write(tmp_path, {"a.jsonl": rows})
    first, second = PROMPTS.load(str(tmp_path / "a.jsonl"), "test")
    assert first.columns == {"tag": "x", "include": None}
    assert second.columns == {"tag": None, "include": [{"class": "dog"}]}
    write(tmp_path, {"b.jsonl": [{"prompt": "no", "text": "yes"}]})
    (mapped,) = PROMPTS.load(str(tmp_path / "b.jsonl"), "test", columns={"prompt": "text"})
    assert (mapped.prompt, mapped.columns) == ("yes", {"prompt": "no"})


def test_a_prompt_alone_judges_nothing():
    problem = PROMPTS.restore("a cat", None, "one")
    (record,) = judge(PROMPTS, [problem], [image()])
    assert (record.correct, record.score) == (False, 0.0) and "the rewards measure it" in record.reason
    measured = tally([record])
    assert (measured["correct"], measured["total"], measured["unit"]) == (0, 0, "pictures")
    assert PROMPTS.modality == CAPTIONS.modality == "image" and PROMPTS.style(image()) is None
    assert list(PROMPTS.rewards) == ["clip"]


@pytest.mark.parametrize("content, message", [
    ({"a.jsonl": [{"words": "a"}]}, r"has no column 'prompt', which .* it has: words\n  name it in the recipe"),
    ({"a.jsonl": [{"prompt": "a"}, {"prompt": " "}]}, "row 2: .* the prompt is empty"),
    ({"a.jsonl": [{"prompt": "a"}, {"tag": "b"}]}, "row 2: the column 'prompt' is empty"),
    ({"a.txt": " \n"}, "a.txt: holds no rows"),
])
def test_mistakes_in_prompts(tmp_path, content, message):
    write(tmp_path, content)
    with pytest.raises(UserError, match=message):
        PROMPTS.load(str(tmp_path / next(iter(content))), "train")


@pytest.mark.parametrize("name, count, columns", [
    ("geneval_prompts", 553, {"tag", "include", "exclude"}), ("dpg_prompts", 1065, {"item_id"}),
    ("hpsv2_prompts", 3200, {"tag"}), ("imagereward_prompts", 100, {"id"}),
])
def test_published_prompt_sets(benchmark_data, name, count, columns):
    problems = PROMPTS.load(benchmark_data(f"{name}.jsonl.gz"), "test")
    assert len(problems) == count and all(set(problem.columns) == columns for problem in problems)


# --- folders ------------------------------------------------------------------------------------------


def test_pictures_with_their_captions_beside_them(tmp_path):
    write(tmp_path, {
        "b.png": 20, "b.txt": "zwei\n", "sub/c.JPG": 30, "sub/c.caption": "drei", "sub/c.json": {"tag": "t"},
        "a.webp": 10, "a.json": {"caption": "eins"}, "d.e.png": 40, "d.e.txt": "\ufeffvier", ".hidden.png": 50,
        "__MACOSX/a.png": 60,
    })
    problems, told = load(tmp_path)
    assert [p.id for p in problems] == [f"captions-{n}" for n in ("a.webp", "b.png", "d.e.png", "sub/c.JPG")]
    assert said(problems) == ["eins", "zwei", "vier", "drei"] and shades(problems) == [10, 20, 40, 30]
    assert [problem.columns for problem in problems] == [{"tag": None}] * 3 + [{"tag": "t"}]
    assert all(CAPTIONS.has_picture(problem) for problem in problems) and told == []


def test_ids_stay_when_less_is_read_or_the_folder_moves(tmp_path):
    files = {f"{n}.png": n for n in range(5)} | {f"{n}.txt": f"number {n}" for n in range(5)}
    whole, _ = load(write(tmp_path / "one", files))
    some, _ = load(write(tmp_path / "other", files), limit=2)
    assert [p.id for p in some] == [p.id for p in whole][:2] and len(whole) == 5
    assert str(whole[0].picture) == "0.png"


@pytest.mark.parametrize("table, rows", [
    ("metadata.jsonl", [{"file_name": "x/1.png", "text": "one"}, {"file_name": "2.png", "text": "two"}]),
    ("captions.jsonl", [{"image": "x/1.png", "caption": "one"}, {"image": "2.png", "caption": "two"}]),
    ("metadata.csv", "file_name,text\nx/1.png,one\n2.png,two\n"),
])
def test_a_table_names_the_pictures_of_its_folder(tmp_path, table, rows):
    files = {"x/1.png": 10, "2.png": 20, "2.txt": "not this", "3.png": 30, "3.txt": "three", table: rows}
    folder = write(tmp_path, files)
    problems, told = load(folder)
    assert said(problems) == ["one", "two", "three"] and shades(problems) == [10, 20, 30] and told == []
    assert [problem.id for problem in problems] == [f"captions-{n}" for n in ("x/1.png", "2.png", "3.png")]


def test_several_captions_of_a_picture_are_problems_of_one_picture(tmp_path):
    rows = [{"file_name": "a.png", "text": ["one", "two"]}, {"file_name": "a.png", "text": "three"}]
    problems, _ = load(write(tmp_path, {"a.png": 10, "metadata.jsonl": rows}))
    assert said(problems) == ["one", "two", "three"]
    assert [p.id for p in problems] == ["captions-a.png", "captions-a.png#2", "captions-a.png#3"]
    assert len({CAPTIONS.picture_key(problem) for problem in problems}) == 1
    assert len(load(tmp_path, limit=1)[0]) == 1


def test_what_has_no_counterpart_is_counted_and_told_once(tmp_path):
    write(tmp_path, {"a.png": 1, "a.txt": "one", "b.png": 2, "c.png": 3, "c.txt": " \n", "d.txt": "lonely"})
    write(tmp_path, {"metadata.jsonl": [{"file_name": "gone.png", "text": "x"}, {"file_name": None, "text": "y"}]})
    problems, told = load(tmp_path)
    assert said(problems) == ["one"]
    assert told == [
        f"{tmp_path}: 2 pictures without a caption (such as b.png) and "
        "3 texts without a picture (such as gone.png) are left out"
    ]


def test_folders_of_splits(tmp_path):
    for split, count in (("train", 300), ("test", 3)):
        write(tmp_path, {f"{split}/{n}.png": b"" for n in range(count)})
        write(tmp_path, {f"{split}/{n}.txt": f"{split} {n}" for n in range(count)})
    found = {split: {p.id for p in load(tmp_path, split=split)[0]} for split in ("train", "validation", "test")}
    assert found["test"] == {f"captions-test/{n}.png" for n in range(3)}
    assert 4 <= len(found["validation"]) <= 32 and not found["train"] & found["validation"]
    assert found["train"] | found["validation"] == {f"captions-train/{n}.png" for n in range(300)}
    write(tmp_path, {"val/v.png": 1, "val/v.txt": "v"})
    assert said(load(tmp_path, split="validation")[0]) == ["v"] and len(load(tmp_path)[0]) == 300
    with pytest.raises(UserError, match="has no split 'extra'; it has: test, train, validation"):
        load(tmp_path, split="extra")
    write(tmp_path, {"more/w.png": 1, "more/w.txt": "w"})
    assert len(load(tmp_path, split="test")[0]) == 305, "a folder with others is taken whole"


def test_a_link_that_goes_round_in_a_circle_is_followed_once(tmp_path):
    write(tmp_path / "here", {"a.png": 1, "a.txt": "one"})
    write(tmp_path / "there", {"b.png": 2, "b.txt": "two"})
    (tmp_path / "here" / "back").symlink_to(tmp_path / "here", target_is_directory=True)
    (tmp_path / "here" / "there").symlink_to(tmp_path / "there", target_is_directory=True)
    assert said(load(tmp_path / "here")[0]) == ["one", "two"]


# --- tars ---------------------------------------------------------------------------------------------


def members(*numbers):
    return {name: content for n in numbers for name, content in ((f"{n}.jpg", 10 * n), (f"{n}.txt", f"number {n}"))}


def test_tars_are_read_in_place(tmp_path):
    tar = write_tar(tmp_path / "a.tar", {
        "x/1.png": 10, "x/1.txt": "one", "2.seg.png": 99, "2.jpg": 20, "2.json": {"caption": "two", "tag": 7},
        "3.webp": 30, "3.json": {"caption": "not this"}, "3.txt": "three", "README": "nothing",
    })
    problems, told = load(tar)
    assert said(problems) == ["one", "two", "three"] and shades(problems) == [10, 20, 30] and told == []
    assert [p.id for p in problems] == ["captions-a.tar/x/1.png", "captions-a.tar/2.jpg", "captions-a.tar/3.webp"]
    assert [p.columns["tag"] for p in problems] == [None, 7, None]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar"], "nothing was unpacked"


@pytest.mark.parametrize("pattern", ["{08..11}.tar", "{08,09,10,11}.tar", "*.tar", "{0,1}?.tar", ""])
def test_shards_come_in_order(tmp_path, pattern):
    for n in (9, 8, 11, 10):
        write_tar(tmp_path / f"{n:02d}.tar", members(n))
    problems, _ = load(f"{tmp_path}/{pattern}")
    assert said(problems) == [f"number {n}" for n in (8, 9, 10, 11)]
    assert problems[0].id == "captions-08.tar/8.jpg"


def test_shards_of_one_name_in_several_folders_are_told_apart(tmp_path):
    for part in "ab":
        write_tar(tmp_path / part / "0.tar", members(1))
    problems, _ = load(f"{tmp_path}/{{a,b}}/0.tar")
    assert [problem.id for problem in problems] == ["captions-a/0.tar/1.jpg", "captions-b/0.tar/1.jpg"]


def test_links_and_folders_in_a_tar_are_passed_over(tmp_path):
    import io
    import tarfile

    (tmp_path / "secret.txt").write_text("secret")
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, content in (("1.png", raw(10)), ("../2.png", raw(20)), ("../2.txt", b"two")):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            link = tarfile.TarInfo("1.txt")
            link.type, link.linkname = kind, str(tmp_path / "secret.txt")
            tar.addfile(link)
        folder = tarfile.TarInfo("3.png")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
    problems, told = load(tmp_path / "a.tar")
    assert said(problems) == ["two"] and "1 pictures without a caption (such as a.tar/1.png)" in told[0]


def test_of_two_members_with_one_name_the_later_counts(tmp_path):
    tar = write_tar(tmp_path / "a.tar", [("1.png", 10), ("1.txt", "old"), ("1.png", 20), ("1.txt", "new")])
    problems, _ = load(tar)
    assert said(problems) == ["new"] and shades(problems) == [20]


@pytest.mark.parametrize("cut", ["header", "picture", "middle"])
def test_a_tar_that_is_cut_off_or_damaged_is_named(tmp_path, cut):
    tar = write_tar(tmp_path / "a.tar", members(1, 2))
    whole = bytearray(tar.read_bytes())
    second = whole.index(b"2.jpg")
    if cut == "middle":
        whole[second : second + 20] = b"\xff" * 20
    tar.write_bytes(whole[: {"header": second + 100, "picture": second + 600, "middle": len(whole)}[cut]])
    with pytest.raises(UserError, match=r"a\.tar: cannot be read as a tar: .*\n  fetch it again"):
        load(tar)


@pytest.mark.parametrize("data, message", [
    ("{00..03}.tar", r"2 of 4 files are missing, such as .*02\.tar"), ("x*.tar", "no file matches"),
    ("a.tar.gz", "a.tar.gz: is compressed, .* unpack it once to a plain .tar"),
    ("{0..99999999999}.tar", "means more than 100000 files"), ("b.tar", "1 of 1 files are missing"),
])
def test_mistakes_in_shards(tmp_path, data, message):
    for n in (0, 1):
        write_tar(tmp_path / f"0{n}.tar", members(n))
    write_tar(tmp_path / "a.tar.gz", members(1), "w:gz")
    with pytest.raises(UserError, match=message):
        load(tmp_path / data)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=120, deadline=None)
@given(st.data())
def test_no_tar_makes_it_raise_anything_but_a_message(tmp_path_factory, data):
    tar = write_tar(tmp_path_factory.mktemp("tar") / "a.tar", {**members(1), f"{'x' * 120}/2.png": 20, "2.txt": "two"})
    damaged = bytearray(tar.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.sampled_from([0, 32, 48, 57, 128, 255]))
    for start in range(0, len(damaged) - 511, 512):
        if damaged[start + 257 : start + 262] == b"ustar":  # a header, whose sum is made to fit what it says now
            damaged[start + 148 : start + 156] = b" " * 8
            damaged[start + 148 : start + 156] = b"%06o\0 " % sum(damaged[start : start + 512])
    tar.write_bytes(damaged[: data.draw(st.integers(1, len(damaged)))])
    try:
        for problem in CAPTIONS.load(str(tar), "train"):
            CAPTIONS.picture(problem)
    except UserError as error:
        assert str(tar) in str(error)


def test_a_tar_that_is_none(tmp_path):
    write(tmp_path, {"a.tar": "no tar", "b/a.tar": b"", "c/a.tar": raw(1)})
    for name in ("a.tar", "b", "c"):
        with pytest.raises(UserError, match=r"a\.tar: cannot be read as a tar|holds no pictures"):
            load(tmp_path / name)


def test_names_with_the_signs_of_patterns_are_names_where_they_exist(tmp_path):
    write(tmp_path, {"a{1}*.jsonl": [{"image": "x.png", "text": "one"}], "x.png": 10})
    assert said(load(tmp_path / "a{1}*.jsonl")[0]) == ["one"]
    write_tar(tmp_path / "{a,b}.tar", members(3))
    assert said(load(tmp_path / "{a,b}.tar")[0]) == ["number 3"]
    assert expand("a{b}c") == ["a{b}c"] and expand("{1..3}{x,}") == ["1x", "1", "2x", "2", "3x", "3"]
    assert expand("{3..1}") == ["3", "2", "1"] and expand("{09..10}") == ["09", "10"]


# --- data sets of the hub -----------------------------------------------------------------------------


@pytest.fixture
def parquet(tmp_path, monkeypatch):
    """A data set as it is fetched from the hub: .parquet files with an image column."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")

    def make(name="set", split="train", rows=4, **more):
        columns = {
            "jpg": [{"bytes": raw(10 * n), "path": None} for n in range(rows)],
            "txt": [f"number {n}" for n in range(rows)],
            "when": [datetime(2024, 1, 1)] * rows,
            **more,
        }
        features = {"jpg": datasets.Image(), "txt": datasets.Value("string"), "when": datasets.Value("timestamp[s]")}
        features |= {key: datasets.Image() for key in more}
        made = datasets.Dataset.from_dict(columns, features=datasets.Features(features))
        (tmp_path / name / "data").mkdir(parents=True, exist_ok=True)
        made.to_parquet(tmp_path / name / "data" / f"{split}-00000-of-00001.parquet")
        return tmp_path / name

    return make


def test_pictures_of_a_data_set_are_read_one_by_one(parquet):
    folder = parquet()
    problems, told = load(folder)
    assert said(problems) == [f"number {n}" for n in range(4)] and told == []
    assert [p.id for p in problems] == [f"captions-train-{n}" for n in range(4)]
    assert shades([problems[3], problems[1]]) == [30, 10]
    assert problems[0].columns == {"when": "2024-01-01 00:00:00"}
    assert len({CAPTIONS.picture_key(problem) for problem in problems}) == 4
    keys = [CAPTIONS.picture_key(problem) for problem in problems]
    assert [CAPTIONS.picture_key(problem) for problem in load(folder)[0]] == keys
    changed, _ = load(parquet(other=[{"bytes": raw(5), "path": None}] * 4))
    assert not {CAPTIONS.picture_key(problem) for problem in changed} & {*keys}


def test_splits_and_columns_of_a_data_set(parquet):
    folder = parquet(rows=60, other=[{"bytes": raw(90), "path": None}] * 60)
    train, validation = ({p.id for p in load(folder, split=split)[0]} for split in ("train", "validation"))
    assert validation and not train & validation and len(train | validation) == 60
    assert shades(load(folder, columns={"picture": "other"}, limit=1)[0]) == [90]
    prompts = replace(PROMPTS, hub=Hub(str(folder))).load(None, "train", columns={"prompt": "txt"}, limit=2)
    assert [set(problem.columns) for problem in prompts] == [{"when"}] * 2, "pictures are no columns of a prompt"
    with pytest.raises(UserError, match="has no split 'test'; it has: train"):
        load(folder, split="test")
    with pytest.raises(UserError, match="no column 'none'; it has: jpg, txt, when, other"):
        load(folder, columns={"picture": "none"})


def test_a_row_without_a_picture_is_named(parquet):
    folder = parquet(name="holes", other=[{"bytes": raw(1), "path": None}, None, None, None])
    problems, _ = load(folder, columns={"picture": "other"})
    with pytest.raises(UserError, match=r"holes, row 2 of train: the column 'other' holds no picture"):
        CAPTIONS.picture(problems[1])


def test_a_name_that_is_neither_here_nor_to_be_had(tmp_path):
    with pytest.raises(UserError) as raised:
        load("somebody/pictures", offline=True)
    message = str(raised.value)
    assert message.startswith("somebody/pictures: there is no such file or folder here, and the data set somebody/")
    assert "there is no network or offline is set" in message


# --- mistakes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("files, data, message", [
    ({}, "gone/", r"gone/: there is no such file or folder\n  write a folder \(x.jpg beside x.txt"),
    ({}, "gone.jsonl", r"gone.jsonl: there is no such file or folder"),
    ({"f/a.md": "x"}, "f", "f holds no pictures for the task captions\n  write a folder"),
    ({"f/a.png": 1, "f/b.png": 1}, "f", r"f: 2 pictures, such as a.png, and none has a caption\n  needed: caption or "),
    ({"f/a.png": 1, "f/a.json": {"words": "x"}}, "f",
     r"none has a caption; its columns: words\n.* task.columns: \{caption: YOUR COLUMN\}"),
    ({"f/m.jsonl": [{"image": "a.png", "text": "x"}]}, "f/m.jsonl",
     r"m.jsonl: 1 rows or texts, and no picture to any of them, such as a.png\n  paths of pictures are relative"),
    ({"f/m.jsonl": [{"url": "a.png", "text": "x"}]}, "f/m.jsonl",
     r"m.jsonl has no column with a picture; it has: url, text\n  .*task.columns: \{picture: YOUR COLUMN\}"),
    ({"f/m.jsonl": [{"image": 3, "text": "x"}]}, "f/m.jsonl", "line 1: the column 'image' holds the path of a picture"),
    ({"f/a.png": 1, "f/a.txt": b"\xff\xfe"}, "f", "a.txt: is not UTF-8 text"),
    ({"f/a.png": 1, "f/a.json": "[1]"}, "f", "a.json: holds an object, .* not a list"),
    ({"f/a.png": 1, "f/a.json": "{"}, "f", "a.json: is not valid JSON"),
    ({"f/a.png": 1, "f/a.json": {"caption": {"a": 1}}}, "f", "a.png: .*captions: a caption is text"),
    ({"f/a.png": 1, "f/a.txt": "x" * (2**20 + 1)}, "f", "a.txt: has 1048577 bytes; at most 1048576"),
    ({"f/a.png": 1}, "f/a.png", "a data file ends in"),
])
def test_mistakes_in_captions(tmp_path, files, data, message):
    write(tmp_path, files)
    with pytest.raises(UserError, match=message):
        load(f"{tmp_path}/{data}")


def test_an_unknown_column_is_refused(tmp_path):
    with pytest.raises(UserError, match="task.columns.words: .* its columns: caption, picture"):
        load(tmp_path, columns={"words": "text"})
    with pytest.raises(UserError, match="the task captions has no data set of its own: pass --data, or set"):
        CAPTIONS.load(None, "train")


# --- questions ----------------------------------------------------------------------------------------


ASKED = [
    {"image": "p/a.png", "question": "What colour?", "answer": "Red"},
    {"image": "b.png", "question": "How many?", "answer": 3, "kind": "count"},
    {"image": "b.png", "question": "Where?", "answer": ["left", "on the left"]},
]


def test_questions_from_a_table(tmp_path):
    write(tmp_path, {"q.jsonl": ASKED, "p/a.png": 10, "b.png": 20})
    problems, told = load(tmp_path / "q.jsonl", QUESTIONS)
    assert said(problems) == ["What colour?", "How many?", "Where?"] and told == []
    assert [problem.target for problem in problems] == ["Red", "3", "left"]
    assert [problem.columns["answer"] for problem in problems] == ["Red", "3", ["left", "on the left"]]
    assert [problem.columns["kind"] for problem in problems] == [None, "count", None]
    assert [p.messages[-1]["picture"]().getpixel((0, 0))[0] for p in problems] == [10, 20, 20]
    assert QUESTIONS.modality == "understanding" and not hasattr(QUESTIONS, "picture")


def test_questions_from_a_tar(tmp_path):
    tar = write_tar(tmp_path / "q.tar", {
        "1.png": 10, "1.json": {"question": "What?", "answer": "a cat"}, "2.png": 20, "2.json": {"question": "Who?"},
    })
    problems, told = load(tar, QUESTIONS)
    assert said(problems) == ["What?"] and problems[0].messages[-1]["picture"]().size == (8, 6)
    assert told == [f"{tar}: 1 pictures without a question with an answer (such as q.tar/2.png) are left out"]


def test_questions_in_other_columns_and_mistakes(tmp_path):
    write(tmp_path, {"q.jsonl": [{"image": "a.png", "ask": "What?", "answer": "x"}], "a.png": 1})
    assert said(load(tmp_path / "q.jsonl", QUESTIONS, columns={"question": "ask"})[0]) == ["What?"]
    with pytest.raises(UserError, match=r"its columns: ask, answer\n  needed: question or query .* and answer"):
        load(tmp_path / "q.jsonl", QUESTIONS)
    write(tmp_path, {"r.jsonl": [{"image": "a.png", "question": "What?", "answer": {"a": 1}}]})
    with pytest.raises(UserError, match="line 1: cannot be read as a problem of picture-questions: .* are text"):
        load(tmp_path / "r.jsonl", QUESTIONS)


@pytest.mark.parametrize("answers, completion, right", [
    (["a red cat"], "Red cat.", True), (["red cat"], "the  red\ncat", True), (["red cat"], "red", False),
    (["3"], "3.0", True), (["3"], "3 dogs", True), (["3 cats"], "3 dogs", False), (["1,000"], "1000", True),
    (["yes", "yeah"], "Yeah!", True), (["yes"], "yes and no", False), (["left"], "I think \\boxed{left}", True),
    (["left"], "<answer>left</answer>", True), (["7"], "<|eot_id|>7", False), (["7"], "7<|eot_id|>8", True),
])
def test_short_answers(answers, completion, right):
    problem = QUESTIONS.restore("q", answers, "one")
    assert QUESTIONS.judge(completion, problem).correct is right
    reward = registry.resolve("reward", "short-answer")
    accepted = [answers, answers[0] if len(answers) == 1 else answers, None]
    assert reward(prompts=["q"] * 3, completions=[completion] * 3, answer=accepted) == [float(right)] * 2 + [None]
    assert not QUESTIONS.judge(" ", problem).correct
    assert not QUESTIONS.judge(completion, QUESTIONS.restore("q", None, "one")).counts
