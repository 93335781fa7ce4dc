"""The embedded code task: every reference passes its tests, mistakes fail one, splits are disjoint, nothing drifts."""

import ast
import contextlib
import hashlib
import io
import json
from dataclasses import replace

import pytest

from maskgrpo_cli.domains.arithmetic import SPLITS, Draws
from maskgrpo_cli.domains.programs import chains, choices, lists, writing
from maskgrpo_cli.domains.programs.composing import FAMILIES, Spec, spec_for, windows
from maskgrpo_cli.domains.programs.testing import checked_for, result
from maskgrpo_cli.errors import UserError
from maskgrpo_cli.tasks.programs import PROGRAMS, SIZES


@pytest.fixture(scope="module")
def problems():
    return {split: PROGRAMS.load(None, split, limit=600) for split in SPLITS}


def passes(program: str, problem) -> bool:
    """Whether a program of the generator passes the tests of a problem; run right here, as nobody else wrote it."""
    names: dict = {}
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            exec(program, names)
            for test in problem.columns["tests"]:
                exec(test, names)
    except (AssertionError, ValueError, IndexError, TypeError):
        return False
    return True


def code(completion: str) -> str:
    head, body = completion[:10], completion[10:-4]
    assert head == "```python\n" and completion[-4:] == "\n```"
    return body


def spec(kind: str, *words: str) -> Spec:
    """A specification by the words of its steps."""
    groups = {
        "lists": (lists.EVERY, lists.SAME, *lists.TESTS, *lists.CHANGES, *lists.ENDS, lists._COUNT),
        "texts": (*chains.TEXTS.starts, *chains.TEXTS.steps, *chains.TEXTS.ends),
        "numbers": (*chains.NUMBERS.starts, *chains.NUMBERS.steps),
        "choices": (*choices.CONDITIONS, *choices.RESULTS),
    }
    return Spec(kind, tuple(next(stage for stage in groups[kind] if stage.words == word) for word in words))


@pytest.mark.parametrize("asked, names, said, written, cases", [
    (spec("lists", "the even numbers in {xs}", ", each times 3", "the sum of {}"), ("xs",),
     "the sum of the even numbers in xs, each times 3", "sum(x * 3 for x in xs if x % 2 == 0)",
     [(([1, 2, 4],), 18), (([],), 0), (([-2, 3],), -6)]),
    (spec("lists", "the numbers in {xs} greater than 5", "", "the largest of {}, or 0"), ("nums",),
     "the largest of the numbers in nums greater than 5, or 0", "max((x for x in nums if x > 5), default=0)",
     [(([1, 5, 6, 9, 7],), 9), (([5],), 0)]),
    (spec("lists", "the numbers in {xs} divisible by 3", "", "how many are {}"), ("xs",),
     "how many are the numbers in xs divisible by 3", "len([x for x in xs if x % 3 == 0])",
     [(([3, 0, -6, 4],), 3), (([],), 0)]),
    (spec("lists", "the numbers in {xs}", ", each squared", "a sorted list of {}"), ("xs",),
     "a sorted list of the numbers in xs, each squared", "sorted(x * x for x in xs)",
     [(([-3, 2],), [4, 9]), (([],), [])]),
    (spec("lists", "the negative numbers in {xs}", ", each without its sign", "a list of {}"), ("xs",),
     "a list of the negative numbers in xs, each without its sign", "[abs(x) for x in xs if x < 0]",
     [(([-3, 2, 0, -1],), [3, 1])]),
    (spec("texts", "{a}", "repeated 2 times", "reversed"), ("s",),
     "s repeated 2 times, then reversed", "(s * 2)[::-1]", [(("ab",), "baba")]),
    (spec("texts", "{a}", "in upper case", "with u for every a"), ("text",),
     "text in upper case, then with u for every a", 'text.upper().replace("a", "u")', [(("aB",), "AB")]),
    (spec("texts", "{a}", "followed by e", "cut to its last 2 letters"), ("s",),
     "s followed by e, then cut to its last 2 letters", '(s + "e")[-2:]', [(("abc",), "ce")]),
    (spec("texts", "{a}", "preceded by t", "its number of t"), ("s",),
     "s preceded by t, then its number of t", '("t" + s).count("t")', [(("tot",), 3)]),
    (spec("texts", "{a}", "without its first 2 letters", "its length"), ("s",),
     "s without its first 2 letters, then its length", "len(s[2:])", [(("abcde",), 3)]),
    (spec("numbers", "the sum of {a} and {b}", "times 3", "minus 4"), ("a", "b"),
     "the sum of a and b, then times 3, then minus 4", "(a + b) * 3 - 4", [((1, 2), 5), ((0, -1), -7)]),
    (spec("numbers", "the product of {a} and {b}", "squared"), ("x", "y"),
     "the product of x and y, then squared", "(x * y) ** 2", [((2, -3), 36)]),
    (spec("numbers", "the larger of {a} and {b}", "modulo 4", "squared"), ("m", "n"),
     "the larger of m and n, then modulo 4, then squared", "(max(m, n) % 4) ** 2", [((7, 1), 9), ((-5, -9), 9)]),
    (spec("choices", "{a} is greater than {b}", "{a} plus 3", "{b} times 2"), ("p", "q"),
     "p plus 3 if p is greater than q, else q times 2", "p + 3 if p > q else q * 2",
     [((5, 4), 8), ((4, 4), 8), ((1, 4), 8)]),
    (spec("choices", "{b} is odd", "{a}", "{b} minus 2"), ("a", "b"),
     "a if b is odd, else b minus 2", "a if b % 2 == 1 else b - 2", [((5, 3), 5), ((5, 4), 2), ((5, -1), 5)]),
])
def test_words_python_and_meaning_are_the_same(asked, names, said, written, cases):
    assert asked.family.say(asked.stages, names) == said
    assert asked.family.write(asked.stages, names) == written
    for arguments, value in cases:
        assert asked.value(arguments) == value
        assert eval(written, dict(zip(names, arguments))) == value


