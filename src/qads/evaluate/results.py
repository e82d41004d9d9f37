"""What an evaluation found: a row for every item and measure; for every set and measure a mean with its interval."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from jaxtyping import Float
from scipy.special import stdtrit

from qads.kernels.shares import wilson_interval

__all__ = [
    "MEASURES",
    "SCHEMA",
    "EvaluationResult",
    "Measure",
    "Summary",
    "as_table",
    "mean_interval",
]

Measure = Literal["accuracy", "choice_likelihood", "answer_log_likelihood"]
MEASURES: dict[Measure, str] = {
    "accuracy": "share of items whose generated answer is right (pass@1, greedy)",
    "choice_likelihood": "share of multiple-choice items whose right option is the likeliest",
    "answer_log_likelihood": "mean log-likelihood of the reference solution, nats a token",
}
"""What is measured."""

SCHEMA = pa.schema(
    [
        pa.field("set", pa.string()),
        pa.field("id", pa.string()),
        pa.field("measure", pa.string()),
        pa.field("value", pa.float64()),
        pa.field("method", pa.string()),
        pa.field("generation", pa.string()),
        pa.field("extracted", pa.string()),
        pa.field("reference", pa.string()),
        pa.field("verdict", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("n_tokens", pa.int64()),
        pa.field("truncated", pa.bool_()),
        pa.field("details", pa.string()),
    ]
)
"""Columns of `EvaluationResult.items`; null where a measure has no such thing."""

_LEVEL = 0.95


def as_table(rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Rows with some of the columns of `SCHEMA` as a table with all of them."""
    found = list(rows)
    return pa.table([pa.array([row.get(each.name) for row in found], each.type) for each in SCHEMA], schema=SCHEMA)


@dataclass(frozen=True)
class Summary:
    """One measure on one set."""

    set: str
    measure: Measure
    n: int
    """Items that have a value."""
    n_without: int
    """Items that have none; the table of items says why."""
    value: float
    """Mean over the items; NaN where there is none."""
    low: float
    """Lower end of the 95% interval."""
    high: float
    """Upper end."""


@dataclass(frozen=True, eq=False)
class EvaluationResult:
    """What was measured."""

    items: pa.Table
    """A row for every item and measure; columns as in `SCHEMA`."""
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Counts of what was read, left out and spent."""

    def summary(self) -> list[Summary]:
        """Every measure on every set, in the order of the items."""
        found = self.items.select(["set", "measure", "value"]).to_pylist()
        values: dict[tuple[str, Measure], list[float | None]] = {}
        for row in found:
            values.setdefault((row["set"], row["measure"]), []).append(row["value"])
        return [_summary(name, measure, each) for (name, measure), each in values.items()]


def _summary(name: str, measure: Measure, values: list[float | None]) -> Summary:
    known = np.array([value for value in values if value is not None], np.float64)
    counts = measure != "answer_log_likelihood"
    low, high = wilson_interval(int(known.sum()), len(known), _LEVEL) if counts else mean_interval(known)
    value = float(known.mean()) if len(known) else math.nan
    return Summary(name, measure, len(known), len(values) - len(known), value, low, high)


def mean_interval(values: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """Student's interval, 95%, of a mean over items; NaN for fewer than two.

    >>> import numpy as np
    >>> [round(end, 3) for end in mean_interval(np.array([-1.0, -2.0, -3.0]))]
    [-4.484, 0.484]
    """
    if len(values) < 2:
        return math.nan, math.nan
    error = float(values.std(ddof=1)) / math.sqrt(len(values))
    margin = float(stdtrit(len(values) - 1, (1 + _LEVEL) / 2)) * error
    mean = float(values.mean())
    return mean - margin, mean + margin
