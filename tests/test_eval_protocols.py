"""Text made elsewhere under two protocols: every verdict of d1's on real generations, and where ours differs.

The golden files are LLaDA-8B-Instruct's generations (length 128) that were published with d1, with its verdicts.
"""

import gzip
import json
from functools import cache
from pathlib import Path

import pytest

from maskgrpo_cli import registry
from maskgrpo_cli.config.evaluation import load_benchmark
from maskgrpo_cli.config.overrides import Override
from maskgrpo_cli.engine import generations
from maskgrpo_cli.types import DEFAULT_PROTOCOL, Problem, Verdict

GOLDEN = Path(__file__).parent / "golden" / "parsers_eval"
TOTALS = {"gsm8k": (783, 1130), "math500": (130, 500), "countdown": (53, 256), "sudoku": (240, 2048)}
NUMBER, TEXTS = "is the same number as", "d1 compares texts"

# Read one by one against the text: in each of them ours is what a person would say.
DIFFERENCES = {
    "gsm8k": {
        61: "there is no ground truth: d1 counts the row as wrong, we leave it out",
        243: "we read '43,500' as a whole; d1 takes the first number in it, 43.0",
        836: "we read '803' from a box that goes over lines; d1 reads only those that are closed on their line",
        1120: "there is no ground truth: d1 counts the row as wrong, we leave it out",
    },
    "math500": {
        33: f"'15.975' {NUMBER} '\\frac{{639}}{{40}}'; {TEXTS}",
        46: f"'0.25' {NUMBER} '\\frac14'; {TEXTS}",
        72: f"'\\frac{{3}}{{24}}' {NUMBER} '\\frac{{1}}{{8}}'; {TEXTS}",
        131: f"'8 + 8 + 15 = 31 units' ends in '31'; {TEXTS}",
        202: f"'36.00' {NUMBER} '\\$36'; {TEXTS}",
        226: f"'\\frac{{6}}{{3}}' {NUMBER} '2'; {TEXTS}",
        231: f"'1.5' {NUMBER} '\\frac{{3}}{{2}}'; {TEXTS}",
        238: f"'58500' {NUMBER} '58,500'; {TEXTS}",
        247: f"'2516' leaves out the base of '2516_8'; {TEXTS}",
        251: "we read the <answer> tag, '\\frac{1}{4}'; without a box d1 compares the whole text",
        311: f"'\\frac{{8}}{{84}}' {NUMBER} '\\frac{{2}}{{21}}'; {TEXTS}",
        312: f"'C' means the same as '\\text{{(C)}}'; {TEXTS}",
        348: f"'\\frac{{2240}}{{78125}}' {NUMBER} '\\frac{{448}}{{15625}}'; {TEXTS}",
        351: f"'8/18' {NUMBER} '\\frac{{4}}{{9}}'; {TEXTS}",
        414: f"'[-2, 7]' means the same as 'x \\in [-2,7]'; {TEXTS}",
        441: f"'0.09' {NUMBER} '\\frac{{9}}{{100}}'; {TEXTS}",
    },
    "countdown": {193: "'96 - 48 + 26' makes 74 with all the numbers; without a box d1 reads the whole text"},
    "sudoku": {184: "we read '1321321321321321', d1 '<answer>13213213'"},
}


