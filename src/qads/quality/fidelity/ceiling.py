"""The most that a prediction can agree with a quality that was measured on a finite number of anchors.

With the reliability ρ of the measured quality over anchors, a predictor that knew the quality on infinitely many
anchors of the same kinds would correlate with the measured one at √ρ (Spearman 1904). A scorer fitted on the same
anchors may exceed it, since it may learn what is peculiar to them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy.special import stdtrit

from qads.kernels.reliability import halvings, reliability
from qads.quality.fidelity.estimates import CONFIDENCE, UNDEFINED, Estimate

__all__ = ["noise_ceiling"]

_HALVINGS = 100
_ROW_GROUPS = 24
"""Parts of the rows that are left out in turn."""


def noise_ceiling(
    terms: Float[np.ndarray, "n m"],
    cells: Int[np.ndarray, " n"],
    *,
    anchor_groups: Sequence[str] | None = None,
    clusters: Int[np.ndarray, " n"] | None = None,
    seed: int = 0,
) -> Estimate:
    """√ of the reliability of quality over anchors, after the mean of every cell is taken away.

    The interval is a jackknife's: every anchor is left out in turn, and every part of the rows (near duplicates
    together), on the scale log(1 − ρ), on which such a share is nearest to normal (Feldt 1965). The two variances are
    added, which errs on the wide side. (A bootstrap would put copies of one anchor into both halves.)

    Args:
        terms: what quality is the mean of, on every anchor; NaN where a pair was not scored.
        cells: rows of one number are compared with each other only.
        anchor_groups: source of every anchor: halves have as many of each. All one group by default.
        clusters: near duplicates have one number; every row its own by default.
        seed: of halves and parts.

    Returns:
        0 where halves of the anchors disagree; NaN with one anchor.
    """
    n, m = terms.shape
    halves = halvings(anchor_groups or [""] * m, _HALVINGS, seed)
    rho = reliability(terms, cells, halves)
    if not np.isfinite(rho):
        return UNDEFINED
    parts = _parts(np.arange(n) if clusters is None else clusters, seed)
    left_out = [
        [
            reliability(np.delete(terms, j, axis=1), cells, np.delete(halves, j, axis=1), length=m)
            for j in range(m if m > 2 else 0)
        ],
        [reliability(terms[rows], cells[rows], halves) for part in np.unique(parts) if (rows := parts != part).any()],
    ]
    return Estimate(_ceiling(rho), *map(_ceiling, _bounds(rho, left_out)))


def _bounds(rho: float, left_out: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Interval of a reliability from what it is with one part left out, for each way of leaving out."""
    scaled = [_scaled(np.array(found)) for found in left_out]
    if min(map(len, scaled)) < 2 or not all(np.isfinite(found).all() for found in scaled):
        return float("nan"), float("nan")
    error = np.sqrt(sum((len(found) - 1) * found.var() for found in scaled))
    far = error * float(stdtrit(min(map(len, scaled)) - 1, (1 + CONFIDENCE) / 2))
    centre = _scaled(np.array([rho]))[0]
    return float(1 - np.exp(centre + far)), float(1 - np.exp(centre - far))


def _scaled(rho: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
    return np.log(np.maximum(1 - rho, 1e-12))  # All of it known is no end of the scale.


def _ceiling(rho: float) -> float:
    return float(np.sqrt(max(0.0, rho))) if np.isfinite(rho) else rho


def _parts(clusters: Int[np.ndarray, " n"], seed: int) -> Int[np.ndarray, " n"]:
    """The rows in `_ROW_GROUPS` parts at most, near duplicates in one."""
    codes = np.unique(clusters, return_inverse=True)[1].reshape(-1)
    return np.random.default_rng(seed).permutation(int(codes.max()) + 1)[codes] % _ROW_GROUPS
