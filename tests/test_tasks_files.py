"""Rows from files and from the hub, and the one message that each mistake gets."""

import gzip
import json
import sys
import types

import pytest

from maskgrpo_cli.errors import UserError
from maskgrpo_cli.tasks import hub as hub_module
from maskgrpo_cli.tasks.base import TableTask
from maskgrpo_cli.tasks.files import is_file, read_rows
from maskgrpo_cli.tasks.gsm8k import GSM8K
from maskgrpo_cli.tasks.hub import Hub
from maskgrpo_cli.types import Verdict

ROWS = [{"question": "1+1?", "answer": "two: #### 2"}, {"question": "ä\u2028?", "answer": "#### 3"}]
LINES = "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS)
CSV = 'question,answer\n1+1?,two: #### 2\n"ä\u2028?",#### 3\n'


@pytest.fixture
def write(tmp_path):
    def to(name, text):
        raw = text if isinstance(text, bytes) else text.encode()
        (tmp_path / name).write_bytes(gzip.compress(raw) if name.endswith(".gz") and raw else raw)
        return str(tmp_path / name)

    return to


@pytest.mark.parametrize("name, text", [
    ("a.jsonl", LINES), ("a.jsonl", "\n" + LINES.replace("\n", "\r\n\n") + "\n"), ("a.jsonl.gz", LINES),
    ("a.json", json.dumps(ROWS)), ("a.json.gz", json.dumps(ROWS)), ("a.csv", CSV), ("a.csv.gz", CSV),
    ("a.csv", "\ufeff" + CSV.replace("\n", "\r\n")),
])
def test_every_format_gives_the_same_rows(write, name, text):
    assert read_rows(write(name, text)) == ROWS


@pytest.mark.parametrize("name, text", [
    ("a.txt", "1+1?\r\n\n \u00e4\t\n"), ("a.txt.gz", "\ufeff1+1?\n\u00e4"), ("a.json", '["1+1?", "\u00e4"]'),
    ("a.jsonl", '"1+1?"\n{"prompt": "\u00e4"}'),
])
def test_text_alone_is_a_prompt(write, name, text):
    assert read_rows(write(name, text)) == [{"prompt": "1+1?"}, {"prompt": "\u00e4"}]


@pytest.mark.parametrize("name, text, message", [
    ("a.jsonl", '{"a": 1}\n{"a": \n', r"a\.jsonl, line 2: is not valid JSON"),
    ("a.jsonl", '{"a": 1}\n[1]\n', r"a\.jsonl, line 2: a row is an object, .* not a list"),
    ("a.jsonl", "", "holds no rows"),
    ("a.json", "[]", "holds no rows"),
    ("a.json", '{"a": 1}', "holds a list of objects, not a dict"),
    ("a.json", "[" * 100_000, "is not valid JSON"),
    ("a.json", "[1]", r"a\.json, item 1: a row is an object"),
    ("a.csv", "a,b\n1,2\n3\n", r"a\.csv, line 3: not as many fields as in the header"),
    ("a.csv", 'a,b\n"1,2\n', r"a\.csv, after line 1: unexpected end"),
    ("a.csv", "a,b\n", "holds no rows"),
    ("a.jsonl", b"\xff\xfe", "is not UTF-8 text"),
    ("a.jsonl.gz", b"", "a.jsonl.gz: holds no rows|cannot be read"),
    ("a.txt", " \n\n", "holds no rows"),
    ("a.tsv", "x", "a data file ends in .jsonl, .json, .csv or .txt"),
])
def test_mistakes_in_a_file(write, name, text, message):
    with pytest.raises(UserError, match=message):
        read_rows(write(name, text))


def test_a_file_that_is_missing_a_folder_or_no_gzip(tmp_path):
    with pytest.raises(UserError, match=r"nothing\.jsonl: there is no such file"):
        read_rows(str(tmp_path / "nothing.jsonl"))
    with pytest.raises(UserError, match="it is a folder"):
        read_rows(str(tmp_path))
    (tmp_path / "a.jsonl.gz").write_bytes(b"plain")
    with pytest.raises(UserError, match="cannot be read"):
        read_rows(str(tmp_path / "a.jsonl.gz"))


def test_what_is_taken_for_a_file(tmp_path):
    assert is_file("a.jsonl") and is_file("x/y.csv.gz") and is_file("./data") and is_file(str(tmp_path))
    assert not is_file("openai/gsm8k")


def test_columns_are_found_by_name_by_alias_or_by_mapping(write):
    for row, columns in (
        ({"question": "q", "answer": "1"}, {}), ({"problem": "q", "ground_truth": "1"}, {}),
        ({"text": "q", "answer": "1"}, {"question": "text"}), ({"question": "no", "text": "q",
        "answer": "1"}, {"question": "text"}),
    ):
        (problem,) = GSM8K.load(write("a.jsonl", json.dumps(row)), "test", columns=columns)
        assert problem.prompt.endswith("q") and problem.columns == {"answer": "1"}


