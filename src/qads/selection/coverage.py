"""How a selection covers its pool: for every row the pick that stands for it, and what each budget would have given.

The *covering radius* of k picks is max_i min_j≤k d(x_i, c_j), what K-center Greedy makes small (Sener & Savarese 2018,
arXiv:1708.00489, eq. 4); the *mean distance* is the mean over i of the same minimum. Along the budget both fall,
steeply at first and then slowly; the *knee* is where falling on is hardly worth more rows. It is found as by Kneedle
(Satopää et al. 2011, "Finding a 'Kneedle' in a Haystack", section III) on the mean distance, which every row has a part
in; the radius hangs on a single row and falls in steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Int

from qads.choices import check_choice
from qads.errors import AlignmentError, InputError
from qads.kernels.nearest import nearest_centres
from qads.pool import Progress, Selection
from qads.selection.inputs import check_directions, checked_embeddings, checked_quality

__all__ = ["Coverage", "coverage", "find_knee"]

_N_BUDGETS = 40


@dataclass(frozen=True, eq=False)
class Coverage:
    """Which pick covers every row of the pool, and what the first picks alone would give."""

    steps: Int[np.ndarray, " n"]
    """Step of the nearest pick of every row; the earliest of equals."""
    rows: Int[np.ndarray, " n"]
    """Row of that pick."""
    distances: Float[np.ndarray, " n"]
    """Distance to it; 0 for a pick itself."""
    budgets: Int[np.ndarray, " b"]
    """Numbers of first picks that the columns below are of, rising."""
    radius: Float[np.ndarray, " b"]
    """Largest distance of a row of the pool to the nearest of those picks."""
    mean_distance: Float[np.ndarray, " b"]
    """Mean of those distances over the pool."""
    mean_quality: Float[np.ndarray, " b"] | None
    """Mean quality of those picks that have one, NaN where none has; None where no quality was given."""
    n_tokens: Int[np.ndarray, " b"] | None
    """Tokens of those picks together; None where no tokens were given."""
    metric: str
    """``euclidean`` or ``cosine``."""

    @property
    def knee(self) -> int | None:
        """The budget after which more rows bring the pool little nearer, one of `budgets`; None where there is none."""
        return find_knee(self.budgets, self.mean_distance)


def coverage(
    embeddings: npt.ArrayLike,
    selection: Selection,
    *,
    metric: str = "euclidean",
    quality: npt.ArrayLike | None = None,
    tokens: npt.ArrayLike | None = None,
    budgets: Sequence[int] | None = None,
    progress: Progress | None = None,
) -> Coverage:
    """Find for every row the pick that covers it, and measure the first picks of several numbers.

    The curves are of the *first picks*. Where the selection is prefix-closed they are what a smaller budget would have
    chosen; where it is not, only what these picks cover.

    Args:
        embeddings: float array-like [n, d], what was selected from. Read in blocks; a memory map may exceed memory.
        selection: of these rows.
        metric: ``euclidean`` or ``cosine`` (1 − cos).
        quality: one number a row [n], NaN for a row that has none.
        tokens: whole numbers ≥ 0, one a row [n].
        budgets: numbers of first picks to measure, each in 1..k; by default all of them up to 40, else 40 or fewer from
            1 to k, evenly in their logarithms.
        progress: called with (rows done, rows).

    Raises:
        InputError: the selection is empty, a budget is not in 1..k, or an input is not what it must be.
        AlignmentError: selection, quality or tokens are of another number of rows.

    >>> import numpy as np, qads
    >>> x = np.array([[0.0], [1.0], [5.0], [9.0]])
    >>> found = qads.coverage(x, qads.KCenterGreedy()(x, budget=2))
    >>> found.rows.tolist(), found.distances.tolist(), found.radius.tolist()
    ([0, 0, 3, 3], [0.0, 1.0, 4.0, 0.0], [9.0, 4.0])
    """
    check_choice(metric, ("euclidean", "cosine"), name="metric", method="coverage")
    x = checked_embeddings(embeddings, method="coverage")
    if metric == "cosine":
        check_directions(x, method="coverage")
    if selection.n_rows != len(x):
        raise AlignmentError(
            f"coverage: the selection is of {selection.n_rows} rows but there are {len(x)} embeddings; give those that "
            "it was made from."
        )
    at = _checked_budgets(budgets, len(selection))
    picks = selection.indices
    found = nearest_centres(
        x, picks, cosine=metric == "cosine", prefixes=at.tolist(),
        on_rows=(lambda done: progress(done, len(x))) if progress else None,
    )  # fmt: skip
    sums = None if tokens is None else np.cumsum(_checked_tokens(tokens, len(x))[picks])
    return Coverage(
        steps=found.nearest,
        rows=picks[found.nearest],
        distances=found.distances,
        budgets=at,
        radius=found.largest,
        mean_distance=found.mean,
        mean_quality=None if quality is None else _running_mean(quality, len(x), picks)[at - 1],
        n_tokens=None if sums is None else sums[at - 1],
        metric=metric,
    )


def find_knee(budgets: Int[np.ndarray, " b"], falling: Float[np.ndarray, " b"]) -> int | None:
    """The budget at which a falling curve bends most, by Kneedle with sensitivity 1.

    Both axes are brought to [0, 1], with x' the budget and y' the value turned over, so that the curve rises from
    (0, 0) to (1, 1); the knee is where y' − x' is largest. It counts where it stands out by more than the mean step of
    x', as Kneedle asks: a straight line has none. One knee is looked for, the greatest: the whole curve is known.

    Args:
        budgets: rising.
        falling: never rising with the budget.

    Returns:
        One of the budgets, the smallest of equals; None where the curve does not bend or has fewer than three points.
    """
    fall = falling[0] - falling[-1]
    if len(budgets) < 3 or not fall > 0:
        return None
    across = (budgets - budgets[0]) / (budgets[-1] - budgets[0])
    above = (falling[0] - falling) / fall - across
    best = int(np.argmax(above))
    return int(budgets[best]) if above[best] > 1 / (len(budgets) - 1) else None


def _running_mean(quality: npt.ArrayLike, n_rows: int, picks: Int[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
    """Mean quality of the picks so far, of those that have one."""
    given = np.asarray(quality)
    has_none = np.isnan(given) if given.dtype.kind == "f" else np.zeros(given.shape, np.bool_)
    checked = checked_quality(np.where(has_none, 0, given) if has_none.any() else quality, n_rows, method="coverage")
    known = ~has_none[picks] if has_none.any() else np.ones(len(picks), np.bool_)
    total, count = np.cumsum(np.where(known, checked[picks], 0.0)), np.cumsum(known)
    return np.divide(total, count, out=np.full(len(picks), np.nan), where=count > 0)


def _checked_budgets(budgets: Sequence[int] | None, k: int) -> Int[np.ndarray, " b"]:
    if k == 0:
        raise InputError("coverage: the selection is empty; nothing covers the pool. Select one row at least.")
    if budgets is None:
        all_or_some = np.arange(1, k + 1) if k <= _N_BUDGETS else np.geomspace(1, k, _N_BUDGETS)
        return np.unique(all_or_some.round().astype(np.int64))
    at = np.asarray(budgets)
    if at.ndim != 1 or len(at) == 0 or at.dtype.kind not in "iu":
        raise InputError(f"coverage: budgets is {budgets!r}; it must be numbers of first picks, one at least.")
    if at.min() < 1 or at.max() > k:
        wrong = at[(at < 1) | (at > k)][0]
        raise InputError(f"coverage: budget {wrong} of a selection of {k} picks; each must lie in 1..{k}.")
    return np.unique(at).astype(np.int64)


def _checked_tokens(tokens: npt.ArrayLike, n_rows: int) -> Int[np.ndarray, " n"]:
    counts = np.asarray(tokens)
    if counts.shape != (n_rows,):
        raise AlignmentError(
            f"coverage: tokens has shape {counts.shape}; it must be one number for each of {n_rows} rows."
        )
    if counts.dtype.kind not in "iu" or counts.min() < 0:
        raise InputError(f"coverage: tokens are of type {counts.dtype}; they must be whole numbers ≥ 0.")
    return counts.astype(np.int64)