def test_default_sizes():
    assert SIZES == {"train": 20_000, "validation": 512, "test": 512}
    assert len(PROGRAMS.load(None, "validation")) == 512


def test_every_reference_passes_its_tests_and_is_what_its_request_says(problems):
    for rows in problems.values():
        for problem in rows:
            columns = problem.columns
            assert len(columns["tests"]) == 3 and columns["setup"] == ""
            assert passes(columns["solution"], problem), problem
            assert PROGRAMS.reference(problem) == writing.fenced(columns["solution"])
            head = columns["solution"].partition(":")[0].removeprefix("def ")
            assert head in problem.prompt and head.startswith(columns["entry_point"] + "(")
            for test in columns["tests"]:
                assert test.startswith(f"assert {columns['entry_point']}(")


def test_expected_values_are_written_as_plain_data(problems):
    for problem in problems["test"]:
        for test in problem.columns["tests"]:
            comparison = ast.parse(test).body[0].test
            assert isinstance(ast.literal_eval(comparison.comparators[0]), (int, str, list))
            assert all(ast.literal_eval(argument) is not None for argument in comparison.left.args)


@pytest.mark.parametrize("split", SPLITS)
def test_a_program_with_a_mistake_fails(split):
    slips = 0
    for index in range(150):
        draws = Draws.of("mistakes", split, index)
        checked = checked_for(split, draws)
        names = writing.Names.drawn(checked.spec, draws)
        tests = tuple(writing.assertion(names, given, result(checked.spec, given)) for given in checked.arguments)
        problem = replace(PROGRAMS.problem(split, 0), columns={"tests": tests})
        assert passes(writing.program(checked.spec, names), problem)
        assert not passes(writing.program(checked.spec, names, prints=True), problem)
        assert checked.forgetful
        for wrong in (*checked.forgetful, *checked.slipped):
            assert not passes(writing.program(wrong, names), problem), (checked.spec, wrong)
        slips += len(checked.slipped)
    assert slips > 150


def test_targets_are_right_as_often_as_asked_and_mistaken_otherwise(problems):
    rows = [PROGRAMS.problem("train", index) for index in range(1500)]
    right = [passes(code(problem.target), problem) for problem in rows]
    assert abs(sum(right) / len(right) - 0.45) < 0.04
    assert [one for one, problem in zip(right, rows) if (problem.target == PROGRAMS.reference(problem)) != one] == []
    prints = [PROGRAMS.style(problem.target) for problem in rows]
    assert set(prints) == {"returns", "prints"} and 0.06 < prints.count("prints") / len(rows) < 0.14
    always = replace(PROGRAMS, right_share=1.0)
    assert all(problem.target == always.reference(problem) for problem in always.load(None, "train", limit=300))


