"""All canonical solutions of the published files pass, and one flipped operator is noticed; minutes: `-m slow -s`."""

import ast

import pytest
from mutants import flipped, places

from maskgrpo_cli import registry
from maskgrpo_cli.config.sandbox import SandboxConfig
from maskgrpo_cli.domains.code import code_of, fenced
from maskgrpo_cli.engine.executors import LazyExecutor
from maskgrpo_cli.errors import UserError

SETS = [("humaneval", 164), ("mbpp", 500)]
LEAST = {"humaneval": 0.85, "mbpp": 0.85}  # share of the flipped ones that the tests notice


@pytest.fixture(scope="module")
def executing():
    with LazyExecutor(SandboxConfig(timeout=60.0)) as lazy:
        try:
            lazy()
        except UserError as error:
            pytest.skip(str(error))
        yield lazy


def problems_of(name, benchmark_data):
    task = registry.resolve("task", name)
    return task, task.load(benchmark_data(f"{name}.jsonl.gz"), "test")


@pytest.mark.slow
@pytest.mark.parametrize("name, count", SETS)
def test_all_canonical_solutions_pass(name, count, benchmark_data, executing):
    task, problems = problems_of(name, benchmark_data)
    verdicts = task.judge_all([problem.target for problem in problems], problems, executing())
    right = sum(verdict.correct for verdict in verdicts)
    print(f"{name}: {right} of {len(problems)} canonical solutions pass")
    assert [(p.id, v.reason) for p, v in zip(problems, verdicts) if not v.correct] == [] and len(problems) == count


@pytest.mark.slow
@pytest.mark.parametrize("name, count", SETS)
def test_a_flipped_operator_is_noticed(name, count, benchmark_data):
    task, problems = problems_of(name, benchmark_data)
    made = [(problem, flipped(code_of(problem.target), 0)) for problem in problems]
    made = [(problem, source) for problem, source in made if source is not None]
    with LazyExecutor(SandboxConfig(timeout=20.0)) as lazy:
        verdicts = task.judge_all([fenced(source) for _, source in made], [problem for problem, _ in made], lazy())
    caught = sum(not verdict.correct for verdict in verdicts)
    print(f"{name}: {caught} of {len(made)} programs with one operator flipped are caught ({caught / len(made):.1%})")
    assert caught / len(made) >= LEAST[name]


@pytest.mark.parametrize("source, after", [
    ("x = 1 + 2", "x = 1 - 2"), ("x = a < b", "x = a >= b"), ("x = a and b", "x = a or b"), ("x += 1", "x -= 1"),
    ("x = a is not b", "x = a is b"), ("x = 1", None),
])
def test_flipping(source, after):
    assert flipped(source, 0) == after


def test_one_place_is_flipped():
    source = "def f(a, b):\n    return a + b if a < b else a * b - 1"
    assert len(list(places(ast.parse(source)))) == 4
    found = {flipped(source, seed) for seed in range(50)}
    assert len(found) == 4 and ast.unparse(ast.parse(source)) not in found
