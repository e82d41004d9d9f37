"""Which rows are scored, and against which anchors."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pyarrow.compute as pc
from jaxtyping import Float, Int

from qads.errors import AlignmentError, InputError
from qads.kernels.distance import greedy_scan
from qads.pool import Pool, take_rows
from qads.problems import problem_key

__all__ = ["choose_anchors", "stratified_sample"]

_STAND_FOR_SOURCE = 1 << 18
"""Rows of a source among which its anchors are looked for; in float32 and 384 numbers 0.4 GB."""


def choose_anchors(pool: Pool, embeddings: Float[np.ndarray, "n d"], n_anchors: int) -> Int[np.ndarray, " m"]:
    """Rows of the pool that stand for the target skill when the user names none.

    Only worked solutions (``kind`` cot) serve, and of those only rows up to twice the median length of their source:
    an anchor is read once for every candidate, and the longest rows are the least typical. Every source with such
    rows gives the same number (the larger ones first where it does not divide). Within a source K-center Greedy
    spreads the anchors, and each centre is then replaced by the row nearest to the mean of its cell: K-center alone
    picks outliers. Of a source with more than 262,144 such rows, as many of them at even steps stand for it, so that
    time and memory do not grow with the pool.

    Returns:
        Positions in the pool, ascending; no two with the same problem.

    Raises:
        AlignmentError: the embeddings are not of as many rows as the pool has.
        InputError: there are not enough distinct worked solutions, or the embedding of one is not finite.
    """
    if n_anchors < 1:
        raise InputError(f"choose_anchors: n_anchors is {n_anchors}; there must be one at least.")
    if len(embeddings) != len(pool):
        raise AlignmentError(
            f"choose_anchors: {len(embeddings)} embeddings for a pool of {len(pool)} rows; they must be the same."
        )
    worked = pc.call_function("equal", [pool.table["kind"], "cot"]).to_numpy()
    by_source = {name: rows[worked[rows]] for name, rows in pool.rows_by_source().items()}
    groups = sorted((rows for rows in by_source.values() if len(rows)), key=lambda rows: (-len(rows), rows[0]))
    in_problem, in_solution = (
        pc.call_function("utf8_length", [pool.table[name]]).to_numpy() for name in ("problem", "solution")
    )
    lengths = in_problem + in_solution
    moderate = [_at_even_steps(rows[lengths[rows] <= 2 * np.median(lengths[rows])]) for rows in groups]
    seen: set[str] = set()
    distinct = [_first_of_each(rows, pool, seen) for rows in moderate]
    shares = _even_shares([len(rows) for rows in distinct], n_anchors)
    if sum(shares) < n_anchors:
        raise InputError(
            f"anchors: {n_anchors} asked for, but the pool has {sum(map(len, distinct))} distinct worked solutions "
            "of moderate length (kind cot). Give the target skill's own samples: --anchors FILE"
        )
    chosen = [_cell_medoids(embeddings, rows, share) for rows, share in zip(distinct, shares, strict=True) if share]
    return np.sort(np.concatenate(chosen))


def stratified_sample(
    pool: Pool, n_rows: int, *, exclude: Collection[int] = (), seed: int = 0
) -> Int[np.ndarray, " k"]:
    """Rows drawn evenly over the sources: each gives the same number, small ones all they have.

    A larger draw of the same seed holds every row of a smaller one, so that what was scored for it is of use again.

    Returns:
        Positions in the pool, ascending; `n_rows` of them, or all there are.

    Raises:
        InputError: `n_rows` is negative.
    """
    if n_rows < 0:
        raise InputError(f"stratified_sample: n_rows is {n_rows}; it must be a whole number ≥ 0.")
    rng = np.random.default_rng(seed)
    out = np.array(list(exclude), np.int64)
    groups = [rows[~np.isin(rows, out)] for rows in pool.rows_by_source().values()]
    shares = _even_shares([len(rows) for rows in groups], n_rows)
    drawn = [rng.permutation(rows)[:share] for rows, share in zip(groups, shares, strict=True)]
    return np.sort(np.concatenate(drawn))


def _even_shares(sizes: list[int], total: int) -> list[int]:
    """Shares as even as the sizes allow; what does not divide goes to the earlier groups."""
    shares = [0] * len(sizes)
    left = min(total, sum(sizes))
    while left:
        open_groups = [i for i, size in enumerate(sizes) if shares[i] < size]
        each = max(1, left // len(open_groups))
        for i in open_groups[:left]:
            step = min(each, sizes[i] - shares[i], left)
            shares[i] += step
            left -= step
    return shares


def _at_even_steps(rows: Int[np.ndarray, " r"]) -> Int[np.ndarray, " s"]:
    """All of them, or as many as stand for a source."""
    if len(rows) <= _STAND_FOR_SOURCE:
        return rows
    return rows[np.linspace(0, len(rows) - 1, _STAND_FOR_SOURCE).round().astype(np.int64)]


def _first_of_each(rows: Int[np.ndarray, " r"], pool: Pool, seen: set[str]) -> Int[np.ndarray, " u"]:
    """The rows whose problem has not been seen, here or in a source before."""
    first: list[int] = []
    asked = take_rows(pool.table.select(["problem", "context"]), rows)
    for row, problem, context in zip(rows.tolist(), asked["problem"], asked["context"], strict=True):
        key = problem_key(problem.as_py(), context.as_py())
        if key not in seen:
            seen.add(key)
            first.append(row)
    return np.array(first, np.int64)


def _cell_medoids(
    embeddings: Float[np.ndarray, "n d"], rows: Int[np.ndarray, " r"], n_cells: int
) -> Int[np.ndarray, " c"]:
    x = np.asarray(embeddings[rows])
    if not (finite := np.isfinite(x).all(axis=1)).all():
        row = int(rows[np.argmin(finite)])
        raise InputError(f"choose_anchors: row {row} of the embeddings is not finite; every value must be.")
    picks = greedy_scan(x, np.ones(len(x)), start=[0], k=n_cells, cosine=False, distance_share=None)
    centres = x[picks.indices].astype(np.float64)
    cell = np.array([int(np.argmin(((centres - point) ** 2).sum(axis=1))) for point in x])
    cell[picks.indices] = np.arange(n_cells)  # A centre stays in its own cell even where centres coincide.
    medoids = []
    for number in range(n_cells):
        members = np.flatnonzero(cell == number)
        own = x[members].astype(np.float64)
        offset = ((own - own.mean(axis=0)) ** 2).sum(axis=1)
        medoids.append(int(members[np.argmin(offset)]))
    return rows[medoids]
