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
from qads.quality.influence import Aggregate, Influence

__all__ = ["AnchorGroups", "Cell", "Worth"]

_LEAST_SCORED = 0.5
"""Share of rows whose source must have been scored for their mean to say anything."""
_Z_95 = 1.959964
"""Standard errors on either side of a 95% interval of a normal distribution."""


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
class Worth:
    """Quality on one group of anchors of some rows, by their sources, and of all rows; NaN where that is not known."""

    group: str
    n_anchors: int
    chosen: float
    """Mean quality of the chosen rows on these anchors, each taken for a row of its source."""
    pool: float
    """The same of all rows: what rows drawn at random would have."""
    low: float
    """Of the difference: its 95% interval over rows, on these anchors."""
    high: float
    best: str
    """The source whose rows are best for this group."""
    best_quality: float

    @property
    def difference(self) -> float:
        """What choosing gives for this group."""
        return self.chosen - self.pool

    @property
    def is_below(self) -> bool:
        """Whether random rows would be better for it, beyond the chance of which rows were scored."""
        return self.high < 0


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
    qualities: tuple[tuple[Cell, ...], ...] = ()
    """As `cells`, of the quality on each group by itself, as the aggregate has it; empty where that was not kept."""

    @classmethod
    def of(
        cls, found: Influence, sources: Sequence[str], *, styles: Sequence[str] | None = None,
        aggregate: Aggregate | None = None,
    ) -> AnchorGroups:  # fmt: skip
        """Measure them.

        Args:
            found: scores of the candidates.
            sources: source of every candidate.
            styles: style of every candidate; its source by default.
            aggregate: what quality is the mean of; that of the scores by default.

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
        qualities = [_cells(values, codes, len(named)) for values in found.by_group(aggregate).values()]
        return cls(
            sources=tuple(named[at] for at in order),
            groups=tuple(columns),
            n_anchors=tuple(found.anchor_groups.count(group) for group in columns),
            cells=tuple(tuple(column[at] for column in table[1:]) for at in order),
            overall=tuple(table[0][at] for at in order),
            between=tuple(shares[1:]),
            between_overall=shares[0],
            qualities=tuple(tuple(column[at] for column in qualities) for at in order),
        )

    @property
    def greatest(self) -> float:
        """The mean gain farthest from 0, on any group."""
        return max((abs(c.gain) for row in self.cells for c in row if np.isfinite(c.gain)), default=0.0)

    def worth(self, chosen: Mapping[str, int], pool: Mapping[str, int]) -> tuple[Worth, ...]:
        """The quality of rows for every group of anchors, by their sources, beside that of rows drawn at random.

        Quality is a mean over all anchors, so that a selection can serve one group and cost another; this tells. Rows
        of a source that was not scored are left out, and where they are most of the rows nothing is said. Empty where
        `qualities` were not kept.

        Args:
            chosen: source -> rows that were chosen.
            pool: source -> rows of the pool.

        >>> import numpy as np
        >>> import qads
        >>> scores = np.array([[1.0, -0.9], [1.2, -1.1], [0.0, 0.0], [0.2, 0.2]])
        >>> infl = qads.Influence(scores, np.zeros(2), ("a", "b", "c", "d"), ("x", "y"), ("gsm", "math"))
        >>> found = qads.AnchorGroups.of(infl, ["one", "one", "two", "two"])
        >>> one_alone = found.worth({"one": 2}, {"one": 4, "two": 4})
        >>> [(each.group, round(each.difference, 2), each.is_below) for each in one_alone]
        [('gsm', 0.5, False), ('math', -0.05, False)]
        """
        if not self.qualities:
            return ()
        weights = [_weights(rows, self._scored_sources) for rows in (chosen, pool)]
        return tuple(self._worth_of(number, *weights) for number in range(len(self.groups)))

    @property
    def _scored_sources(self) -> dict[str, int]:
        """Source -> its place, of those with a quality on every group."""
        rows = zip(self.sources, self.qualities, strict=True)
        return {name: at for at, (name, row) in enumerate(rows) if all(np.isfinite(cell.gain) for cell in row)}

    def _worth_of(self, number: int, chosen: Mapping[int, float], pool: Mapping[int, float]) -> Worth:
        of = {name: self.qualities[at][number].gain for name, at in self._scored_sources.items()}
        best = max(of, key=lambda name: of[name], default="")
        nothing = float("nan")
        known = Worth(
            self.groups[number], self.n_anchors[number], chosen=nothing, pool=nothing, low=nothing, high=nothing,
            best=best, best_quality=of.get(best, nothing),
        )  # fmt: skip
        if not chosen or not pool:
            return known
        column = {at: self.qualities[at][number] for at in pool.keys() | chosen.keys()}
        means = [sum(share * column[at].gain for at, share in each.items()) for each in (chosen, pool)]
        shifts = {at: chosen.get(at, 0.0) - pool.get(at, 0.0) for at in sorted(column)}
        error = float(np.sqrt(sum((shift * column[at].standard_error) ** 2 for at, shift in shifts.items() if shift)))
        low, high = (means[0] - means[1] + side * _Z_95 * error for side in (-1, 1))
        return dataclasses.replace(known, chosen=means[0], pool=means[1], low=low, high=high)

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
            qualities=tuple(tuple(map(_cell, row)) for row in found.get("qualities", ())),
        )


def _cells(values: Float[np.ndarray, " n"], codes: Int[np.ndarray, " n"], n_sources: int) -> list[Cell]:
    found: list[Cell] = []
    for code in range(n_sources):
        own = values[(codes == code) & np.isfinite(values)]
        n = len(own)
        error = float(own.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan")
        found.append(Cell(float(own.mean()) if n else float("nan"), error, n))
    return found


def _weights(rows: Mapping[str, int], scored: Mapping[str, int]) -> dict[int, float]:
    """Place of a source -> its share of the rows whose source was scored; none where these are too few."""
    known = {scored[name]: n for name, n in rows.items() if name in scored and n}
    n_known = sum(known.values())
    if not n_known or n_known < _LEAST_SCORED * sum(rows.values()):
        return {}
    return {at: n / n_known for at, n in sorted(known.items())}


def _share(values: Float[np.ndarray, " n"], codes: Int[np.ndarray, " n"]) -> float:
    known = np.isfinite(values)
    return share_between(values[known], codes[known])


def _cell(found: Mapping[str, Any]) -> Cell:
    return Cell(_number(found["gain"]), _number(found["standard_error"]), found["n_rows"])


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
