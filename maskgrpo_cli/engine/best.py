"""Which checkpoint of a run is the best so far, and whether waiting for a better one is over."""

from __future__ import annotations

from collections.abc import Mapping

from maskgrpo_cli.config.schema import EvaluationConfig


class Best:
    """The best evaluation by `evaluation.metric` at the first temperature; of equals the earlier.

    `waited` counts the evaluations since, for `evaluation.patience`. All of it is in the checkpoints.
    """

    def __init__(self, settings: EvaluationConfig):
        self.metric, self.patience = settings.metric, settings.patience
        self.step: int | None = None
        self.value: float | None = None
        self.waited = 0

    def see(self, step: int, row: Mapping[str, float | None]) -> bool:
        """Take in the evaluation after `step`; whether it is the best. A reward that failed everywhere never is."""
        value = row[f"eval/{self.metric}"]
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
