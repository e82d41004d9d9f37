"""Percentile intervals that are not too narrow where little was drawn from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr, stdtrit

__all__ = ["expanded_percentiles"]


def expanded_percentiles(
    value: float, found: Float[np.ndarray, " b"], confidence: float, *, strata: Sequence[Sequence[int]] = ()
) -> tuple[float, float]:
    """Low and high end of the percentile interval of what bootstrap samples gave; those that gave nothing are left out.

    Percentiles are too narrow where little was drawn from, so they are moved outward, as the t distribution is wider
    than the normal and as n/(n − 1) is more than 1 (Hesterberg 2015, "What Teachers Should Know About the Bootstrap",
    arXiv:1411.5279: the expanded percentile interval). The interval holds the value itself even where the bootstrap is
    biased.

    Args:
        value: what the interval is of.
        found: what the samples gave.
        confidence: of the interval.
        strata: for each way of drawing (rows; anchors) the sizes of the groups drawn from; that which asks for the
            widest interval decides.

    Returns:
        Both NaN where no sample gave anything, where there is no value, and where a group has one member, which drawn
        again is always itself and tells nothing of others.
    """
    finite = found[np.isfinite(found)]
    if not len(finite) or not np.isfinite(value) or any(min(sizes) < 2 for sizes in strata):
        return float("nan"), float("nan")
    tail = (1 - confidence) / 2
    tail = min([tail, *(_wider_tail(tail, sizes) for sizes in strata)])
    low, high = np.quantile(finite, [tail, 1 - tail])
    return min(float(low), value), max(float(high), value)


def _wider_tail(tail: float, sizes: Sequence[int]) -> float:
    n, freedom = min(sizes), sum(sizes) - len(sizes)
    return float(ndtr(np.sqrt(n / (n - 1)) * stdtrit(freedom, tail)))
