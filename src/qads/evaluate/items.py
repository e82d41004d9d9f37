"""The items of evaluation sets: what is asked, what to choose from, what the answer is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from qads.answers import Question, right_option, split_options
from qads.datasets.benchmarks import load_evaluation
from qads.errors import InputError
from qads.kernels.hashed import hashed
from qads.pool import Pool, Progress, Row

__all__ = ["Item", "Items", "listed_reasons", "read_items"]

_LISTED = 3
"""Reasons that a sentence has room for."""


@dataclass(frozen=True)
class Item:
    """One problem of an evaluation set."""

    set: str
    row: Row

    @cached_property
    def question(self) -> Question:
        """The problem, and the options at its end."""
        return split_options(self.row.problem)

    @property
    def options(self) -> tuple[str, ...]:
        """What there is to choose from; empty where the answer is no option."""
        return self.question.options if self.right_option is not None else ()

    @cached_property
    def right_option(self) -> int | None:
        """The place of the right option; None where this is no multiple choice."""
        options = self.question.options
        return right_option(self.row.answer, options) if options and self.row.answer else None

    @property
    def has_solution(self) -> bool:
        """Whether it says how its answer is found."""
        return bool(self.row.solution.strip())


@dataclass(frozen=True)
class Items:
    """The items of some sets, in order."""

    items: tuple[Item, ...]
    rejected: dict[str, int] = field(default_factory=dict[str, int])
    """Why rows of the files are no items -> how many."""
    left_out: dict[str, int] = field(default_factory=dict[str, int])
    """Set -> rows beyond the limit."""

    def __len__(self) -> int:
        return len(self.items)

    @property
    def sets(self) -> dict[str, int]:
        """Set -> items, in order."""
        counts: dict[str, int] = {}
        for item in self.items:
            counts[item.set] = counts.get(item.set, 0) + 1
        return counts


def read_items(
    sets: Sequence[str], *, limit: int | None = None, seed: int = 0, progress: Progress | None = None
) -> Items:
    """Read evaluation sets.

    Args:
        sets: names of benchmarks, NAME=FILE, or files.
        limit: items of each set at most. Which ones says a hash of seed, set and id, so that a larger limit keeps the
            items of a smaller one; they stay in the order of the file.
        seed: of that draw.
        progress: called with (rows read, −1).

    Raises:
        PoolError: a set cannot be read.
        InputError: there is no item.
    """
    pool = load_evaluation(sets, progress=progress)
    if not len(pool):
        why = listed_reasons(_reasons(pool)) or "no rows at all"
        raise InputError(f"evaluate: {', '.join(sets)} hold no row that is an item: {why}.")
    kept, left_out = _drawn(pool, limit, seed)
    items = tuple(Item(row.source, row) for row in pool.take(kept))
    return Items(items, _reasons(pool), left_out)


def listed_reasons(reasons: Mapping[str, int]) -> str:
    """The most frequent reasons with their counts, for a sentence.

    >>> listed_reasons({"no problem": 2})
    '2 × no problem'
    """
    first = sorted(reasons.items(), key=lambda item: -item[1])
    more = [f"{len(first) - _LISTED:,} more reasons"] if len(first) > _LISTED else []
    return "; ".join([*(f"{n:,} × {reason}" for reason, n in first[:_LISTED]), *more])


def _reasons(pool: Pool) -> dict[str, int]:
    return dict(Counter(row.reason for row in pool.rejected))


def _drawn(pool: Pool, limit: int | None, seed: int) -> tuple[list[int], dict[str, int]]:
    """Rows to keep, set by set in order of appearance, and how many of each set are left out."""
    kept, left_out = list[int](), dict[str, int]()
    for name, rows in pool.rows_by_source().items():
        chosen = np.asarray(rows)
        if limit is not None and len(chosen) > limit:
            ids = pool.take(chosen).strings("id")
            order = np.argsort(hashed(ids, seed=seed, purpose=f"evaluate {name}"), kind="stable")
            left_out[name] = len(chosen) - limit
            chosen = np.sort(chosen[order[:limit]])
        kept += chosen.tolist()
    return kept, left_out
