"""Budget and constraints of one selection, made to fit each other: how many picks, which first, under which limits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from jaxtyping import Bool, Int

from qads.amounts import exact_fraction
from qads.errors import InputError
from qads.kernels.limits import GroupLimits, Limits
from qads.selection.budget import Budget, TokenBudget, checked_tokens, most_that_fit, resolve_budget
from qads.selection.constraints import Constraints, Grouping, Quota, checked_rows, encoded_groups

__all__ = ["Terms", "group_limits", "is_short"]

_TOO_LONG = "longer than all tokens"
_NOBODY_LEFT = "no row is open any more"


@dataclass(frozen=True, eq=False)
class Terms:
    """What a selector works under. The limits are used up by the selection that is made with them."""

    k: int
    """Picks to make; with a token budget, the most that it can buy."""
    limits: Limits
    first: Int[np.ndarray, " f"]
    """Rows that come first."""
    excluded: Int[np.ndarray, " e"]
    """Rows that constraints exclude, as if they were not in the pool."""
    tokens: Int[np.ndarray, " n"] | None
    """Tokens of every row, under a token budget."""
    max_tokens: int | None
    prefix_closed: bool
    """Whether the first picks are the selection for a smaller budget."""
    n_too_long: int
    """Rows that have more tokens than the whole budget, and are not out for another reason."""
    n_open: int
    """Rows that are not out from the beginning."""

    @classmethod
    def of(
        cls,
        budget: Budget,
        constraints: Constraints | None,
        n_rows: int,
        *,
        method: str,
        given: Int[np.ndarray, " g"] | None = None,
        knows_distances: bool = False,
    ) -> Terms:
        """Check budget and constraints, alone and against each other.

        Args:
            budget: count, fraction or tokens.
            constraints: none by default.
            n_rows: rows of the pool.
            method: for messages.
            given: row numbers that are there already and never selected.
            knows_distances: whether `min_distance` means anything to the selector.

        Raises:
            InputError: something is not what it must be, or cannot be met; with the arithmetic.
            AlignmentError: a column or the tokens have another number of rows.
        """
        asked = constraints or Constraints()
        if asked.min_distance and not knows_distances:
            raise InputError(f"{method}: it knows no distances, so min_distance means nothing to it; leave it out.")
        tokens = checked_tokens(budget, n_rows, method=method) if isinstance(budget, TokenBudget) else None
        max_tokens = int(budget.max_tokens) if isinstance(budget, TokenBudget) else None
        out = _Out.of(asked, given, tokens, max_tokens, n_rows, method=method)
        if isinstance(budget, TokenBudget) and tokens is not None:
            k = most_that_fit(np.delete(tokens, out.rows), int(budget.max_tokens))
        else:
            k = resolve_budget(budget, n_rows, method=method)
        first = checked_rows(asked.include, n_rows, name="include", method=method)
        groups = [group_limits(part, k, n_rows, is_count=tokens is None, method=method) for part in asked.groupings]
        terms = cls(
            k,
            Limits(
                n_rows, k, out=out.rows, groups=groups, tokens=tokens, max_tokens=max_tokens or 0,
                least_distance=asked.min_distance or 0.0,
            ),
            first, out.excluded, tokens, max_tokens, asked.prefix_closed, out.n_too_long, n_rows - len(out.rows),
        )  # fmt: skip
        out.check_enough(terms, asked.groupings, groups, method=method)
        out.check_included(terms, asked.groupings, groups, method=method)
        return terms

    def stopped(self, n_picked: int) -> str | None:
        """Why the selection is not exactly what was asked for; None if it is."""
        if self.max_tokens is None:
            return None if n_picked == self.k else f"{n_picked:,} of {self.k:,} picks: {self._nobody_left()}"
        used = f"{self.limits.n_tokens:,} of {self.max_tokens:,} tokens"
        reasons: list[str] = []
        if self.limits.n_tokens < self.max_tokens:
            # k is how many of the shortest rows fit: one more is one too many, whichever it is.
            is_full = self.limits.is_out_of_tokens or n_picked == self.k < self.n_open
            reasons.append(f"{used}: {'the next pick would exceed them' if is_full else self._nobody_left()}")
        if self.n_too_long:
            reasons.append(f"rows that alone exceed {self.max_tokens:,} tokens: {self.n_too_long:,}")
        return "; ".join(reasons) or None

    def _nobody_left(self) -> str:
        least, owed = self.limits.least_distance, self.limits.n_owed
        near = f" that is {least:g} or more away from all picks and given rows" if least else ""
        return f"{_NOBODY_LEFT}{near}" + (f"; picks still owed to minima: {owed:,}" if owed else "")


def is_short(stopped: str | None) -> bool:
    """Whether a selection under a token budget ended for want of rows, and not since the next one would exceed it."""
    return stopped is not None and _NOBODY_LEFT in stopped


@dataclass(frozen=True, eq=False)
class _Out:
    """Rows that are out from the beginning, and why."""

    rows: Int[np.ndarray, " o"]
    excluded: Int[np.ndarray, " e"]
    n_rows: int
    reasons: Sequence[tuple[int, str]]
    n_too_long: int

    @classmethod
    def of(
        cls,
        asked: Constraints,
        given: Int[np.ndarray, " g"] | None,
        tokens: Int[np.ndarray, " n"] | None,
        max_tokens: int | None,
        n_rows: int,
        *,
        method: str,
    ) -> _Out:
        excluded = checked_rows(asked.exclude, n_rows, name="exclude", method=method)
        mask, reasons = np.zeros(n_rows, np.bool_), list[tuple[int, str]]()
        long = np.zeros(0, np.int64) if tokens is None else np.flatnonzero(tokens > (max_tokens or 0))
        there = np.zeros(0, np.int64) if given is None else given
        for rows, reason in ((there, "given"), (excluded, "excluded"), (long, _TOO_LONG)):
            new = rows[~mask[rows]]
            mask[new] = True
            reasons += [(len(new), reason)] if len(new) else []
        n_too_long = sum(n for n, reason in reasons if reason == _TOO_LONG)
        return cls(np.flatnonzero(mask), excluded, n_rows, reasons, n_too_long)

    def check_enough(
        self, terms: Terms, groupings: Sequence[Grouping], groups: Sequence[GroupLimits], *, method: str
    ) -> None:
        """Refuse what cannot be met whatever is picked.

        Raises:
            InputError: with the arithmetic.
        """
        is_open = np.ones(self.n_rows, np.bool_)
        is_open[self.rows] = False
        for part, limits in zip(groupings, groups, strict=True):
            sizes = _sizes(limits, is_open)
            self._check_minima(terms.k, part, limits, sizes, method=method)
            beyond = np.maximum(sizes - limits.maximum, 0)
            reasons = [
                (int(n), f"beyond the maximum of {part.name}={quota.value} ({top} of {size})")
                for n, quota, top, size in zip(beyond, part.quotas, limits.maximum, sizes, strict=True)
                if n
            ]
            self._check_count(terms, [*self.reasons, *reasons], method=method)
        self._check_count(terms, self.reasons, method=method)
        if terms.limits.closed.all():
            raise InputError(
                f"{method}: no row can be selected: {self.n_rows:,} in the pool, "
                + "".join(f"{n:,} {reason}, " for n, reason in self.reasons)
                + f"and the maxima of {' and '.join(part.name for part in groupings)} leave none of the others."
            )

    def check_included(
        self, terms: Terms, groupings: Sequence[Grouping], groups: Sequence[GroupLimits], *, method: str
    ) -> None:
        """Refuse included rows that may not be picked, or leave too few picks for what is owed.

        Raises:
            InputError: names the row, or gives the arithmetic.
        """
        if len(lost := np.intersect1d(terms.first, self.rows)):
            raise InputError(
                f"{method}: row {lost[0]} must be included, but it is out ({_words(self.reasons)}); drop it from one "
                "of them."
            )
        if len(terms.first) > terms.k:
            raise InputError(
                f"{method}: {len(terms.first):,} rows must be included but the budget comes to {terms.k:,} picks."
            )
        if terms.tokens is not None and (n := int(terms.tokens[terms.first].sum())) > (terms.max_tokens or 0):
            raise InputError(f"{method}: the included rows have {n:,} tokens but the budget is {terms.max_tokens:,}.")
        is_first = np.zeros(self.n_rows, np.bool_)
        is_first[terms.first] = True
        for part, limits in zip(groupings, groups, strict=True):
            sizes = _sizes(limits, is_first)
            for quota, size, top in zip(part.quotas, sizes, limits.maximum, strict=True):
                if size > top:
                    raise InputError(
                        f"{method}: {size:,} rows of {part.name}={quota.value} must be included, but its maximum is "
                        f"{top:,}."
                    )
            owed = int(np.maximum(limits.minimum - sizes, 0).sum())
            if owed > terms.k - len(terms.first):
                raise InputError(
                    f"{method}: after {len(terms.first):,} included rows {terms.k - len(terms.first):,} picks are "
                    f"left, but {owed:,} are still owed to the minima of {part.name}."
                )

    def _check_minima(
        self, k: int, part: Grouping, limits: GroupLimits, sizes: Int[np.ndarray, " g"], *, method: str
    ) -> None:
        for quota, low, size in zip(part.quotas, limits.minimum, sizes, strict=True):
            if low > size:
                raise InputError(
                    f"{method}: {low:,} rows of {part.name}={quota.value} are asked for, but only {size:,} are open"
                    + (f" ({_words(self.reasons)} in the pool)." if self.reasons else ".")
                )
        if (total := int(limits.minimum.sum())) > k:
            terms = " + ".join(
                f"{quota.value} {low:,}" for quota, low in zip(part.quotas, limits.minimum, strict=True) if low
            )
            raise InputError(f"{method}: budget {k:,} but the minima of {part.name} add up to {total:,}: {terms}.")

    def _check_count(self, terms: Terms, reasons: Sequence[tuple[int, str]], *, method: str) -> None:
        n_open = self.n_rows - sum(n for n, _ in reasons)
        if n_open < (terms.k if terms.tokens is None else 1):
            raise InputError(
                f"{method}: only {n_open:,} rows can be selected: {self.n_rows:,} in the pool"
                + "".join(f" − {n:,} {reason}" for n, reason in reasons)
                + (f"; the budget is {terms.k:,}." if terms.tokens is None else ".")
            )


def _sizes(limits: GroupLimits, which: Bool[np.ndarray, " n"]) -> Int[np.ndarray, " g"]:
    codes = limits.codes[which]
    return np.bincount(codes[codes >= 0], minlength=len(limits.maximum))


def _words(reasons: Sequence[tuple[int, str]]) -> str:
    return ", ".join(f"{n:,} {reason}" for n, reason in reasons)


def group_limits(part: Grouping, k: int, n_rows: int, *, is_count: bool, method: str) -> GroupLimits:
    """The quotas of a column as counts.

    Args:
        part: the column.
        k: the budget.
        n_rows: rows of the pool.
        is_count: whether the budget is a number of rows, and not of tokens.
        method: for messages.

    Raises:
        InputError: a quota cannot be met, depends on a budget that is in tokens, or is of a value that no row has.
        AlignmentError: the column has another number of rows.
    """
    for quota in part.quotas:
        if not is_count and (quota.owes or quota.is_relative):
            raise InputError(
                f"{method}: with a budget in tokens the number of picks is not known beforehand, so the quota of "
                f"{part.name}={quota.value} must be a maximum as a count of rows; shares and minima need a budget "
                "that is a count."
            )
    codes = encoded_groups(part, n_rows, method=method)
    shares = _rounded_shares([quota.share or 0.0 for quota in part.quotas], k)
    bounds = [_bounds(quota, share, k) for quota, share in zip(part.quotas, shares, strict=True)]
    for quota, (low, high) in zip(part.quotas, bounds, strict=True):
        if high is not None and low > high:
            raise InputError(
                f"{method}: the minimum of {part.name}={quota.value} is {low:,}, its maximum {high:,} (budget {k:,})."
            )
    return GroupLimits.of(codes, minimum=[low for low, _ in bounds], maximum=[high for _, high in bounds])


def _bounds(quota: Quota, share: int, k: int) -> tuple[int, int | None]:
    """Least and greatest count. A share of the budget is rounded up as a minimum and down as a maximum."""
    if quota.share is not None:
        return share, share
    low, high = quota.minimum, quota.maximum
    return (
        math.ceil(exact_fraction(low) * k) if isinstance(low, float) else low or 0,
        math.floor(exact_fraction(high) * k) if isinstance(high, float) else high,
    )


def _rounded_shares(shares: Sequence[float], k: int) -> list[int]:
    """Counts for shares of k by largest remainders; what the shares leave over is a part of its own."""
    exact = [exact_fraction(share) * k for share in shares]
    exact.append(max(Fraction(0), k - sum(exact, Fraction(0))))
    counts = [math.floor(value) for value in exact]
    by_remainder = sorted(range(len(exact)), key=lambda i: (counts[i] - exact[i], i))
    for i in by_remainder[: max(0, k - sum(counts))]:
        counts[i] += 1
    return counts[:-1]
