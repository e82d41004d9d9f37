"""How much may be selected: a count of rows, a fraction of them, or their tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from jaxtyping import Int

from qads.amounts import rows_of_fraction
from qads.errors import AlignmentError, InputError

__all__ = ["Budget", "TokenBudget", "checked_tokens", "most_that_fit", "resolve_budget"]


@dataclass(frozen=True, eq=False, kw_only=True)
class TokenBudget:
    """Tokens to spend: the selection ends before the first pick that would exceed them.

    A row that alone exceeds the budget is never picked, and does not end it. So its beginnings are the selections for
    those smaller budgets that every row fits which fits this one.

    >>> import qads
    >>> budget = qads.TokenBudget(max_tokens=70, tokens=[40, 50, 30, 90])
    >>> sel = qads.TopQuality()([[0.0], [1.0], [2.0], [3.0]], quality=[4, 1, 2, 9], budget=budget)
    >>> sel.indices.tolist(), sel.n_tokens
    ([0, 2], 70)
    """

    max_tokens: int | np.integer[Any]
    """Tokens of all picks together, at most."""
    tokens: npt.ArrayLike
    """Tokens of every row of the pool, whole numbers [n]."""

    def __post_init__(self) -> None:
        given = cast(object, self.max_tokens)
        is_whole = isinstance(given, int | np.integer) and not isinstance(given, bool)
        if not is_whole or not 1 <= self.max_tokens < 2**63:
            raise InputError(
                f"TokenBudget: max_tokens is {self.max_tokens!r}; it must be a whole number ≥ 1 and below 2⁶³."
            )


Budget = int | float | np.integer[Any] | np.floating[Any] | TokenBudget
"""A count of rows (a whole number), a fraction of them (a float in (0, 1]), or tokens."""


def resolve_budget(budget: object, n_rows: int, *, method: str) -> int:
    """A budget as a number of rows: an int is a count, a float a fraction in (0, 1], rounded half up.

    The fraction counts as the decimal it is written as: 0.07 of 100 is 7, whatever 0.07·100 is in binary.

    >>> [resolve_budget(b, 1005, method="KCenterGreedy") for b in (0.1, 1, 1.0)]
    [101, 1, 1005]

    Raises:
        InputError: a count outside 1..n_rows, a fraction outside (0, 1] or one that comes to no row; or tokens, which
            come to no number of rows beforehand.
    """
    if isinstance(budget, TokenBudget):
        raise InputError(f"{method}: budget is in tokens, which this method cannot spend; give a count or a fraction.")
    if isinstance(budget, bool) or not isinstance(budget, int | float | np.integer | np.floating):
        raise InputError(f"{method}: budget is {budget!r}; it must be a count of rows or a fraction in (0, 1].")
    if isinstance(budget, float | np.floating):
        if not 0 < budget <= 1:
            raise InputError(
                f"{method}: budget is {budget}; as a fraction it must lie in (0, 1]. For a count give a whole number."
            )
        count = rows_of_fraction(budget, n_rows)
        if count == 0:
            raise InputError(f"{method}: budget is {budget} of {n_rows} rows, which is none; it must come to one row.")
        return count
    if not 1 <= budget <= n_rows:
        raise InputError(f"{method}: budget is {budget} rows but the pool has {n_rows}; it must lie in 1..{n_rows}.")
    return int(cast(int, budget))


def checked_tokens(budget: TokenBudget, n_rows: int, *, method: str) -> Int[np.ndarray, " n"]:
    """Tokens of every row.

    Raises:
        AlignmentError: another number of rows than the embeddings have.
        InputError: they are no whole numbers, one is negative, or every row exceeds the budget.
    """
    tokens = np.asarray(budget.tokens)
    if tokens.ndim != 1 or tokens.dtype.kind not in "iu":
        raise InputError(
            f"{method}: tokens have shape {tokens.shape} and type {tokens.dtype}; they must be one whole number a row."
        )
    if len(tokens) != n_rows:
        raise AlignmentError(
            f"{method}: there are tokens for {len(tokens)} rows but embeddings for {n_rows}; both must be aligned to "
            "one pool."
        )
    if tokens.min() < 0:
        row = int(np.argmin(tokens))
        raise InputError(f"{method}: row {row} has {tokens[row]} tokens; a row has 0 at least.")
    if tokens.min() > budget.max_tokens:
        raise InputError(
            f"{method}: the budget is {budget.max_tokens:,} tokens but the shortest row has {tokens.min():,}; "
            "not one row fits."
        )
    return tokens.astype(np.int64)


def most_that_fit(tokens: Int[np.ndarray, " n"], max_tokens: int) -> int:
    """How many rows a token budget can buy at most."""
    return int(np.searchsorted(np.cumsum(np.sort(tokens)), max_tokens, side="right"))
