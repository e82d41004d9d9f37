"""Real scores of some rows of a pool under one model, as the analysis reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from jaxtyping import Bool, Float, Int

from qads.errors import AlignmentError, InputError

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

    def quality(self, aggregate: Any = ...) -> Float[np.ndarray, " k"]:
        """Quality of every candidate."""
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
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What else is known of the scores, to be shown."""

    def __post_init__(self) -> None:
        k, m = self.terms.shape
        if len(self.rows) != k or len(self.anchor_groups) not in (0, m) or len(self.anchors) not in (0, m):
            raise AlignmentError(
                f"RowScores of {self.model}: {len(self.rows)} rows, {len(self.anchor_groups)} anchor groups and "
                f"{len(self.anchors)} anchors for terms of shape {self.terms.shape}; give one for each."
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

        Where a stopping rule left anchors out, rows were scored on different ones, and only their quality compares;
        then there is one column, the quality, as if there were one anchor.

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
            terms=found.quality(aggregate)[:, None] if stopped_early else found.terms(aggregate),
            anchor_groups=() if stopped_early else found.anchor_groups,
            anchors=() if stopped_early else found.anchor_ids,
            predicted=predicted,
            facts=known | dict(facts or {}),
        )

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """Group of every anchor."""
        return self.anchor_groups or ("",) * self.terms.shape[1]

    @cached_property
    def quality(self) -> Float[np.ndarray, " k"]:
        """Mean over the anchors; NaN where none could score the row."""
        known = ~np.isnan(self.terms)
        with np.errstate(invalid="ignore"):
            return np.where(known, self.terms, 0.0).sum(axis=1) / known.sum(axis=1)

    def scored(self) -> RowScores:
        """Without the rows that no anchor could score."""
        kept = np.isfinite(self.quality)
        return replace(self, rows=self.rows[kept], terms=self.terms[kept])
