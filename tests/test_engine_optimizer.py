"""The learning rate, by hand."""

import pytest

from maskgrpo_cli.config.schema import OptimizerConfig
from maskgrpo_cli.engine.optimizer import learning_rate


def rates(steps, **settings):
    return [learning_rate(step, steps, OptimizerConfig(lr=1.0, **settings)) for step in range(steps)]


def test_constant_after_a_warm_up():
    assert rates(5, warmup_steps=2) == [0.5, 1.0, 1.0, 1.0, 1.0]


def test_linear_falls_to_the_share_at_the_last_step():
    assert rates(5, schedule="linear", final_lr=0.2) == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2])


def test_cosine_falls_to_nothing():
    assert rates(5, schedule="cosine", warmup_steps=2) == pytest.approx([0.5, 1.0, 1.0, 0.5, 0.0])


def test_restarts_go_through_the_schedule_again_from_half_the_peak():
    once = rates(5, schedule="cosine", warmup_steps=2)
    assert rates(10, schedule="cosine", warmup_steps=2, restarts=1) == pytest.approx(
        once + [rate / 2 for rate in once]
    )


def test_a_run_of_one_step():
    assert rates(1, schedule="cosine") == rates(1, schedule="linear") == [1.0]
