"""Pruning of near-duplicates to exactly the budget: SemDeDup, and D4, which goes on from there.

SemDeDup (Abbas et al. 2023, arXiv:2303.09540): rows fall into cells by k-means; inside a cell they stand in an order,
and a row's redundancy is its largest cosine similarity to a row before it,

    r_i = max_{j before i in its cell} cos(i, j)          −∞ for the first

Rows with r_i > 1 − ε are pruned. What is kept at one ε is kept at any larger threshold too, so the k rows of lowest r
are what SemDeDup keeps at the ε that keeps k; the paper searches for that ε. As in the authors' code, a row falls even
if the one it is like falls too. The order is from the furthest from the cell's middle (`keep="hard"`, the authors'
default), from the nearest (`"easy"`) or by seed (`"random"`).

D4 (Tirumala et al. 2023, arXiv:2308.12284): SemDeDup keeps a share of the rows (theirs: 0.75), the kept rows are
clustered anew, and those nearest to the new middles are pruned, since a crowd that is left marks text of little worth.

Departures: middles are those of scikit-learn's k-means over unit vectors; the number of cells is √n where it is not
set (the papers' are for hundreds of millions of rows).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Int

from qads.choices import check_choices
from qads.errors import InputError
from qads.kernels.distance import Points
from qads.pool import Progress, Selection
from qads.selection.budget import Budget, resolve_budget
from qads.selection.cells import Cells, Solver, check_n_cells, find_cells, members, n_cells_of
from qads.selection.constraints import Constraints
from qads.selection.inputs import check_directions, check_seed
from qads.selection.ranked import checked_inputs, descending, first_rows

__all__ = ["D4", "SemDeDup"]

KeepFirst = Literal["hard", "easy", "random"]

_BLOCK = 1024


@dataclass(frozen=True, kw_only=True)
class SemDeDup:
    """The rows least like a row before them in their cell.

    >>> import qads
    >>> x = [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 2.0]]
    >>> sorted(qads.SemDeDup(n_cells=1)(x, budget=2).indices.tolist())
    [0, 2]
    """

    kind: Literal["semdedup"] = "semdedup"
    """Name of the method in a configuration."""
    keep: KeepFirst = "hard"
    """Which of like rows stays: the furthest from the middle of their cell, the nearest, or one at random."""
    n_cells: int | None = None
    """Cells of k-means; None for √n."""
    solver: Solver = "minibatch"
    """Lloyd's algorithm, or mini-batches, which are faster and a little worse."""
    seed: int = 0
    """Seed of k-means and of the random order."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        check_choices(self)
        check_n_cells(self.n_cells, method="SemDeDup")
        check_seed(self.seed, method="SemDeDup")

    def __call__(
        self,
        embeddings: npt.ArrayLike,
        quality: npt.ArrayLike | None = None,
        *,
        budget: Budget,
        progress: Progress | None = None,
        constraints: Constraints | None = None,
    ) -> Selection:
        """Select rows; the gain of a pick is 1 − r, infinite for the first of a cell.

        Args:
            embeddings: float array-like [n, d]; no row may be zero.
            quality: one number a row [n]; passed on.
            budget: number of rows, a fraction in (0, 1] as a float, or a `TokenBudget`.
            progress: called when it is done.
            constraints: quotas, rows in and out.

        Returns:
            The selection, exactly as long as the budget.

        Raises:
            InputError: an input is not what it must be; the message names the row.
        """
        inputs = checked_inputs(embeddings, quality, budget, constraints, method="SemDeDup")
        n = len(inputs.x)
        n_cells = n_cells_of(self.n_cells, n, method="SemDeDup")
        check_directions(inputs.x, method="SemDeDup")
        points = Points(inputs.x, cosine=True)
        cells = find_cells(points, np.arange(n), n_cells, seed=self.seed, solver=self.solver)
        gains = 1 - redundancy(points, cells, keep=self.keep, seed=self.seed)
        return first_rows(descending(gains), gains, inputs, kind=self.kind, progress=progress)


@dataclass(frozen=True, kw_only=True)
class D4:
    """What SemDeDup keeps, without the rows nearest to the middles of new cells.

    >>> import qads
    >>> x = [[1.0, 0.0], [1.0, 0.0], [1.0, 0.2], [0.0, 1.0]]
    >>> sorted(qads.D4(n_cells=1)(x, budget=2).indices.tolist())
    [0, 3]
    """

    kind: Literal["d4"] = "d4"
    """Name of the method in a configuration."""
    dedup_share: float = 0.75
    """Share of the rows that SemDeDup keeps, in (0, 1]; a budget cannot be larger."""
    n_cells: int | None = None
    """Cells of k-means in both steps; None for √(rows of the step)."""
    solver: Solver = "minibatch"
    """Lloyd's algorithm, or mini-batches, which are faster and a little worse."""
    seed: int = 0
    """Seed of k-means."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        check_choices(self)
        check_n_cells(self.n_cells, method="D4")
        check_seed(self.seed, method="D4")
        if not 0 < self.dedup_share <= 1:
            raise InputError(f"D4: dedup_share is {self.dedup_share}; it must lie in (0, 1].")

    def __call__(
        self,
        embeddings: npt.ArrayLike,
        quality: npt.ArrayLike | None = None,
        *,
        budget: Budget,
        progress: Progress | None = None,
        constraints: Constraints | None = None,
    ) -> Selection:
        """Select rows; the gain of a pick is 1 − cos to the middle of its new cell.

        Args:
            embeddings: float array-like [n, d]; no row may be zero.
            quality: one number a row [n]; passed on.
            budget: number of rows, a fraction in (0, 1] as a float, or a `TokenBudget`.
            progress: called when it is done.
            constraints: quotas, rows in and out.

        Returns:
            The selection, exactly as long as the budget.

        Raises:
            InputError: an input is not what it must be, or the budget is more than the first step keeps.
        """
        inputs = checked_inputs(embeddings, quality, budget, constraints, method="D4")
        n = len(inputs.x)
        n_kept = resolve_budget(float(self.dedup_share), n, method="D4: dedup_share as a budget")
        if inputs.terms.tokens is None and inputs.terms.k > n_kept:
            raise InputError(
                f"D4: the budget is {inputs.terms.k} rows but dedup_share {self.dedup_share:g} keeps {n_kept} of {n} "
                f"before the second step; give dedup_share={inputs.terms.k / n:.4g} or more, or a smaller budget."
            )
        n_cells = n_cells_of(self.n_cells, n_kept, method="D4")
        check_directions(inputs.x, method="D4")
        points = Points(inputs.x, cosine=True)
        every = np.arange(n)
        first = find_cells(points, every, n_cells_of(self.n_cells, n, method="D4"), seed=self.seed, solver=self.solver)
        kept = np.sort(descending(-redundancy(points, first, keep="hard", seed=self.seed))[:n_kept])
        second = find_cells(points, kept, n_cells, seed=self.seed, solver=self.solver)
        gains = np.full(n, np.nan)
        gains[kept] = second.distances
        return first_rows(
            kept[descending(second.distances)], gains, inputs, kind=self.kind, progress=progress,
            left_out=f"{n - n_kept} of {n} rows fell to the first step (dedup_share {self.dedup_share:g})",
        )  # fmt: skip


def redundancy(points: Points, cells: Cells, *, keep: KeepFirst, seed: int) -> Float[np.ndarray, " n"]:
    """The largest cosine similarity of every row to one before it in its cell; −∞ for the first.

    Rounded to twelve digits, so that equal rows tie on every machine. A block of rows against a block of those before
    at a time, so that a cell that holds most rows costs time and no memory.
    """
    largest = np.full(len(cells.labels), -np.inf)
    shuffled = np.random.default_rng(seed).permutation(len(cells.labels))
    for nearest_first in members(cells):
        order = _order(nearest_first, keep, cells, shuffled)
        for start in range(0, len(order), _BLOCK):
            largest[order[start : start + _BLOCK]] = np.round(_likeness_before(points, order, start), 12)
    return largest


def _likeness_before(points: Points, order: Int[np.ndarray, " c"], start: int) -> Float[np.ndarray, " b"]:
    """The largest cosine similarity of every row of the block that begins at `start` to one before it in the order."""
    block = points.take(order[start : start + _BLOCK])
    alike = block @ block.T
    alike[np.triu_indices(len(block))] = -np.inf
    largest = alike.max(axis=1)
    for before in range(0, start, _BLOCK):
        alike = block @ points.take(order[before : before + _BLOCK]).T
        np.maximum(largest, alike.max(axis=1), out=largest)
    return largest


def _order(
    nearest_first: Int[np.ndarray, " c"], keep: KeepFirst, cells: Cells, shuffled: Int[np.ndarray, " n"]
) -> Int[np.ndarray, " c"]:
    """The rows of a cell from the one that is sure to stay; equally near ones by row."""
    if keep == "easy":
        return nearest_first
    key = shuffled if keep == "random" else -cells.distances
    return nearest_first[np.argsort(key[nearest_first], kind="stable")]
