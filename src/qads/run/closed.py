"""Rows that were not up for selection, or not any more, each with the reason."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Int

from qads.amounts import exact_fraction
from qads.pool import Selection
from qads.run.limits import NamedFiles
from qads.selection import Constraints
from qads.selection.constraints import encoded_groups

__all__ = ["closed_rows"]


def closed_rows(
    chosen: Selection,
    named: NamedFiles,
    limits: Constraints | None,
    *,
    unscored: Int[np.ndarray, " u"],
    too_long: Int[np.ndarray, " t"],
) -> pa.Table:
    """`row` and `reason` of every row that could not be picked; of several reasons the first.

    Args:
        chosen: the selection.
        named: the files of the constraints.
        limits: the constraints that it was made with.
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
    for some, reason in (*known, *_full_quotas(chosen, limits)):
        new = some[~seen[some]]
        seen[new] = True
        rows.append(new)
        reasons += [reason] * len(new)
    return pa.table({"row": pa.array(np.concatenate(rows)), "reason": pa.array(reasons, pa.string())})


def _full_quotas(chosen: Selection, limits: Constraints | None) -> Iterator[tuple[Int[np.ndarray, " r"], str]]:
    """The rows of every value of which as many were picked as may be."""
    for part in () if limits is None else limits.groupings:
        groups = encoded_groups(part, chosen.n_rows, method="selection")
        for number, quota in enumerate(part.quotas):
            most = quota.maximum if quota.share is None else quota.share
            if most is None:
                continue
            of_value: Bool[np.ndarray, " n"] = groups == number
            picked = int(of_value[chosen.indices].sum())
            if picked >= (most if isinstance(most, int) else math.floor(exact_fraction(most) * len(chosen))):
                yield np.flatnonzero(of_value), f"the quota of {part.name} {quota.value} is full ({picked:,} picks)"
