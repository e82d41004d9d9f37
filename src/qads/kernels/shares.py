"""The interval of a share."""

from __future__ import annotations

import math

__all__ = ["wilson_interval"]


def wilson_interval(n: int, of: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion; NaN where it is of none.

    It keeps its level for few items and for shares near 0 and 1, where small models are: 0 of 11 right gives an upper
    end of 0.26, a bootstrap or mean ± 2 standard errors 0.

    Source: Wilson (1927); Brown, Cai & DasGupta (2001).

    >>> [round(end, 3) for end in wilson_interval(0, 11)]
    [0.0, 0.259]
    """
    if of == 0:
        return math.nan, math.nan
    from scipy.stats import binomtest  # A second to load, for nothing where nothing is counted.

    found = binomtest(n, of).proportion_ci(confidence, method="wilson")
    return float(found.low), float(found.high)
