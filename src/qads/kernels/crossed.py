"""The mean of numbers that were measured on the same items in several runs, and how far it can be trusted.

`d[s, i]` is what run s (a seed) of an arm gave on item i. Seeds and items are crossed: a run that went well went well
on many items, and an item that is easy is easy in every run, so that neither the cells nor the means of items are
independent. A difference of two arms, each with seeds of its own and both on the same items, has

    d[s, i]  = mean + a_s + b_i + e_si                                  of either arm
    A        = Σ_s (d[s, ·] − d[·, ·])² / (S (S − 1))                   of either arm: what its other seeds would change
    B_g      = w_g² Σ_{i in g} (x_i − x_g)² / (I_g (I_g − 1))           x = arm − other on the means of their seeds:
                                                                        what other items of group g would change
    variance = A of the arm + A of the other + Σ_g B_g
    freedom  = variance² / (Σ A² / (S − 1) + Σ_g B_g² / (I_g − 1))

The interval is Student's with these degrees of freedom (Welch 1947, "The Generalization of 'Student's' Problem when
Several Different Population Variances are Involved", Biometrika 34; Satterthwaite 1946, Biometrics Bulletin 2(6)).
`w_g` is the weight of a group of items (a test set) in the mean. Both parts hold the interaction e once, where once in
all would do (Cameron, Gelbach & Miller 2011, "Robust Inference With Multiway Clustering", JBES 29(2), take it off
again): the variance errs on the wide side, and is never less than either part. With one seed A is left out, and what is
said is about that very run.

How far seeds move an arm is asked of that arm alone: rows drawn anew by every seed move it many times as far as another
order of the same rows, so that arms tell nothing of each other here (docs/decisions/0047).

Shares are not well told by Student's interval: 1 of 40 right would reach below 0, and 0 of 40 would have none. The mean
of values that are all 0 or 1 has Wilson's (1927), of as many items as say as much as those there are:

    n = min(items, (p (1 − p) / variance + 1) (t_items / t_freedom)²)

with t the quantiles at items − 1 and at the degrees of freedom above (Korn & Graubard 1998, "Confidence Intervals for
Proportions with Small Expected Number of Positive Counts Estimated from Survey Data", Survey Methodology 24). With one
seed and one group that is the number of items itself.

Inputs are checked by the caller.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy.special import ndtri, stdtrit

__all__ = ["ROUNDING", "Part", "crossed_means", "group_means", "seed_part", "share_interval", "student_interval"]

ROUNDING = 1e-12
"""Of numbers of size 1, an error that may be rounding alone."""
Part = tuple[Float[np.ndarray, " c"], int]
"""A part of the variance of every mean, and its degrees of freedom."""


def group_means(d: Float[np.ndarray, "c i"], codes: Int[np.ndarray, " i"], n_groups: int) -> Float[np.ndarray, "c g"]:
    """Mean over the items of every group; every group has an item at least."""
    return np.stack([d[:, codes == group].mean(axis=1) for group in range(n_groups)], axis=1)


def seed_part(d: Float[np.ndarray, "s i"], weights: Float[np.ndarray, "c g"], codes: Int[np.ndarray, " i"]) -> Part:
    """A of the mean of one arm by every weighting; 0 and 0 of one seed."""
    n_seeds = len(d)
    of_seeds = group_means(d, codes, weights.shape[1]) @ weights.T
    return of_seeds.var(axis=0, ddof=min(1, n_seeds - 1)) / n_seeds, n_seeds - 1


def crossed_means(
    x: Float[np.ndarray, "c i"],
    weights: Float[np.ndarray, "c g"],
    codes: Int[np.ndarray, " i"],
    of_seeds: Sequence[Part],
) -> tuple[Float[np.ndarray, " c"], Float[np.ndarray, " c"], Float[np.ndarray, " c"]]:
    """Mean, its standard error and the degrees of freedom of that, of every comparison.

    Args:
        x: of every item in a comparison, the mean over seeds.
        weights: of every group of items in a comparison's mean; each row adds up to 1, 0 where a group plays no part.
        codes: group of every item, 0..g−1, each with an item at least.
        of_seeds: A of every arm in it.

    Returns:
        Error and freedom are NaN where they cannot be known: nothing varies, or a group that counts has a single item.
    """
    parts = [part for part, freedom in of_seeds if freedom]
    freedoms = [freedom for _, freedom in of_seeds if freedom]
    alone = np.zeros(len(x), np.bool_)
    for group, weight in enumerate(weights.T):
        of_group = x[:, codes == group]
        if of_group.shape[1] < 2:
            alone |= weight > 0
            continue
        parts.append(weight**2 * of_group.var(axis=1, ddof=1) / of_group.shape[1])
        freedoms.append(of_group.shape[1] - 1)
    variance = np.sum(parts, axis=0)
    scatter = np.sum([part**2 / freedom for part, freedom in zip(parts, freedoms, strict=True)], axis=0)
    # What varies by rounding alone does not vary.
    rounding = (ROUNDING * np.abs(x).max(axis=1, initial=0.0)) ** 2
    known = (variance > rounding) & (scatter > 0) & ~alone
    freedom = np.divide(variance**2, scatter, out=np.full(len(x), np.nan), where=known)
    mean = (group_means(x, codes, weights.shape[1]) * weights).sum(axis=1)
    return mean, np.where(known, np.sqrt(variance), np.nan), freedom


def student_interval(
    value: Float[np.ndarray, " c"], error: Float[np.ndarray, " c"], freedom: Float[np.ndarray, " c"], tail: float
) -> tuple[Float[np.ndarray, " c"], Float[np.ndarray, " c"]]:
    """Low and high ends that leave out `tail`, half of it on either side; NaN where the error is."""
    half = -stdtrit(freedom, tail / 2) * error
    return value - half, value + half


def share_interval(
    share: Float[np.ndarray, " c"],
    error: Float[np.ndarray, " c"],
    freedom: Float[np.ndarray, " c"],
    n_items: Float[np.ndarray, " c"],
    tail: float,
) -> tuple[Float[np.ndarray, " c"], Float[np.ndarray, " c"]]:
    """Ends of Wilson's interval that leave out `tail`: within 0 and 1, and never NaN.

    Args:
        share: means of values that are all 0 or 1.
        error: their standard errors, NaN where nothing varies.
        freedom: of the errors.
        n_items: items that each mean is over; of several groups 1 / Σ_g w_g² / I_g.
        tail: of both sides together.
    """
    spread = share * (1 - share)
    known = np.isfinite(error) & (spread > 0) & (n_items > 1)
    like = np.divide(spread, error**2, out=np.full(len(share), np.inf), where=known) + 1
    few = np.ones(len(share))
    few[known] = stdtrit(n_items[known] - 1, tail / 2) / stdtrit(freedom[known], tail / 2)
    far = ndtri(tail / 2) ** 2 / np.minimum(n_items, like * few**2)
    middle, half = (share + far / 2) / (1 + far), np.sqrt(spread * far + far**2 / 4) / (1 + far)
    return np.clip(middle - half, 0, 1), np.clip(middle + half, 0, 1)
