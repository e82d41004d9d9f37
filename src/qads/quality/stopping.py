"""When a candidate has been scored on enough anchors.

Anchors come in one random order for all candidates, balanced over their groups, in rounds that double: every round runs
the example again, which is cost. After a round the rule says which candidates go on. This is racing by successive
elimination (Maron & Moore 1994, Hoeffding races; Birattari et al. 2002, paired races on common instances; Mnih et al.
2008, empirical Bernstein stopping), with Student intervals in place of the distribution-free bounds: terms are means of
many tokens, and with some dozens of anchors a Hoeffding or Bernstein interval is wider than the range of qualities.

Whatever the rule, a few candidates drawn by seed, the panel, go on as long as anyone does. They tell what the anchors
that others never saw are like (`kernels/partial.py`), and being drawn at random they tell it without bias.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import stdtrit

from qads.errors import InputError
from qads.kernels.partial import group_codes, mean_over_scored
from qads.quality.influence import Aggregate, Influence, aggregate_terms

__all__ = ["EveryAnchor", "Stopping", "UntilRankStable", "UntilStandardError"]

_NEIGHBOURS = 8
"""Candidates of like quality that a candidate is compared with, pair by pair."""


@dataclass(frozen=True, kw_only=True)
class EveryAnchor:
    """Every candidate is scored on every anchor, in one round."""

    kind: Literal["every-anchor"] = "every-anchor"
    """Name in a configuration."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    def order(self, groups: Sequence[str]) -> Int[np.ndarray, " m"]:
        """The anchors as they are given."""
        return np.arange(len(groups))

    def looks(self, n_anchors: int) -> list[int]:
        """One, when everything is done."""
        return [n_anchors]

    def goes_on(self, found: Influence, aggregate: Aggregate) -> Bool[np.ndarray, " n"]:
        """Nobody: there is only one round."""
        return np.zeros(len(found.candidate_ids), bool)

    def met(self, found: Influence, aggregate: Aggregate) -> Bool[np.ndarray, " n"]:
        """All that were scored."""
        return found.n_scored > 0


@dataclass(frozen=True, kw_only=True)
class _InRounds:
    """What the rules that stop early have in common."""

    start: int = 8
    """Anchors of the first round, the fewest that any candidate is scored on; the total doubles with each round."""
    panel: int = 8
    """Candidates, drawn by seed, that go on as long as anyone does."""
    seed: int = 0
    """Seed of the order of the anchors and of the panel."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        name = type(self).__name__
        if self.start < 3:
            raise InputError(f"{name}: start is {self.start}; a spread needs 3 anchors at least.")
        if self.panel < 1:
            raise InputError(f"{name}: panel is {self.panel}; it must have 1 candidate at least.")
        if self.seed < 0:
            raise InputError(f"{name}: seed is {self.seed}; a seed is 0 or more.")

    def order(self, groups: Sequence[str]) -> Int[np.ndarray, " m"]:
        """A random order of which every beginning has its groups in proportion, to within an anchor or two."""
        codes, rng = group_codes(tuple(groups)), np.random.default_rng(self.seed)
        place = np.empty(len(codes))
        for code in range(int(codes.max(initial=-1)) + 1):
            rows = rng.permutation(np.flatnonzero(codes == code))
            place[rows] = (np.arange(len(rows)) + 0.5) / len(rows)
        return np.lexsort((rng.random(len(codes)), place))

    def looks(self, n_anchors: int) -> list[int]:
        """How many anchors have been used after each round; a small rest joins the round before."""
        counts = [self.start]
        while counts[-1] < n_anchors:
            counts.append(2 * counts[-1])
        if len(counts) > 1 and n_anchors - counts[-2] < self.start:
            counts.pop()
        return [*counts[:-1], n_anchors]

    def drawn(self, n_candidates: int) -> Bool[np.ndarray, " n"]:
        """The panel."""
        rows = np.random.default_rng([self.seed, 1]).permutation(n_candidates)[: self.panel]
        return np.isin(np.arange(n_candidates), rows)

    def _with_panel(self, wanted: Bool[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
        return wanted | self.drawn(len(wanted)) if wanted.any() else wanted


@dataclass(frozen=True, kw_only=True)
class UntilStandardError(_InRounds):
    """A candidate stops once the standard error of its quality over its anchors is small enough.

    The standard error is `Influence.standard_error`: anchors count as a sample of the target skill, so it stays above
    zero when all of them have been used, and candidates can run out of anchors. It is that of the plain mean; what
    `kernels/partial.py` gains by comparing with other candidates is not credited. Stopping when an *estimated* error is
    small favours rows whose first anchors happen to agree (at the extreme a row that helped with none of them, whose
    ``positive_gain`` has the error 0), so errors close to `se` are somewhat too low; `start` bounds how much.
    """

    kind: Literal["standard-error"] = "standard-error"
    """Name in a configuration."""
    se: float
    """Largest standard error, in the unit of the aggregate (nats a token, or a share for ``win_rate``)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (math.isfinite(self.se) and self.se > 0):
            raise InputError(f"UntilStandardError: se is {self.se:g}; it must be a number above 0.")

    def goes_on(self, found: Influence, aggregate: Aggregate) -> Bool[np.ndarray, " n"]:
        """Those whose standard error is not small enough, those not heard yet, and the panel."""
        return self._with_panel(~self.met(found, aggregate) & ((found.n_scored > 0) | _unheard(found)))

    def met(self, found: Influence, aggregate: Aggregate) -> Bool[np.ndarray, " n"]:
        """Those whose standard error is small enough."""
        return found.standard_error(aggregate) <= self.se


