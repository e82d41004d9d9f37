"""How two columns agree inside cells, for many bootstrap samples of the rows at once.

A bootstrap sample is how often every row was drawn: a row of `weights`, whole numbers of shape [b, n]. Every statistic
is then the same few array operations for all samples, and rows of another cell (of another fold, or of another source)
are never compared. Rows that were not drawn count as if they were not there, those drawn twice as two rows.

    pearson       Σ w (a − ā_c)(b − b̄_c) / √(Σ w (a − ā_c)² · Σ w (b − b̄_c)²), with means inside each cell c
    spearman      the same of ranks inside each cell, as shares of its rows (tied rows have their middle rank)
    kendall       (concordant − discordant) / √(pairs apart in a · pairs apart in b), of pairs inside a cell: tau-b
                  (Kendall 1945)
    top_overlap   of the greatest share of every cell by a, the part that is among the greatest share by b; where a tie
                  straddles the border each of its rows is in by the same fraction, so that a constant column has
                  what chance gives

A statistic is NaN in a sample in which a column does not vary inside any cell.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float, Int

__all__ = ["cell_kendall", "cell_pearson", "cell_spearman", "cluster_weights", "less_cell_means", "top_overlap"]

_ROUNDING = 1e-12
"""What is left of a constant column after its mean is taken away, in proportion to it."""
Columns = Float[np.ndarray, "#b n"]
"""One column for every sample, or the same for all."""
Cells = Int[np.ndarray, " n"]
Weights = Float[np.ndarray, "b n"]
Statistics = Float[np.ndarray, " b"]


def cluster_weights(strata: Cells, clusters: Cells, n_samples: int, seed: int) -> Weights:
    """Bootstrap samples of clusters inside each stratum: as many clusters as there are, all rows of each together."""
    rng = np.random.default_rng(seed)
    weights = np.empty((n_samples, len(strata)))
    for rows in _members(strata):
        of_row = np.unique(clusters[rows], return_inverse=True)[1].reshape(-1)
        n_clusters = int(of_row.max()) + 1
        drawn = rng.multinomial(n_clusters, np.full(n_clusters, 1 / n_clusters), size=n_samples)
        weights[:, rows] = drawn[:, of_row]
    return weights


def cell_pearson(a: Columns, b: Columns, cells: Cells, weights: Weights) -> Statistics:
    """Pearson's r after the mean of its cell is taken from every value."""
    first, second = less_cell_means(a, cells, weights), less_cell_means(b, cells, weights)
    squares = [np.einsum("bn,bn,bn->b", weights, x, x) for x in (first, second)]
    products = np.einsum("bn,bn,bn->b", weights, first, second)
    return _ratio(products, np.sqrt(squares[0]) * np.sqrt(squares[1]))


def cell_spearman(a: Columns, b: Columns, cells: Cells, weights: Weights) -> Statistics:
    """Spearman's rank correlation inside cells."""
    return cell_pearson(_cell_ranks(a, cells, weights), _cell_ranks(b, cells, weights), cells, weights)


def cell_kendall(a: Columns, b: Columns, cells: Cells, weights: Weights) -> Statistics:
    """Kendall's tau-b of the pairs inside cells; `a` and `b` are one column each for all samples.

    Takes 4 bytes for every pair of rows of the largest cell, three times.
    """
    agree, apart_a, apart_b = (np.zeros(len(weights)) for _ in range(3))
    for rows in _members(cells):
        w = weights[:, rows].astype(np.float32)
        signs = [np.sign(x[0, rows][:, None] - x[0, rows]).astype(np.float32) for x in (a, b)]
        agree += _pairs(w, signs[0] * signs[1])
        apart_a += _pairs(w, np.abs(signs[0]))
        apart_b += _pairs(w, np.abs(signs[1]))
    return _ratio(agree, np.sqrt(apart_a) * np.sqrt(apart_b))


