"""Agreement inside cells over bootstrap samples, against SciPy on the rows that were drawn, written out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from qads.kernels.agreement import (
    cell_kendall,
    cell_pearson,
    cell_spearman,
    cluster_weights,
    less_cell_means,
    top_overlap,
)
from qads.kernels.correlation import centred, pearson

RNG = np.random.default_rng(0)
N = 60
A, B = RNG.normal(size=(2, N))
B = B.round(1) + A.round(1)  # With ties.
ONE = np.zeros(N, np.int64)
CELLS = RNG.integers(0, 4, N)
WEIGHTS = cluster_weights(CELLS, RNG.integers(0, 30, N) * 4 + CELLS, 20, 0)


def drawn(sample: int) -> np.ndarray:
    return np.repeat(np.arange(N), WEIGHTS[sample].astype(int))


@pytest.mark.parametrize("sample", range(5))
def test_one_cell_is_what_scipy_says_of_the_drawn_rows(sample: int):
    rows = drawn(sample)
    for ours, theirs in [
        (cell_pearson, stats.pearsonr),
        (cell_spearman, stats.spearmanr),
        (cell_kendall, stats.kendalltau),
    ]:
        assert ours(A[None], B[None], ONE, WEIGHTS)[sample] == pytest.approx(theirs(A[rows], B[rows]).statistic)


@pytest.mark.parametrize("sample", range(5))
def test_cells_are_what_is_found_with_their_means_taken_away(sample: int):
    rows = drawn(sample)
    a, b = (centred(x[rows], CELLS[rows]) for x in (A, B))
    assert cell_pearson(A[None], B[None], CELLS, WEIGHTS)[sample] == pytest.approx(pearson(a, b))
    apart = less_cell_means(A[None], CELLS, WEIGHTS)[sample, rows]
    np.testing.assert_allclose(apart, a, atol=1e-12)


def test_kendall_counts_the_pairs_of_a_cell_only():
    agree = apart_a = apart_b = 0.0
    for i in range(N):
        for j in range(i):
            if CELLS[i] == CELLS[j]:
                a, b = np.sign(A[i] - A[j]), np.sign(B[i] - B[j])
                agree, apart_a, apart_b = agree + a * b, apart_a + abs(a), apart_b + abs(b)
    found = cell_kendall(A[None], B[None], CELLS, np.ones((1, N)))
    assert found[0] == pytest.approx(agree / np.sqrt(apart_a * apart_b))


def test_the_top_is_the_greatest_rows_of_every_cell():
    a, b = RNG.permutation(N).astype(float), RNG.permutation(N).astype(float)
    both = wanted = 0
    for cell in range(4):
        rows = np.flatnonzero(CELLS == cell)
        k = round(0.25 * len(rows))
        both += len(set(rows[np.argsort(-a[rows])][:k]) & set(rows[np.argsort(-b[rows])][:k]))
        wanted += k
    found = top_overlap(a[None], b[None], CELLS, np.ones((1, N)), share=0.25)
    assert found[0] == pytest.approx(both / wanted)


def test_a_column_is_its_own_top_in_every_sample():
    assert set(top_overlap(B[None], B[None], CELLS, WEIGHTS, share=0.25)) == {1.0}


def test_a_constant_column_has_the_overlap_of_chance_and_no_correlation():
    constant, w = np.full((1, N), 0.1), np.ones((1, N))
    assert top_overlap(A[None], constant, ONE, w, share=0.25)[0] == pytest.approx(0.25)
    for statistic in (cell_pearson, cell_spearman, cell_kendall):
        assert np.isnan(statistic(A[None], constant, CELLS, w)[0])


def test_clusters_are_drawn_whole_and_within_their_stratum():
    clusters = np.arange(N) // 3
    strata = clusters % 2
    weights = cluster_weights(strata, clusters, 50, 1)
    assert all(np.ptp(weights[:, clusters == c], axis=1).max() == 0 for c in range(20))
    for stratum in (0, 1):
        assert set(weights[:, strata == stratum].sum(axis=1)) == {N / 2}


@given(
    arrays(np.float64, 12, elements=st.integers(-3, 3).map(float)),
    arrays(np.float64, 12, elements=st.integers(-3, 3).map(float)),
    arrays(np.int64, 12, elements=st.integers(0, 2)),
    arrays(np.float64, (3, 12), elements=st.integers(0, 3).map(float)),
)
def test_statistics_are_symmetric_in_range_and_blind_to_scale(a, b, cells, weights):
    for statistic in (cell_pearson, cell_spearman, cell_kendall):
        found = statistic(a[None], b[None], cells, weights)
        assert np.all(np.isnan(found) | (np.abs(found) <= 1 + 1e-9))
        np.testing.assert_allclose(found, statistic(b[None], a[None], cells, weights), atol=1e-9)
        np.testing.assert_allclose(found, statistic(4 * a[None] + 8, b[None], cells, weights), atol=1e-9)
        same = statistic(a[None], a[None], cells, weights)
        assert np.all(np.isnan(same) | (np.abs(same - 1) < 1e-9))
    overlap = top_overlap(a[None], b[None], cells, weights, share=0.25)
    assert np.all(np.isnan(overlap) | ((overlap >= 0) & (overlap <= 1 + 1e-12)))
