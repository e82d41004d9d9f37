"""The map as a picture without a script: cells of the plane, how many rows lie in each, how many picks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

__all__ = ["Cell", "StillMap", "still_map"]

_ACROSS, _UP = 56, 36
_SHADES = 5


@dataclass(frozen=True)
class Cell:
    """A square of the plane that holds rows."""

    x: int
    y: int
    """From the top."""
    shade: int
    """1 for few rows to 5 for the most, by the logarithm of their number."""
    radius: float
    """Of the dot for its picks, in cells; 0 without any."""


@dataclass(frozen=True)
class StillMap:
    """All of them."""

    across: int
    up: int
    cells: tuple[Cell, ...]
    n_with_picks: int
    """Cells that hold a pick."""
    share_with_picks: float
    """Share of the rows that lie in those."""


def still_map(places: Float[np.ndarray, "m 2"], picked: Bool[np.ndarray, " m"]) -> StillMap:
    """Count rows and picks by cell.

    >>> found = still_map(np.array([[0.0, 0.0], [0.0, 0.0], [1.0, 1.0]]), np.array([True, False, False]))
    >>> len(found.cells), found.n_with_picks, round(found.share_with_picks, 2)
    (2, 1, 0.67)
    """
    extent = np.abs(places).max(axis=0) * 1.04 + 1e-9
    at = ((places / extent + 1) / 2 * (_ACROSS, _UP)).astype(np.int64)
    cell = at[:, 1] * _ACROSS + at[:, 0]
    rows = np.bincount(cell, minlength=_ACROSS * _UP)
    picks = np.bincount(cell[picked], minlength=_ACROSS * _UP)
    most_rows, most_picks = np.log1p(rows.max()), max(1, picks.max())
    cells = tuple(
        Cell(
            x=int(i % _ACROSS),
            y=int(_UP - 1 - i // _ACROSS),
            shade=max(1, round(_SHADES * float(np.log1p(rows[i]) / most_rows))),
            radius=round(0.18 + 0.32 * float(np.sqrt(picks[i] / most_picks)), 2) if picks[i] else 0.0,
        )
        for i in np.flatnonzero(rows).tolist()
    )
    held = rows[picks > 0].sum() / max(1, rows.sum())
    return StillMap(_ACROSS, _UP, cells, int((picks > 0).sum()), float(held))
