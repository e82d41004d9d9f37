"""Scores that are there already, looked up by what the model saw."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from qads.errors import AlignmentError, InputError
from qads.quality.influence import Influence
from qads.quality.origin import Origin

__all__ = ["KnownScores", "check_known"]


def check_known(known: Sequence[Influence], identity: Mapping[str, Any], where: Sequence[str] = ()) -> None:
    """Refuse scores that cannot be extended by those of `identity`.

    Args:
        known: earlier scores.
        identity: `OneShotInfluence.identity` of the scores to be made now.
        where: what to call each of them in a message.

    Raises:
        InputError: one does not say what it was made from, or was made by another model or in another way.
        AlignmentError: it says so of other rows than it has.
    """
    for number, scores in enumerate(known):
        name = where[number] if where else f"known[{number}]"
        if scores.origin is None:
            raise InputError(f"{name}: does not say what its scores were made from, so they cannot be extended.")
        scores.origin.check_identity(identity, name)
        keys = (len(scores.origin.candidate_keys), len(scores.origin.anchor_keys))
        if keys != scores.one_shot.shape:
            raise AlignmentError(
                f"{name}: has scores {list(scores.one_shot.shape)}, but says what {list(keys)} were made from. Give it "
                "whole, as it was scored."
            )


@dataclass(frozen=True, eq=False)
class KnownScores:
    """What earlier scores say of these candidates and anchors; NaN where nothing."""

    zero_shot: Float[np.ndarray, " m"]
    one_shot: Float[np.ndarray, "n m"]

    @classmethod
    def look_up(
        cls,
        known: Sequence[Influence],
        origin: Origin,
        candidate_ids: Sequence[str],
        anchor_ids: Sequence[str],
        *,
        affected: Mapping[str, str],
    ) -> KnownScores:
        """Find every pair of which both texts are the same in tokens; inputs are checked by `check_known`.

        A row may have been cut to fit another longest anchor, and is then computed again.

        Raises:
            InputError: a row of the same id has another text.
        """
        found = cls(np.full(len(anchor_ids), np.nan), np.full((len(candidate_ids), len(anchor_ids)), np.nan))
        for scores in known:
            assert scores.origin is not None
            _refuse_changed(origin, candidate_ids, anchor_ids, scores, {*affected, *scores.affected})
            here_i, there_i = _matches(origin.candidate_keys, scores.origin.candidate_keys)
            here_j, there_j = _matches(origin.anchor_keys, scores.origin.anchor_keys)
            here, there = np.ix_(here_i, here_j), np.ix_(there_i, there_j)
            found.zero_shot[here_j] = _filled(found.zero_shot[here_j], scores.zero_shot[there_j])
            found.one_shot[here] = _filled(found.one_shot[here], scores.one_shot[there])
        return found


def _filled(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(values), others, values)


def _matches(keys: Sequence[str], old_keys: Sequence[str]) -> tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"]]:
    """Positions of what both have, here and there."""
    position = {key: at for at, key in enumerate(old_keys) if key}
    both = [(at, position[key]) for at, key in enumerate(keys) if key in position]
    here, there = np.array(both, np.int64).reshape(-1, 2).T
    return here, there


def _refuse_changed(
    origin: Origin,
    candidate_ids: Sequence[str],
    anchor_ids: Sequence[str],
    scores: Influence,
    affected: Collection[str],
) -> None:
    assert scores.origin is not None
    before = _named(scores.candidate_ids, scores.anchor_ids, scores.origin)
    now = _named(candidate_ids, anchor_ids, origin)
    changed = [name for name, key in now.items() if before.get(name, key) != key and name not in affected]
    if changed:
        more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
        raise InputError(
            f"{', '.join(changed[:5])}{more}: the earlier scores have another text under the same id, so they are not "
            "of these rows. Give rows that changed ids of their own, or score without the earlier scores."
        )


def _named(candidate_ids: Sequence[str], anchor_ids: Sequence[str], origin: Origin) -> dict[str, str]:
    """Role and id of every row -> the hash of its text."""
    candidates = zip(candidate_ids, origin.candidate_keys, strict=True)
    anchors = zip(anchor_ids, origin.anchor_keys, strict=True)
    return {f"candidate {name}": key for name, key in candidates} | {f"anchor {name}": key for name, key in anchors}
