"""One problem with several different solutions: which of them stay.

GSM8K-RFT and the like hold many solutions of one problem on purpose, and what such a set is worth lies in how different
they are (Yuan et al. 2023, arXiv:2308.01825, keep one for each different list of equations). So a cap keeps the k most
different: first the one that ranks first, then always the one farthest from those kept, in 1 − J of their shingles; of
equally far ones the one that ranks first. This is K-center Greedy inside the problem.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qads.clean.shingles import jaccard, shingles

__all__ = ["most_different"]


def most_different(solutions: Sequence[str], k: int, *, size: int) -> tuple[list[int], list[int], list[float]]:
    """Choose k of the solutions of one problem.

    Args:
        solutions: the one that ranks first first.
        k: how many stay, fewer than there are.
        size: words in a shingle.

    Returns:
        The places of those that stay, in the order chosen; for every solution the place of the most similar one that
        stays, and the Jaccard similarity to it.

    >>> most_different(["Add 2 and 2.", "Add 2 and 2!", "Two pairs make four."], 2, size=1)[0]
    [0, 2]
    """
    sets = [shingles(text, size) for text in solutions]
    likeness, likest = np.full(len(sets), -1.0), np.zeros(len(sets), np.int64)
    chosen: list[int] = []
    for _ in range(k):
        open_ones = np.where(np.isin(np.arange(len(sets)), chosen), np.inf, likeness)
        pick = int(np.argmin(open_ones))  # The first of equals.
        chosen.append(pick)
        to_pick = np.array([jaccard(each, sets[pick]) for each in sets])
        likest[to_pick > likeness] = pick
        likeness = np.maximum(likeness, to_pick)
    return chosen, likest.tolist(), likeness.tolist()
