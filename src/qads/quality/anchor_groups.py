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
    """The same of all rows: what rows drawn at random have on average."""
    low: float
    """Of the difference, less what as many random rows differ from all: a 95% interval over scored rows and draws of
    random ones, on these anchors."""
    high: float
    best: str
    """The source of the pool whose rows are best for this group; empty where none was scored."""
    best_quality: float

    @property
    def difference(self) -> float:
        """What choosing gives for this group."""
        return self.chosen - self.pool


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
            pool: source -> rows that could be.

        >>> import numpy as np
        >>> import qads
        >>> scores = np.array([[1.0, 0.1], [1.2, 0.1], [0.0, 0.8], [0.2, 0.7]])
        >>> infl = qads.Influence(scores, np.zeros(2), ("a", "b", "c", "d"), ("x", "y"), ("gsm", "math"))
        >>> found = qads.AnchorGroups.of(infl, ["one", "one", "two", "two"])
        >>> one_alone = found.worth({"one": 60}, {"one": 400, "two": 400})
        >>> [(each.group, round(each.difference, 3), each.high < 0) for each in one_alone]
        [('gsm', 0.5, False), ('math', -0.325, True)]
        """
        if not self.qualities:
            return ()
        scored = [at for at, row in enumerate(self.qualities) if all(np.isfinite(cell.gain) for cell in row)]
        taken, drawn = (_known_rows(rows, {self.sources[at]: at for at in scored}) for rows in (chosen, pool))
        return tuple(self._worth_of(number, taken, drawn) for number in range(len(self.groups)))

    def _worth_of(self, number: int, taken: Mapping[int, int], drawn: Mapping[int, int]) -> Worth:
        best = max(drawn, key=lambda at: self.qualities[at][number].gain, default=None)
        name, quality = ("", float("nan")) if best is None else (self.sources[best], self.qualities[best][number].gain)
        chosen = of_all = low = high = float("nan")
        if taken and drawn:
            places = sorted(taken.keys() | drawn.keys())
            column = [self.qualities[at][number] for at in places]
            mean, error = np.array([cell.gain for cell in column]), _standard_errors(column)
            p, u = (np.array([rows.get(at, 0) for at in places]) / sum(rows.values()) for rows in (taken, drawn))
            chosen, of_all = float(p @ mean), float(u @ mean)
            n, n_all = sum(taken.values()), sum(drawn.values())
            by_chance = float(u @ (mean - of_all) ** 2) / n * max(0.0, 1 - n / n_all)
            half = _Z_95 * float(np.sqrt((((p - u) * error) ** 2).sum() + by_chance))
            low, high = chosen - of_all - half, chosen - of_all + half
        return Worth(
            self.groups[number], self.n_anchors[number], chosen=chosen, pool=of_all, low=low, high=high, best=name,
            best_quality=quality,
        )  # fmt: skip

    def as_json(self) -> dict[str, Any]:
        """Everything, for JSON, in which NaN is null."""
        return json.loads(to_json(dataclasses.asdict(self)))

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> AnchorGroups:
        """What `as_json` gave.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        qualities = tuple(tuple(map(_cell, row)) for row in found.get("qualities", ()))
        if qualities and [len(row) for row in qualities] != [len(found["groups"])] * len(found["sources"]):
            raise ValueError("the table of qualities has another shape than sources and groups.")
        return cls(
            sources=tuple(found["sources"]),
            groups=tuple(found["groups"]),
            n_anchors=tuple(found["n_anchors"]),
            cells=tuple(tuple(map(_cell, row)) for row in found["cells"]),
            overall=tuple(map(_cell, found["overall"])),
            between=tuple(map(_number, found["between"])),
            between_overall=_number(found["between_overall"]),
            qualities=qualities,
        )


def _cells(values: Float[np.ndarray, " n"], codes: Int[np.ndarray, " n"], n_sources: int) -> list[Cell]:
    found: list[Cell] = []
    for code in range(n_sources):
        own = values[(codes == code) & np.isfinite(values)]
        n = len(own)
        error = float(own.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan")
        found.append(Cell(float(own.mean()) if n else float("nan"), error, n))
    return found


def _known_rows(rows: Mapping[str, int], scored: Mapping[str, int]) -> dict[int, int]:
    """Place of a source -> its rows, of those whose source was scored; none where these are too few."""
    known = {scored[name]: n for name, n in rows.items() if name in scored and n}
    return known if sum(known.values()) >= _LEAST_SCORED * sum(rows.values()) else {}


def _standard_errors(column: Sequence[Cell]) -> Float[np.ndarray, " s"]:
    """Of the mean of every source; of one with a single scored row by the spread that the others have."""
    n, own = np.array([cell.n_rows for cell in column]), np.array([cell.standard_error for cell in column])
    several = n > 1
    if not several.any():
        return own
    variance = np.average(own[several] ** 2 * n[several], weights=n[several] - 1)
    return np.where(several, own, np.sqrt(variance / n))


def _share(values: Float[np.ndarray, " n"], codes: Int[np.ndarray, " n"]) -> float:
    known = np.isfinite(values)
    return share_between(values[known], codes[known])


def _cell(found: Mapping[str, Any]) -> Cell:
    return Cell(_number(found["gain"]), _number(found["standard_error"]), found["n_rows"])


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
