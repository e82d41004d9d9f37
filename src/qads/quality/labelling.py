"""Which rows to score for real, round by round: some evenly drawn, then those that the scorer is least sure of.

The first rows are a stratified draw, and they alone judge and calibrate the scorer: rows that were chosen because they
are hard are no sample of anything. Every further round takes the rows with the widest predictive interval among those
that are watched, at most one of a problem. The plan ends with the budget, or when agreement within sources on the first
rows has stopped to rise. Whatever was scored serves a later plan (`known` of `OneShotInfluence`): the draws of a
seed are nested.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from qads.errors import InputError
from qads.kernels.agreement import cell_pearson
from qads.pool import Pool
from qads.quality.scorers import FittedScorer, OutOfFold

__all__ = ["LabellingPlan", "LabellingRound", "PlannedLabels", "within_source"]

End = Literal["budget", "no improvement", "no rows left"]


@dataclass(frozen=True)
class LabellingRound:
    """What one round did."""

    n_labels: int
    """Rows with a quality when the scorer was fitted."""
    within_source: float
    """Pearson's r within sources on the first rows, out of fold; NaN where it is not defined."""
    widest: float
    """Interval of the rows that were chosen next, in the mean; NaN in the last round."""


@dataclass(frozen=True, eq=False)
class PlannedLabels:
    """The rows that a plan had scored."""

    rows: Int[np.ndarray, " k"]
    """Positions in what is watched, in the order of their rounds."""
    n_first: int
    """How many of them were evenly drawn."""
    rounds: tuple[LabellingRound, ...]
    ended: End


@dataclass(frozen=True, kw_only=True)
class LabellingPlan:
    """Labels in rounds, each where the scorer is least sure."""

    kind: Literal["rounds"] = "rounds"
    """Name in a configuration."""
    first: float = 0.5
    """Share of the budget that is drawn evenly at first, and that judges the scorer."""
    step: int = 64
    """Rows of a further round."""
    watched: int = 4
    """Rows that may be chosen, as a multiple of the budget; each is read once by the scorer."""
    tolerance: float = 0.01
    """Least rise of the agreement within sources that counts as one."""
    patience: int = 2
    """Rounds without such a rise after which the plan ends."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        if not 0 < self.first <= 1:
            raise InputError(f"LabellingPlan: first is {self.first:g}; it must be a share of the budget, in (0, 1].")
        for name, least in (("step", 1), ("watched", 1), ("patience", 1)):
            if (found := getattr(self, name)) < least:
                raise InputError(f"LabellingPlan: {name} is {found}; it must be {least} at least.")
        if self.tolerance < 0:
            raise InputError(f"LabellingPlan: tolerance is {self.tolerance:g}; it must be 0 at least.")

    def n_first(self, budget: int) -> int:
        """Rows of the first round, of a budget."""
        return min(budget, max(10, round(self.first * budget)))

    def __call__(
        self,
        watched: Pool,
        first: Int[np.ndarray, " f"],
        budget: int,
        *,
        label: Callable[[int, Int[np.ndarray, " r"]], None],
        fit: Callable[[Int[np.ndarray, " k"], Bool[np.ndarray, " k"]], tuple[FittedScorer, Float[np.ndarray, " k"]]],
        widths: Callable[[FittedScorer], Float[np.ndarray, " w"]],
    ) -> PlannedLabels:
        """Label rows until the plan ends.

        Args:
            watched: the rows that may be labelled.
            first: positions of those that are labelled first.
            budget: labels at most.
            label: given the number of a round and its rows, scores them for real.
            fit: given all labelled rows and which of them judge, fits the scorer; gives their quality beside it.
            widths: the predictive interval of every watched row; infinite where it is not known.
        """
        label(0, first)
        rows, rounds, number = np.asarray(first, np.int64), list[LabellingRound](), 0
        codes = np.unique(np.array(watched.problem_keys), return_inverse=True)[1].reshape(-1)
        sources = np.asarray(watched.source_codes)
        while True:
            judges = np.arange(len(rows)) < len(first)
            fitted, quality = fit(rows, judges)
            agreement = within_source(fitted.out_of_fold, quality, sources[rows])
            ended, chosen, widest = self._ended(rounds, agreement, len(rows), budget), rows[:0], float("nan")
            if ended is None:
                chosen, widest = _widest(widths(fitted), rows, codes, min(self.step, budget - len(rows)))
                ended = None if len(chosen) else "no rows left"
            rounds.append(LabellingRound(fitted.n_labels, agreement, widest))
            if ended is not None:
                return PlannedLabels(rows, len(first), tuple(rounds), ended)
            number += 1
            label(number, chosen)
            rows = np.concatenate([rows, chosen])

    def _ended(self, rounds: list[LabellingRound], agreement: float, n_labels: int, budget: int) -> End | None:
        if n_labels >= budget:
            return "budget"
        reached = [-1.0 if np.isnan(each.within_source) else each.within_source for each in rounds]
        reached.append(-1.0 if np.isnan(agreement) else agreement)
        if len(reached) <= self.patience:
            return None
        before = max(reached[: -self.patience])
        return None if max(reached[-self.patience :]) >= before + self.tolerance else "no improvement"


def within_source(found: OutOfFold | None, real: Float[np.ndarray, " k"], sources: Int[np.ndarray, " k"]) -> float:
    """Pearson's r within source and fold over the rows that were predicted out of fold; NaN where there are none."""
    if found is None:
        return float("nan")
    known = np.flatnonzero(np.isfinite(found.predicted) & np.isfinite(real))
    if not len(known):
        return float("nan")
    cells = np.unique(np.column_stack([found.fold[known], sources[known]]), axis=0, return_inverse=True)[1].reshape(-1)
    once = np.ones((1, len(known)))
    return float(cell_pearson(found.predicted[None, known], real[None, known], cells, once)[0])


def _widest(
    widths: Float[np.ndarray, " w"], rows: Int[np.ndarray, " k"], codes: Int[np.ndarray, " w"], n: int
) -> tuple[Int[np.ndarray, " n"], float]:
    """The rows of the widest intervals, no two of one problem and none of a problem that is labelled; their mean."""
    seen, chosen = set(codes[rows].tolist()), list[int]()
    for row in np.argsort(-widths, kind="stable").tolist():
        if len(chosen) >= n:
            break
        if codes[row] not in seen and not np.isnan(widths[row]):
            seen.add(codes[row])
            chosen.append(row)
    return np.array(chosen, np.int64), float(np.mean(widths[chosen])) if chosen else float("nan")
