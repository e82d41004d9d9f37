"""What selectors have in common: inputs checked, and from an order of rows to a selection."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple, get_args

import numpy as np
import numpy.typing as npt
from jaxtyping import Bool, Float, Int

from qads.errors import InputError
from qads.kernels.distance import Rows
from qads.pool import Progress, Selection
from qads.selection.baselines import by_order
from qads.selection.budget import Budget, TokenBudget
from qads.selection.constraints import Constraints
from qads.selection.inputs import checked_embeddings, checked_quality
from qads.selection.terms import Terms

__all__ = ["Inputs", "checked_inputs", "descending", "first_rows", "unlimited_inputs", "unlimited_selection"]


class Inputs(NamedTuple):
    """What every selector is called with, checked."""

    x: Rows
    quality: Float[np.ndarray, " n"]
    """As it was given; 1 where none was."""
    terms: Terms


def checked_inputs(
    embeddings: npt.ArrayLike,
    quality: npt.ArrayLike | None,
    budget: Budget,
    constraints: Constraints | None,
    *,
    method: str,
    knows_distances: bool = False,
) -> Inputs:
    """Embeddings, quality, budget and constraints, checked.

    Raises:
        InputError: an input is not what it must be; the message names the row.
        AlignmentError: quality and embeddings have different lengths.
    """
    x = checked_embeddings(embeddings, method=method)
    given = checked_quality(quality, len(x), method=method)
    return Inputs(x, given, Terms.of(budget, constraints, len(x), method=method, knows_distances=knows_distances))


def unlimited_inputs(
    embeddings: npt.ArrayLike,
    quality: npt.ArrayLike | None,
    budget: Budget,
    constraints: Constraints | None,
    *,
    method: str,
) -> Inputs:
    """The same of a selector whose picks depend on each other, and which knows a number of rows only.

    Raises:
        InputError: as above; or there are constraints, or the budget is in tokens.
    """
    if constraints is not None or isinstance(budget, TokenBudget):
        what = "constraints are given" if constraints is not None else "the budget is in tokens"
        raise InputError(
            f"{method}: {what}, but what it picks as a whole would not keep to them; give a count or a fraction, and "
            f"leave rows out of the pool itself. {_that_take_limits()} take constraints and tokens."
        )
    return checked_inputs(embeddings, quality, budget, None, method=method)


def _that_take_limits() -> str:
    from qads.selection import Selector  # Made of the modules that import this one.

    names = [each.__name__ for each in get_args(Selector) if getattr(each, "takes_limits", True)]
    return f"{', '.join(names[:-1])} and {names[-1]}"


def descending(values: Float[np.ndarray, " n"], among: Bool[np.ndarray, " n"] | None = None) -> Int[np.ndarray, " r"]:
    """Rows from the highest value to the lowest; equal values go by row. Only those `among`, where that is given."""
    rows = np.arange(len(values)) if among is None else np.flatnonzero(among)
    return rows[np.argsort(-values[rows], kind="stable")]


def first_rows(
    order: Int[np.ndarray, " r"],
    gains: Float[np.ndarray, " n"],
    inputs: Inputs,
    *,
    kind: str,
    progress: Progress | None,
    left_out: str = "",
) -> Selection:
    """The first rows of an order that budget and constraints admit.

    Args:
        order: rows that may be selected, best first.
        gains: of every row of the pool, what the order is by; NaN where it is by nothing.
        inputs: the call's.
        kind: of the selector.
        progress: told when it is done.
        left_out: where the order lacks rows of the pool, how many and why; said if the selection runs short.
    """
    chosen = by_order(order, gains, inputs.quality, inputs.terms, method=kind, progress=progress)
    if left_out and chosen.stopped and not inputs.terms.limits.is_out_of_tokens:
        return dataclasses.replace(chosen, stopped=f"{chosen.stopped}; {left_out}")
    return chosen


def unlimited_selection(
    rows: Int[np.ndarray, " k"],
    gains: Float[np.ndarray, " k"],
    inputs: Inputs,
    *,
    kind: str,
    prefix_closed: bool = True,
) -> Selection:
    """The rows that a selector found as a whole, in its order."""
    return Selection(
        indices=rows,
        gains=gains,
        distances=np.full(len(rows), np.nan),
        nearest=np.full(len(rows), -1, dtype=np.int64),
        quality=inputs.quality[rows],
        n_rows=len(inputs.x),
        method=kind,
        prefix_closed=prefix_closed,
    )
