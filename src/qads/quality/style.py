"""Content apart from style: what a row gives beyond what any row of its style gives.

Much of what an exemplar does to an anchor is format: the model sees how a solution is written, and any other exemplar
that is written so would have shown the same. With S(i) the rows of i's style whose problem is another than i's,

    g'_ij = g_ij − mean of g_kj over k ∈ S(i)          nats a token

is what is i's own. It is a mean over *other* rows, so that a row is not compared with itself, and over pairs that were
scored. What S(i) holds is noisy too: with k mates the variance of g' is 1 + 1/k of that of g inside the style. Anchors
differ little in g', since a row is compared on the same ones; so where a stopping rule left some out, the plain mean
over the others compares, and needs no estimate of what the others would be.

Quality is then an aggregate of g' as it was one of g, and by default its mean: mean_j g'_ij is the part of the mean
gain that lies within the style, negative for about half of the rows. The positive part, which serves for plain gains
since an example in a strange style disturbs more than it teaches, has lost its reason: what the style does is gone, and
a positive part of what is centred rewards spread, noise included. A win rate is the share of anchors that the row
helps more than its style does. `docs/experiments.md` compares them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float, Int

from qads.choices import check_choices
from qads.errors import AlignmentError, InputError
from qads.kernels.partial import group_codes
from qads.pool import Pool
from qads.quality.influence import Aggregate, Influence
from qads.quality.surface import surface_features

__all__ = ["StyleControl"]


@dataclass(frozen=True, kw_only=True)
class StyleControl:
    """Takes from every gain what other rows of the same style give on the same anchor.

    >>> import numpy as np
    >>> import qads
    >>> rows = [qads.Row(id=i, source="s", problem=i, solution="1", kind="cot") for i in "abc"]
    >>> scores = np.array([[-1.0, -1.0], [-1.0, -2.0], [-2.0, -2.0]])
    >>> infl = qads.Influence(scores, np.array([-2.0, -2.0]), ("a", "b", "c"), ("x", "y"), ("t", "t"))
    >>> apart = qads.StyleControl(min_mates=2)(infl, qads.Pool.from_rows(rows))
    >>> apart.quality()
    array([ 0.75,  0.  , -0.75])
    """

    by: Literal["source", "surface"] = "source"
    """What a style is: a source, or a cluster of rows that look alike (lengths, formulas, how the answer is given)."""
    aggregate: Aggregate = "mean_gain"
    """What the quality is of the gains beyond those of the style."""
    min_mates: int = 4
    """Other rows of its style that a row is compared with at least; one with fewer has no quality."""
    n_clusters: int = 16
    """Styles by surface; means nothing by source."""
    seed: int = 0
    """Seed of the clusters."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        check_choices(self)
        if self.min_mates < 1:
            raise InputError(f"StyleControl: min_mates is {self.min_mates}; a row is compared with 1 other at least.")
        if self.n_clusters < 1:
            raise InputError(f"StyleControl: n_clusters is {self.n_clusters}; there must be 1 style at least.")
        if self.seed < 0:
            raise InputError(f"StyleControl: seed is {self.seed}; a seed is 0 or more.")

    def styles(self, candidates: Pool) -> tuple[str, ...]:
        """The name of every row's style.

        Raises:
            InputError: there are fewer different rows than styles are asked for.
        """
        if self.by == "source":
            return tuple(candidates.strings("source"))
        from sklearn.cluster import KMeans  # A second to load, for nothing where styles are sources.
        from sklearn.preprocessing import StandardScaler

        features = surface_features(candidates).astype(np.float64)
        n_different = len(np.unique(features, axis=0))
        if n_different < self.n_clusters:
            raise InputError(
                f"StyleControl: n_clusters is {self.n_clusters}, but the {len(candidates)} scored rows have only "
                f"{n_different} different surfaces. Ask for fewer (--set quality.style.n_clusters={n_different}), or "
                "score more rows."
            )
        scaled = StandardScaler().fit_transform(features)
        settings: dict[str, Any] = {"n_init": 10, "random_state": self.seed}
        clusters = KMeans(self.n_clusters, **settings).fit_predict(scaled)
        return tuple(f"surface {code}" for code in group_codes(tuple(map(str, clusters))))

    def __call__(self, found: Influence, candidates: Pool, styles: Sequence[str] | None = None) -> Influence:
        """The influence with what the style gives taken off the one-shot scores; its gains are g'.

        Args:
            found: scores of the candidates.
            candidates: the rows that were scored, in the same order.
            styles: of every row, where they are known; else they are found.

        Returns:
            The scores less the mean gain of the mates. A pair has none where it had none, or where fewer than
            `min_mates` rows of the style and of another problem were scored on the anchor. Pairs that a stopping rule
            left out are no longer pending: quality is the mean over those that a row was scored on. It cannot be
            extended: what `known` takes are plain scores.

        Raises:
            AlignmentError: the scores are of other rows.
            InputError: see `styles`.
        """
        if found.candidate_ids != tuple(candidates.strings("id")):
            raise AlignmentError(
                f"StyleControl: scores of {len(found.candidate_ids)} candidates and {len(candidates)} rows that are "
                "not the same in the same order; give the rows that were scored."
            )
        codes = group_codes(tuple(self.styles(candidates) if styles is None else styles))
        given = _mates_mean(found.gains, codes, group_codes(tuple(candidates.problem_keys)), self.min_mates)
        apart = found.one_shot - given
        return replace(found, one_shot=apart, left_out=None, origin=None, aggregate=self.aggregate)


def _mates_mean(
    gains: Float[np.ndarray, "n m"], styles: Int[np.ndarray, " n"], problems: Int[np.ndarray, " n"], min_mates: int
) -> Float[np.ndarray, "n m"]:
    """Mean gain, on every anchor, of the rows of a row's style with other problems; NaN where there are too few."""
    own = np.unique(np.column_stack([styles, problems]), axis=0, return_inverse=True)[1].reshape(-1)
    scored = ~np.isnan(gains)
    known = np.where(scored, gains, 0.0)
    sums, counts = (_sums(part, styles)[styles] - _sums(part, own)[own] for part in (known, scored.astype(np.float64)))
    return np.where(counts >= min_mates, sums / np.maximum(counts, 1), np.nan)


def _sums(values: Float[np.ndarray, "n m"], codes: Int[np.ndarray, " n"]) -> Float[np.ndarray, "g m"]:
    sums = np.zeros((int(codes.max(initial=-1)) + 1, values.shape[1]))
    np.add.at(sums, codes, values)
    return sums
