"""GRPO on programs, in small: rewards begin on a batch of a rollout while the next is drawn, all in the sandbox."""

import functools

import pytest

from maskgrpo_cli import registry
from maskgrpo_cli.engine import executors
from maskgrpo_cli.errors import UserError
from maskgrpo_cli.sandbox import make

REWARDS = {"task.name": "programs", "task.rewards": {"code-tests": 2.0, "code-format": 0.5}, "grpo.steps": 2,
           "task.max_prompt_length": 512, "sampler.name": "low-confidence", "sampler.batch_size": 2,
           "sandbox.timeout": 20.0}


@pytest.fixture(autouse=True)
def isolated():
    """Skips where nothing isolates programs."""
    try:
        make(workers=1).close()
    except UserError as error:
        pytest.skip(str(error))


def test_a_run_on_programs(train, monkeypatch):
    events = []
    made, generate = executors.Once, registry.resolve("sampler", "low-confidence")

    class Watched(made):
        def submit(self, program):
            events.append("program")
            return super().submit(program)

        def close(self):
            events.append("closed")
            super().close()

    @functools.wraps(generate)  # whose options are read from its signature
    def drawn(*arguments, **options):
        events.append("drawn")
        return generate(*arguments, **options)

    monkeypatch.setattr(executors, "Once", Watched)
    monkeypatch.setattr("maskgrpo_cli.samplers.block.low_confidence", drawn)
    run = train(**REWARDS)
    (row, _) = run.rows()
    assert row["reward/code-tests"] == row["reward/code-format"] == row["reward_failed"] == 0.0  # it knows no Python
    # 8 completions in batches of 2: their programs are under way before the next batch is drawn
    assert events == ["drawn", "program", "program"] * 4 + ["closed"]


def test_the_run_is_told_what_it_lacks_before_it_begins(train, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="no sandbox to run programs in"):
        train("none", **REWARDS, **{"sandbox.backend": "bubblewrap"})
    assert not (tmp_path / "none" / "metrics.jsonl").exists()
