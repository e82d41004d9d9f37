"""Real scores of some rows of a pool under one model, as the analysis reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from jaxtyping import Bool, Float, Int

from qads.analyze.resampling import row_means
from qads.errors import AlignmentError, InputError
from qads.kernels.partial import comparable_quality, group_codes

__all__ = ["RowScores", "Scored"]


class Scored(Protocol):
    """What is read of an `Influence`."""

    @property
    def anchor_ids(self) -> tuple[str, ...]:
        """Id of every anchor."""
        ...

    @property
    def anchor_groups(self) -> tuple[str, ...]:
        """Source of every anchor."""
        ...

    @property
    def aggregate(self) -> str:
        """What its quality is unless another is named."""
        ...

    @property
    def pending(self) -> Bool[np.ndarray, "k m"]:
        """Pairs that a stopping rule left out."""
        ...

    def signed(self, aggregate: Any = ...) -> bool:
        """Whether its terms can be negative."""
        ...

    def terms(self, aggregate: Any = ...) -> Float[np.ndarray, "k m"]:
        """What it is the mean of where nothing is pending."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class RowScores:
    """What one model made of some rows of a pool, and what was predicted of all.

    Raises:
        AlignmentError: the arrays are not of the same rows or anchors.
        InputError: a row occurs twice.

    >>> import numpy as np
    >>> scores = RowScores(model="m", rows=np.array([4, 7]), terms=np.array([[0.25, 0.5], [0.0, np.nan]]))
    >>> scores.quality
    array([0.375, 0.   ])
    """

    model: str
    """Name of the model that scored."""
    rows: Int[np.ndarray, " k"]
    """Positions in the pool of the rows that were really scored."""
    terms: Float[np.ndarray, "k m"]
    """What every anchor adds to a row's quality, which is their mean; NaN where not scored. Of an `Influence`: `of`."""
    anchor_groups: tuple[str, ...] = ()
    """Source of every anchor; one group if there are none. Anchors are drawn again within their group."""
    anchors: tuple[str, ...] = ()
    """Id of every anchor, so that models that were given the same ones can be compared on them; else empty."""
    predicted: Float[np.ndarray, " n"] | None = None
    """Quality of every row of the pool, real where it was scored; None where nothing was predicted."""
    pending: Bool[np.ndarray, "k m"] | None = None
    """Pairs that a stopping rule left out, so that rows were scored on different anchors; None where there are none."""
    signed: bool = True
    """Whether terms can be negative; asked where pairs were left out."""
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What else is known of the scores, to be shown."""

    def __post_init__(self) -> None:
        k, m = self.terms.shape
        if len(self.rows) != k or len(self.anchor_groups) not in (0, m) or len(self.anchors) not in (0, m):
            raise AlignmentError(
                f"RowScores of {self.model}: {len(self.rows)} rows, {len(self.anchor_groups)} anchor groups and "
                f"{len(self.anchors)} anchors for terms of shape {self.terms.shape}; give one for each."
            )
        if self.pending is not None and self.pending.shape != (k, m):
            raise AlignmentError(
                f"RowScores of {self.model}: pending is of shape {self.pending.shape} for terms of shape "
                f"{self.terms.shape}; give a mark for every pair."
            )
        if len(np.unique(self.rows)) != k:
            raise InputError(f"RowScores of {self.model}: a row of the pool is scored twice; give every row once.")

    @classmethod
    def of(
        cls,
        found: Scored,
        rows: Int[np.ndarray, " k"],
        *,
        model: str,
        aggregate: str | None = None,
        predicted: Float[np.ndarray, " n"] | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> RowScores:
        """The scores of an `Influence`, anchor by anchor.

        Args:
            found: the scores.
            rows: position in the pool of every candidate.
            model: that scored.
            aggregate: that quality is; that of the scores by default.
            predicted: quality of every row of the pool.
            facts: what else is known.

        >>> import numpy as np, qads
        >>> infl = qads.Influence(np.array([[-1.0, -2.0]]), np.array([-1.5, -1.0]), ("a",), ("x", "y"), ("s", "s"))
        >>> RowScores.of(infl, np.array([7]), model="m").terms
        array([[0.5, 0. ]])
        """
        aggregate, stopped_early = aggregate or found.aggregate, bool(found.pending.any())
        known = {"aggregate": aggregate, "anchors": len(found.anchor_ids), "stopped_early": stopped_early}
        return cls(
            model=model,
            rows=rows,
            terms=found.terms(aggregate),
            anchor_groups=found.anchor_groups,
            anchors=found.anchor_ids,
            predicted=predicted,
            pending=found.pending if stopped_early else None,
            signed=found.signed(aggregate),
            facts=known | dict(facts or {}),
        )

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """Group of every anchor."""
        return self.anchor_groups or ("",) * self.terms.shape[1]

    @cached_property
    def quality(self) -> Float[np.ndarray, " k"]:
        """Mean over the anchors; NaN where none could score the row."""
        return self.means(np.ones(self.terms.shape[1]))

    def means(self, anchors: Float[np.ndarray, " m"]) -> Float[np.ndarray, " k"]:
        """Mean of every row over anchors, each counted so often; NaN where it was scored on none of them.

        Where a rule left pairs out, plain means would be over different anchors and are made comparable
        (`kernels/partial.py`).

        >>> import numpy as np
        >>> scores = RowScores(model="m", rows=np.array([4, 7]), terms=np.array([[0.25, 0.5], [0.0, np.nan]]))
        >>> scores.means(np.array([3.0, 1.0]))
        array([0.3125, 0.    ])
        """
        if self.pending is None:
            return row_means(self.terms, anchors)
        drawn = np.repeat(np.arange(len(anchors)), anchors.astype(np.int64))
        groups = group_codes(tuple(self.groups[j] for j in drawn))
        return comparable_quality(self.terms[:, drawn], self.pending[:, drawn], groups, signed=self.signed)

    def take(self, at: Int[np.ndarray, " r"]) -> RowScores:
        """Some of its rows, by their places here."""
        pending = None if self.pending is None else self.pending[at]
        return replace(self, rows=self.rows[at], terms=self.terms[at], pending=pending)

    def scored(self) -> RowScores:
        """Without the rows that no anchor could score."""
        return self.take(np.flatnonzero(np.isfinite(self.quality)))
