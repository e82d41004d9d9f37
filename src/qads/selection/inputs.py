"""What every selector asks of its inputs, checked once at the public face."""

from __future__ import annotations

import sys
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Int

from qads.choices import check_choice
from qads.errors import AlignmentError, InputError
from qads.kernels.distance import Given, Rows, widened
from qads.selection.constraints import checked_rows

__all__ = [
    "Scale",
    "check_choice",
    "check_directions",
    "check_seed",
    "checked_embeddings",
    "checked_given",
    "checked_quality",
    "scaled_quality",
    "unread",
]

Scale = Literal["rank", "minmax", "none"]

# NumPy has no bfloat16; this type is nothing but a name for its bits.
_BFLOAT16 = np.dtype([("bfloat16", np.uint16)])

# Squares, and products of a weight and a distance, stay finite in float64 up to here.
_LARGEST = 1e150


def checked_embeddings(embeddings: object, *, method: str, name: str = "embeddings") -> Rows:
    """Embeddings as a C-ordered array [n, d] of the type they are stored in; nothing in C order is copied.

    Memory maps and CPU tensors are taken as they are, float16 and bfloat16 too; bfloat16, which NumPy lacks, comes as
    uint16 that hold its bits. Integers, and floats wider than 64 bits, become float64.

    Raises:
        InputError: not a two-dimensional array of real numbers, empty, or a row is not finite.
    """
    x = _as_array(embeddings, name, method=method)
    if x.ndim != 2 or (x.dtype.kind not in "fiu" and x.dtype != _BFLOAT16):
        raise InputError(
            f"{method}: {name} have shape {x.shape} and type {x.dtype}; they must be a float array [rows, dims]."
        )
    if 0 in x.shape:
        raise InputError(f"{method}: {name} have shape {x.shape}; there must be a row and a dimension at least.")
    if x.dtype == _BFLOAT16:
        x = np.ascontiguousarray(x).view(np.uint16)
    else:
        # Other byte orders become the machine's own.
        narrow = x.dtype.kind == "f" and x.dtype.itemsize <= 4
        x = np.ascontiguousarray(x, dtype=x.dtype.newbyteorder("=") if narrow else np.float64)
    for start in range(0, len(x), 1024):
        block = widened(x[start : start + 1024])
        limit = min(_LARGEST, float(np.finfo(block.dtype).max))
        if not (block.min() >= -limit and block.max() <= limit):  # NaN is the least and the largest of all.
            row, dim = np.argwhere(~(np.abs(block) <= limit))[0].tolist()
            raise InputError(
                f"{method}: row {start + row} of the {name} holds {block[row, dim]} in dimension "
                f"{dim}; every value must be finite and at most {_LARGEST:g} in size."
            )
    return x


def unread(embeddings: Any, *, method: str) -> Float[np.ndarray, "n 1"]:
    """Zeros in the place of embeddings that a selector does not read: they only say how many rows there are.

    Raises:
        InputError: they have no length, or no row.
    """
    try:
        n_rows = len(embeddings)
    except TypeError as error:
        raise InputError(
            f"{method}: embeddings of type {type(embeddings).__name__} have no rows; give an array [rows, dims]."
        ) from error
    if n_rows == 0:
        raise InputError(f"{method}: embeddings have no rows; there must be one at least.")
    return np.zeros((n_rows, 1), np.float32)


def check_directions(x: Rows, *, method: str, name: str = "embeddings") -> None:
    """Refuse rows that have no direction, which the cosine needs.

    Raises:
        InputError: a row is zero, or so short that its squares underflow in float64.
    """
    for start in range(0, len(x), 1024):
        block = widened(x[start : start + 1024])
        largest = np.maximum(block.max(axis=1), -block.min(axis=1))
        row = int(np.argmin(largest))
        if float(largest[row]) < 1e-150:
            raise InputError(
                f"{method}: row {start + row} of the {name} is zero (its largest value is {largest[row]:g}); with "
                "metric='cosine' it must have a direction. Drop the row or use metric='euclidean'."
            )