@cache
def golden(task: str) -> list[dict]:
    with gzip.open(GOLDEN / f"{task}_128.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def verdicts(task: str, protocol: str):
    """(row, problem, verdict) of every row of a golden file."""
    judge = registry.resolve("task", task)
    for number, row in enumerate(golden(task)):
        problem = judge.restore(row["question"], row["ground_truth"], str(number))
        yield row, problem, judge.judge(row["generation"], problem, protocol)


def judge(task: str, text: str, ground_truth, question: str = "q", protocol: str = DEFAULT_PROTOCOL) -> Verdict:
    found = registry.resolve("task", task)
    return found.judge(text, found.restore(question, ground_truth, "0"), protocol)


# --- every published verdict ----------------------------------------------------------------------------


def test_d1_gsm8k_every_verdict_and_answer():
    for row, problem, verdict in verdicts("gsm8k", "d1"):
        extracted = None if verdict.answer is None else float(verdict.answer)
        assert (extracted, verdict.correct) == (row["extracted_answer"], row["is_correct"]), problem.id


def test_d1_math_every_verdict_and_answer():
    for row, problem, verdict in verdicts("math500", "d1"):
        assert (verdict.answer, verdict.correct) == (row["extracted_answer"], row["is_correct"]), problem.id


def test_d1_countdown_every_verdict_and_answer():
    for row, problem, verdict in verdicts("countdown", "d1"):
        assert (verdict.answer, verdict.correct) == (row["extracted_answer"], row["is_correct"]), problem.id


def test_d1_sudoku_every_cell_and_grid():
    for row, problem, verdict in verdicts("sudoku", "d1"):
        assert verdict.answer == row["extracted_answer"], problem.id
        assert verdict.parts == (row["correct_cells"], row["empty_cells"], "cells"), problem.id
        assert verdict.score == row["accuracy"], problem.id


@pytest.mark.parametrize("task", TOTALS)
def test_totals_and_all_differences_with_their_reasons(task, tmp_path, capsys):
    changes = {"evaluation.protocol": "d1", "output_dir": str(tmp_path / "run")}
    config = load_benchmark("math", task, [Override(key, value, "test") for key, value in changes.items()])
    generations.run(config, str(GOLDEN / f"{task}_128.jsonl.gz"))
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert (results["correct"], results["total"]) == TOTALS[task]
    assert results["accuracy"] == pytest.approx(TOTALS[task][0] / TOTALS[task][1])
    assert results["protocols"]["d1"]["correct"] == TOTALS[task][0]
    found = [json.loads(line) for line in (tmp_path / "run" / "differences.jsonl").read_text().splitlines()]
    assert {int(row["id"].rpartition("-")[2]): row["reason"] for row in found} == DIFFERENCES[task]
    assert results["differences"] == len(found)
    for row in found:  # wherever d1 says right, so do we
        assert not row["d1"]["correct"] and row["maskgrpo"]["score"] >= row["d1"]["score"]
    assert f"({TOTALS[task][0]}/{TOTALS[task][1]}" in capsys.readouterr().out
    own = results["protocols"][DEFAULT_PROTOCOL]
    right = sum(row["maskgrpo"]["correct"] for row in found)
    if task != "sudoku":  # where d1 counts cells
        assert own["correct"] == TOTALS[task][0] + right
    assert own["total"] == {"gsm8k": 1128, "sudoku": 256}.get(task, TOTALS[task][1])


# --- d1's readers, by hand ------------------------------------------------------------------------------

EOT = "<|eot_id|><|endoftext|>"


@pytest.mark.parametrize("text, answer", [
    ("\\boxed{18} and \\boxed{20}", "18.0"), ("\\boxed{} \\boxed{...} \\boxed{x} \\boxed{20}", "20.0"),
    ("\\boxed{1,000}", "1.0"), ("\\boxed{$-3.5 or 4}", "-3.5"), ("\\boxed{\\frac{3}{4}}", "3.0"),
    ("\\boxed{1e3}", "1000.0"), ("\\boxed{1_000}", "1000.0"), ("\\boxed{inf}", "inf"), ("\\boxed{.5}", "0.5"),
    ("\\boxed{x.5}", "5.0"), ("\\boxed{5.}", "5.0"), ("\\boxed{３}", "3.0"),
    ("\\boxed{18\n} <answer>7</answer>", "7.0"),
    ("\\boxed {5}", None), ("\\boxed{18", None), ("\\boxed{\\boxed{6}}", "6.0"),
    ("\\boxed{\\boxed{7} \\boxed{8}", "7.0"),
    ("<answer>3 and 4</answer><answer>5</answer>", "4.0"), ("<answer>1,000</answer>", "0.0"), ("<answer>5", None),
    ("<answer><answer>5</answer>", "5.0"), ("</answer><answer>\n-5\n</answer>", "-5.0"), ("5", None), ("", None),
])
def test_d1_reads_a_number(text, answer):
    assert judge("gsm8k", text, 18.0, protocol="d1").answer == answer


def test_d1_compares_numbers_as_floats():
    assert judge("gsm8k", "\\boxed{18}", 18.0, protocol="d1").correct
    assert not judge("gsm8k", "\\boxed{nan}", 18.0, protocol="d1").correct
    assert judge("gsm8k", "\\boxed{1000}", "1,000", protocol="d1").correct  # as our own data write it
    assert not judge("gsm8k", "\\boxed{-10}", None, protocol="d1").correct


@pytest.mark.parametrize("text, answer", [
    ("\\boxed{1} \\boxed{\\frac{1}{2}}.", "\\frac{1}{2}"), ("\\boxed{} <answer> 5 </answer>", "5"),
    ("\\boxed{3 <answer>4</answer>", "4"), ("\\boxed{3", None), ("no box", "no box"), ("", ""),
    ("\\fbox{9}!", "\\fbox{9}"),
    ("\\boxed{1} \\boxed 2$ and", "2"), ("\\boxed 2 \\boxed{3}", "2 \\boxed{3}"), ("\\boxed7{a}b", "\\boxed7{a}"),
    ("\\boxed{} no tag", ""), ("text <answer>5</answer>", "text <answer>5</answer>"), ("\\boxed{\n18\n}", "\n18\n"),
])
def test_d1_reads_mathematics(text, answer):
    assert judge("math500", text, "5", protocol="d1").answer == answer


@pytest.mark.parametrize("answer, reference, right", [
    ("\\dfrac{1}{2}", "\\frac12", True), ("1/2", "\\frac{1}{2}", True), ("0.5", "1/2", True), ("0.50", "1/2", False),
    ("5\\text{ cm}", "5", True), ("5 cm", "5", False), ("a / b", "a/b", False), ("a/b", "a/b", True),
    ("\\sqrt ", "\\sqrt", False), ("\\sqrt", "\\sqrt", True), ("x=5", "5", True), ("90^\\circ", "90", True),
    ("5\\text{ a}\\text{ b}", "5 \\text{ a}\\text{ b}", False), ("-0/5", "\\frac{-0}{5}", False),
    ("\\sqrt\\sqrt{2}", "\\sqrt \\sqrt{2}", False), ("\\frac\\frac{1}{2}", "\\frac \\frac{1}{2}", False),
])
def test_d1_compares_normal_forms_or_raw_texts(answer, reference, right):
    assert judge("math500", f"\\boxed{{{answer}}}", reference, protocol="d1").correct is right


@pytest.mark.parametrize("text, equation, right", [
    ("\\boxed{49 + 55 - 53}", "49 + 55 - 53", True), ("\\boxed{49 + 55 - 53 = 51}", "49 + 55 - 53", True),
    ("\\boxed{49 + 55 - 53 = 7}", "49 + 55 - 53", True), ("\\boxed{51 = 49 + 55 - 53}", "51", False),
    ("\\boxed{49+55-53", "\\boxed{49+55-53", False),
    ("<answer> 49+55-53 </answer>", "<answer> 49+55-53 </answer>", False),
    ("\\boxed{ <answer> 49+55-53 </answer>", "49+55-53", True), ("so 49 + 55 - 53 = 51.", "49 + 55 - 53", True),
    ("49 - 55 = -6, so 49 + 55 - 53 = 51.", "49 - 55", False),
    ("\\boxed{49 \\times 1}", "49 * 1", False), ("\\boxed{(49) - (-55) - 53}", "(49) - (-55) - 53", True),
    ("\\boxed{049 + 55 - 53}", "049 + 55 - 53", False), ("\\boxed{49 + 55\n - 53}", "49 + 55\n - 53", False),
    ("\\boxed{(49 + 55\n - 53)}", "(49 + 55\n - 53)", True), ("\\boxed{{49 + 55 - 53}}", "{49 + 55 - 53}", False),
    ("\\boxed{49 + 55 - 53 }", "49 + 55 - 53 ", True), ("\\boxed{49 + 55 - 53.0}", "49 + 55 - 53.0", False),
    ("\\boxed{(49, 55, 53)}", "(49, 55, 53)", False), ("\\boxed{()49 55 53}", "()49 55 53", False),
])
def test_d1_reads_an_equation(text, equation, right):
    verdict = judge("countdown", text, [[49, 55, 53], 51], protocol="d1")
    assert (verdict.answer, verdict.correct) == (equation, right)


@pytest.mark.parametrize("expression, numbers, target, right", [
    ("7 // 2", [7, 2], 3, True), ("2 ** 5", [2, 5], 32, True), ("-2 ** 2 + 8", [2, 2, 8], 4, True),
    ("4.5 * 2", [4, 5, 2], 9, True),
    ("10 / 3 * 3", [10, 3, 3], 10, True), ("1 / 3", [1, 3], 0.33333, True), ("1 / 3", [1, 3], 0.333, False),
    ("(1 - 2) ** .5", [1, 2, 5], 1, False), ("((1 - 2) ** .5) ** 2", [1, 2, 5, 2], -1, True),
    ("9 ** 9 ** 9", [9, 9, 9], 1, False),
    ("1 / (2 - 2)", [1, 2, 2], 1, False), ("3(4)", [3, 4], 12, False),
])
def test_d1_computes_as_python_does(expression, numbers, target, right):
    assert judge("countdown", f"\\boxed{{{expression}}}", [numbers, target], protocol="d1").correct is right


PUZZLE, SOLUTION = "4320004330100004", "4321124334122134"


@pytest.mark.parametrize("text, grid, cells", [
    (f"<answer>\n{SOLUTION}\n</answer>", SOLUTION, 8),
    (f"<answer>see ```\n4321 1243\n3412 2134```</answer>{PUZZLE}", SOLUTION, 8),
    (f"<answer>``` ```{SOLUTION}</answer>", "``````4321124334", 2), (f"<answer>{SOLUTION}", SOLUTION, 8),
    (f"<answer>{SOLUTION}{EOT}", SOLUTION, 8), (f"<answer></answer> {SOLUTION}{EOT}", SOLUTION, 8),
    (f"<answer> </answer>{EOT} {SOLUTION} </answer>", SOLUTION, 8), ("<answer>4321</answer>", "4321" + "0" * 12, 1),
    (f"<answer>{SOLUTION}99</answer>", SOLUTION, 8), (f"grid x{SOLUTION}", "", 0),
    (f"first {PUZZLE}, {SOLUTION}", PUZZLE, 0),
    ("", "", 0), ("<answer>\n</answer>", "", 0),
])
def test_d1_reads_a_grid(text, grid, cells):
    verdict = judge("sudoku", text, SOLUTION, f"Solve the following Sudoku puzzle: {PUZZLE}\n", protocol="d1")
    assert (verdict.answer, verdict.parts) == (grid, (cells, 8, "cells"))


# --- ours, where the text is not as tidy as the prompt asked --------------------------------------------


@pytest.mark.parametrize("text, right", [
    ("\\boxed{18} ... \\boxed{...}", True), (f"<answer>\n18{EOT}", True), ("\\boxed{18}\n\\boxed{", True),
    ("<answer>5 + 13 = 18</answer>", True), ("<answer>The answer is 18 dollars</answer>", True),
    ("<answer>In 3 days she has 18 eggs</answer>", True), ("<answer>5 + 13 = 19</answer>", False),
    ("<answer>5 + 13</answer>", False), ("<answer>18 hours 30 minutes</answer>", False), ("\\boxed{18 m}", True),
    ("\\boxed{18\\text{ pounds}" + EOT, True), ("\\boxed{2x = 18}", False), ("<answer>18 or 20</answer>", False),
    (f"\\boxed{{18}}{EOT}\n\\boxed{{7}}", True), (f"{EOT}<answer>18</answer>", True), ("\\boxed{7} \\boxed{18}", True),
    ("\\boxed{18} \\boxed{7}", False), ("<answer>18</answer></answer>", True), ("\\boxed{1 8}", False),
    ("\\boxed{Total cost = \\$18}", True), ("\\boxed{18x}", False), ("", False),
])
def test_our_reading_of_a_number(text, right):
    assert judge("gsm8k", text, 18.0).correct is right


@pytest.mark.parametrize("answer, reference, right", [
    ("5\\text{ cm}", "5", True), ("5\\sqrt{2}\\text{ sq. ft}", "5\\sqrt2", True), ("18\\text{ or }20", "18", False),
    ("18\\text{ million}", "18", False), ("\\text{ no}", "\\text{ yes}", False),
    ("(5,\\text{ }4)", "(5,\\text{ }3)", False), ("(5,\\text{ }3)", "(5,\\text{ } 3)", True),
    ("18\\text{ m", "18", True),
])
def test_our_comparison_cuts_off_units_only(answer, reference, right):
    """d1's normal form ends at `\\text{ `, whatever follows."""
    assert judge("math500", f"\\boxed{{{answer}}}", reference).correct is right


@pytest.mark.parametrize("text, right", [
    ("<answer>49 + 55 - 53</answer>", True), ("\\boxed{51 = 49 + 55 - 53}", True), ("\\boxed{49 + 55 - 53 = 52}", True),
    (f"<answer>\n49 + 55 - 53{EOT}", True), ("so 49 - 55 = 6, and 49 + 55 - 53 = 51", True), ("49 + 55 = 104", False),
    ("<answer>\\boxed{49 + 55 - 53</answer>", True), ("\\boxed{55 - 53 + 49 ** 1}", False), ("\\boxed{51 = 51}", False),
    ("\\boxed{51}", False), ("\\boxed{104 - 53}", False), ("", False), ("49 + 55 - 53" + EOT, True), ("51", False),
    ("<answer>see above</answer> \\boxed{49 + 55 - 53}", True), ("<answer>49</answer> \\boxed{49 + 55 - 53}", False),
    ("\\boxed{49 + 55 - 53} <answer>?</answer>", True), ("<answer>see above</answer>", False),
])
def test_our_reading_of_an_equation(text, right):
    assert judge("countdown", text, [[49, 55, 53], 51]).correct is right


def test_our_reading_of_a_grid():
    question = f"Solve the following Sudoku puzzle: {PUZZLE}\n"
    for text in (f"<answer>{SOLUTION}{EOT}", f"{PUZZLE} becomes {SOLUTION}.", f"<answer>4321\n1243\n3412\n2134{EOT}"):
        assert judge("sudoku", text, SOLUTION, question).correct, text
    overwritten = judge("sudoku", f"<answer>1{SOLUTION[1:]}</answer>", SOLUTION, question)
    assert not overwritten.correct and overwritten.score == 7 / 8
    assert judge("sudoku", f"<answer>1{SOLUTION[1:]}</answer>", SOLUTION, question, "d1").correct
    assert judge("sudoku", f"it is {PUZZLE}", SOLUTION, question).answer is None


def test_another_valid_grid_is_right_for_us_and_not_for_d1():
    listed, other, question = "1234341221434321", "1234341223414123", "puzzle: 1234341200000000"
    ours, theirs = (judge("sudoku", f"<answer>{other}</answer>", listed, question, name) for name in ("maskgrpo", "d1"))
    assert ours.correct and not theirs.correct and theirs.parts == (4, 8, "cells")
    task = registry.resolve("task", "sudoku")
    why = task.difference(f"<answer>{other}</answer>", task.restore(question, listed, "0"), "d1", ours, theirs)
    assert why == "the grid is valid and keeps the givens; d1 accepts the listed solution only"


def test_a_row_without_ground_truth_counts_for_nothing():
    verdict = judge("gsm8k", "\\boxed{-10}", None)
    assert not verdict.correct and verdict.parts == (0, 0, "completions") and "no ground truth" in verdict.reason


# --- protocols ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["arithmetic", *TOTALS])
def test_every_task_names_its_protocols(task):
    assert list(registry.resolve("task", task).protocols) == ["maskgrpo", "d1"][: 1 + (task in TOTALS)]


def test_the_default_protocol_is_the_task_s_own():
    problem = Problem("1", ({"role": "user", "content": "q"},), {"answer": "1,000"})
    task = registry.resolve("task", "gsm8k")
    assert task.judge("\\boxed{1000}", problem) == task.judge("\\boxed{1000}", problem, DEFAULT_PROTOCOL)
