"""Prototypes: rows by their place in the cells of k-means.

`KMeansPrototypes` makes as many cells as rows are asked for and takes from each the row nearest to its middle.

`PrototypeDistance` ranks rows by 1 − cos to the middle of their cell, and takes the nearest (`keep="easy"`) or the
furthest (`keep="hard"`): the self-supervised pruning metric of Sorscher et al. 2022, arXiv:2206.14486. The paper finds
hard rows best where data are plentiful and easy ones where they are scarce. Departures: the paper keeps a share of
every class to balance them, which pools of text do not have; and it finds that the number of cells matters little,
so the default here is √n.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from qads.choices import check_choices
from qads.kernels.distance import Points
from qads.pool import Progress, Selection
from qads.selection.budget import Budget
from qads.selection.cells import Solver, check_n_cells, find_cells, members, n_cells_of
from qads.selection.constraints import Constraints
from qads.selection.inputs import check_directions, check_seed
from qads.selection.ranked import checked_inputs, descending, first_rows, unlimited_inputs, unlimited_selection

__all__ = ["KMeansPrototypes", "PrototypeDistance"]

Keep = Literal["hard", "easy"]


@dataclass(frozen=True, kw_only=True)
class KMeansPrototypes:
    """The row nearest to the middle of each of as many k-means cells as rows are asked for.

    >>> import qads
    >>> x = [[1.0, 0.0], [1.0, 0.1], [1.0, -0.1], [0.0, 1.0]]
    >>> sorted(qads.KMeansPrototypes()(x, budget=2).indices.tolist())
    [0, 3]
    """

    kind: Literal["kmeans"] = "kmeans"
    """Name of the method in a configuration."""
    solver: Solver = "minibatch"
    """Lloyd's algorithm, or mini-batches, which are faster and a little worse."""
    seed: int = 0
    """Seed of k-means."""

    takes_limits: ClassVar[bool] = False  # It picks a whole; see `ranked.py: unlimited_inputs`.
    prefix_closed: ClassVar[bool] = False
    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        check_choices(self)
        check_seed(self.seed, method="KMeansPrototypes")

    def __call__(
        self,
        embeddings: npt.ArrayLike,
        quality: npt.ArrayLike | None = None,
        *,
        budget: Budget,
        progress: Progress | None = None,
        constraints: Constraints | None = None,
    ) -> Selection:
        """Select rows, those of the largest cells first.

        Where cells stay empty, since rows are equal or by the course of k-means, the second-nearest rows of the
        others follow, those of the largest first, and so on.

        Args:
            embeddings: float array-like [n, d]; no row may be zero.
            quality: one number a row [n]; passed on.
            budget: number of rows, or a fraction in (0, 1] as a float.
            progress: called with (picks made, budget).
            constraints: refused; see `selection/ranked.py`.

        Returns:
            The selection, exactly as long as the budget; another budget makes other cells.

        Raises:
            InputError: an input is not what it must be; the message names the row.
        """
        inputs = unlimited_inputs(embeddings, quality, budget, constraints, method="KMeansPrototypes")
        n = len(inputs.x)
        check_directions(inputs.x, method="KMeansPrototypes")
        points = Points(inputs.x, cosine=True)
        cells = find_cells(points, np.arange(n), inputs.terms.k, seed=self.seed, solver=self.solver)
        place, size = np.empty(n, np.int64), np.empty(n, np.int64)
        for cell in members(cells):
            place[cell], size[cell] = np.arange(len(cell)), len(cell)
        if progress:
            progress(inputs.terms.k, inputs.terms.k)
        order = np.lexsort((np.arange(n), -size, place))
        rows = order[: inputs.terms.k]
        return unlimited_selection(rows, np.full(len(rows), np.nan), inputs, kind=self.kind, prefix_closed=False)


@dataclass(frozen=True, kw_only=True)
class PrototypeDistance:
    """The rows furthest from the middles of their cells, or nearest to them.

    >>> import qads
    >>> x = [[1.0, 0.0], [1.0, 0.1], [1.0, -0.2], [1.0, 0.1]]
    >>> qads.PrototypeDistance(n_cells=1)(x, budget=1).indices.tolist()
    [2]
    """

    kind: Literal["prototype-distance"] = "prototype-distance"
    """Name of the method in a configuration."""
    keep: Keep = "hard"
    """The furthest rows, or the nearest."""
    n_cells: int | None = None
    """Cells of k-means; None for √n."""
    solver: Solver = "minibatch"
    """Lloyd's algorithm, or mini-batches, which are faster and a little worse."""
    seed: int = 0
    """Seed of k-means."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        check_choices(self)
        check_n_cells(self.n_cells, method="PrototypeDistance")
        check_seed(self.seed, method="PrototypeDistance")

    def __call__(
        self,
        embeddings: npt.ArrayLike,
        quality: npt.ArrayLike | None = None,
        *,
        budget: Budget,
        progress: Progress | None = None,
        constraints: Constraints | None = None,
    ) -> Selection:
        """Select rows; the gain of a pick is 1 − cos to the middle of its cell, negative where the nearest are kept.

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
        inputs = checked_inputs(embeddings, quality, budget, constraints, method="PrototypeDistance")
        n = len(inputs.x)
        n_cells = n_cells_of(self.n_cells, n, method="PrototypeDistance")
        check_directions(inputs.x, method="PrototypeDistance")
        points = Points(inputs.x, cosine=True)
        distances = find_cells(points, np.arange(n), n_cells, seed=self.seed, solver=self.solver).distances
        gains = distances if self.keep == "hard" else -distances
        return first_rows(descending(gains), gains, inputs, kind=self.kind, progress=progress)
