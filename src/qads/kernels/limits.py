"""What picks must keep to: counts a group, tokens, a least distance, rows that are out.

Whoever may be picked only gets fewer: a group that is full stays full, a row that is too near stays too near, tokens
run out, and once as many rows are owed to some groups as picks are left, the other rows are out for good, and what is
owed to a group is all the room it has. So a score that was an upper bound still is one, and greedy selection needs to
know which rows are closed, what room their groups have, and after which pick that changes otherwise than by that pick
taking its room. Inputs are checked by the caller.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, no_type_check

import numba
import numpy as np
from jaxtyping import Bool, Int, Int32

from qads.kernels.kept import KEPT

__all__ = ["GroupLimits", "Limits"]

_NO_MAXIMUM = np.iinfo(np.int64).max
_PICKS, _OWED, _TOKENS, _BOUND = range(4)  # What of each is left, and whether all picks left are owed.


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
        self._tokens = np.zeros(0, np.int64) if tokens is None else tokens.astype(np.int64, copy=False)
        self._max_tokens = max_tokens
        self._quotas = _Quotas.of(groups, n_rows)
        self._left = np.array([k, self._quotas.owed.sum(), max_tokens, False], np.int64)
        _bind(*self._quotas, self._left)
        if out is not None:
            self.closed[out] = True
        if tokens is not None:
            self.closed |= tokens > max_tokens
        self._close()
        self.n_closings = 0

    @property
    def n_tokens(self) -> int:
        """Tokens of the picks so far."""
        return self._max_tokens - int(self._left[_TOKENS])

    @property
    def n_owed(self) -> int:
        """Picks that are still owed to groups."""
        return int(self._left[_OWED])

    @property
    def only_leave_out(self) -> bool:
        """Whether rows that are out from the beginning are all there is to keep to: no pick closes another row."""
        return not (len(self._quotas.codes) or len(self._tokens) or self.least_distance)

    def marks(self) -> dict[str, tuple[np.ndarray, ...]]:
        """All that tells these limits from others, before they are used; nothing where they limit nothing.

        The number of picks is among it only where the first of them depend on it.
        """
        quotas, owes = self._quotas, self._left[_OWED] > 0
        found: dict[str, tuple[np.ndarray, ...]] = {
            "rows left out": (self.closed,),
            "quotas": (quotas.codes, quotas.room, quotas.owed, np.array([quotas.owing])),
            "tokens": (self._tokens, self._left[_TOKENS : _TOKENS + 1]),
            "least distance": (np.array([self.least_distance]),),
            "budget under minima": (self._left[_PICKS : _PICKS + 1],),
        }
        used = (self.closed.any(), len(quotas.codes), len(self._tokens), self.least_distance, owes)
        return {name: arrays for (name, arrays), limits in zip(found.items(), used, strict=True) if limits}

    def groups_of(self, rows: Int[np.ndarray, " r"]) -> Int32[np.ndarray, "c r"]:
        """The group of every row in each column; −1 for one without limits."""
        return np.take(self._quotas.codes, rows, axis=1)

    @property
    def room(self) -> Int[np.ndarray, "c g"]:
        """How many picks of each group may follow, as a copy."""
        return self._quotas.room.copy()

    def admit(self, rows: Int[np.ndarray, " r"]) -> int:
        """Count picks, one after the other, as long as each only takes room of its groups.

        Returns:
            How many were counted. If after a pick all that are left are owed, it is the last of them; if a pick did
            not fit, it was not counted, and `is_out_of_tokens` says so.
        """
        n_admitted, self.is_out_of_tokens, closes = _admit(rows, self._tokens, *self._quotas, self._left)
        if closes:
            self._close()
        return n_admitted

    def walk(self, order: Int[np.ndarray, " r"], most: int) -> Int[np.ndarray, " p"]:
        """Count as picks the rows of an order that are open when their turn comes; returns them."""
        picks = np.empty(min(len(order), most, int(self._left[_PICKS])), np.int64)
        n_picked, self.is_out_of_tokens = _walk(
            order, self.closed, self._tokens, *self._quotas, self._left, picks
        )  # fmt: skip
        self._close()
        return picks[:n_picked]

    def _close(self) -> None:
        self.n_closings += _close(self.closed, *self._quotas, self._left)


class _Quotas(NamedTuple):
    """Group limits of all columns, as compiled code takes them."""

    codes: Int32[np.ndarray, "c n"]
    room: Int[np.ndarray, "c g"]
    """Picks that may still be of each group."""
    owing: int
    """Column whose groups have minima; −1 for none."""
    owed: Int[np.ndarray, " g"]
    """Picks that must still be of each of its groups."""

    @classmethod
    def of(cls, groups: Sequence[GroupLimits], n_rows: int) -> _Quotas:
        codes = np.empty((len(groups), n_rows), np.int32)
        room = np.full((len(groups), max((len(part.maximum) for part in groups), default=0)), _NO_MAXIMUM)
        for number, part in enumerate(groups):
            codes[number], room[number, : len(part.maximum)] = part.codes, part.maximum
        owing = next((number for number, part in enumerate(groups) if part.minimum.any()), -1)
        return cls(codes, room, owing, groups[owing].minimum.copy() if owing >= 0 else np.zeros(0, np.int64))


@numba.njit(cache=KEPT)
@no_type_check
def _is_open(row: int, codes: np.ndarray, room: np.ndarray, owing: int, left: np.ndarray) -> bool:
    """Whether the groups of a row have room, and it is of one that is owed if only those are picked."""
    for part in range(len(codes)):
        code = codes[part, row]
        if (code < 0 and part == owing and left[_BOUND]) or (code >= 0 and room[part, code] == 0):
            return False
    return True


@numba.njit(cache=KEPT)
@no_type_check
def _bind(codes: np.ndarray, room: np.ndarray, owing: int, owed: np.ndarray, left: np.ndarray) -> bool:
    """If all picks that are left are owed by now, leave room for those only; returns whether that is news."""
    if left[_BOUND] or left[_OWED] == 0 or left[_OWED] < left[_PICKS]:
        return False
    left[_BOUND] = True
    for group in range(len(owed)):
        room[owing, group] = min(room[owing, group], owed[group])
    return True


@numba.njit(cache=KEPT)
@no_type_check
def _count(row: int, codes: np.ndarray, room: np.ndarray, owing: int, owed: np.ndarray, left: np.ndarray) -> bool:
    """Take a pick off what is left; returns whether that fills a group."""
    left[_PICKS] -= 1
    fills = False
    for part in range(len(codes)):
        code = codes[part, row]
        if code < 0:
            continue
        room[part, code] -= 1
        fills |= room[part, code] == 0
        if part == owing and owed[code] > 0:
            owed[code] -= 1
            left[_OWED] -= 1
    return fills


@numba.njit(cache=KEPT)
@no_type_check
def _admit(
    rows: np.ndarray, tokens: np.ndarray, codes: np.ndarray, room: np.ndarray, owing: int, owed: np.ndarray,
    left: np.ndarray,
) -> tuple[int, bool, bool]:  # fmt: skip
    """How many of the rows were counted; whether the next does not fit; whether that closes a group."""
    closes = False
    for number in range(len(rows)):
        row = rows[number]
        if len(tokens):
            if tokens[row] > left[_TOKENS]:
                return number, True, closes
            left[_TOKENS] -= tokens[row]
        closes |= _count(row, codes, room, owing, owed, left)
        if _bind(codes, room, owing, owed, left):
            return number + 1, False, True
    return len(rows), False, closes


@numba.njit(cache=KEPT)
@no_type_check
def _walk(
    order: np.ndarray, closed: np.ndarray, tokens: np.ndarray, codes: np.ndarray, room: np.ndarray, owing: int,
    owed: np.ndarray, left: np.ndarray, picks: np.ndarray,
) -> tuple[int, bool]:  # fmt: skip
    """Write the open rows as their turn comes; how many, and whether the next does not fit."""
    n_picked = 0
    for row in order:
        if n_picked == len(picks):
            break
        if closed[row] or not _is_open(row, codes, room, owing, left):
            continue
        if len(tokens):
            if tokens[row] > left[_TOKENS]:
                return n_picked, True
            left[_TOKENS] -= tokens[row]
        _count(row, codes, room, owing, owed, left)
        _bind(codes, room, owing, owed, left)
        picks[n_picked] = row
        n_picked += 1
    return n_picked, False


@numba.njit(cache=KEPT)
@no_type_check
def _close(
    closed: np.ndarray, codes: np.ndarray, room: np.ndarray, owing: int, owed: np.ndarray, left: np.ndarray
) -> bool:
    """Close the rows that are not open any more, in place; returns whether there were any."""
    any_closed = False
    for row in range(len(closed)):
        if not closed[row] and not _is_open(row, codes, room, owing, left):
            closed[row] = any_closed = True
    return any_closed
