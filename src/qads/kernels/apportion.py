"""Whole numbers in proportion, by largest remainders (Hamilton's method), exactly."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

__all__ = ["apportion"]


def apportion(total: int, weights: Sequence[Fraction], sizes: Sequence[int]) -> list[int]:
    """Whole counts in proportion to the weights, by largest remainders, no group above its size.

    Args:
        total: what the counts add up to; at most the sum of the sizes.
        weights: of the groups, > 0.
        sizes: of the groups.

    Returns:
        The counts. Equal remainders go to the earlier group.

    >>> apportion(10, [Fraction(1)] * 3, [2, 9, 9])
    [2, 4, 4]
    """
    counts = [0] * len(weights)
    left, open_groups = total, list(range(len(weights)))
    while True:
        whole = sum(weights[g] for g in open_groups)
        share = {g: left * weights[g] / whole for g in open_groups}
        short = [g for g in open_groups if share[g] >= sizes[g]]
        if not short:
            break
        for g in short:
            counts[g] = sizes[g]
        left -= sum(sizes[g] for g in short)
        open_groups = [g for g in open_groups if g not in set(short)]
        if not open_groups:
            return counts
    for g in open_groups:
        counts[g] = int(share[g])
    left -= sum(counts[g] for g in open_groups)
    for g in sorted(open_groups, key=lambda g: (counts[g] - share[g], g))[:left]:
        counts[g] += 1
    return counts
