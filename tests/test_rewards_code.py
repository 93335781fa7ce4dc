"""The rewards of programs: their values from results given by hand, and how they run beside the model's work."""

from concurrent.futures import Future

import pytest

from maskgrpo_cli import registry, types
from maskgrpo_cli.engine.executors import Once
from maskgrpo_cli.engine.scoring import Rewards, make
from maskgrpo_cli.errors import RunFailed, UserError
from maskgrpo_cli.types import Problem

LETTERS = {"p": "passed", "f": "failed", "e": "error", "t": "timeout", "l": "limit"}


class Told:
    """An executor whose results are what the program says: `pf` passes the first test and fails the second.

    `wait` answers when somebody asks for the result; `break` fails as a sandbox would.
    """

    def __init__(self):
        self.submitted, self.asked = [], []

    def submit(self, program):
        self.submitted.append(program.source)
        future = Answer(self, program) if "wait" in program.source else Future()
        if "break" in program.source:
            future.set_exception(OSError("no more processes"))
        elif "wait" not in program.source:
            future.set_result(results(program.source))
        return future


class Answer(Future):
    def __init__(self, told, program):
        super().__init__()
        self.told, self.program = told, program

    def result(self, timeout=None):
        self.told.asked.append(self.program.source)
        return results("p")


def results(letters):
    return [types.TestResult(LETTERS[letter]) for letter in letters if letter in LETTERS]


def problem(tests=("assert 1",), number=0):
    return Problem(str(number), ({"role": "user", "content": "q"},), {"tests": tests, "setup": "", "entry_point": ""})


def rewards(told=None, weights=None, settings=None, warn=pytest.fail):
    return Rewards(weights or {"code-tests": 2.0}, warn, settings, executor=lambda: told or Told())


def one(text, settings=None, tests=("a", "b")):
    (reward,) = make(["code-tests"], {"code-tests": settings or {}}, Told)
    return reward(["q"], [text], tests=[tests], setup=[""], entry_point=[""])[0]


@pytest.mark.parametrize("letters, settings, value", [
    ("pp", {}, 1.0), ("pf", {}, 0.5), ("ff", {}, 0.0), ("pe", {}, 0.5), ("pl", {}, 0.5), ("pt", {}, 0.5),
    ("pp", {"all_or_nothing": True}, 1.0), ("pf", {"all_or_nothing": True}, 0.0),
    ("pt", {"timeout_penalty": 0.25}, 0.25), ("tt", {"timeout_penalty": 1}, -1.0), ("pf", {"timeout_penalty": 1}, 0.5),
    ("pt", {"all_or_nothing": True, "timeout_penalty": 0.5}, -0.5),
])
def test_fault_18_the_share_of_tests(letters, settings, value):
    assert one(letters, settings) == value


def test_without_tests_it_does_not_apply():
    told = Told()
    assert one("pp", tests=()) is None
    found = rewards(told)([problem(()), problem()], ["pp", "p"])
    assert found.values[:, 0].isnan().tolist() == [True, False] and not found.failed.any()
    assert found.total.tolist() == [0.0, 2.0] and told.submitted == ["p"]


@pytest.mark.parametrize("settings, told", [
    ({"all_or_nothing": 1}, "all_or_nothing = 1: write true or false"),
    ({"timeout_penalty": -1}, "timeout_penalty = -1: write a number from 0 on"),
    ({"timeout_penalty": True}, "timeout_penalty = True"), ({"timeout_penalty": "x"}, "timeout_penalty = 'x'"),
    ({"timeout": 3}, "task.reward_settings.code-tests.timeout = 3: unknown setting"),
    ({"executor": 3}, "task.reward_settings.code-tests.executor = 3: unknown setting"),
])
def test_settings_of_the_wrong_kind(settings, told):
    with pytest.raises(UserError) as caught:
        make(["code-tests"], {"code-tests": settings}, Told)
    assert told in str(caught.value)


BLOCK = "```python\nx = 1\n```"


