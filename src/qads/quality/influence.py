"""What comes of scoring candidates on anchors: the scores, the influence, and the quality that it adds up to.

    z_j   zero-shot score: mean log-probability (nats a token) of anchor j's solution given its problem
    o_ij  one-shot score: the same with candidate i as one worked example before it
    g_ij  influence: o_ij − z_j

The quality of a candidate aggregates its row of g:

    positive_gain   mean_j max(g_ij, 0)      the positive influence (our default)
    mean_gain       mean_j g_ij
    win_rate        mean_j 1[g_ij > 0]       the golden score of NUGGETS (Li et al. 2023, arXiv:2312.10302)
    relative        mean_j (exp(g_ij) − 1)   relative change of the geometric-mean token probability

Ni et al. 2024 (arXiv:2404.01067) define quality by positive influence; the exact aggregate is not public in a text
we could read, so it is a setting.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int

from qads.choices import check_choice
from qads.errors import AlignmentError, InputError
from qads.kernels.cost import Cost
from qads.kernels.partial import comparable_quality, group_codes, mean_over_scored
from qads.pool import first_repeated, to_json
from qads.quality.origin import Origin

__all__ = ["AGGREGATES", "Aggregate", "Influence", "Round", "aggregate_terms"]

Aggregate = Literal["positive_gain", "mean_gain", "win_rate", "relative"]
_FORMULAS: dict[Aggregate, Callable[[Float[np.ndarray, "n m"]], Float[np.ndarray, "n m"]]] = {
    "positive_gain": lambda g: np.where(np.isnan(g), np.nan, np.maximum(g, 0)),
    "mean_gain": lambda g: g,
    "win_rate": lambda g: np.where(np.isnan(g), np.nan, g > 0),
    "relative": np.expm1,
}
_SIGNED: tuple[Aggregate, ...] = ("mean_gain", "relative")
"""Aggregates of terms that can be negative."""
AGGREGATES: tuple[Aggregate, ...] = get_args(Aggregate)


@dataclass(frozen=True)
class Round:
    """What was asked for in one round: every candidate of it on every new anchor."""

    n_candidates: int
    n_anchors: int
    """New anchors of this round."""


@dataclass(frozen=True, eq=False)
class Influence:
    """Zero-shot and one-shot scores of candidates on anchors.

    Raises:
        AlignmentError: the scores are not of as many candidates and anchors as are named.
        InputError: an id is there twice.
    """

    one_shot: Float[np.ndarray, "n m"]
    """o_ij in nats a token; NaN where the pair was not scored."""
    zero_shot: Float[np.ndarray, " m"]
    """z_j in nats a token."""
    candidate_ids: tuple[str, ...]
    anchor_ids: tuple[str, ...]
    anchor_groups: tuple[str, ...]
    """Source of every anchor."""
    cost: Cost = field(default_factory=Cost)
    """What it took to compute them."""
    affected: Mapping[str, str] = field(default_factory=dict[str, str])
    """Rows that were dropped or cut, or that the model failed at, by role and id, and why."""
    left_out: Bool[np.ndarray, "n m"] | None = None
    """Pairs that could be scored and were not, since a stopping rule had heard enough of the candidate; None: none."""
    origin: Origin | None = None
    """What the scores were made from; without it they cannot be extended."""
    n_reused: int = 0
    """Pairs with an example that were taken over from earlier scores."""
    rounds: tuple[Round, ...] = ()
    """What was asked for, round by round."""
    aggregate: Aggregate = "positive_gain"
    """What the quality is unless another is named: that of the method that made it."""

    def __post_init__(self) -> None:
        check_choice(self.aggregate, AGGREGATES, name="aggregate", method="Influence")
        n, m = len(self.candidate_ids), len(self.anchor_ids)
        for ids, role in ((self.candidate_ids, "candidate"), (self.anchor_ids, "anchor")):
            if (twice := first_repeated(pa.chunked_array([pa.array(ids, pa.string())]))) is not None:
                raise InputError(f"Influence: the {role} {twice!r} is there more than once; ids must differ.")
        shapes = (self.one_shot.shape, self.pending.shape, self.zero_shot.shape, (len(self.anchor_groups),))
        if shapes != ((n, m), (n, m), (m,), (m,)):
            raise AlignmentError(
                f"Influence: one-shot scores, pending pairs, zero-shot scores and groups have the shapes {shapes} for "
                f"{n} candidates and {m} anchors; all must describe the same ones."
            )

    @property
    def n_tokens(self) -> int:
        """Tokens that went through the model."""
        return self.cost.tokens

    @property
    def gains(self) -> Float[np.ndarray, "n m"]:
        """g_ij = o_ij − z_j, nats a token; NaN where the pair was not scored."""
        return self.one_shot - self.zero_shot

    @property
    def pending(self) -> Bool[np.ndarray, "n m"]:
        """Pairs that could be scored and were not."""
        return np.zeros(self.one_shot.shape, bool) if self.left_out is None else self.left_out

    @property
    def n_scored(self) -> Int[np.ndarray, " n"]:
        """Anchors that every candidate was scored on."""
        return np.sum(~np.isnan(self.gains), axis=1)

    def quality(self, aggregate: Aggregate | None = None) -> Float[np.ndarray, " n"]:
        """Quality of every candidate; NaN for one that no anchor could score.

        The mean over its anchors. Where a stopping rule left anchors out, the mean over these alone would not compare
        with others; `kernels/partial.py` says what is given instead.

        Args:
            aggregate: what the mean is of; None takes that of the scores, `Influence.aggregate`.

        Raises:
            InputError: there is no such aggregate.

        >>> import numpy as np
        >>> infl = Influence(np.array([[-1.0, -2.0]]), np.array([-1.5, -1.0]), ("a",), ("x", "y"), ("s", "s"))
        >>> infl.quality("positive_gain"), infl.quality("win_rate")
        (array([0.25]), array([0.5]))
        """
        return self._quality_on(np.arange(len(self.anchor_groups)), aggregate)

    def terms(self, aggregate: Aggregate | None = None) -> Float[np.ndarray, "n m"]:
        """What the quality of a candidate averages over its anchors; NaN where the pair was not scored."""
        return aggregate_terms(self.gains, aggregate or self.aggregate)

    def signed(self, aggregate: Aggregate | None = None) -> bool:
        """Whether these terms can be negative."""
        return (aggregate or self.aggregate) in _SIGNED

    def standard_error(self, aggregate: Aggregate | None = None) -> Float[np.ndarray, " n"]:
        """Standard error of the mean over the anchors that were scored; NaN with fewer than two of them.

        Anchors count as a random sample of the target skill, so it is above zero with all of them too.
        """
        terms = self.terms(aggregate)
        count = np.sum(~np.isnan(terms), axis=1)
        spread = np.where(np.isnan(terms), 0.0, terms - mean_over_scored(terms)[:, None])
        with np.errstate(invalid="ignore", divide="ignore"):
            variance = (spread**2).sum(axis=1) / (count - 1) / count
        return np.where(count > 1, np.sqrt(np.where(count > 1, variance, 0.0)), np.nan)

    def by_group(self, aggregate: Aggregate | None = None) -> dict[str, Float[np.ndarray, " n"]]:
        """Quality on the anchors of each source by itself: influence follows style, so the mean alone can mislead."""
        groups = np.array(self.anchor_groups)
        return {
            str(name): self._quality_on(np.flatnonzero(groups == name), aggregate)
            for name in dict.fromkeys(self.anchor_groups)
        }

    def _quality_on(self, anchors: Int[np.ndarray, " c"], aggregate: Aggregate | None) -> Float[np.ndarray, " n"]:
        return comparable_quality(
            self.terms(aggregate)[:, anchors],
            self.pending[:, anchors],
            group_codes(tuple(self.anchor_groups[j] for j in anchors)),
            signed=self.signed(aggregate),
        )

    @classmethod
    def joined(cls, parts: Sequence[Influence]) -> Influence:
        """Scores of several sets of candidates on the same anchors, one after the other; one part at least.

        Raises:
            AlignmentError: the anchors are not the same.
        """
        first = parts[0]
        if other := [part for part in parts if part.anchor_ids != first.anchor_ids]:
            raise AlignmentError(
                f"Influence.joined: scores on the anchors {', '.join(first.anchor_ids[:3])}, … and on "
                f"{', '.join(other[0].anchor_ids[:3])}, …; all parts must be of the same anchors in the same order."
            )
        keys = tuple(key for part in parts if part.origin for key in part.origin.candidate_keys)
        affected: dict[str, str] = {}
        for part in parts:
            affected |= part.affected
        pending = np.concatenate([part.pending for part in parts])
        return cls(
            one_shot=np.concatenate([part.one_shot for part in parts]),
            zero_shot=first.zero_shot,
            candidate_ids=tuple(name for part in parts for name in part.candidate_ids),
            anchor_ids=first.anchor_ids,
            anchor_groups=first.anchor_groups,
            cost=sum((part.cost for part in parts), Cost()),
            affected=affected,
            left_out=pending if pending.any() else None,
            origin=None if first.origin is None else replace(first.origin, candidate_keys=keys),
            n_reused=sum(part.n_reused for part in parts),
            rounds=tuple(each for part in parts for each in part.rounds),
            aggregate=first.aggregate,
        )

    def to_table(self) -> pa.Table:
        """One row a pair: candidate, anchor, zero_shot, one_shot, gain, pending.

        Pairs that were not scored are null; of these, `pending` tells those that a stopping rule left out. The schema's
        metadata hold `affected`, `origin`, and `aggregate` where it is not the default.
        """
        n, m = self.one_shot.shape
        one_shot, gains = self.one_shot.reshape(-1), self.gains.reshape(-1)
        notes = {"affected": to_json(self.affected)}
        if self.origin is not None:
            notes["origin"] = to_json(dataclasses.asdict(self.origin))
        if self.aggregate != "positive_gain":
            notes["aggregate"] = to_json(self.aggregate)
        return pa.table(
            {
                "candidate": pa.array(np.repeat(np.array(self.candidate_ids, dtype=object), m), pa.string()),
                "anchor": pa.array(list(self.anchor_ids) * n, pa.string()),
                "anchor_group": pa.array(list(self.anchor_groups) * n, pa.string()),
                "zero_shot": np.tile(self.zero_shot, n),
                "one_shot": pa.array(one_shot, mask=np.isnan(one_shot)),
                "gain": pa.array(gains, mask=np.isnan(gains)),
                "pending": self.pending.reshape(-1),
            }
        ).replace_schema_metadata(notes)

    @classmethod
    def from_table(cls, table: pa.Table) -> Influence:
        """The scores of a table of `to_table`, of one pair at least; it does not hold what scoring cost."""
        columns = table.to_pydict()
        notes = {name.decode(): json.loads(text) for name, text in (table.schema.metadata or {}).items()}
        anchors = tuple(dict.fromkeys(columns["anchor"]))
        m = len(anchors)
        pending = np.array(columns.get("pending", False), bool)
        return cls(
            one_shot=np.array(columns["one_shot"], np.float64).reshape(-1, m),
            zero_shot=np.array(columns["zero_shot"][:m], np.float64),
            candidate_ids=tuple(columns["candidate"][::m]),
            anchor_ids=anchors,
            anchor_groups=tuple(columns["anchor_group"][:m]),
            affected=notes.get("affected", {}),
            left_out=pending.reshape(-1, m) if pending.any() else None,
            origin=Origin.from_json(notes["origin"]) if "origin" in notes else None,
            aggregate=notes.get("aggregate", "positive_gain"),
        )


def aggregate_terms(gains: Float[np.ndarray, "n m"], aggregate: Aggregate) -> Float[np.ndarray, "n m"]:
    """What the aggregate averages over the anchors; NaN where the pair was not scored.

    Raises:
        InputError: there is no such aggregate.
    """
    check_choice(aggregate, AGGREGATES, name="aggregate", method="Influence")
    return _FORMULAS[aggregate](gains)
