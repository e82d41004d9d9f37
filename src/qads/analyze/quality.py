"""The quality of sources by the rows that were really scored: means, the top of the pool, what a source adds.

The scored rows of source s, n_s of N_s, are a random sample of it, so its mean is estimated by theirs alone, and each
of them stands for w_s = N_s / n_s rows of the pool. Predicted quality is shown beside it and enters nothing.

The *marginal value* of a source says what the target would lose without it, at the same budget. Let K be the budget
(a share of the pool's rows), t_ij the help of row i for anchor j (what the quality averages over the anchors), and

    v_j(A) = the mean of t_ij over the K rows of A that help anchor j most
    V(A)   = mean_j v_j(A)
    M_s    = (V(P) − V(P without s)) / |V(P)|

V is facility location on measured influence (what serves every target sample best, added up over them) with the best K
rows in the place of the single best one, whose help is mostly luck. M_s is never negative; it is 0 where no row of s
is among the best K of any anchor, and small where other sources have rows as good: it is a value *given the others*,
and two sources that are copies of each other have little each. The K rows are chosen for each anchor by itself, so one
budget need not reach V for all of them at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from qads.analyze.ranks import Ranking, rank_with_bounds
from qads.analyze.resampling import Draw, Interval, anchor_strata, draws, interval_of
from qads.analyze.scores import RowScores
from qads.kernels.shares import wilson_interval
from qads.kernels.tails import best_without_each

__all__ = ["QualitySettings", "SourceQuality", "measure_quality"]


@dataclass(frozen=True)
class QualitySettings:
    """What the measures of quality need to know."""

    top: float
    budget: float
    confidence: float
    n_draws: int
    seed: int
    fewest: int
    anchors: bool


@dataclass(frozen=True)
class SourceQuality:
    """Quality of one source under one model."""

    n_scored: int
    quartiles: tuple[float, float, float, float, float]
    """Least, first quartile, median, third quartile, greatest; of the scored rows."""
    mean: Interval
    """Of the scored rows; bounds are NaN where there are too few of them."""
    predicted_mean: float | None
    """Mean over all rows of the source, predicted where not scored."""
    top_share: Interval
    """Share of its rows among the best of the pool; Wilson's interval, the border as it was estimated."""
    marginal: Interval | None
    """M_s, a share of V(P); None where the pool without the source is smaller than the budget."""
    rank: int | None
    """By the mean, 1 the best; None where there are too few scored rows."""
    rank_low: int | None
    rank_high: int | None
    """Bounds of the rank, of all sources together."""
    tier: int | None
    """It was not told apart from the best source of its tier."""


def measure_quality(
    scores: RowScores, source_of: Int[np.ndarray, " n"], settings: QualitySettings
) -> tuple[dict[int, SourceQuality], Ranking | None]:
    """Quality of every source that has a scored row.

    Args:
        scores: every row with a quality.
        source_of: source of every row of the pool.
        settings: of the measures.

    Returns:
        Source -> its quality; and the ranking of the sources with `fewest` scored rows or more, in their order, None
        where there are no two of them, or one anchor, which tells nothing of others.
    """
    present, codes = np.unique(source_of[scores.rows], return_inverse=True)
    n_scored, n_rows = np.bincount(codes), np.bincount(source_of)[present]
    sample = _Sample(scores, codes, n_rows / n_scored, float(settings.budget * len(source_of)))
    sampled = [
        (sample.means(draw), sample.marginals(draw))
        for draw in draws(codes, scores.groups, settings.n_draws, settings.seed, anchors=settings.anchors)
    ]
    means, marginals = (np.array(columns) for columns in zip(*sampled, strict=True))
    whole = Draw(np.arange(len(codes)), np.ones(scores.terms.shape[1]))
    mean, marginal = sample.means(whole), sample.marginals(whole)
    enough = np.flatnonzero(n_scored >= settings.fewest)
    ranking = None
    anchors = [[len(stratum) for stratum in anchor_strata(scores.groups)]] if settings.anchors else []
    if len(enough) > 1 and anchors != [[1]]:
        ranking = rank_with_bounds(mean[enough], means[:, enough], settings.confidence)
    place = {int(code): position for position, code in enumerate(enough)}
    border = _border(scores.quality, sample.weights, settings.top)
    found: dict[int, SourceQuality] = {}
    for g, source in enumerate(present.tolist()):
        at, quality = place.get(g), scores.quality[codes == g]
        known = settings.confidence if at is not None else float("nan")
        strata = [[len(quality)], *anchors]
        found[source] = SourceQuality(
            n_scored=len(quality),
            quartiles=_quartiles(quality),
            mean=_interval(float(mean[g]), means[:, g], known, strata),
            predicted_mean=None if scores.predicted is None else _mean(scores.predicted[source_of == source]),
            top_share=_share(int((quality >= border).sum()), len(quality), settings.confidence),
            marginal=None if sample.lacks(g, n_rows) else _interval(float(marginal[g]), marginals[:, g], known, strata),
            rank=_rank(ranking, "ranks", at),
            rank_low=_rank(ranking, "lowest", at),
            rank_high=_rank(ranking, "highest", at),
            tier=_rank(ranking, "tiers", at),
        )
    return found, ranking