def test_right_share_changes_targets_alone():
    always = replace(PROGRAMS, right_share=1.0)
    for index in range(50):
        one, other = PROGRAMS.problem("train", index), always.problem("train", index)
        assert (one.prompt, one.columns) == (other.prompt, other.columns)


def test_no_two_consecutive_steps_are_shared_between_splits():
    seen = {}
    for split in SPLITS:
        for index in range(1000):
            found = windows(spec_for(split, Draws.of("windows", split, index)))
            assert found
            for window in found:
                assert seen.setdefault(window, split) == split
    assert {split: list(seen.values()).count(split) > 50 for split in SPLITS} == dict.fromkeys(SPLITS, True)


def test_train_knows_all_single_steps_that_test_needs():
    known, asked = set(), []
    for split, count in (("train", 3000), ("test", 300)):
        for index in range(count):
            drawn = spec_for(split, Draws.of("steps", split, index))
            words = [(drawn.kind, stage.words) for stage in drawn.stages]
            known.update(words) if split == "train" else asked.extend(words)
    assert sum(step in known for step in asked) / len(asked) > 0.99


def test_every_family_is_in_every_split():
    for split in SPLITS:
        assert {spec_for(split, Draws.of("kinds", split, index)).kind for index in range(100)} == set(FAMILIES)


def test_lengths_in_pieces_and_closed_vocabulary(problems):
    known = set(PROGRAMS.vocabulary())
    assert len(known) == len(PROGRAMS.vocabulary()) < 160
    for rows in problems.values():
        for problem in rows:
            asked, answer = writing.pieces(problem.prompt), writing.pieces(problem.target)
            assert len(asked) <= 28 and len(answer) <= 31
            assert known.issuperset(asked) and known.issuperset(answer), problem


def test_the_tokenizer_needs_no_bytes_and_loses_nothing(problems):
    from maskgrpo_cli.models.tokenizer import build_tokenizer

    tokenizer = build_tokenizer(PROGRAMS.vocabulary())
    for problem in problems["test"][:150]:
        reference = PROGRAMS.reference(problem)
        for text, longest in ((problem.prompt, 28), (problem.target, 30), (reference, 30)):
            ids = tokenizer(text)["input_ids"]
            assert len(ids) <= min(longest, len(writing.pieces(text))) and tokenizer.decode(ids) == text


def test_a_problem_depends_on_split_and_index_only(problems):
    assert PROGRAMS.load(None, "train", limit=5, seed=7) == problems["train"][:5]
    assert PROGRAMS.problem("train", 10**9) == PROGRAMS.problem("train", 10**9)


def test_the_generator_is_pinned():
    """The shipped checkpoint and every published number depend on these problems: they must never change."""
    rows = [problem for split in SPLITS for problem in PROGRAMS.load(None, split, limit=64)]
    text = json.dumps([[row.id, row.prompt, dict(row.columns), row.target] for row in rows])
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "6cd870d6ea846e05"


@pytest.mark.parametrize("completion, style", [
    ("```python\ndef f(xs):\n    return sum(xs)\n```", "returns"),
    ("```python\ndef f(a, b):\n    print(a)\n```", "prints"),
    ("```python\ndef f(a, b):\n    printer(a)\n```", None),
    ("```python\nreturn 3\n```", None),
    ("def f(xs):\n    return sum(xs)", None),
    ("", None),
])
def test_style(completion, style):
    assert PROGRAMS.style(completion) == style


def test_a_file_may_replace_the_generator(tmp_path):
    row = {"question": "double it", "tests": ["assert f(2) == 4"], "entry_point": "f"}
    (tmp_path / "mine.jsonl").write_text(json.dumps(row))
    (problem,) = PROGRAMS.load(str(tmp_path / "mine.jsonl"), "test")
    assert problem.prompt == "double it" and PROGRAMS.reference(problem) is None
    assert problem.columns == {"tests": ("assert f(2) == 4",), "setup": "", "entry_point": "f", "solution": ""}
    assert PROGRAMS.restore("double it", row, "7").columns == problem.columns


def test_unknown_split():
    with pytest.raises(UserError, match="no split 'dev'; it has: train, validation, test"):
        PROGRAMS.load(None, "dev")
