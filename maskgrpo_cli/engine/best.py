"""Which checkpoint of a run is the best so far, and whether waiting for a better one is over."""

from __future__ import annotations

from collections.abc import Mapping

from maskgrpo_cli.config.schema import EvaluationConfig
from maskgrpo_cli.errors import UserError

NO_ACCURACY = (
    "evaluation.metric = accuracy: nothing is right or wrong in {what}, so that no checkpoint is the best by it; "
    "write evaluation.metric=reward"
)


def check_metric(settings: EvaluationConfig, counted: bool, what: str) -> None:
    """Raises UserError where evaluations decide by an accuracy that there is none of, as nothing is `counted`."""
    if not counted and settings.metric == "accuracy" and (settings.patience or settings.keep == "best"):
        raise UserError(NO_ACCURACY.format(what=what))


class Best:
    """The best evaluation by `evaluation.metric` at the first temperature; of equals the earlier.

    `waited` counts the evaluations since, for `evaluation.patience`. All of it is in the checkpoints.
    """

    def __init__(self, settings: EvaluationConfig):
        self.settings = settings
        self.metric, self.patience = settings.metric, settings.patience
        self.step: int | None = None
        self.value: float | None = None
        self.waited = 0

    def see(self, step: int, row: Mapping[str, float | None]) -> bool:
        """Take in the evaluation after `step`; whether it is the best. A reward that failed everywhere never is.

        Raises UserError where the accuracy decides and the problems turn out to have nothing to count.
        """
        value = row[f"eval/{self.metric}"]
        check_metric(self.settings, value is not None or self.metric != "accuracy", "these problems")
        if value is not None and (self.value is None or value > self.value):
            self.step, self.value, self.waited = step, value, 0
            return True
        self.waited += 1
        return False

    @property
    def given_up(self) -> bool:
        """Whether as many evaluations as the patience allows have passed without a better one."""
        return bool(self.patience) and self.waited >= self.patience

    def state(self) -> dict:
        """Plain values for a checkpoint."""
        return {"metric": self.metric, "step": self.step, "value": self.value, "waited": self.waited}

    def load_state(self, state: Mapping) -> None:
        """Take up what `state` gave."""
        self.step, self.value, self.waited = state["step"], state["value"], state["waited"]

    def words(self) -> str:
        """Such as `step 48, accuracy 93.0 %`."""
        value = f"{self.value:.1%}".replace("%", " %") if self.metric == "accuracy" else f"{self.value:.3f}"
        return f"step {self.step}, {self.metric} {value}"
