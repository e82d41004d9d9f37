"""Laws of means over seeds and items, against slow sums."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_1samp

from qads.kernels.crossed import block_variance, crossed_means, group_means, student_interval

SHAPES = st.tuples(st.integers(0, 99), st.integers(2, 5), st.integers(2, 6), st.integers(1, 3))


def drawn(seed: int, n_seeds: int, n_items: int, n_groups: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(n_groups), n_items)
    return rng.standard_normal((4, n_seeds, len(codes))), rng.dirichlet(np.ones(n_groups), 4), codes


@given(SHAPES)
def test_means_and_errors_are_those_of_the_formula_summed_item_by_item(shape: tuple[int, int, int, int]) -> None:
    d, weights, codes = drawn(*shape)
    n_seeds = d.shape[1]
    value, error, freedom = crossed_means(d, weights, codes)
    for c in range(len(d)):
        of_seeds = [
            sum(w * np.mean([d[c, s, i] for i in np.flatnonzero(codes == g)]) for g, w in enumerate(weights[c]))
            for s in range(n_seeds)
        ]
        mean = sum(of_seeds) / n_seeds
        parts = [(sum((m - mean) ** 2 for m in of_seeds) / n_seeds / (n_seeds - 1), n_seeds - 1)]
        for g, w in enumerate(weights[c]):
            of_items = [d[c, :, i].mean() for i in np.flatnonzero(codes == g)]
            n, middle = len(of_items), sum(of_items) / len(of_items)
            parts.append((w**2 * sum((m - middle) ** 2 for m in of_items) / n / (n - 1), n - 1))
        variance = sum(part for part, _ in parts)
        assert value[c] == pytest.approx(mean)
        assert error[c] ** 2 == pytest.approx(variance)
        assert freedom[c] == pytest.approx(variance**2 / sum(part**2 / f for part, f in parts))


def test_one_seed_and_one_group_is_students_interval_of_the_items() -> None:
    d = np.random.default_rng(0).standard_normal((1, 1, 20))
    mean = crossed_means(d, np.ones((1, 1)), np.zeros(20, np.int64))
    low, high = student_interval(*mean, 0.05)
    expected = ttest_1samp(d[0, 0], 0).confidence_interval(0.95)
    assert (low[0], high[0]) == pytest.approx((expected.low, expected.high))


def test_items_that_all_say_the_same_leave_the_interval_of_the_seeds() -> None:
    of_seeds = np.array([0.1, 0.4, 0.25, 0.6])
    d = np.repeat(of_seeds[None, :, None], 7, axis=2)
    low, high = student_interval(*crossed_means(d, np.ones((1, 1)), np.zeros(7, np.int64)), 0.1)
    expected = ttest_1samp(of_seeds, 0).confidence_interval(0.9)
    assert (low[0], high[0]) == pytest.approx((expected.low, expected.high))


@given(SHAPES, st.permutations(range(4)))
def test_the_order_of_seeds_and_items_changes_nothing(shape: tuple[int, int, int, int], order: list[int]) -> None:
    d, weights, codes = drawn(*shape)
    rng = np.random.default_rng(1)
    items, seeds = rng.permutation(len(codes)), rng.permutation(d.shape[1])
    moved = crossed_means(d[order][:, seeds][:, :, items], weights[order], codes[items])
    for before, after in zip(crossed_means(d, weights, codes), moved, strict=True):
        np.testing.assert_allclose(after, before[order])


def test_where_nothing_varies_or_a_set_has_one_item_nothing_is_known_of_the_error() -> None:
    same = np.ones((1, 3, 4))
    value, error, freedom = crossed_means(same, np.ones((1, 1)), np.zeros(4, np.int64))
    assert value[0] == 1 and np.isnan(error[0]) and np.isnan(freedom[0])
    d = np.random.default_rng(0).standard_normal((2, 3, 5))
    _, error, _ = crossed_means(d, np.array([[0.5, 0.5], [1.0, 0.0]]), np.array([0, 0, 0, 0, 1]))
    assert np.isnan(error[0]) and error[1] > 0


@given(st.integers(0, 99), st.integers(2, 5), st.integers(2, 5))
def test_the_block_variance_is_the_mean_variance_of_all_paired_differences(
    seed: int, n_arms: int, n_seeds: int
) -> None:
    means = np.random.default_rng(seed).standard_normal((n_arms, n_seeds))
    pairs = [(a, b) for a in range(n_arms) for b in range(a)]
    of_pairs = [np.var(means[a] - means[b], ddof=1) for a, b in pairs]
    rest, freedom = block_variance(means)
    assert 2 * rest == pytest.approx(np.mean(of_pairs))
    assert freedom == (n_arms - 1) * (n_seeds - 1)


def test_what_a_seed_does_to_all_arms_alike_is_no_part_of_the_block_variance() -> None:
    rest, _ = block_variance(np.array([[1.0, 3.0, 9.0], [0.0, 2.0, 8.0]]))
    assert rest == pytest.approx(0)
    assert block_variance(np.ones((1, 5))) == (0.0, 0)


def test_group_means_are_means_of_the_items_of_a_group() -> None:
    d = np.arange(12.0).reshape(1, 2, 6)
    np.testing.assert_array_equal(group_means(d, np.array([0, 1, 0, 1, 1, 1]), 2), [[[1.0, 3.25], [7.0, 9.25]]])
