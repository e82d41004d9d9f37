"""The mean of numbers that were measured on the same items in several runs, and how far it can be trusted.

`d[s, i]` is what run s (a seed) gave on item i. Seeds and items are crossed: a run that went well went well on many
items, and an item that is easy is easy in every run, so that neither the cells nor the means of items are independent.

    d[s, i]  = mean + a_s + b_i + e_si
    A        = Σ_s (d[s, ·] − d[·, ·])² / (S (S − 1))                   what other seeds would change
    B_g      = w_g² Σ_{i in g} (d[·, i] − d[·, g])² / (I_g (I_g − 1))   what other items of group g would change
    variance = A + Σ_g B_g
    freedom  = variance² / (A² / freedom of A + Σ_g B_g² / (I_g − 1))

The interval is Student's with these degrees of freedom (Satterthwaite 1946, "An Approximate Distribution of Estimates
of Variance Components", Biometrics Bulletin 2(6)). `w_g` is the weight of a group of items (a test set) in the mean.
Both parts hold the interaction e once, where once in all would do (Cameron, Gelbach & Miller 2011, "Robust Inference
With Multiway Clustering", JBES 29(2), take it off again): the variance errs on the wide side, and is never less than
either part. With one seed A is left out, and what is said is about those very runs.

Three seeds tell little of A (2 degrees of freedom). Where several arms were run with the same seeds, all of them tell:
seeds are blocks, arms treatments, and what is left of arm means after arm and seed are taken off is the spread of all
(Fisher 1935, "The Design of Experiments", randomised blocks), with (arms − 1)(S − 1) degrees of freedom:

    R = Σ_{a, s} (m[a, s] − m[a, ·] − m[·, s] + m[·, ·])² / ((arms − 1)(S − 1)),   A of a difference = 2 R / S

Inputs are checked by the caller.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import t as student

__all__ = ["block_variance", "crossed_means", "group_means", "student_interval"]


def group_means(d: Float[np.ndarray, "c s i"], codes: Int[np.ndarray, " i"], n_groups: int) -> np.ndarray:
    """Mean over the items of every group [c, s, g]; every group has an item at least."""
    return np.stack([d[:, :, codes == group].mean(axis=2) for group in range(n_groups)], axis=2)


def block_variance(means: Float[np.ndarray, "a s"]) -> tuple[float, int]:
    """R of arms (down) in seeds (across), and its degrees of freedom; 0 and 0 with one arm or one seed."""
    n_arms, n_seeds = means.shape
    freedom = (n_arms - 1) * (n_seeds - 1)
    if freedom == 0:
        return 0.0, 0
    rest = means - means.mean(axis=1, keepdims=True) - means.mean(axis=0, keepdims=True) + means.mean()
    return float((rest**2).sum() / freedom), freedom


def crossed_means(
    d: Float[np.ndarray, "c s i"],
    weights: Float[np.ndarray, "c g"],
    codes: Int[np.ndarray, " i"],
    *,
    seed_part: Float[np.ndarray, " c"] | None = None,
    seed_freedom: int = 0,
) -> tuple[Float[np.ndarray, " c"], Float[np.ndarray, " c"], Float[np.ndarray, " c"]]:
    """Mean, its standard error and the degrees of freedom of that, of every comparison.

    Args:
        d: what was measured, in every comparison, seed and item.
        weights: of every group of items in a comparison's mean; each row adds up to 1, 0 where a group plays no part.
        codes: group of every item, 0..g−1, each with an item at least.
        seed_part: A of every comparison, where it is known from more than the comparison itself.
        seed_freedom: its degrees of freedom.

    Returns:
        Error and freedom are NaN where they cannot be known: nothing varies, or a group that counts has a single item.
    """
    n_seeds, n_groups = d.shape[1], weights.shape[1]
    of_seeds = (group_means(d, codes, n_groups) * weights[:, None, :]).sum(axis=2)
    of_items = d.mean(axis=1)
    parts, freedoms = [np.zeros(len(d))], [1]
    if seed_part is not None and seed_freedom:
        parts.append(seed_part)
        freedoms.append(seed_freedom)
    elif n_seeds > 1:
        parts.append(of_seeds.var(axis=1, ddof=1) / n_seeds)
        freedoms.append(n_seeds - 1)
    alone = np.zeros(len(d), np.bool_)
    for group, weight in enumerate(weights.T):
        of_group = of_items[:, codes == group]
        if of_group.shape[1] < 2:
            alone |= weight > 0
            continue
        parts.append(weight**2 * of_group.var(axis=1, ddof=1) / of_group.shape[1])
        freedoms.append(of_group.shape[1] - 1)
    variance = np.sum(parts, axis=0)
    scatter = np.sum([part**2 / freedom for part, freedom in zip(parts, freedoms, strict=True)], axis=0)
    known = (variance > 0) & (scatter > 0) & ~alone
    freedom = np.divide(variance**2, scatter, out=np.full(len(d), np.nan), where=known)
    return of_seeds.mean(axis=1), np.where(known, np.sqrt(variance), np.nan), freedom


def student_interval(
    value: Float[np.ndarray, " c"], error: Float[np.ndarray, " c"], freedom: Float[np.ndarray, " c"], tail: float
) -> tuple[Float[np.ndarray, " c"], Float[np.ndarray, " c"]]:
    """Low and high ends that leave out `tail`, half of it on either side; NaN where the error is."""
    half = student.isf(tail / 2, freedom) * error
    return value - half, value + half
