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

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import pyarrow as pa
from jaxtyping import Float

__all__ = ["AGGREGATES", "Aggregate", "Influence"]

Aggregate = Literal["positive_gain", "mean_gain", "win_rate", "relative"]
_FORMULAS: dict[Aggregate, Callable[[Float[np.ndarray, "n m"]], Float[np.ndarray, "n m"]]] = {
    "positive_gain": lambda g: np.where(np.isnan(g), np.nan, np.maximum(g, 0)),
    "mean_gain": lambda g: g,
    "win_rate": lambda g: np.where(np.isnan(g), np.nan, g > 0),
    "relative": np.expm1,
}
AGGREGATES: tuple[Aggregate, ...] = get_args(Aggregate)


@dataclass(frozen=True, eq=False)
class Influence:
    """Zero-shot and one-shot scores of candidates on anchors."""

    one_shot: Float[np.ndarray, "n m"]
    """o_ij in nats a token; NaN where the pair was not scored."""
    zero_shot: Float[np.ndarray, " m"]
    """z_j in nats a token."""
    candidate_ids: tuple[str, ...]
    anchor_ids: tuple[str, ...]
    anchor_groups: tuple[str, ...]
    """Source of every anchor."""
    n_tokens: int = 0
    """Tokens that went through the model."""
    affected: Mapping[str, str] = field(default_factory=dict[str, str])
    """Rows that were dropped or cut, by role and id, and why."""

    @property
    def gains(self) -> Float[np.ndarray, "n m"]:
        """g_ij = o_ij − z_j, nats a token; NaN where the pair was not scored."""
        return self.one_shot - self.zero_shot

    def quality(self, aggregate: Aggregate = "positive_gain") -> Float[np.ndarray, " n"]:
        """Quality of every candidate; NaN for one that no anchor could score.

        >>> import numpy as np
        >>> infl = Influence(np.array([[-1.0, -2.0]]), np.array([-1.5, -1.0]), ("a",), ("x", "y"), ("s", "s"))
        >>> infl.quality("positive_gain"), infl.quality("win_rate")
        (array([0.25]), array([0.5]))
        """
        return _mean(_terms(self.gains, aggregate))

    def standard_error(self, aggregate: Aggregate = "positive_gain") -> Float[np.ndarray, " n"]:
        """Standard error of the quality over the anchors; NaN with fewer than two of them."""
        terms = _terms(self.gains, aggregate)
        count = np.sum(~np.isnan(terms), axis=1)
        spread = np.where(np.isnan(terms), 0.0, terms - _mean(terms)[:, None])
        with np.errstate(invalid="ignore", divide="ignore"):
            variance = (spread**2).sum(axis=1) / (count - 1) / count
        return np.where(count > 1, np.sqrt(np.where(count > 1, variance, 0.0)), np.nan)

    def by_group(self, aggregate: Aggregate = "positive_gain") -> dict[str, Float[np.ndarray, " n"]]:
        """Quality on the anchors of each source by itself: influence follows style, so the mean alone can mislead."""
        groups = np.array(self.anchor_groups)
        terms = _terms(self.gains, aggregate)
        return {str(name): _mean(terms[:, groups == name]) for name in dict.fromkeys(self.anchor_groups)}

    def to_table(self) -> pa.Table:
        """One row a pair: candidate, anchor, zero_shot, one_shot, gain; pairs that were not scored are null."""
        n, m = self.one_shot.shape
        one_shot, gains = self.one_shot.reshape(-1), self.gains.reshape(-1)
        return pa.table(
            {
                "candidate": pa.array(np.repeat(np.array(self.candidate_ids, dtype=object), m), pa.string()),
                "anchor": pa.array(list(self.anchor_ids) * n, pa.string()),
                "anchor_group": pa.array(list(self.anchor_groups) * n, pa.string()),
                "zero_shot": np.tile(self.zero_shot, n),
                "one_shot": pa.array(one_shot, mask=np.isnan(one_shot)),
                "gain": pa.array(gains, mask=np.isnan(gains)),
            }
        )

    @classmethod
    def from_table(cls, table: pa.Table) -> Influence:
        """The scores of a table of `to_table`, of one pair at least; it holds neither `n_tokens` nor `affected`."""
        columns = table.to_pydict()
        anchors = tuple(dict.fromkeys(columns["anchor"]))
        m = len(anchors)
        return cls(
            one_shot=np.array(columns["one_shot"], np.float64).reshape(-1, m),
            zero_shot=np.array(columns["zero_shot"][:m], np.float64),
            candidate_ids=tuple(columns["candidate"][::m]),
            anchor_ids=anchors,
            anchor_groups=tuple(columns["anchor_group"][:m]),
        )


def _terms(gains: Float[np.ndarray, "n m"], aggregate: Aggregate) -> Float[np.ndarray, "n m"]:
    return _FORMULAS[aggregate](gains)


def _mean(terms: Float[np.ndarray, "n m"]) -> Float[np.ndarray, " n"]:
    """Mean over the pairs that were scored; NaN where there is none."""
    count = np.sum(~np.isnan(terms), axis=1)
    return np.where(count > 0, np.nansum(terms, axis=1) / np.maximum(count, 1), np.nan)
