"""What some selectors need beside embeddings and quality, checked at the public face.

A selector lists the keywords in its `needs`:

| keyword | what it is |
|---|---|
| `groups` | one string a row [n], such as its source |
| `lengths` | one number ≥ 0 a row [n]: tokens or characters of the solution |
| `targets` | embeddings [m, d] of the anchors, from the embedder of the rows |
| `likelihoods` | [n, 2]: mean log-probability, in nats a token, of the solution given its problem, and of it alone |
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int, UInt16

from qads.errors import AlignmentError, InputError
from qads.kernels.distance import Rows
from qads.selection.inputs import checked_embeddings

__all__ = ["checked_groups", "checked_lengths", "checked_likelihoods", "checked_targets"]

_GIVE = {
    "groups": "one string a row, such as groups=pool.strings('source')",
    "lengths": "one number a row, such as lengths=[len(text) for text in pool.strings('solution')]",
    "targets": "the anchors' embeddings [m, d], such as targets=embedder(anchors)",
    "likelihoods": "two numbers a row, such as likelihoods=qads.AnswerLikelihoods()(pool)",
}


def checked_groups(groups: object, n_rows: int, *, method: str) -> tuple[list[str], Int[np.ndarray, " n"]]:
    """The names of the groups in order of first appearance, and for every row the position of its own.

    Raises:
        InputError: there are none, or they are not one string a row.
        AlignmentError: another number of rows than the embeddings have.
    """
    values = _array(groups, "groups", method=method)
    if values.ndim != 1 or not all(isinstance(value, str) for value in values.tolist()):
        raise InputError(f"{method}: groups have shape {values.shape} and type {values.dtype}; give {_GIVE['groups']}.")
    _check_rows(values, n_rows, "groups", method=method)
    names, first, codes = np.unique(values.astype(np.str_), return_index=True, return_inverse=True)
    by_appearance = np.argsort(first)
    position = np.empty(len(names), np.int64)
    position[by_appearance] = np.arange(len(names))
    return names[by_appearance].tolist(), position[codes]


def checked_lengths(lengths: object, n_rows: int, *, method: str) -> Float[np.ndarray, " n"]:
    """Lengths as float64 [n].

    Raises:
        InputError: there are none, or one is not a finite number ≥ 0.
        AlignmentError: another number of rows than the embeddings have.
    """
    values = _array(lengths, "lengths", method=method)
    if values.ndim != 1 or values.dtype.kind not in "fiu":
        raise InputError(
            f"{method}: lengths have shape {values.shape} and type {values.dtype}; give {_GIVE['lengths']}."
        )
    _check_rows(values, n_rows, "lengths", method=method)
    found = values.astype(np.float64)
    usable = np.isfinite(found) & (found >= 0)
    if not usable.all():
        row = int(np.argmin(usable))
        raise InputError(f"{method}: length of row {row} is {values[row]}; every row needs a finite number ≥ 0.")
    return found


def checked_targets(targets: object, x: Rows, *, method: str) -> Float[np.ndarray, "m d"] | UInt16[np.ndarray, "m d"]:
    """The anchors' embeddings.

    Raises:
        InputError: there are none, or they have another dimension than the rows, or are not finite.
    """
    if targets is None:
        raise InputError(f"{method}: targets is None; give {_GIVE['targets']}.")
    found = checked_embeddings(targets, method=method, name="targets")
    if found.shape[1] != x.shape[1]:
        raise InputError(
            f"{method}: the targets have {found.shape[1]} dimensions but the embeddings {x.shape[1]}; "
            "they must come from one embedder."
        )
    return found


def checked_likelihoods(likelihoods: object, n_rows: int, *, method: str) -> Float[np.ndarray, "n 2"]:
    """Log-probabilities as float64 [n, 2]; NaN for what could not be scored.

    Raises:
        InputError: there are none; they are not two numbers a row; one is above 0 or infinite; no row has any.
        AlignmentError: another number of rows than the embeddings have.
    """
    values = _array(likelihoods, "likelihoods", method=method)
    if values.ndim != 2 or values.shape[1] != 2 or values.dtype.kind not in "fiu":
        raise InputError(
            f"{method}: likelihoods have shape {values.shape} and type {values.dtype}; give {_GIVE['likelihoods']}."
        )
    _check_rows(values, n_rows, "likelihoods", method=method)
    found = values.astype(np.float64)
    wrong = (found > 0) | np.isinf(found)
    if wrong.any():
        row, column = np.argwhere(wrong)[0].tolist()
        raise InputError(
            f"{method}: likelihood of row {row} is {found[row, column]:g} in column {column}; a mean log-probability "
            "is finite and at most 0, or NaN where a row could not be scored."
        )
    return found


def _array(values: object, name: str, *, method: str) -> np.ndarray:
    if values is None:
        raise InputError(f"{method}: {name} is None; give {_GIVE[name]}.")
    try:
        return np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{method}: {name} of type {type(values).__name__} cannot be read as an array ({error}); "
            f"give {_GIVE[name]}."
        ) from error


def _check_rows(values: np.ndarray, n_rows: int, name: str, *, method: str) -> None:
    if len(values) != n_rows:
        raise AlignmentError(
            f"{method}: {name} have {len(values)} rows but embeddings have {n_rows}; both must be aligned to one pool."
        )
