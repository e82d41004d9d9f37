"""How well a mean over anchors is known from the anchors there are: agreement of halves, stepped up to all of them.

Two halves of m anchors, of lengths a and b, measure the same rows; r is the correlation of the rows' means over them.
With u the variance of one anchor's noise in units of what all anchors share,

    r = 1 / √((1 + u/a)(1 + u/b))          so        u = (√((a − b)² + 4ab / r²) − (a + b)) / 2

and the mean over m anchors has the reliability 1 / (1 + u/m). For halves of one length that is 2r / (1 + r) (Spearman
1910; Brown 1910); for others it is Horst's correction (1951).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from qads.kernels.agreement import cell_pearson

__all__ = ["halvings", "reliability"]


def halvings(groups: Sequence[str], n_halvings: int, seed: int) -> Float[np.ndarray, "h m"]:
    """Random halves of the anchors: 1 for about half of each group, 0 for the others.

    The groups come in random order too: of groups of one, every second in a fixed order would be the same half always.
    """
    rng, of_groups = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    names, codes = np.unique(np.array(groups), return_inverse=True)
    halves = np.zeros((n_halvings, len(groups)))
    for half in halves:
        order, places = rng.permutation(len(groups)), of_groups.permutation(len(names))[codes]
        by_group = order[np.argsort(places[order], kind="stable")]
        half[by_group[rng.integers(2) :: 2]] = 1
    return halves


def reliability(
    terms: Float[np.ndarray, "n m"],
    cells: Int[np.ndarray, " n"],
    halves: Float[np.ndarray, "h m"],
    *,
    length: int | None = None,
) -> float:
    """Reliability of the rows' means over `length` anchors, after the mean of every cell is taken away.

    Args:
        terms: what is averaged over the anchors; NaN where a pair was not scored.
        cells: rows of one number are compared with each other only.
        halves: 1 for the anchors of the one half, 0 for those of the other.
        length: anchors that the mean is over; all by default.

    Returns:
        Below 0 where halves disagree; NaN where it is not defined, as with one anchor.
    """
    known = np.isfinite(terms)
    sums, counts = np.where(known, terms, 0.0), known.astype(np.float64)
    both = np.ones((len(halves), len(terms)))
    means: list[Float[np.ndarray, "h n"]] = []
    for half in (halves, 1 - halves):
        count = half @ counts.T
        means.append((half @ sums.T) / np.maximum(count, 1))
        both *= count > 0
    found = cell_pearson(means[0], means[1], cells, both)
    m, defined = halves.shape[1], np.isfinite(found)
    if not defined.any():
        return float("nan")
    # Where an anchor was taken out, the halves that it was in are the shorter ones.
    lengths = halves.sum(axis=1)
    of_length = {float(a): found[defined & (lengths == a)] for a in np.unique(lengths[defined])}
    stepped = [len(r) * _stepped_up(float(np.mean(r)), a, m - a, length or m) for a, r in of_length.items()]
    return sum(stepped) / int(defined.sum())


def _stepped_up(r: float, a: float, b: float, m: int) -> float:
    if r <= 0:
        return 2 * r / (1 + r) if r > -1 else -np.inf  # No share of variance; only that it is below 0 is of use.
    noise = (np.sqrt((a - b) ** 2 + 4 * a * b / r**2) - (a + b)) / 2
    return float(1 / (1 + noise / m))
