"""What picks must keep to: counts a group, tokens, a least distance, rows that are out.

Whoever may be picked only gets fewer: a group that is full stays full, a row that is too near stays too near, tokens
run out, and once as many rows are owed to some groups as picks are left, the other groups are out for good. So a score
that was an upper bound still is one, and greedy selection needs to know two things only: which rows are closed, and
after which pick that changes. Inputs are checked by the caller.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

__all__ = ["GroupLimits", "Limits", "walk"]

_NO_MAXIMUM = np.iinfo(np.int64).max


@dataclass(frozen=True, eq=False)
class GroupLimits:
    """Least and greatest numbers of picks of the groups of a column."""

    codes: Int[np.ndarray, " n"]
    """Group of every row; −1 for a row of a group without limits."""
    minimum: Int[np.ndarray, " g"]
    maximum: Int[np.ndarray, " g"]

    @classmethod
    def of(
        cls, codes: Int[np.ndarray, " n"], *, minimum: Sequence[int | None], maximum: Sequence[int | None]
    ) -> GroupLimits:
        """From limits that may be None."""
        return cls(
            codes,
            np.array([low or 0 for low in minimum], np.int64),
            np.array([_NO_MAXIMUM if high is None else high for high in maximum], np.int64),
        )


class Limits:
    """The limits of one selection, and what is left of them.

    Args:
        n_rows: rows of the pool.
        k: picks to make, at most.
        out: rows that are never picked.
        groups: limits by group; minima in one of them at most.
        tokens: tokens of every row; None where they do not count.
        max_tokens: tokens of all picks together, at most.
        least_distance: no pick is nearer than this to an earlier or a given one; 0 for any.
    """

    def __init__(
        self,
        n_rows: int,
        k: int,
        *,
        out: Int[np.ndarray, " o"] | None = None,
        groups: Sequence[GroupLimits] = (),
        tokens: Int[np.ndarray, " n"] | None = None,
        max_tokens: int = 0,
        least_distance: float = 0.0,
    ) -> None:
        self.closed: Bool[np.ndarray, " n"] = np.zeros(n_rows, np.bool_)
        """Rows that may not be picked (any more); those that were are among them only if `out` says so."""
        self.least_distance = least_distance
        self.n_closings = 0
        """How often rows were closed since."""
        self.is_out_of_tokens = False
        """The next pick did not fit."""
        self.n_tokens = 0
        """Tokens of the picks so far."""
        self._n_left, self._tokens, self._max_tokens = k, tokens, max_tokens
        self._codes = [part.codes for part in groups]
        self._room = [part.maximum.copy() for part in groups]
        self._owing = next((number for number, part in enumerate(groups) if part.minimum.any()), -1)
        self._owed = groups[self._owing].minimum.copy() if self._owing >= 0 else np.zeros(0, np.int64)
        self._n_owed = int(self._owed.sum())
        if out is not None:
            self.closed[out] = True
        if tokens is not None:
            self.closed |= tokens > max_tokens
        for codes, room in zip(self._codes, self._room, strict=True):
            self._close(np.isin(codes, np.flatnonzero(room == 0)))
        self._close_what_is_not_owed()

    @property
    def is_free(self) -> bool:
        """Whether every row may be picked at any time."""
        no_groups = not self._room and not self.closed.any()
        return no_groups and self._tokens is None and self.least_distance == 0

    def admit(self, rows: Int[np.ndarray, " r"]) -> int:
        """Count picks, one after the other, as long as nothing changes for others.

        Returns:
            How many were counted. If a pick closed rows, it is the last of them; if one did not fit, it was not
            counted, and `is_out_of_tokens` says so.
        """
        for number, row in enumerate(rows.tolist()):
            if self._tokens is not None:
                if self.n_tokens + int(self._tokens[row]) > self._max_tokens:
                    self.is_out_of_tokens = True
                    return number
                self.n_tokens += int(self._tokens[row])
            n_closings = self.n_closings
            self._count(row)
            if self.n_closings > n_closings:
                return number + 1
        return len(rows)

    def _count(self, row: int) -> None:
        """Take one row off what is left."""
        self._n_left -= 1
        for number, (codes, room) in enumerate(zip(self._codes, self._room, strict=True)):
            code = codes[row]
            if code < 0:
                continue
            room[code] -= 1
            if room[code] == 0:
                self._close(codes == code)
            if number == self._owing and self._owed[code] > 0:
                self._owed[code] -= 1
                self._n_owed -= 1
        self._close_what_is_not_owed()

    def _close_what_is_not_owed(self) -> None:
        """Once every pick that is left is owed to a group, only these groups are open."""
        if self._n_owed and self._n_left == self._n_owed:
            self._close(~np.isin(self._codes[self._owing], np.flatnonzero(self._owed)))

    def _close(self, rows: Bool[np.ndarray, " n"]) -> None:
        if (rows & ~self.closed).any():
            self.closed |= rows
            self.n_closings += 1


def walk(order: Int[np.ndarray, " n"], limits: Limits, k: int) -> Int[np.ndarray, " p"]:
    """The first k rows of an order that the limits admit, whatever their distance; fewer where no more do."""
    picks: list[Int[np.ndarray, " r"]] = []
    n_picked, rows = 0, order[~limits.closed[order]]
    while n_picked < k and len(rows) and not limits.is_out_of_tokens:
        block = rows[: k - n_picked]
        n_admitted = limits.admit(block)
        picks.append(block[:n_admitted])
        n_picked += n_admitted
        rows = rows[n_admitted:]
        rows = rows[~limits.closed[rows]] if n_admitted < len(block) else rows
    return np.concatenate(picks) if picks else order[:0]
