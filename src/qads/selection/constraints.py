"""What a selection keeps to beside its budget, whatever the selector: quotas, rows in, rows out, a least distance.

Checked before any work: what cannot be met is refused with the arithmetic.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from jaxtyping import Int

from qads.errors import AlignmentError, InputError

__all__ = ["Constraints", "Grouping", "Quota", "checked_rows", "encoded_groups"]


@dataclass(frozen=True, kw_only=True)
class Quota:
    """How many rows with one value of a column are selected.

    >>> Quota(value="gsm8k", minimum=100, maximum=0.3).maximum
    0.3
    """

    value: str
    """The value."""
    minimum: int | float | None = None
    """At least so many rows, or this share of the budget in (0, 1]."""
    maximum: int | float | None = None
    """At most so many rows, or this share of the budget in [0, 1]."""
    share: float | None = None
    """Exactly this share of the budget; shares of one column are rounded together (largest remainders)."""

    def __post_init__(self) -> None:
        if not isinstance(cast(object, self.value), str):
            raise InputError(f"Quota: value is {self.value!r}; it must be a string, as columns are compared as text.")
        for name in ("minimum", "maximum", "share"):
            if isinstance(number := cast(object, getattr(self, name)), np.generic):
                object.__setattr__(self, name, number.item())
        limits = {"minimum": self.minimum, "maximum": self.maximum, "share": self.share}
        stated = {name: limit for name, limit in limits.items() if limit is not None}
        if not stated:
            raise InputError(f"Quota of {self.value!r}: nothing is asked for; give minimum, maximum or share.")
        if self.share is not None and len(stated) > 1:
            raise InputError(f"Quota of {self.value!r}: share says minimum and maximum at once; give it alone.")
        for name, limit in stated.items():
            is_count = isinstance(limit, int) and not isinstance(limit, bool) and name != "share"
            if not (limit >= 0 if is_count else isinstance(limit, float) and 0 <= limit <= 1):
                raise InputError(
                    f"Quota of {self.value!r}: {name} is {limit!r}; it must be "
                    + ("a share in [0, 1]." if name == "share" else "a count of rows, or a share in [0, 1] as a float.")
                )

    @property
    def is_relative(self) -> bool:
        """Whether it depends on the size of the budget."""
        return self.share is not None or isinstance(self.minimum, float) or isinstance(self.maximum, float)

    @property
    def owes(self) -> bool:
        """Whether rows are owed to it."""
        return bool(self.share or self.minimum)


@dataclass(frozen=True, eq=False, kw_only=True)
class Grouping:
    """A column of the pool and the quotas of its values; values without a quota are free."""

    name: str
    """The column, for messages."""
    values: npt.ArrayLike
    """The value of every row [n]."""
    quotas: tuple[Quota, ...]
    """One a value at most."""

    def __post_init__(self) -> None:
        stated = Counter(quota.value for quota in self.quotas)
        if repeated := sorted(value for value, count in stated.items() if count > 1):
            raise InputError(f"Grouping {self.name}: {repeated[0]!r} has more than one quota; give one.")
        if sum(quota.share or 0.0 for quota in self.quotas) > 1 + 1e-9:
            shares = " + ".join(f"{quota.value} {quota.share:g}" for quota in self.quotas if quota.share)
            raise InputError(f"Grouping {self.name}: the shares add up to more than 1: {shares}.")


@dataclass(frozen=True, eq=False, kw_only=True)
class Constraints:
    """What a selection keeps to.

    >>> import qads
    >>> x, source = [[0.0], [1.0], [2.0], [3.0]], ["a", "a", "a", "b"]
    >>> half = qads.Grouping(name="source", values=source, quotas=(qads.Quota(value="a", maximum=1),))
    >>> qads.KCenterGreedy()(x, budget=2, constraints=qads.Constraints(groupings=(half,), exclude=[0])).indices
    array([1, 3])
    """

    groupings: tuple[Grouping, ...] = ()
    """Quotas by column. Minima (and shares) in one of them at most."""
    exclude: npt.ArrayLike | None = None
    """Row numbers that are never selected."""
    include: npt.ArrayLike | None = None
    """Row numbers that are selected first, in this order; they count towards the budget."""
    min_distance: float | None = None
    """No pick is nearer than this to an earlier or a given one, in the selector's metric; included rows may be."""

    def __post_init__(self) -> None:
        if self.min_distance is not None and not 0 <= self.min_distance < np.inf:
            raise InputError(f"Constraints: min_distance is {self.min_distance}; it must be a finite number ≥ 0.")
        if len(owing := [part.name for part in self.groupings if any(quota.owes for quota in part.quotas)]) > 1:
            raise InputError(
                f"Constraints: {' and '.join(owing)} both owe rows to their values (minimum, share); greedy picks can "
                "meet the minima of one column. Join the columns into one, or ask for maxima in the others."
            )

    @property
    def prefix_closed(self) -> bool:
        """Whether the first picks are the selection for a smaller budget."""
        return not any(quota.owes or quota.is_relative for part in self.groupings for quota in part.quotas)


def checked_rows(rows: Any, n_rows: int, *, name: str, method: str) -> Int[np.ndarray, " r"]:
    """Row numbers as int64; none for None.

    Raises:
        InputError: no row numbers, one outside of the pool, or one that is there twice.
    """
    found = np.asarray([] if rows is None else rows)
    if found.size == 0:
        return np.zeros(0, np.int64)
    if found.ndim != 1 or found.dtype.kind not in "iu":
        raise InputError(
            f"{method}: {name} has shape {found.shape} and type {found.dtype}; it must be row numbers [r] (of a mask: "
            "np.flatnonzero(mask))."
        )
    outside = (found < 0) | (found >= n_rows)
    if outside.any():
        raise InputError(f"{method}: {name} names row {found[outside][0]}, but the pool has the rows 0..{n_rows - 1}.")
    values, counts = np.unique(found, return_counts=True)
    if len(values) < len(found):
        raise InputError(f"{method}: {name} names row {values[counts > 1][0]} twice; every row counts once.")
    return found.astype(np.int64)


def encoded_groups(part: Grouping, n_rows: int, *, method: str) -> Int[np.ndarray, " n"]:
    """The number of every row's quota in `part.quotas`; −1 for a row without one.

    Raises:
        AlignmentError: another number of rows than the embeddings have.
        InputError: a quota is of a value that no row has.
    """
    texts = _texts(part, method=method)
    if len(texts) != n_rows:
        raise AlignmentError(
            f"{method}: the column {part.name} has {len(texts)} rows but embeddings have {n_rows}; both must be "
            "aligned to one pool."
        )
    encoded = texts.dictionary_encode()
    known: list[str] = encoded.dictionary.to_pylist()
    number = {quota.value: i for i, quota in enumerate(part.quotas)}
    there = set(known)
    if unknown := [value for value in number if value not in there]:
        raise InputError(f"{method}: no row has {part.name} {unknown[0]!r}{_nearest(unknown[0], known)}")
    codes = np.array([number.get(value, -1) for value in known], np.int64)
    rows = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return np.where(rows < 0, -1, codes[rows])


def _texts(part: Grouping, *, method: str) -> pa.LargeStringArray:
    values: Any = part.values
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    try:
        found = values if isinstance(values, pa.Array) else pa.array(np.asarray(values))
        return found.cast(pa.large_string())
    except (pa.ArrowException, ValueError) as error:
        raise InputError(f"{method}: the column {part.name} is no list of texts, one a row ({error}).") from error


def _nearest(value: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(value, known, 1, 0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; its values are {', '.join(map(repr, sorted(known)[:8]))}{', …' if len(known) > 8 else ''}."
