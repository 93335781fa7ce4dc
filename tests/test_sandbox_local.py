"""Programs and their tests on bare processes: the verdicts, without any isolation."""

import pytest

from maskgrpo_cli.sandbox import make
from maskgrpo_cli.types import Program


@pytest.fixture(scope="module")
def executor():
    with make(unsafe_local=True, timeout=5, workers=1) as made:
        yield made


def test_each_test_has_its_own_verdict(executor):
    program = Program("def f(x): return 2 * x", ("assert f(2) == 4", "assert f(2) == 5", "assert g(2) == 4"))
    [results] = executor.run([program])
    assert [result.status for result in results] == ["passed", "failed", "error"]
