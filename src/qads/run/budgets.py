"""The budgets of a configuration, for the rows of one pool: one is selected for, the others are its beginnings."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Int

from qads.config import RunConfig, Tokens
from qads.errors import InputError
from qads.selection import TokenBudget
from qads.selection.budget import resolve_budget

__all__ = ["budget_prefixes", "largest_budget", "resolve_rows"]


def resolve_rows(config: RunConfig, n_rows: int, *, n_included: int = 0) -> tuple[int, ...]:
    """The budgets as numbers of rows, in the order given; those in tokens are none.

    Raises:
        InputError: one is more than the pool has, or less than the rows that are selected first.
    """
    amounts = [amount for amount in config.budgets if not isinstance(amount, Tokens)]
    found = tuple(resolve_budget(amount, n_rows, method="budget") for amount in amounts)
    if found and min(found) < n_included:
        raise InputError(
            f"budget: {min(found)} rows, but constraints.include names {n_included} that are selected first; it "
            "must be as large at least."
        )
    return found


def largest_budget(
    config: RunConfig, n_rows: int, tokens: Int[np.ndarray, " n"] | None, excluded: Int[np.ndarray, " e"]
) -> int | TokenBudget:
    """What to select; the other budgets are its beginnings.

    Args:
        config: has the budgets.
        n_rows: of the pool.
        tokens: of every row; None where rows are counted.
        excluded: rows that are not selected.

    Raises:
        InputError: a row fits one of several token budgets and not the smallest, or none that may be selected fits
            any.
    """
    if tokens is None:
        return max(resolve_rows(config, n_rows))
    asked = sorted(amount.tokens for amount in config.budgets if isinstance(amount, Tokens))
    between = (tokens > asked[0]) & (tokens <= asked[-1])
    between[excluded] = False
    if between.any():
        row = int(np.argmax(between))
        raise InputError(
            f"budget: row {row} of the pool has {tokens[row]} tokens, more than the smallest budget, {asked[0]}, so "
            "that one would be no beginning of the others. Leave it out (constraints.exclude), or make a run for each."
        )
    allowed = np.delete(tokens, excluded)
    if len(allowed) and allowed.min() > asked[-1]:
        raise InputError(
            f"budget: {asked[-1]:,} tokens, but the shortest row that may be selected has {allowed.min():,}. Raise it, "
            "or give a number of rows."
        )
    return TokenBudget(max_tokens=asked[-1], tokens=tokens)


def budget_prefixes(
    config: RunConfig, n_rows: int, picked: Int[np.ndarray, " k"], tokens: Int[np.ndarray, " n"] | None
) -> list[dict[str, Any]]:
    """For every budget what was asked, how many of the picks it comes to, and their tokens; the largest first.

    Raises:
        InputError: a token budget is less than the first pick has.
    """
    total = None if tokens is None else np.cumsum(tokens[picked])
    found: list[dict[str, Any]] = []
    for amount in config.budgets:
        if isinstance(amount, Tokens):
            assert total is not None
            n = int(np.searchsorted(total, amount.tokens, side="right"))
            if n == 0:
                raise InputError(f"budget: the first pick has {total[0]} tokens, more than the budget of {amount}.")
            name = f"{amount.tokens}-tokens"
        else:
            n = min(resolve_budget(amount, n_rows, method="budget"), len(picked))
            name = str(resolve_budget(amount, n_rows, method="budget"))
        asked = str(amount) if isinstance(amount, Tokens) else amount
        found.append({"asked": asked, "name": name, "rows": n, "tokens": None if total is None else int(total[n - 1])})
    return sorted(found, key=lambda each: -each["rows"])