@pytest.mark.parametrize("text, value", [
    (BLOCK, 1.0), (f"so: {BLOCK}", 0.0), (f"so:\n{BLOCK}\ndone", 1.0), ("```py\nx = 1\n```", 1.0),
    ("```python\nx = (\n```", 0.5), ("```python\n\n```", 0.5), ("```python\n# x\n```", 0.5),
    (f"{BLOCK}\n{BLOCK}", 0.0), ("```\nx = 1\n```", 0.0), ("```bash\nls\n```", 0.0), ("```python\nx = 1", 0.0),
    ("x = 1", 0.0), ("", 0.0),
])
def test_the_format(text, value):
    assert registry.resolve("reward", "code-format")(["q"], [text]) == [value]


# --- beside the model's work ---------------------------------------------------------------------------


def test_programs_start_with_their_piece_and_are_waited_for_at_the_end():
    told = Told()
    scoring = rewards(told, {"own_rewards:letters": 1.0, "code-tests": 2.0}).begin()
    scoring.add([problem(), problem()], ["wait a", "wait b"])
    assert (told.submitted, told.asked) == (["wait a", "wait b"], [])
    scoring.add([problem()], ["f"])
    assert (told.submitted, told.asked) == (["wait a", "wait b", "f"], [])
    found = scoring.finish()
    assert told.asked == ["wait a", "wait b"]
    assert found.values[:, 1].tolist() == [1.0, 1.0, 0.0]
    assert found.values[:, 0].tolist() == pytest.approx([3 / 6, 2 / 6, 0.0])
    assert found.total.tolist() == pytest.approx([2 + 3 / 6, 2 + 2 / 6, 0.0])


def test_others_see_all_completions_at_once(monkeypatch):
    import own_rewards

    seen = []
    monkeypatch.setattr(own_rewards, "letters", lambda completions, **columns: seen.append(completions) or [0.0] * 3)
    scoring = rewards(weights={"own_rewards:letters": 1.0, "code-tests": 1.0}).begin()
    scoring.add([problem(), problem()], ["p", "f"])
    scoring.add([problem()], ["p"])
    assert scoring.finish().total.tolist() == [1.0, 0.0, 1.0] and seen == [["p", "f", "p"]]


def test_no_piece_is_no_sample():
    assert rewards().begin().finish().total.shape == (0,)


def test_a_sandbox_that_breaks_costs_its_own_sample_alone():
    told, warnings = Told(), []
    found = rewards(told, warn=warnings.append)([problem(number=n) for n in range(3)], ["p", "break", "f"])
    assert found.failed[:, 0].tolist() == [False, True, False]
    assert found.total[0] == 2.0 and found.total[1].isnan() and found.total[2] == 0.0
    assert len(warnings) == 1 and "OSError: no more processes" in warnings[0]


def test_a_column_that_is_missing_is_told():
    bare = Problem("0", ({"role": "user", "content": "q"},), {})
    warnings = []
    assert rewards(warn=warnings.append)([bare], ["p"]).failed.all() and "tests" in warnings[0]


def test_what_cannot_go_on_stops_the_run():
    class Gone(Told):
        def submit(self, program):
            raise RunFailed("the sandbox is gone")

    with pytest.raises(RunFailed, match="gone"):
        rewards(Gone())([problem()], ["p"])


# --- equal programs ---------------------------------------------------------------------------------------


def test_equal_programs_run_once_but_what_the_clock_decided_runs_again():
    told, seen = Told(), []
    once = Once(told, lambda done, of: seen.append((done, of)))
    (reward,) = make(["code-tests"], {}, lambda: once)

    def score(*texts):
        return reward(["q"] * len(texts), texts, tests=[("a",)] * len(texts))

    assert score("p", "p", "f") == [1.0, 1.0, 0.0] and told.submitted == ["p", "f"]
    assert score("t", "p") == [0.0, 1.0] and score("t") == [0.0] and told.submitted == ["p", "f", "t", "t"]
    assert score("l") == [0.0] == score("l") and told.submitted[4:] == ["l", "l"]
    assert seen[-1] == (8, 8)
    with pytest.raises(OSError):
        score("break")
    with pytest.raises(OSError):
        score("break")
    assert told.submitted[6:] == ["break", "break"]