class _Sample:
    """Scored rows, ready to be drawn again many times."""

    def __init__(
        self, scores: RowScores, codes: Int[np.ndarray, " k"], weights: Float[np.ndarray, " s"], places: float
    ) -> None:
        self.scores, self.codes, self.places = scores, codes, places
        self.n_groups = len(weights)
        self.weights = weights[codes]
        # A pair that was not scored helps as much as the row does on the mean.
        filled = np.where(np.isnan(scores.terms), scores.quality[:, None], scores.terms)
        self.columns = np.ascontiguousarray(filled.T, dtype=np.float64)
        self.order = np.argsort(-self.columns, axis=1, kind="stable")

    def means(self, draw: Draw) -> Float[np.ndarray, " s"]:
        quality = self.scores.means(draw.anchors)[draw.rows]
        known = np.isfinite(quality)
        with np.errstate(invalid="ignore"):
            return np.bincount(
                self.codes[known], weights=quality[known], minlength=self.n_groups
            ) / np.bincount(self.codes[known], minlength=self.n_groups)  # fmt: skip

    def marginals(self, draw: Draw) -> Float[np.ndarray, " s"]:
        weights = np.bincount(draw.rows, minlength=len(self.codes)) * self.weights
        used = np.flatnonzero(draw.anchors)
        best = best_without_each(
            self.order[used], self.columns[used], self.codes, weights, self.places, self.n_groups
        )  # fmt: skip
        value = draw.anchors[used] @ best
        with np.errstate(invalid="ignore", divide="ignore"):
            # Without some rows the best are no better; what is below 0 is rounding.
            return np.maximum(value[-1] - value[:-1], 0.0) / np.abs(value[-1])

    def lacks(self, group: int, n_rows: Int[np.ndarray, " s"]) -> bool:
        """Whether the pool without a source cannot fill the budget."""
        return float(n_rows.sum() - n_rows[group]) < self.places


def _border(quality: Float[np.ndarray, " k"], weights: Float[np.ndarray, " k"], top: float) -> float:
    """The least quality of the best `top` of the pool, each scored row standing for its weight."""
    order = np.argsort(-quality, kind="stable")
    reached = np.cumsum(weights[order]) >= top * weights.sum() * (1 - 1e-12)
    return float(quality[order[np.argmax(reached)]])


def _share(n: int, of: int, confidence: float) -> Interval:
    return Interval(n / of, *wilson_interval(n, of, confidence))


def _interval(
    value: float, found: Float[np.ndarray, " b"], confidence: float, strata: Sequence[Sequence[int]]
) -> Interval:
    if np.isnan(confidence):
        return Interval(value, float("nan"), float("nan"))
    return interval_of(value, found, confidence, strata=strata)


def _quartiles(values: Float[np.ndarray, " k"]) -> tuple[float, float, float, float, float]:
    least, low, median, high, most = np.quantile(values, [0, 0.25, 0.5, 0.75, 1]).tolist()
    return least, low, median, high, most


def _mean(values: Float[np.ndarray, " r"]) -> float:
    return float(values.mean(dtype=np.float64))


def _rank(ranking: Ranking | None, name: str, at: int | None) -> int | None:
    return None if ranking is None or at is None else int(getattr(ranking, name)[at])
