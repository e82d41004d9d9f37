"""What every selector asks of its inputs, checked once at the public face."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
from jaxtyping import Float

from qads.errors import AlignmentError, InputError

__all__ = [
    "Budget",
    "Scale",
    "check_choice",
    "check_seed",
    "checked_embeddings",
    "checked_quality",
    "resolve_budget",
    "scaled_quality",
]

Scale = Literal["rank", "minmax", "none"]

Budget = int | float | np.integer[Any] | np.floating[Any]
"""A count of rows (a whole number) or a fraction of them (a float in (0, 1])."""

# Squares, and products of a weight and a distance, stay finite in float64 up to here.
_LARGEST = 1e150


def resolve_budget(budget: object, n_rows: int, *, method: str) -> int:
    """A budget as a number of rows: an int is a count, a float a fraction in (0, 1], rounded half up.

    The fraction counts as the decimal it is written as: 0.07 of 100 is 7, whatever 0.07·100 is in binary.

    >>> [resolve_budget(b, 1005, method="KCenterGreedy") for b in (0.1, 1, 1.0)]
    [101, 1, 1005]

    Raises:
        InputError: a count outside 1..n_rows, a fraction outside (0, 1] or one that comes to no row.
    """
    if isinstance(budget, bool) or not isinstance(budget, int | float | np.integer | np.floating):
        raise InputError(f"{method}: budget is {budget!r}; it must be a count of rows or a fraction in (0, 1].")
    if isinstance(budget, float | np.floating):
        if not 0 < budget <= 1:
            raise InputError(
                f"{method}: budget is {budget}; as a fraction it must lie in (0, 1]. For a count give a whole number."
            )
        count = math.floor(Fraction(str(cast(float, budget))) * n_rows + Fraction(1, 2))
        if count == 0:
            raise InputError(f"{method}: budget is {budget} of {n_rows} rows, which is none; it must come to one row.")
        return count
    if not 1 <= budget <= n_rows:
        raise InputError(f"{method}: budget is {budget} rows but the pool has {n_rows}; it must lie in 1..{n_rows}.")
    return int(cast(int, budget))


def checked_embeddings(embeddings: object, *, method: str) -> Float[np.ndarray, "n d"]:
    """Embeddings as a C-ordered float array [n, d]; memory maps and CPU tensors are taken as they are.

    Raises:
        InputError: not a two-dimensional array of real numbers, empty, or a row is not finite.
    """
    x = _as_array(embeddings, "embeddings", method=method)
    if x.ndim != 2 or x.dtype.kind not in "fiu":
        raise InputError(
            f"{method}: embeddings have shape {x.shape} and type {x.dtype}; they must be a float array [rows, dims]."
        )
    if 0 in x.shape:
        raise InputError(f"{method}: embeddings have shape {x.shape}; there must be a row and a dimension at least.")
    # No conversion loses a digit: half becomes float32, what is wider float64. An array that is of that type
    # and in C order already is not copied.
    narrow = x.dtype.kind == "f" and x.dtype.itemsize <= 4
    x = np.ascontiguousarray(x, dtype=np.float32 if narrow else np.float64)
    limit = min(_LARGEST, float(np.finfo(x.dtype).max))
    for start in range(0, len(x), 8192):
        usable = np.abs(x[start : start + 8192]) <= limit
        if not usable.all():
            row, dim = np.argwhere(~usable)[0].tolist()
            raise InputError(
                f"{method}: row {start + row} of the embeddings holds {x[start + row, dim]} in dimension "
                f"{dim}; every value must be finite and at most {_LARGEST:g} in size."
            )
    return x


def checked_quality(quality: object, n_rows: int, *, method: str) -> Float[np.ndarray, " n"]:
    """Quality as float64 [n], 1 everywhere where none was given.

    Raises:
        AlignmentError: another number of rows than the embeddings have.
        InputError: a value is not a finite number.
    """
    if quality is None:
        return np.ones(n_rows)
    q = _as_array(quality, "quality", method=method)
    if q.ndim != 1 or q.dtype.kind not in "fiub":
        raise InputError(f"{method}: quality has shape {q.shape} and type {q.dtype}; it must be one number a row.")
    if len(q) != n_rows:
        raise AlignmentError(
            f"{method}: quality has {len(q)} rows but embeddings have {n_rows}; "
            "both must be aligned to one pool. Recompute: qads run … --redo quality"
        )
    usable = np.abs(q.astype(np.float64)) <= _LARGEST
    if not usable.all():
        row = int(np.argmin(usable))
        raise InputError(
            f"{method}: quality of row {row} is {q[row]}; every row needs a finite number, "
            f"at most {_LARGEST:g} in size."
        )
    return q.astype(np.float64)


def scaled_quality(quality: Float[np.ndarray, " n"], scale: Scale, *, method: str) -> Float[np.ndarray, " n"]:
    """Quality on [0, 1]: rank/n (ties share the mean rank), min-max, or as it is.

    Raises:
        InputError: `scale` is ``"none"`` and a value is negative.
    """
    if scale == "rank":
        _, value, count = np.unique(quality, return_inverse=True, return_counts=True)
        mean_rank = np.cumsum(count) - (count - 1) / 2
        return mean_rank[value] / len(quality)
    if scale == "minmax":
        low, high = quality.min(), quality.max()
        return np.ones(len(quality)) if low == high else (quality - low) / (high - low)
    if quality.min() < 0:
        row = int(np.argmin(quality))
        raise InputError(
            f"{method}: quality of row {row} is {quality[row]:g}; with scale='none' it must not be negative. "
            "Use scale='rank' or 'minmax'."
        )
    return quality


def check_choice(value: object, choices: Sequence[str], *, name: str, method: str) -> None:
    """Refuse a setting that is none of its choices: a misspelt metric must not quietly become another one.

    Raises:
        InputError: it is none of them.
    """
    if value not in choices:
        raise InputError(f"{method}: {name} is {value!r}; it must be one of {', '.join(map(repr, choices))}.")


def check_seed(seed: int, *, method: str) -> None:
    """Refuse a seed that NumPy's generators refuse.

    Raises:
        InputError: it is negative.
    """
    if seed < 0:
        raise InputError(f"{method}: seed is {seed}; it must be a whole number ≥ 0.")


def _as_array(values: Any, what: str, *, method: str) -> npt.NDArray[Any]:
    # A torch tensor is known by its type's name, so that torch need not be loaded. NumPy has no bfloat16;
    # widening it is exact.
    if type(values).__module__.partition(".")[0] == "torch":
        values = values.detach().float() if str(values.dtype) == "torch.bfloat16" else values.detach()
    try:
        return np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{method}: {what} of type {type(values).__name__} cannot be read as an array ({error}); "
            "give a NumPy array or a tensor on the CPU."
        ) from error
