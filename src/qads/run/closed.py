"""Rows that were not up for selection, or not any more, each with the reason."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from jaxtyping import Int

from qads.pool import Selection
from qads.run.limits import NamedFiles
from qads.selection import Constraints, TokenBudget
from qads.selection.terms import group_limits

__all__ = ["closed_rows"]


def closed_rows(
    chosen: Selection,
    named: NamedFiles,
    limits: Constraints | None,
    *,
    budget: int | TokenBudget,
    unscored: Int[np.ndarray, " u"],
    too_long: Int[np.ndarray, " t"],
) -> pa.Table:
    """`row` and `reason` of every row that could not be picked; of several reasons the first.

    Args:
        chosen: the selection.
        named: the files of the constraints.
        limits: the constraints that it was made with.
        budget: the budget that it was made with.
        unscored: rows that have no quality.
        too_long: rows with more tokens than the whole budget.
    """
    seen = np.zeros(chosen.n_rows, np.bool_)
    seen[chosen.indices] = True
    known = [
        (named.given.rows, "it is trained on already"),
        (named.exclude.rows, "excluded by name"),
        (unscored, "it has no quality"),
        (too_long, "it has more tokens than the whole budget"),
    ]
    rows, reasons = list[np.ndarray](), list[str]()
    for some, reason in (*known, *_full_quotas(chosen, limits, budget)):
        new = some[~seen[some]]
        seen[new] = True
        rows.append(new)
        reasons += [reason] * len(new)
    return pa.table({"row": pa.array(np.concatenate(rows)), "reason": pa.array(reasons, pa.string())})


def _full_quotas(
    chosen: Selection, limits: Constraints | None, budget: int | TokenBudget
) -> Iterator[tuple[Int[np.ndarray, " r"], str]]:
    """The rows of every value of which as many were picked as may be."""
    is_count = not isinstance(budget, TokenBudget)
    for part in () if limits is None else limits.groupings:
        most = group_limits(part, budget if is_count else 0, chosen.n_rows, is_count=is_count, method="selection")
        codes = most.codes[chosen.indices]
        picked = np.bincount(codes[codes >= 0], minlength=len(part.quotas))
        full = np.flatnonzero(picked >= most.maximum)
        rows = np.flatnonzero(np.isin(most.codes, full))
        rows = rows[np.argsort(most.codes[rows], kind="stable")]
        of_each = np.split(rows, np.searchsorted(most.codes[rows], full, "right"))
        for number, of_value in zip(full.tolist(), of_each, strict=False):  # After the last there are no more.
            yield of_value, f"the quota of {part.name} {part.quotas[number].value} is full ({picked[number]:,} picks)"
