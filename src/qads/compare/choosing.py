"""The rows of one arm.

Rows are matched by giving every arm the same number of them. Tokens are matched so: an arm gets the most rows whose
tokens are no more than those of the arm that is matched to. Selectors that spend tokens themselves end before the
first pick that would exceed them; of the others, and of arms whose source shares are fixed, the largest number of rows
that fits is searched for by halving, which for a selection whose beginnings are selections is the same rule. What is
left over is less than one row, and every cell says its tokens exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from jaxtyping import Float, Int

from qads.compare.experiment import Arm
from qads.compare.shared import SharedRun
from qads.errors import InputError
from qads.kernels.apportion import apportion
from qads.pool import Pool, Progress, Selection
from qads.run.limits import NamedFiles, make_constraints
from qads.selection import Constraints, Grouping, Quota, TokenBudget
from qads.selection.budget import most_that_fit
from qads.selection.inputs import scaled_quality

__all__ = ["Choice", "choose", "rank_within_source", "sources_by_quality"]


@dataclass(frozen=True, eq=False)
class Choice:
    """What an arm selected, and what it had to choose from."""

    selection: Selection
    sources: tuple[str, ...]
    """That rows could come from."""
    without_quality: int
    """Rows that were left out since they have no quality."""


def choose(
    arm: Arm,
    shared: SharedRun,
    budget: int | TokenBudget,
    *,
    seed: int,
    like: Int[np.ndarray, " k"] | None = None,
    progress: Progress | None = None,
) -> Choice:
    """Select the rows of an arm.

    Args:
        arm: what chooses.
        shared: what from.
        budget: rows, or tokens.
        seed: of the draw, where there is one.
        like: rows whose shares of the sources are kept to.
        progress: called with (picks made, budget).

    Raises:
        InputError: the arm cannot fill the budget; says what is missing.
    """
    pool, quality = shared.pool, _quality_of_choosable(arm, shared)
    unscored = np.zeros(0, np.int64) if arm.sees == "none" else np.flatnonzero(np.isnan(quality))
    sources = _allowed_sources(arm, shared, quality, budget)
    elsewhere = np.flatnonzero(~np.isin(pool.source_codes, [pool.sources.index(name) for name in sources]))
    out = np.unique(np.concatenate([shared.excluded, unscored, elsewhere]))
    takes_limits = getattr(arm.selection, "takes_limits", True)
    if len(out) and not takes_limits:
        raise InputError(
            f"selection.kind {arm.selection.kind!r} picks rows as a whole and cannot leave any out, but {len(out)} "
            "have no quality. Take them out of the pool, or take a kind that picks one by one, such as kcenter."
        )
    shown = None if arm.sees == "none" else np.nan_to_num(_seen(arm, pool, quality, seed), nan=0.0)
    asked = make_constraints(pool, arm.constraints, NamedFiles.read(pool, arm.constraints)) or Constraints()
    selector, needs = arm.seeded(seed), {n: shared.need(n) for n in getattr(arm.selection, "needs", ())}

    def select(size: int | TokenBudget, groupings: tuple[Grouping, ...] = ()) -> Selection:
        limits = replace(asked, groupings=(*asked.groupings, *groupings), exclude=out if len(out) else None)
        keeps = {"constraints": limits} if limits.groupings or len(out) or limits.min_distance else {}
        return selector(shared.embeddings, shown, budget=size, progress=progress, **keeps, **needs)

    if like is not None:
        shares = _Shares.of(pool, like, out)
        found = _filled(lambda k: select(k, shares.groupings(k)), budget, min(len(pool), shares.most(like)))
    elif takes_limits and (asked.prefix_closed or not isinstance(budget, TokenBudget)):
        found = select(budget)
    else:
        found = _filled(select, budget, len(pool))
    return Choice(found, sources, len(np.setdiff1d(unscored, shared.excluded)))


def _quality_of_choosable(arm: Arm, shared: SharedRun) -> Float[np.ndarray, " n"]:
    """Quality as if the rows that no arm may choose were not there: NaN for them, and for all where none is needed."""
    if not arm.needs_quality:
        return np.full(len(shared.pool), np.nan)
    found = shared.quality.copy()
    found[shared.excluded] = np.nan
    return found


def _seen(arm: Arm, pool: Pool, quality: Float[np.ndarray, " n"], seed: int) -> Float[np.ndarray, " n"]:
    """The quality that an arm is shown."""
    if arm.sees == "within-source":
        return rank_within_source(pool, quality)
    if arm.sees == "shuffled":
        shown, known = quality.copy(), np.flatnonzero(~np.isnan(quality))
        shown[known] = quality[np.random.default_rng(seed).permutation(known)]
        return shown
    return quality


def rank_within_source(pool: Pool, quality: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """The rank of every row's quality among the rows of its source that have one, in (0, 1]; NaN for those without.

    Mean ranks of ties, as in `selection/inputs.py: scaled_quality`.
    """
    ranks = np.full(len(pool), np.nan)
    for rows in pool.rows_by_source().values():
        known = rows[~np.isnan(quality[rows])]
        if len(known):
            ranks[known] = scaled_quality(quality[known].astype(np.float64), "rank", method="rank_within_source")
    return ranks


def sources_by_quality(pool: Pool, quality: Float[np.ndarray, " n"]) -> list[str]:
    """The sources, that of the highest mean quality first; ties by first appearance. Those without any are left out."""
    means = {
        name: float(known.mean())
        for name, rows in pool.rows_by_source().items()
        if len(known := quality[rows][~np.isnan(quality[rows])])
    }
    return sorted(means, key=lambda name: -means[name])


def _allowed_sources(
    arm: Arm, shared: SharedRun, quality: Float[np.ndarray, " n"], budget: int | TokenBudget
) -> tuple[str, ...]:
    """All; or so many of the highest mean quality, and more while their rows do not fill the budget."""
    n, pool = arm.best_sources, shared.pool
    if n is None:
        return tuple(pool.sources)
    order, rows = sources_by_quality(pool, quality), pool.rows_by_source()
    if n > len(order):
        raise InputError(f"best_sources is {n}, but only {len(order)} sources have any quality.")
    while n < len(order):
        held = np.setdiff1d(np.concatenate([rows[name] for name in order[:n]]), shared.excluded)
        if arm.sees != "none":
            held = held[~np.isnan(quality[held])]
        if isinstance(budget, TokenBudget):
            filled = np.asarray(budget.tokens)[held].sum() >= budget.max_tokens
        else:
            filled = len(held) >= budget
        if filled:
            break
        n += 1
    return tuple(order[:n])


@dataclass(frozen=True, eq=False)
class _Shares:
    """Of every source its share, as the rows of another arm have them."""

    source: Sequence[str]
    counts: dict[str, int]
    sizes: dict[str, int]
    """Rows of every source that may be chosen."""

    @classmethod
    def of(cls, pool: Pool, rows: Int[np.ndarray, " k"], out: Int[np.ndarray, " r"]) -> _Shares:
        counts = {name: len(each) for name, each in pool.take(rows).rows_by_source().items()}
        sizes = {name: len(np.setdiff1d(each, out)) for name, each in pool.rows_by_source().items()}
        return cls(pool.strings("source"), counts, sizes)

    def most(self, rows: Int[np.ndarray, " k"]) -> int:
        """Rows up to which the shares can be kept."""
        return max(len(rows), int(min(len(rows) * self.sizes[name] / n for name, n in self.counts.items())))

    def groupings(self, k: int) -> tuple[Grouping, ...]:
        """Exactly so many rows of every source; by largest remainders where k is another number than theirs."""
        names = list(self.counts)
        weights, sizes = [Fraction(n) for n in self.counts.values()], [self.sizes[name] for name in names]
        found = dict(zip(names, apportion(k, weights, sizes), strict=True))
        quotas = tuple(Quota(value=name, minimum=found.get(name, 0), maximum=found.get(name, 0)) for name in self.sizes)
        return (Grouping(name="source", values=np.array(self.source, dtype=object), quotas=quotas),)


def _filled(select: Callable[[int], Selection], budget: int | TokenBudget, most: int) -> Selection:
    """The selection of so many rows, or of the most that are no more than so many tokens."""
    if not isinstance(budget, TokenBudget):
        return select(budget)
    tokens, max_tokens = np.asarray(budget.tokens), int(budget.max_tokens)
    low, high, best = 1, min(most, most_that_fit(tokens, max_tokens)), None
    while low <= high:
        k = (low + high) // 2
        found = select(k)
        if int(tokens[found.indices].sum()) <= max_tokens:
            low, best = k + 1, found
        else:
            high = k - 1
    if best is None:
        raise InputError(f"not one row of this arm fits into {max_tokens:,} tokens; give a larger budget.")
    return replace(best, tokens=tokens[best.indices].astype(np.int64))
