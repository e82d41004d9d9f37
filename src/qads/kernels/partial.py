"""Quality of candidates that were scored on different anchors, made comparable.

A stopping rule leaves candidates on beginnings of one random order of the anchors, some longer than others. Anchors
differ much (in how far any example helps with them, and between their groups), so plain means over different anchors
do not compare. Two classical estimators of survey sampling put that right (Cochran 1977, Sampling Techniques):

    post-stratified   t̄_i = Σ_g (m_ig / m_i) · mean of i's terms on its anchors of group g          (5A.9)
    combined ratio    q_i = t̄_i · x̄_i(U) / x̄_i(S_i)         terms that cannot be negative           (6.11)
    difference        q_i = t̄_i + x̄_i(U) − x̄_i(S_i)         terms that can                          (7.2, slope 1)

m_ig are the anchors of group g that i can be scored on; S_i are those it was scored on and U those that any candidate
was; x_j is the mean term on anchor j of the candidates that were scored on all of U, weighted over the groups as i's
terms are. So the estimate says what i's mean over U would be if its remaining anchors were to it what they are to the
others, in proportion or in size. It is exactly the plain mean where nothing is pending. Assumed: the order of the
anchors is random, and whether a candidate stops says nothing about the anchors it has not seen. The ratio's bias is of
order 1/|S_i|; a ratio can put a win rate slightly above 1.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

__all__ = ["comparable_quality", "group_codes", "mean_over_scored"]


def comparable_quality(
    terms: Float[np.ndarray, "n m"], pending: Bool[np.ndarray, "n m"], groups: Int[np.ndarray, " m"], *, signed: bool
) -> Float[np.ndarray, " n"]:
    """Mean term of every candidate over the anchors that any candidate was scored on; NaN where it has none.

    Args:
        terms: what the aggregate averages; NaN where the pair was not scored.
        pending: pairs that could be scored and were not yet.
        groups: group of every anchor, counted from 0.
        signed: whether terms can be negative.
    """
    plain = mean_over_scored(terms)
    scored = ~np.isnan(terms)
    reached = scored.any(axis=0)
    reference = ~(pending & reached).any(axis=1) & scored.any(axis=1)
    if not pending.any() or not reference.any():
        return plain
    possible = scored | pending
    x = mean_over_scored(terms[reference].T)
    known = np.isfinite(x)
    x = np.broadcast_to(np.where(known, x, 0.0), terms.shape)
    own = _post_stratified(np.where(scored, terms, 0.0), scored, possible, groups)
    seen = _post_stratified(x, scored & known, possible, groups)
    all_of_it = _post_stratified(x, possible & reached & known, possible, groups)
    if signed:
        estimate = own + all_of_it - seen
    else:
        estimate = own * np.divide(all_of_it, seen, out=np.ones_like(seen), where=seen > 0)
    return np.where(pending.any(axis=1) & scored.any(axis=1), estimate, plain)


def mean_over_scored(terms: Float[np.ndarray, "n m"]) -> Float[np.ndarray, " n"]:
    """Mean of every row over the pairs that were scored; NaN where there is none."""
    count = np.sum(~np.isnan(terms), axis=1)
    return np.where(count > 0, np.nansum(terms, axis=1) / np.maximum(count, 1), np.nan)


def group_codes(names: tuple[str, ...]) -> Int[np.ndarray, " m"]:
    """The groups as numbers from 0, by first appearance."""
    code = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([code[name] for name in names], np.int64)


def _post_stratified(
    values: Float[np.ndarray, "n m"],
    used: Bool[np.ndarray, "n m"],
    possible: Bool[np.ndarray, "n m"],
    groups: Int[np.ndarray, " m"],
) -> Float[np.ndarray, " n"]:
    """Mean of `values` where `used`, each group weighted by its possible pairs; groups without a used pair left out."""
    member = np.eye(int(groups.max()) + 1)[groups]
    count, sums = used @ member, np.where(used, values, 0.0) @ member
    weight = np.where(count > 0, possible @ member, 0.0)
    total = weight.sum(axis=1)
    return (weight * sums / np.maximum(count, 1)).sum(axis=1) / np.where(total > 0, total, 1.0)
