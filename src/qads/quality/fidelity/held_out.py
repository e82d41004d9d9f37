"""Rows with their real quality and what was predicted of them by a model that had not seen them."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int

from qads.errors import AlignmentError, InputError

__all__ = ["HeldOut"]

_TEXTS, _COUNTS = ("id", "source"), ("fold", "cluster", "length")
_NUMBERS = ("real", "predicted", "low", "high", "source_mean")


@dataclass(frozen=True, eq=False, kw_only=True)
class HeldOut:
    """Labelled rows, a value of every field for each."""

    source: tuple[str, ...]
    """The dataset of the row."""
    real: Float[np.ndarray, " n"]
    """Measured quality."""
    predicted: Float[np.ndarray, " n"]
    """By a model that saw neither the row nor a near duplicate of it; NaN where the row was only fitted on."""
    id: tuple[str, ...] | None = None
    """Of the row."""
    fold: Int[np.ndarray, " n"] | None = None
    """The fold whose model predicted the row; None: one model predicted all."""
    cluster: Int[np.ndarray, " n"] | None = None
    """Near duplicates have one number; None: every row its own."""
    low: Float[np.ndarray, " n"] | None = None
    """Low end of the predictive interval, of 90%."""
    high: Float[np.ndarray, " n"] | None = None
    """High end of it."""
    source_mean: Float[np.ndarray, " n"] | None = None
    """What the mean of the row's source over the rows fitted on predicts."""
    length: Int[np.ndarray, " n"] | None = None
    """Characters of problem and solution."""

    def __post_init__(self) -> None:
        n = len(self.real)
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and len(value) != n:
                raise AlignmentError(
                    f"HeldOut: {len(value)} values of {field.name} but {n} of real; all must describe the same rows."
                )

    def __len__(self) -> int:
        return len(self.real)

    @property
    def is_judged(self) -> Bool[np.ndarray, " n"]:
        """Rows with both a real and a predicted quality."""
        return np.isfinite(self.real) & np.isfinite(self.predicted)

    def take(self, rows: Int[np.ndarray, " k"]) -> HeldOut:
        """These rows alone."""

        def part(value: Any) -> Any:
            return tuple(value[i] for i in rows) if isinstance(value, tuple) else value[rows]

        known: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: part(value) for name, value in known.items() if value is not None})

    def to_table(self) -> pa.Table:
        """One row a labelled row; numbers that are missing are null."""
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        known = {name: value for name, value in columns.items() if value is not None}
        ordered = [name for name in ("id", "source", "real", "predicted", "low", "high") if name in known]
        ordered += [name for name in known if name not in ordered]
        return pa.table({name: pa.array(list(known[name]), from_pandas=True) for name in ordered})

    @classmethod
    def from_table(cls, table: pa.Table) -> HeldOut:
        """The rows of a table of `to_table`.

        Raises:
            InputError: a column is missing, or holds something else.
        """
        missing = [name for name in ("source", "real", "predicted") if name not in table.column_names]
        if missing:
            raise InputError(f"held-out rows: no column {', '.join(missing)}; found {', '.join(table.column_names)}.")
        for name in _present(table, (*_TEXTS, *_COUNTS)):
            if table[name].null_count:
                raise InputError(
                    f"held-out rows: {table[name].null_count} rows have no {name}; every row must have one."
                )
        try:
            texts = {name: tuple(table[name].cast(pa.string()).to_pylist()) for name in _present(table, _TEXTS)}
            counts = {name: table[name].cast(pa.int64()).to_numpy() for name in _present(table, _COUNTS)}
            numbers = {name: table[name].cast(pa.float64()).to_numpy() for name in _present(table, _NUMBERS)}
        except pa.ArrowInvalid as error:
            raise InputError(f"held-out rows: a column holds something else than it should: {error}.") from None
        return cls(**texts, **counts, **numbers)


def _present(table: pa.Table, names: tuple[str, ...]) -> list[str]:
    return [name for name in names if name in table.column_names]