def checked_given(given: object, x: Rows, *, method: str) -> Given | None:
    """Rows of the pool by number, or vectors [g, d]; None for none.

    Raises:
        InputError: neither of them; a row that is not in the pool or is there twice; vectors of another dimension.
    """
    if given is None:
        return None
    rows = _as_array(given, "given", method=method)
    if rows.size == 0:
        return None
    if rows.ndim == 2:
        vectors = checked_embeddings(given, method=method, name="given vectors")
        if vectors.shape[1] != x.shape[1]:
            raise InputError(
                f"{method}: the given vectors have {vectors.shape[1]} dimensions but the embeddings {x.shape[1]}; "
                "they must come from one embedder."
            )
        return vectors
    if rows.ndim != 1 or rows.dtype.kind not in "iu":
        raise InputError(
            f"{method}: given has shape {rows.shape} and type {rows.dtype}; it must be row numbers [g] (of a mask: "
            "np.flatnonzero(mask)) or vectors [g, dims]."
        )
    return checked_rows(rows, len(x), name="given", method=method)


def checked_quality(quality: object, n_rows: int, *, method: str) -> Float[np.ndarray, " n"]:
    """Quality as float64 [n], 1 everywhere where none was given.

    Raises:
        AlignmentError: another number of rows than the embeddings have.
        InputError: a value is not a finite number.
    """
    if quality is None:
        return np.ones(n_rows)
    q = _as_array(quality, "quality", method=method)
    if q.dtype == _BFLOAT16:
        q = widened(np.ascontiguousarray(q).view(np.uint16))
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


def scaled_quality(
    quality: Float[np.ndarray, " n"], scale: Scale, *, method: str, without: Int[np.ndarray, " o"] | None = None
) -> Float[np.ndarray, " n"]:
    """Quality on [0, 1]: rank/n (ties share the mean rank), min-max, or as it is.

    Args:
        quality: of every row.
        scale: which.
        method: for messages.
        without: rows that are as if they were not there; they come to 0.

    Raises:
        InputError: `scale` is ``"none"`` and a value is negative.
    """
    if without is not None and len(without):
        scaled, rows = np.zeros(len(quality)), np.delete(np.arange(len(quality)), without)
        if scale == "none":
            _refuse_negative(quality, rows, method=method)
        scaled[rows] = scaled_quality(quality[rows], scale, method=method)
        return scaled
    if scale == "rank":
        _, value, count = np.unique(quality, return_inverse=True, return_counts=True)
        mean_rank = np.cumsum(count) - (count - 1) / 2
        return mean_rank[value] / len(quality)
    if scale == "minmax":
        low, high = quality.min(), quality.max()
        return np.ones(len(quality)) if low == high else (quality - low) / (high - low)
    _refuse_negative(quality, np.arange(len(quality)), method=method)
    return quality


def _refuse_negative(quality: Float[np.ndarray, " n"], rows: Int[np.ndarray, " r"], *, method: str) -> None:
    row = int(rows[np.argmin(quality[rows])])
    if quality[row] < 0:
        raise InputError(
            f"{method}: quality of row {row} is {quality[row]:g}; with scale='none' it must not be negative. "
            "Use scale='rank' or 'minmax'."
        )


def check_seed(seed: int, *, method: str) -> None:
    """Refuse a seed that NumPy's generators refuse.

    Raises:
        InputError: it is negative.
    """
    if seed < 0:
        raise InputError(f"{method}: seed is {seed}; it must be a whole number ≥ 0.")


def _as_array(values: Any, what: str, *, method: str) -> npt.NDArray[Any]:
    """The values as an array, uncopied where possible; bfloat16 as `_BFLOAT16`."""
    if np.ma.is_masked(values):
        raise InputError(f"{method}: {what} hold masked values, which are missing; every row needs its own. Fill them.")
    try:
        # A torch tensor is known by its type's name, so that torch need not be loaded.
        if type(values).__module__.partition(".")[0] == "torch":
            values = values.detach()
            if str(values.dtype) == "torch.bfloat16":
                return values.view(sys.modules["torch"].int16).numpy().view(_BFLOAT16)
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{method}: {what} of type {type(values).__name__} cannot be read as an array ({error}); "
            "give a NumPy array or a tensor on the CPU."
        ) from error
    return array.view(_BFLOAT16) if array.dtype.name == "bfloat16" else array  # As the package ml_dtypes has it.