@dataclass(frozen=True, kw_only=True)
class UntilRankStable(_InRounds):
    """A candidate stops once it is clear where it stands among the candidates.

    Candidates are sorted by quality into `levels` levels of equal size. After a round each one that is still scored has
    an interval for its quality. It stops when no border between levels lies in the interval, or when no more than the
    share `tolerance` of all candidates does: rows on a border would otherwise go on to the last anchor, however well
    they are known.

    What matters for the rank is not the error of the quality but that of the difference from the candidates it could
    change places with: all were scored on the same anchors, so what makes an anchor easy for all cancels out. The
    interval is therefore paired: D_ij = t_ij − mean of t_kj over the eight candidates k of nearest quality that are
    still scored, and

        half width = t_{1−a} · sqrt( s² / k · (1 − k/m) ),     a = (1 − confidence) / (number of looks before the last)

    with s² the variance of D inside the anchor groups (over all anchors where these leave fewer than four degrees of
    freedom) and 1 − k/m the finite-population correction: what is asked is where the candidate stands on *these* m
    anchors. The error is split over the looks (Bonferroni), and is that of either end by itself: a candidate in the
    highest or lowest level can be wrong at one end, one between at both. Over candidates it is not split: each
    stopped one by itself is beyond that end with probability 1 − confidence; with hundreds of candidates a bound
    for all at once would stop nobody. Borders are quantiles of the estimates, so they are better known than any one
    candidate, and their own error is neglected. Terms that are cut at zero are skewed, and Student's interval is too
    narrow: with ``positive_gain`` 0.86 of the stopped candidates were in their level where 0.95 was stated, with
    ``mean_gain`` 0.98 (`docs/experiments.md`). Under `tolerance` the level may be the next one; the rank is then off by
    about `tolerance` / 2 at most.
    """

    kind: Literal["rank-stable"] = "rank-stable"
    """Name in a configuration."""
    levels: int = 5
    """Levels of equal size that the candidates are sorted into."""
    confidence: float = 0.95
    """Probability for each candidate that an end of its interval holds, either by itself, over all looks."""
    tolerance: float = 0.3
    """Share of the candidates that an interval may span although a border lies in it; 0 makes borders go on."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.levels < 2:
            raise InputError(f"UntilRankStable: levels is {self.levels}; there must be 2 at least.")
        if not 0.5 <= self.confidence < 1:
            raise InputError(f"UntilRankStable: confidence is {self.confidence:g}; it must lie in [0.5, 1), as 0.95.")
        if not 0 <= self.tolerance < 1:
            raise InputError(f"UntilRankStable: tolerance is {self.tolerance:g}; it must be a share in [0, 1), as 0.3.")

    def goes_on(self, found: Influence, aggregate: Aggregate) -> Bool[np.ndarray, " n"]:
        """Those whose place is not clear yet, those not heard yet, and the panel."""
        quality = found.quality(aggregate)
        ranked = np.sort(quality[np.isfinite(quality)])
        if not len(ranked):
            return self._with_panel(_unheard(found))
        used = np.flatnonzero(np.isfinite(found.gains).any(axis=0))
        active = ~found.pending[:, used].any(axis=1) & (found.n_scored > 0)
        half = np.full(len(quality), np.inf)
        half[active] = self._half_widths(found, aggregate, quality, active, used)
        borders = np.quantile(ranked, np.arange(1, self.levels) / self.levels)
        low, high = quality - half, quality + half
        inside = np.searchsorted(borders, high, "right") == np.searchsorted(borders, low, "left")
        span = (np.searchsorted(ranked, high, "right") - np.searchsorted(ranked, low, "left") - 1) / len(ranked)
        return self._with_panel(_unheard(found) | (active & ~(inside | (span <= self.tolerance))))

    def met(self, found: Influence, aggregate: Aggregate) -> Bool[np.ndarray, " n"]:
        """All that were scored: with the last anchor the place is known."""
        return found.n_scored > 0

    def _half_widths(
        self,
        found: Influence,
        aggregate: Aggregate,
        quality: Float[np.ndarray, " n"],
        active: Bool[np.ndarray, " n"],
        used: Int[np.ndarray, " k"],
    ) -> Float[np.ndarray, " a"]:
        """Half width of the interval of every active candidate."""
        terms = aggregate_terms(found.gains, aggregate)[active][:, used]
        groups = group_codes(tuple(found.anchor_groups[j] for j in used))
        n_looks = max(1, len(self.looks(len(found.anchor_ids))) - 1)
        n_left = found.pending[active].sum(axis=1)
        found_half = np.full(len(terms), np.inf)
        for i, like in enumerate(_nearest(quality[active])):
            if len(like):
                apart = terms[i] - mean_over_scored(terms[like].T)
                variance, freedom, count = _variance_within(apart, groups)
                if freedom > 0:
                    left = 1 - count / max(count, int(n_left[i]) + count)
                    width = float(stdtrit(freedom, 1 - (1 - self.confidence) / n_looks))
                    found_half[i] = width * math.sqrt(variance / count * left)
        return found_half


Stopping = EveryAnchor | UntilStandardError | UntilRankStable
"""Every rule; a configuration picks one by `kind`."""


def _unheard(found: Influence) -> Bool[np.ndarray, " n"]:
    """Candidates that no anchor so far could score, and another one might."""
    return (found.n_scored == 0) & found.pending.any(axis=1)


def _nearest(quality: Float[np.ndarray, " a"]) -> list[Int[np.ndarray, " w"]]:
    """For every candidate the others of nearest quality, on both sides where there are such."""
    order = np.argsort(quality, kind="stable")
    near: list[Int[np.ndarray, " w"]] = [order[:0]] * len(order)
    for place, row in enumerate(order):
        first = max(0, min(place - _NEIGHBOURS // 2, len(order) - _NEIGHBOURS - 1))
        window = order[first : first + _NEIGHBOURS + 1]
        near[row] = window[window != row]
    return near


def _variance_within(values: Float[np.ndarray, " k"], groups: Int[np.ndarray, " k"]) -> tuple[float, int, int]:
    """Variance inside the groups with its degrees of freedom, and how many values there are."""
    there = np.isfinite(values)
    values, groups = values[there], group_codes(tuple(map(str, groups[there].tolist())))
    if len(values) - len(set(groups.tolist())) < 4:
        groups = np.zeros(len(values), np.int64)
    if len(values) < 2:
        return math.nan, 0, len(values)
    means = np.bincount(groups, values) / np.bincount(groups)
    freedom = len(values) - len(means)
    return float(((values - means[groups]) ** 2).sum() / freedom), freedom, len(values)
