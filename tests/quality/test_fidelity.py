"""Agreement of predicted with real quality: what it says of predictions whose worth is known."""

from __future__ import annotations

import numpy as np
import pytest

from qads.errors import InputError
from qads.quality.fidelity import Fidelity, fidelity, noise_ceiling

RNG = np.random.default_rng(0)
N, M = 400, 24
SOURCES = RNG.integers(0, 8, N)
NAMES = tuple("abcdefgh")
OF_SOURCE = 2 * RNG.standard_normal(8)[SOURCES]
OF_ROW = 0.5 * RNG.standard_normal(N)
TERMS = (OF_SOURCE + OF_ROW)[:, None] + 1.5 * RNG.standard_normal((N, M))
REAL = TERMS.mean(axis=1)


def judged(predicted: np.ndarray, **more: object) -> Fidelity:
    return fidelity(REAL, predicted, sources=SOURCES, names=NAMES, n_bootstraps=100, **more)  # type: ignore[arg-type]


def test_a_perfect_prediction_agrees_in_everything():
    found = judged(REAL)
    for estimates in (found.overall, found.within_source, found.by_source):
        assert all(each.value == pytest.approx(1) for each in estimates.values())
    assert found.slope == pytest.approx(1) and found.bias == 0 and found.mean_absolute_error == 0


def test_a_prediction_that_knows_the_source_alone_is_called_useless():
    noise = 0.01 * RNG.standard_normal(N)
    found = judged(OF_SOURCE + noise)
    assert found.overall["pearson"].value > 0.9
    assert found.within_source["pearson"].includes_zero and found.verdict.startswith("Useless within sources")


def test_the_ceiling_is_what_the_true_quality_reaches():
    found = judged(OF_SOURCE + OF_ROW, terms=TERMS)
    assert found.ceiling == pytest.approx(found.overall["pearson"].value, abs=0.02)
    assert found.ceiling_within == pytest.approx(found.within_source["pearson"].value, abs=0.06)
    assert noise_ceiling(RNG.standard_normal((N, M)), np.zeros(N, np.int64)) < 0.4


def test_folds_with_offsets_of_their_own_do_not_count():
    folds = np.arange(N) % 4
    plain, moved = (judged(p, folds=folds).overall["pearson"].value for p in (OF_ROW, OF_ROW + 5.0 * folds))
    assert plain == pytest.approx(moved, abs=1e-9)


def test_intervals_of_the_real_quality_are_counted():
    interval = np.column_stack([REAL - 1, REAL + np.where(np.arange(N) < 100, -0.5, 1)])
    assert judged(REAL, interval=interval).covered == 0.75


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(InputError, match="needs 10 at least"):
        judged(np.where(np.arange(N) == 3, np.nan, REAL))