def top_overlap(a: Columns, b: Columns, cells: Cells, weights: Weights, *, share: float) -> Statistics:
    """Part of the greatest `share` by `a` that is among the greatest `share` by `b`, over all cells together."""
    both, wanted = np.zeros(len(weights)), np.zeros(len(weights))
    for rows in _members(cells):
        w = weights[:, rows]
        total = w.sum(axis=1)
        k = np.where(total > 0, np.maximum(1, np.round(share * total)), 0)
        members = [_among_greatest(np.broadcast_to(x, weights.shape)[:, rows], w, k) for x in (a, b)]
        both += np.einsum("bn,bn->b", w, np.minimum(*members))
        wanted += k
    return _ratio(both, wanted)


def less_cell_means(values: Columns, cells: Cells, weights: Weights) -> Weights:
    """Values less the mean of their cell in every sample; exactly 0 where only rounding is left."""
    codes = np.unique(cells, return_inverse=True)[1].reshape(-1)
    member = np.eye(int(codes.max()) + 1)[codes]
    count = weights @ member
    means = ((weights * values) @ member) / np.maximum(count, 1)
    apart = values - means[:, codes]
    apart[np.abs(apart) <= _ROUNDING * np.abs(values).max(axis=1, keepdims=True)] = 0.0
    return apart


def _members(cells: Cells) -> Iterator[Int[np.ndarray, " c"]]:
    """The rows of every cell."""
    order = np.argsort(cells, kind="stable")
    yield from np.split(order, np.flatnonzero(np.diff(cells[order])) + 1)


def _cell_ranks(values: Columns, cells: Cells, weights: Weights) -> Weights:
    ranks = np.zeros(weights.shape)
    everywhere = np.broadcast_to(values, weights.shape)
    for rows in _members(cells):
        w = weights[:, rows]
        below, up_to = _tie_spans(everywhere[:, rows], w)
        ranks[:, rows] = (below + up_to + 1) / 2 / np.maximum(w.sum(axis=1, keepdims=True), 1)
    return ranks


def _among_greatest(values: Weights, weights: Weights, k: Statistics) -> Weights:
    """How far every row is among the `k` greatest: 1, 0, or the fraction of a tie that straddles the border."""
    below, up_to = _tie_spans(values, weights)
    above = weights.sum(axis=1, keepdims=True) - up_to
    tied = up_to - below
    return np.clip(_ratio(k[:, None] - above, tied), 0.0, 1.0, where=tied > 0, out=np.zeros(weights.shape))


def _tie_spans(values: Weights, weights: Weights) -> tuple[Weights, Weights]:
    """For every row the weight of the rows below its value, and of those up to it and equal to it."""
    order = np.argsort(values, axis=1, kind="stable")
    in_order = np.take_along_axis(values, order, axis=1)
    up_to = np.cumsum(np.take_along_axis(weights, order, axis=1), axis=1)
    before = np.hstack([np.zeros((len(weights), 1)), up_to[:, :-1]])
    step = np.diff(in_order, axis=1) != 0
    edge: Bool[np.ndarray, "b 1"] = np.ones((len(weights), 1), np.bool_)
    below = np.maximum.accumulate(np.where(np.hstack([edge, step]), before, 0.0), axis=1)
    last = np.where(np.hstack([step, edge]), up_to, np.inf)[:, ::-1]
    spans = (below, np.minimum.accumulate(last, axis=1)[:, ::-1])
    back = np.argsort(order, axis=1, kind="stable")
    return np.take_along_axis(spans[0], back, axis=1), np.take_along_axis(spans[1], back, axis=1)


def _pairs(weights: Float[np.ndarray, "b c"], signs: Float[np.ndarray, "c c"]) -> Statistics:
    return ((weights @ signs) * weights).sum(axis=1, dtype=np.float64) / 2


def _ratio(part: Float[np.ndarray, "*s"], whole: Float[np.ndarray, "*s"]) -> Float[np.ndarray, "*s"]:
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