@pytest.mark.parametrize("row, columns, message", [
    ({"text": "q", "answer": "1"}, {},
     r"has no column 'question', which the task gsm8k needs; it has: text, "
     r"answer\n.*task.columns: \{question: "),
    ({"question": "q", "answer": "1"}, {"question": "text"}, "has no column 'text'"),
    ({"question": "q", "answer": "1"}, {"prompt": "question"},
    "task.columns.prompt: the task gsm8k has no such column"),
    ({"question": None, "answer": "1"}, {}, "row 1: the column 'question' is empty"),
    ({"question": "q", "answer": " "}, {},
    "row 1: cannot be read as a problem of gsm8k: the answer is empty"),
])
def test_mistakes_in_columns(write, row, columns, message):
    with pytest.raises(UserError, match=message):
        GSM8K.load(write("a.jsonl", json.dumps(row)), "test", columns=columns)


def test_limit_takes_the_first_rows_only(write):
    path = write("a.jsonl", LINES + '\n{"question": null, "answer": null}')
    assert [problem.id for problem in GSM8K.load(path, "test", limit=2)] == ["gsm8k-test-0", "gsm8k-test-1"]
    with pytest.raises(UserError, match="row 3"):
        GSM8K.load(path, "test")


@pytest.fixture
def library(monkeypatch):
    """A stand-in for the `datasets` library with one data set of 400 training and 3 test rows."""
    splits = {"train": [{"a": str(n)} for n in range(400)], "test": [{"a": "t"}] * 3}
    asked = []

    def load_dataset(repository, config, split):
        asked.append((repository, config, split, module.config.HF_HUB_OFFLINE))
        if repository == "gone/away":
            raise ConnectionError("no route\nto host")
        return splits[split]

    module = types.SimpleNamespace(
        config=types.SimpleNamespace(HF_HUB_OFFLINE=False, HF_ENDPOINT="https://hub.invalid"),
        load_dataset=load_dataset, get_dataset_split_names=lambda *_: list(splits), asked=asked,
    )
    monkeypatch.setitem(sys.modules, "datasets", module)
    monkeypatch.setattr(hub_module, "_reachable", lambda endpoint: True)
    return module


def task(hub):
    return TableTask("letters", {}, {"a": ()}, lambda row: (row["a"], {}, None), lambda *_: Verdict(0.0), hub)


@pytest.mark.parametrize("data", [None, "one/set", "another/set"])
def test_validation_is_taken_from_train_and_left_out_of_it(library, data):
    letters = task(Hub("one/set", "main", ("train", "test")))
    train, validation = (
        [problem.prompt for problem in letters.load(data, split)] for split in ("train", "validation")
    )
    assert 8 <= len(validation) <= 35 and sorted(train + validation, key=int) == [str(n) for n in range(400)]
    assert train == [problem.prompt for problem in letters.load(data, "train", seed=1)]
    assert len(letters.load(data, "test")) == 3
    assert len(letters.load(data, "validation", limit=5)) == 5


def test_training_rows_may_come_from_another_repository(library):
    letters = task(Hub("one/test", None, ("train", "test"), train="one/train"))
    letters.load(None, "test")
    letters.load(None, "train")
    assert [asked[0] for asked in library.asked] == ["one/test", "one/train"]


def test_offline_is_handed_on_and_taken_back(library):
    task(Hub("one/set", None, ("train",))).load(None, "train", offline=True)
    assert library.asked == [("one/set", None, "train", True)] and library.config.HF_HUB_OFFLINE is False


def test_no_network_is_one_message_with_the_way_out(library, monkeypatch):
    monkeypatch.setattr(hub_module, "_reachable", lambda endpoint: False)
    with pytest.raises(UserError) as raised:
        task(Hub("gone/away", None, ("test",))).load(None, "test")
    message = str(raised.value)
    assert "the data set gone/away of the task letters cannot be loaded (there is no network" in message
    assert "no route" in message and "to host" not in message
    assert "https://huggingface.co/datasets/gone/away" in message and "--data FILE, or set" in message


def test_splits_that_are_not_there(library):
    with pytest.raises(UserError, match="one/set has no split 'dev'; it has: train, test"):
        task(Hub("one/set", None, ("train", "test"))).load(None, "dev")
    with pytest.raises(UserError,
    match="has no data set of its own: pass a file with columns a as --data FILE"):
        task(None).load(None, "test")


def test_an_unreachable_hub_is_noticed():
    assert not hub_module._reachable("https://127.0.0.1:1")
