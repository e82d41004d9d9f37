"""The rows nearest to the anchors, the anchors taking turns.

Each anchor in turn takes the row of highest cosine similarity to it that no anchor has taken yet: selection by
representation for a target, after RDS+ of Ivison et al. 2025, arXiv:2503.01807, which beats costlier methods at scale.

Departures. RDS+ embeds with the model to be trained, its last hidden states averaged with weights that grow along the
text; here the embedder is whichever was used (`LMEmbedder` is near to theirs). In their code an anchor whose next row
was taken before passes its turn; here it goes on to its nearest free row, so that every turn is a pick, each anchor
has the same number within one, and the selection is exactly as long as asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from jaxtyping import Bool, Float, Int

from qads.kernels.distance import Points
from qads.pool import Progress, Selection
from qads.selection.budget import Budget
from qads.selection.constraints import Constraints
from qads.selection.inputs import check_directions
from qads.selection.needs import checked_targets
from qads.selection.ranked import unlimited_inputs, unlimited_selection

__all__ = ["NearestToAnchors"]

_ANCHORS = 64  # Looked up at a time.
_QUEUED = 1 << 22  # Rows in all queues together, where it needs no more to begin with.


@dataclass(frozen=True, kw_only=True)
class NearestToAnchors:
    """The rows nearest to the anchors, each anchor in turn taking its nearest.

    >>> import qads
    >>> x = [[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]
    >>> qads.NearestToAnchors()(x, budget=2, targets=[[1.0, 0.0], [1.0, 0.01]]).indices.tolist()
    [0, 1]
    """

    kind: Literal["nearest-to-anchors"] = "nearest-to-anchors"
    """Name of the method in a configuration."""

    needs: ClassVar[tuple[str, ...]] = ("targets",)
    takes_limits: ClassVar[bool] = False  # It picks a whole; see `ranked.py: unlimited_inputs`.
    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    def __call__(
        self,
        embeddings: npt.ArrayLike,
        quality: npt.ArrayLike | None = None,
        *,
        budget: Budget,
        progress: Progress | None = None,
        constraints: Constraints | None = None,
        targets: npt.ArrayLike | None = None,
    ) -> Selection:
        """Select rows; the gain of a pick is its cosine similarity to the anchor that took it, step mod m.

        Args:
            embeddings: float array-like [n, d]; no row may be zero.
            quality: one number a row [n]; passed on.
            budget: number of rows, or a fraction in (0, 1] as a float.
            progress: called with (picks made, budget).
            constraints: refused; see `selection/ranked.py`.
            targets: embeddings of the anchors [m, d], from the embedder of the rows; none may be zero.

        Returns:
            The selection, exactly as long as the budget.

        Raises:
            InputError: an input is not what it must be; the message names the row.
        """
        inputs = unlimited_inputs(embeddings, quality, budget, constraints, method="NearestToAnchors")
        anchors = checked_targets(targets, inputs.x, method="NearestToAnchors")
        check_directions(inputs.x, method="NearestToAnchors")
        check_directions(anchors, method="NearestToAnchors", name="targets")
        k = inputs.terms.k
        queues = _Queues(Points(inputs.x, cosine=True), Points(anchors, cosine=True), k)
        rows, gains = np.empty(k, np.int64), np.empty(k)
        for step in range(k):
            rows[step], gains[step] = queues.take_next(step % len(anchors))
            if progress and ((step + 1) % 1024 == 0 or step + 1 == k):
                progress(step + 1, k)
        return unlimited_selection(rows, gains, inputs, kind=self.kind)


class _Queues:
    """For every anchor the nearest rows that were free when it looked; it looks again when all of them are taken."""

    def __init__(self, points: Points, anchors: Points, k: int) -> None:
        self._points, self._anchors, self._k, self._n_taken = points, anchors, k, 0
        n = min(-(-k // _ANCHORS) * _ANCHORS, len(anchors))
        self._length = np.full(n, min(len(points), 2 * (-(-k // len(anchors))) + 16))
        self._most = max(int(self._length[0]), _QUEUED // n)
        self._taken: Bool[np.ndarray, " n"] = np.zeros(len(points), np.bool_)
        self._rows: list[Int[np.ndarray, " q"]] = []
        self._alike: list[Float[np.ndarray, " q"]] = []
        self._at = np.zeros(n, np.int64)
        for start in range(0, n, _ANCHORS):
            for rows, alike in self._look_up(np.arange(start, min(start + _ANCHORS, n)), at_a_time=_ANCHORS):
                self._rows.append(rows)
                self._alike.append(alike)

    def take_next(self, anchor: int) -> tuple[int, float]:
        """The nearest free row of an anchor, and how alike they are."""
        while True:
            rows, at = self._rows[anchor], int(self._at[anchor])
            while at < len(rows) and self._taken[rows[at]]:
                at += 1
            self._at[anchor] = at
            if at < len(rows):
                self._taken[rows[at]] = True
                self._n_taken += 1
                return int(rows[at]), float(self._alike[anchor][at])
            self._look_again()

    def _look_again(self) -> None:
        """Lengthen all queues that are nearly used up: anchors that are alike use theirs up together."""
        free = [~self._taken[rows] for rows in self._rows]
        n_free = np.array([each.sum() for each in free])
        n_left = self._k - self._n_taken
        longer = np.minimum(2 * self._length, min(self._most, n_left))
        # Of a later turn all that is looked up now may be taken by then.
        is_soon = (np.arange(len(free)) - self._n_taken) % len(self._anchors) < longer
        short = np.flatnonzero(is_soon & (4 * n_free < self._length) & (n_free < n_left))
        self._length[short] = longer[short]
        for start in range(0, len(short), _ANCHORS):
            anchors = short[start : start + _ANCHORS]
            # A product for each, since one of many rounds otherwise in the last digits, and gains are kept in files.
            for anchor, (rows, alike) in zip(anchors.tolist(), self._look_up(anchors, at_a_time=1), strict=True):
                earlier, worth = (column[anchor][free[anchor]] for column in (self._rows, self._alike))
                new = ~np.isin(rows, earlier)
                self._rows[anchor] = np.concatenate([earlier, rows[new]])
                self._alike[anchor] = np.concatenate([worth, alike[new]])
                self._at[anchor] = 0

    def _look_up(
        self, anchors: Int[np.ndarray, " a"], *, at_a_time: int
    ) -> list[tuple[Int[np.ndarray, " q"], Float[np.ndarray, " q"]]]:
        """The nearest free rows of some anchors; equally near ones by row."""
        queries = self._anchors.take(anchors)
        parts = np.split(queries, range(at_a_time, len(queries), at_a_time))
        best: list[tuple[Int[np.ndarray, " q"], Float[np.ndarray, " q"]]] = [
            (np.empty(0, np.int64), np.empty(0)) for _ in anchors
        ]
        for start, block in self._points.blocks():
            rows = start + np.flatnonzero(~self._taken[start : start + len(block)])
            free = self._points.take(rows)
            # Twelve digits, so that equal rows tie wherever they stand in a product.
            alike = np.round(np.hstack([free @ some.T for some in parts]), 12)
            for place, (earlier, worth) in enumerate(best):
                best[place] = _longest(
                    np.concatenate([earlier, rows]),
                    np.concatenate([worth, alike[:, place]]),
                    int(self._length[anchors[place]]),
                )
        return best


def _longest(
    rows: Int[np.ndarray, " r"], worth: Float[np.ndarray, " r"], length: int
) -> tuple[Int[np.ndarray, " q"], Float[np.ndarray, " q"]]:
    """The rows of highest worth, best first, equal ones by row; the rows given are rising among equals."""
    order = np.argsort(-worth, kind="stable")[:length]
    return rows[order], worth[order]
