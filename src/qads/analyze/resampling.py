"""Drawing rows and anchors again: how far a number would move with other rows and other anchors.

Every row was scored on the same anchors, so that rows and anchors are crossed: two sources that the same few anchors
favour move together. Both are drawn again, each by itself (Owen 2007, "The pigeonhole bootstrap", Annals of Applied
Statistics 1(2); Owen & Eckles 2012, arXiv:1106.2125): rows within their source, as the sample was drawn, anchors
within their group. For such data no bootstrap is exact (McCullagh 2000); this one errs on the wide side, if mildly.
Drawn again from a group of one, an anchor is always itself, as if nothing else could have stood there, and one of two
varies half as much as it should; so small groups are drawn from together, which is wider where they differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from qads.kernels.percentiles import expanded_percentiles

__all__ = ["Draw", "Interval", "anchor_strata", "draws", "interval_of", "row_means"]

_SMALL = 4
"""Groups of fewer anchors are drawn from as one."""


@dataclass(frozen=True)
class Interval:
    """A number and the interval that it may well lie in."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Draw:
    """One bootstrap sample."""

    rows: Int[np.ndarray, " k"]
    """Rows that were drawn; those of a source stay in its places."""
    anchors: Float[np.ndarray, " m"]
    """How often every anchor was drawn."""


def draws(
    codes: Int[np.ndarray, " k"], anchor_groups: Sequence[str], n_draws: int, seed: int, *, anchors: bool = True
) -> Iterator[Draw]:
    """Bootstrap samples of scored rows and anchors.

    Args:
        codes: source of every row.
        anchor_groups: group of every anchor.
        n_draws: how many.
        seed: of the draws.
        anchors: draw the anchors again as well; else they count as the whole target.
    """
    rng = np.random.default_rng(seed)
    strata = [np.flatnonzero(codes == code) for code in np.unique(codes)]
    members = anchor_strata(anchor_groups)
    for _ in range(n_draws):
        rows = np.empty(len(codes), np.int64)
        for stratum in strata:
            rows[stratum] = stratum[rng.integers(0, len(stratum), len(stratum))]
        counts = np.ones(len(anchor_groups))
        if anchors:
            for group in members:
                drawn = group[rng.integers(0, len(group), len(group))]
                counts[group] = np.bincount(drawn, minlength=len(counts))[group]
        yield Draw(rows, counts)


def anchor_strata(groups: Sequence[str]) -> list[Int[np.ndarray, " g"]]:
    """The anchors that are drawn from together: each group, and all groups of fewer than four as one.

    >>> [stratum.tolist() for stratum in anchor_strata(("a", "a", "a", "a", "b", "c"))]
    [[0, 1, 2, 3, 4, 5]]
    >>> [stratum.tolist() for stratum in anchor_strata(("a",) * 4 + ("b",) * 4)]
    [[0, 1, 2, 3], [4, 5, 6, 7]]
    """
    names = np.array(groups)
    members = sorted((np.flatnonzero(names == name) for name in np.unique(names)), key=len)
    small = [member for member in members if len(member) < _SMALL]
    large = members[len(small) :]
    if small and large and sum(map(len, small)) < _SMALL:
        small.append(large.pop(0))
    return [*([np.sort(np.concatenate(small))] if small else []), *large]


def row_means(terms: Float[np.ndarray, "k m"], anchors: Float[np.ndarray, " m"]) -> Float[np.ndarray, " k"]:
    """Mean of every row over the anchors that were drawn and that it was scored on; NaN where there is none."""
    known = ~np.isnan(terms)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (np.where(known, terms, 0.0) @ anchors) / (known @ anchors)


def interval_of(
    value: float, found: Float[np.ndarray, " b"], confidence: float, *, strata: Sequence[Sequence[int]] = ()
) -> Interval:
    """The expanded percentile interval of what the draws gave (`kernels/percentiles.py`)."""
    return Interval(value, *expanded_percentiles(value, found, confidence, strata=strata))
