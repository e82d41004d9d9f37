"""Which source helps which benchmark: mean gains of candidate sources on the anchors of each source.

Influence follows style, so a mean over all anchors hides that a source may help those written like itself and no
others. Beside the means stands the share of the variance of the rows' gains that lies between their styles, as Kelley
1935 has it (ε², the correlation ratio without its bias where a style has few rows): 1 − MS_within / MS_total.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from qads.errors import AlignmentError
from qads.kernels.correlation import share_between
from qads.kernels.partial import group_codes
from qads.pool import to_json
from qads.quality.influence import Influence

__all__ = ["AnchorGroups", "Cell"]


@dataclass(frozen=True)
class Cell:
    """Rows of one source on anchors of one group."""

    gain: float
    """Mean over its rows of their mean gain, nats a token; NaN where none was scored."""
    standard_error: float
    """Of that mean, over rows; NaN with fewer than two."""
    n_rows: int
    """Rows that were scored on an anchor of the group."""


@dataclass(frozen=True)
class AnchorGroups:
    """Candidate sources against groups of anchors."""

    sources: tuple[str, ...]
    """Of the candidates, the most helpful first."""
    groups: tuple[str, ...]
    """Sources of the anchors."""
    n_anchors: tuple[int, ...]
    """Of every group."""
    cells: tuple[tuple[Cell, ...], ...]
    """A row for every source, in it a cell for every group."""
    overall: tuple[Cell, ...]
    """Every source on all anchors."""
    between: tuple[float, ...]
    """For every group the share of the variance of the rows' mean gains that lies between styles: 1 where only the
    style counts, about 0 where it tells nothing; NaN where nothing varies."""
    between_overall: float
    """The same on all anchors."""

    @classmethod
    def of(cls, found: Influence, sources: Sequence[str], *, styles: Sequence[str] | None = None) -> AnchorGroups:
        """Measure them.

        Args:
            found: scores of the candidates.
            sources: source of every candidate.
            styles: style of every candidate; its source by default.

        Raises:
            AlignmentError: not one source and one style a candidate.

        >>> import numpy as np
        >>> import qads
        >>> scores = np.array([[-1.0, -2.0], [-1.5, -2.0], [-2.0, -2.5]])
        >>> infl = qads.Influence(scores, np.array([-2.0, -2.5]), ("a", "b", "c"), ("x", "y"), ("gsm", "math"))
        >>> found = qads.AnchorGroups.of(infl, ["one", "one", "two"])
        >>> [[cell.gain for cell in row] for row in found.cells]
        [[0.75, 0.5], [0.0, 0.0]]
        """
        names = tuple(styles or sources)
        if not len(sources) == len(names) == len(found.candidate_ids):
            raise AlignmentError(
                f"AnchorGroups: {len(found.candidate_ids)} candidates, {len(sources)} sources and {len(names)} styles; "
                "give one of each for every candidate."
            )
        columns = found.by_group("mean_gain")
        whole = found.quality("mean_gain")
        codes, named = group_codes(tuple(sources)), tuple(dict.fromkeys(sources))
        table = [_cells(values, codes, len(named)) for values in (whole, *columns.values())]
        order = sorted(range(len(named)), key=lambda at: (np.isnan(table[0][at].gain), -table[0][at].gain, at))
        shares = [_share(values, group_codes(names)) for values in (whole, *columns.values())]
        return cls(
            sources=tuple(named[at] for at in order),
            groups=tuple(columns),
            n_anchors=tuple(found.anchor_groups.count(group) for group in columns),
            cells=tuple(tuple(column[at] for column in table[1:]) for at in order),
            overall=tuple(table[0][at] for at in order),
            between=tuple(shares[1:]),
            between_overall=shares[0],
        )

    @property
    def greatest(self) -> float:
        """The mean gain farthest from 0, on any group."""
        return max((abs(c.gain) for row in self.cells for c in row if np.isfinite(c.gain)), default=0.0)

    def as_json(self) -> dict[str, Any]:
        """Everything, for JSON, in which NaN is null."""
        return json.loads(to_json(dataclasses.asdict(self)))

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> AnchorGroups:
        """What `as_json` gave."""
        return cls(
            sources=tuple(found["sources"]),
            groups=tuple(found["groups"]),
            n_anchors=tuple(found["n_anchors"]),
            cells=tuple(tuple(map(_cell, row)) for row in found["cells"]),
            overall=tuple(map(_cell, found["overall"])),
            between=tuple(map(_number, found["between"])),
            between_overall=_number(found["between_overall"]),
        )


def _cells(values: Float[np.ndarray, " n"], codes: Int[np.ndarray, " n"], n_sources: int) -> list[Cell]:
    found: list[Cell] = []
    for code in range(n_sources):
        own = values[(codes == code) & np.isfinite(values)]
        n = len(own)
        error = float(own.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan")
        found.append(Cell(float(own.mean()) if n else float("nan"), error, n))
    return found


def _share(values: Float[np.ndarray, " n"], codes: Int[np.ndarray, " n"]) -> float:
    known = np.isfinite(values)
    return share_between(values[known], codes[known])


def _cell(found: Mapping[str, Any]) -> Cell:
    return Cell(_number(found["gain"]), _number(found["standard_error"]), found["n_rows"])


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
