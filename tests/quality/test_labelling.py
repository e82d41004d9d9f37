"""Labels in rounds: where they go, what judges the scorer, and when they end."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from jaxtyping import Bool, Float, Int

import qads
from qads.errors import InputError
from qads.quality.labelling import PlannedLabels
from qads.quality.scorers import FittedScorer

PLANE = np.linspace(-1, 1, 8)
SCORER = qads.ProbeScorer(reads=("source", "embedding"), families=("ridge",))


def world(n: int, noise: np.ndarray | float = 0.01) -> tuple[qads.Pool, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, 8)).astype(np.float32)
    pool = qads.Pool.from_rows(
        qads.Row(id=str(i), source="ab"[i // 2 % 2], problem=f"problem {i // 2}", solution=f"s{i}") for i in range(n)
    )
    return pool, x, x @ PLANE + noise * rng.standard_normal(n)


class Rounds:
    """A plan played on known quality."""

    def __init__(self, plan: qads.LabellingPlan, n: int, budget: int, noise: Any = 0.01) -> None:
        self.pool, self.x, self.y = world(n, noise)
        self.asked: list[Int[np.ndarray, " r"]] = []
        self.judges: list[int] = []
        first = np.arange(0, 2 * plan.n_first(budget), 2)
        self.found: PlannedLabels = plan(
            self.pool, first, budget, label=lambda _, rows: self.asked.append(rows), fit=self.fit, widths=self.widths
        )

    def fit(
        self, rows: Int[np.ndarray, " k"], judges: Bool[np.ndarray, " k"]
    ) -> tuple[FittedScorer, Float[np.ndarray, " k"]]:
        self.judges.append(int(judges.sum()))
        fitted = SCORER.fit(self.pool.take(rows), self.y[rows], embeddings=self.x[rows], judges=judges)
        assert fitted.out_of_fold is not None
        np.testing.assert_array_equal(np.isfinite(fitted.out_of_fold.predicted), judges)
        return fitted, self.y[rows]

    def widths(self, fitted: FittedScorer) -> Float[np.ndarray, " w"]:
        found = fitted.prediction(self.pool, self.x)
        self.last = (found.high - found.low).astype(np.float64)
        return self.last


def test_further_rounds_take_the_widest_intervals_of_problems_that_are_not_labelled():
    played = Rounds(qads.LabellingPlan(first=0.5, step=7, tolerance=0, patience=9), 400, 60)
    found, n_first = played.found, 30
    assert found.n_first == n_first and len(found.rows) == 60 == sum(map(len, played.asked))
    assert found.ended == "budget" and set(played.judges) == {n_first}
    assert [len(rows) for rows in played.asked] == [30, 7, 7, 7, 7, 2]
    problems = (found.rows // 2).tolist()
    assert len(set(problems)) == 60, "no problem is labelled twice"
    before_last = played.asked[-1]
    others = np.setdiff1d(np.arange(400), np.concatenate([found.rows, found.rows ^ 1]))
    assert played.last[before_last].min() >= np.median(played.last[others])
    assert all(np.isfinite(each.widest) for each in found.rounds[:-1]) and np.isnan(found.rounds[-1].widest)


def test_a_plan_ends_when_agreement_has_stopped_to_rise():
    hopeless = Rounds(qads.LabellingPlan(first=0.25, step=20, tolerance=0.05, patience=2), 600, 200, noise=50.0)
    assert hopeless.found.ended == "no improvement" and len(hopeless.found.rows) < 200
    one_round = Rounds(qads.LabellingPlan(first=1.0), 400, 60)
    assert one_round.found.ended == "budget" and len(one_round.found.rounds) == 1
    all_there_is = Rounds(qads.LabellingPlan(first=0.5, step=30, tolerance=0, patience=9), 120, 100)
    assert all_there_is.found.ended == "no rows left" and len(all_there_is.found.rows) == 60


def test_the_same_scores_give_the_same_rounds():
    first, again = (Rounds(qads.LabellingPlan(step=10), 300, 50).found for _ in range(2))
    np.testing.assert_array_equal(first.rows, again.rows)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"first": 0.0}, "first is 0"), ({"step": 0}, "step is 0"), ({"tolerance": -1.0}, "tolerance is -1")],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        qads.LabellingPlan(**settings)
