"""Scoring in rounds: who is scored on which anchors, until the rule has heard enough.

Nothing here knows where scores come from, so an experiment replays the rules on a matrix that it has already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from qads.quality.influence import Aggregate, Influence, Round
from qads.quality.stopping import Stopping

__all__ = ["Rounds", "Score", "play_rounds", "stopping_outcomes"]

Score = Callable[[Int[np.ndarray, " r"], Int[np.ndarray, " c"]], Float[np.ndarray, "r c"]]
"""Rows of candidates and of anchors -> their one-shot scores; NaN where a pair cannot be scored."""


@dataclass(frozen=True, eq=False)
class Rounds:
    """All rounds together."""

    one_shot: Float[np.ndarray, "n m"]
    pending: Bool[np.ndarray, "n m"]
    rounds: tuple[Round, ...]


def play_rounds(
    stopping: Stopping,
    aggregate: Aggregate,
    *,
    zero_shot: Float[np.ndarray, " m"],
    anchor_groups: Sequence[str],
    may_score: Bool[np.ndarray, "n m"],
    score: Score,
) -> Rounds:
    """Ask for scores round after round, of those candidates that the rule wants to know more about.

    Who goes on follows from the scores alone, so the same scores give the same rounds.

    Args:
        stopping: the rule.
        aggregate: what it judges by.
        zero_shot: z_j in nats a token.
        anchor_groups: source of every anchor.
        may_score: pairs that can be scored at all.
        score: gives the one-shot scores that are asked for.
    """
    n, m = may_score.shape
    found, pending = np.full((n, m), np.nan), may_score.copy()
    names, anchor_names = tuple(map(str, range(n))), tuple(map(str, range(m)))
    order, active, used = stopping.order(anchor_groups), np.arange(n), 0
    rounds: list[Round] = []
    for upto in stopping.looks(m):
        columns = np.sort(order[used:upto])
        found[np.ix_(active, columns)] = score(active, columns)
        pending[np.ix_(active, columns)] = False
        pending[(may_score & ~pending).any(axis=1) & np.isnan(found).all(axis=1)] = False  # The model fails at them.
        rounds.append(Round(len(active), len(columns)))
        used = upto
        seen = Influence(found, zero_shot, names, anchor_names, tuple(anchor_groups), left_out=pending)
        active = np.flatnonzero(stopping.goes_on(seen, aggregate) & pending.any(axis=1))
        if not len(active):
            break
    return Rounds(found, pending, tuple(rounds))


def stopping_outcomes(stopping: Stopping, found: Influence, aggregate: Aggregate) -> list[str | None]:
    """How every candidate ended.

    Returns:
        ``early``: the rule had heard enough before the last anchor. ``every anchor``: scored on all that it can be
        scored on. ``ran out``: that too, and the rule still asks for more. None: no anchor could score it.
    """
    met = stopping.met(found, aggregate)
    return [
        None if n == 0 else "early" if row.any() else "every anchor" if enough else "ran out"
        for n, row, enough in zip(found.n_scored, found.pending, met, strict=True)
    ]
