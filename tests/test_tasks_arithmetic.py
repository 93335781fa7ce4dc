"""The embedded arithmetic task: every answer is right, splits are disjoint, nothing drifts."""

import hashlib
import json
import re
from dataclasses import replace

import pytest

from maskgrpo_cli.domains.arithmetic import SPLITS, split_of
from maskgrpo_cli.domains.stories import pieces
from maskgrpo_cli.errors import UserError
from maskgrpo_cli.tasks.arithmetic import ARITHMETIC, SIZES, make


@pytest.fixture(scope="module")
def problems():
    return {split: ARITHMETIC.load(None, split) for split in SPLITS}


def steps(problem):
    """The equations of a problem as (left, op, right, result)."""
    parts = [re.fullmatch(r"(\d+)([-+*/])(\d+)=(\d+)", step) for step in problem.columns["steps"].split(";")]
    return [(int(p[1]), p[2], int(p[3]), int(p[4])) for p in parts]


def canonical(step):
    left, op, right, result = step
    return (*sorted((left, right)), op, result) if op in "+*" else (left, right, op, result)


def test_default_sizes(problems):
    assert {split: len(rows) for split, rows in problems.items()} == SIZES == {
        "train": 20_000, "validation": 512, "test": 512,
    }


def test_every_equation_holds_and_stays_within_0_and_20(problems):
    for rows in problems.values():
        for problem in rows:
            chain = steps(problem)
            assert len(chain) in (2, 3)
            for left, op, right, result in chain:
                right_side = {"+": left + right, "-": left - right, "*": left * right, "/": left / right}[op]
                assert right_side == result
                assert all(0 <= number <= 20 for number in (left, right, result))
            assert all(first[3] == second[0] for first, second in zip(chain, chain[1:]))
            assert problem.columns["answer"] == str(chain[-1][3])


def test_the_numbers_of_the_story_are_those_of_the_chain(problems):
    """Read back from the words: the story gives the numbers in the chain's order (a half as a word)."""
    words = {"half": 2, "third": 3, "quarter": 4, "doubles": 2, "triples": 3, "quadruples": 4, "again": 2}
    for problem in problems["train"][:3000]:
        told = [words.get(piece) or int(piece) for piece in pieces(problem.prompt)
                if piece in words or piece.isdigit()]
        chain = steps(problem)
        assert told == [chain[0][0], *(step[2] for step in chain)], problem


def test_no_two_consecutive_steps_are_shared_between_splits(problems):
    seen = {}
    for split, rows in problems.items():
        for problem in rows:
            chain = [canonical(step) for step in steps(problem)]
            for window in zip(chain, chain[1:]):
                assert seen.setdefault(window, split) == split


def test_train_knows_all_single_steps_that_test_needs(problems):
    known = {canonical(step) for problem in problems["train"] for step in steps(problem)}
    asked = [canonical(step) for problem in problems["test"] for step in steps(problem)]
    assert sum(step in known for step in asked) / len(asked) > 0.99


def test_lengths_in_pieces_and_closed_vocabulary(problems):
    known = set(ARITHMETIC.vocabulary())
    assert len(known) == len(ARITHMETIC.vocabulary()) < 160
    for rows in problems.values():
        for problem in rows:
            question, answer = pieces(problem.prompt), pieces(problem.target)
            assert len(question) <= 24 and len(answer) <= 22
            assert known.issuperset(question) and known.issuperset(answer)


def test_every_target_is_right_and_shapes_are_as_asked(problems):
    for problem in problems["train"][:2000]:
        assert ARITHMETIC.judge(problem.target, problem).correct
    styles = [ARITHMETIC.style(problem.target) for problem in problems["train"]]
    assert abs(styles.count("worked") / len(styles) - 0.4) < 0.02
    assert set(styles) == {"worked", "terse"}


def test_worked_share_is_a_parameter_and_changes_no_question():
    worked = make(worked_share=1.0)
    assert {worked.style(p.target) for p in worked.load(None, "train", limit=100)} == {"worked"}
    terse = replace(ARITHMETIC, worked_share=0.0)
    assert terse.problem("train", 2).prompt == worked.problem("train", 2).prompt


def test_a_problem_depends_on_split_and_index_only():
    assert ARITHMETIC.load(None, "train", limit=5) == ARITHMETIC.load(None, "train", limit=50, seed=7)[:5]
    assert ARITHMETIC.problem("train", 10**9) == ARITHMETIC.problem("train", 10**9)


def test_the_generator_is_pinned():
    """The shipped checkpoint and every published number depend on these problems: they must never change."""
    rows = [problem for split in SPLITS for problem in ARITHMETIC.load(None, split, limit=64)]
    text = json.dumps([[row.id, row.prompt, dict(row.columns), row.target] for row in rows])
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "3f56589e5ae15534"


def test_split_of_is_stable():
    windows = [f"{n}+2={n + 2};{n + 2}*2={2 * n + 4}" for n in range(1, 13)]
    assert "".join(split_of(window)[1] for window in windows) == "rrrerrrerrrr"  # tRain, tEst


@pytest.mark.parametrize("completion, score, answer", [
    ("<reasoning>5</reasoning>\\boxed{5}", 1.0, "5"),
    ("\\boxed{5.0}", 1.0, "5.0"),
    ("\\boxed{5 apples}", 1.0, "5 apples"),
    ("\\boxed{6}", 0.0, "6"),
    ("\\boxed{6} no: \\boxed{5}", 1.0, "5"),
    ("\\boxed{2+3}", 0.0, "2+3"),
    ("\\boxed{}", 0.0, None),
    ("5", 0.0, None),
    ("\\boxed{5", 0.0, None),
    ("", 0.0, None),
])
def test_judge(completion, score, answer):
    problem = replace(ARITHMETIC.problem("test", 0), columns={"answer": "5"})
    verdict = ARITHMETIC.judge(completion, problem)
    assert (verdict.score, verdict.answer) == (score, answer)
    assert bool(verdict.reason) == (score == 0.0)


@pytest.mark.parametrize("completion, style", [
    ("<reasoning>3+4=7</reasoning>\\boxed{7}", "worked"),
    ("<reasoning>7</reasoning>\\boxed{7}", "terse"),
    ("<reasoning></reasoning> \\boxed{7}", "terse"),
    ("<reasoning>7</reasoning>", None),
    ("\\boxed{7}", None),
    ("<reasoning>7</reasoning>\\boxed{7}\\boxed{7}", None),
    ("<reasoning>7<reasoning></reasoning>\\boxed{7}", None),
    ("<reasoning>\\boxed{7}</reasoning>7", None),
    ("7 <reasoning>7</reasoning>\\boxed{7}", None),
    ("<reasoning>7</reasoning>\\boxed{7", None),
    ("", None),
])
def test_style(completion, style):
    assert ARITHMETIC.style(completion) == style


def test_a_file_may_replace_the_generator(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text('{"question": "1 + 1 ?", "answer": 2}\n')
    (problem,) = ARITHMETIC.load(str(path), "test")
    assert problem.prompt == "1 + 1 ?" and problem.columns == {"answer": "2"}


def test_unknown_split():
    with pytest.raises(UserError, match="no split 'dev'; it has: train, validation, test"):
        ARITHMETIC.load(None, "dev")
