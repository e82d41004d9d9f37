"""Laws of means over seeds and items, against slow sums."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, ttest_1samp, ttest_ind

from qads.kernels.crossed import crossed_means, group_means, seed_part, share_interval, student_interval

SHAPES = st.tuples(st.integers(0, 99), st.integers(2, 5), st.integers(2, 6), st.integers(1, 3))
Three = tuple[np.ndarray, np.ndarray, np.ndarray]


def drawn(seed: int, n_seeds: int, n_items: int, n_groups: int) -> Three:
    """What an arm gave, four weightings, groups of items."""
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(n_groups), n_items)
    return rng.standard_normal((n_seeds, len(codes))), rng.dirichlet(np.ones(n_groups), 4), codes


def of_one_arm(d: np.ndarray, weights: np.ndarray, codes: np.ndarray) -> Three:
    return crossed_means(
        np.tile(d.mean(axis=0), (len(weights), 1)), weights, codes, [seed_part(d, weights, codes)]
    )  # fmt: skip


@given(SHAPES, st.integers(1, 5))
def test_means_and_errors_are_those_of_the_formula_summed_item_by_item(
    shape: tuple[int, int, int, int], n_others: int
) -> None:
    d, weights, codes = drawn(*shape)
    other = np.random.default_rng(7).standard_normal((n_others, len(codes)))
    x = np.tile(d.mean(axis=0) - other.mean(axis=0), (4, 1))
    value, error, freedom = crossed_means(x, weights, codes, [seed_part(each, weights, codes) for each in (d, other)])
    for c in range(4):
        parts, mean = [], 0.0
        for sign, arm in ((1, d), (-1, other)):
            of_seeds = [
                sum(w * np.mean([arm[s, i] for i in np.flatnonzero(codes == g)]) for g, w in enumerate(weights[c]))
                for s in range(len(arm))
            ]
            middle = sum(of_seeds) / len(arm)
            mean += sign * middle
            if len(arm) > 1:
                parts.append((sum((m - middle) ** 2 for m in of_seeds) / len(arm) / (len(arm) - 1), len(arm) - 1))
        for g, w in enumerate(weights[c]):
            of_items = [x[c, i] for i in np.flatnonzero(codes == g)]
            n, middle = len(of_items), sum(of_items) / len(of_items)
            parts.append((w**2 * sum((m - middle) ** 2 for m in of_items) / n / (n - 1), n - 1))
        variance = sum(part for part, _ in parts)
        assert value[c] == pytest.approx(mean, abs=1e-12)
        assert error[c] ** 2 == pytest.approx(variance)
        assert freedom[c] == pytest.approx(variance**2 / sum(part**2 / f for part, f in parts))


def test_one_seed_and_one_group_is_students_interval_of_the_items() -> None:
    d = np.random.default_rng(0).standard_normal((1, 20))
    low, high = student_interval(*of_one_arm(d, np.ones((1, 1)), np.zeros(20, np.int64)), 0.05)
    expected = ttest_1samp(d[0], 0).confidence_interval(0.95)
    assert (low[0], high[0]) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("n_right", range(0, 41, 4))
def test_the_share_of_one_seed_and_one_group_has_the_interval_of_wilson(n_right: int) -> None:
    d = np.zeros((1, 40))
    d[0, :n_right] = 1
    low, high = share_interval(*of_one_arm(d, np.ones((1, 1)), np.zeros(40, np.int64)), np.array([40.0]), 0.05)
    expected = binomtest(n_right, 40).proportion_ci(0.95, method="wilson")
    assert (low[0], high[0]) == pytest.approx((expected.low, expected.high), abs=1e-12)


@given(SHAPES, st.floats(0, 1))
def test_the_interval_of_a_share_is_there_and_within_0_and_1_whatever_varies(
    shape: tuple[int, int, int, int], share: float
) -> None:
    d, weights, codes = drawn(*shape)
    d = (np.random.default_rng(shape[0]).random(d.shape) < share).astype(float)
    n_items = 1 / (weights**2 / np.bincount(codes)).sum(axis=1)
    mean, *rest = of_one_arm(d, weights, codes)
    low, high = share_interval(mean, *rest, n_items, 0.05)
    assert (low >= 0).all() and (high <= 1).all() and (low < high).all()
    assert (low <= mean + 1e-12).all() and (mean <= high + 1e-12).all()


def test_items_that_all_say_the_same_leave_the_interval_of_the_seeds() -> None:
    of_seeds = np.array([0.1, 0.4, 0.25, 0.6])
    d = np.repeat(of_seeds[:, None], 7, axis=1)
    low, high = student_interval(*of_one_arm(d, np.ones((1, 1)), np.zeros(7, np.int64)), 0.1)
    expected = ttest_1samp(of_seeds, 0).confidence_interval(0.9)
    assert (low[0], high[0]) == pytest.approx((expected.low, expected.high))


def test_seeds_of_two_arms_that_decide_alone_leave_the_interval_of_welch() -> None:
    rng = np.random.default_rng(3)
    one, other = rng.normal(0, 1, 3), rng.normal(0, 9, 12)
    arms = [np.repeat(each[:, None], 7, axis=1) for each in (one, other)]
    codes, weights = np.zeros(7, np.int64), np.ones((1, 1))
    x = (arms[0].mean(axis=0) - arms[1].mean(axis=0))[None]
    low, high = student_interval(*crossed_means(x, weights, codes, [seed_part(a, weights, codes) for a in arms]), 0.05)
    expected = ttest_ind(one, other, equal_var=False).confidence_interval(0.95)
    assert (low[0], high[0]) == pytest.approx((expected.low, expected.high))


@given(SHAPES, st.permutations(range(4)))
def test_the_order_of_seeds_and_items_changes_nothing(shape: tuple[int, int, int, int], order: list[int]) -> None:
    d, weights, codes = drawn(*shape)
    rng = np.random.default_rng(1)
    items, seeds = rng.permutation(len(codes)), rng.permutation(len(d))
    moved = of_one_arm(d[seeds][:, items], weights[order], codes[items])
    for before, after in zip(of_one_arm(d, weights, codes), moved, strict=True):
        np.testing.assert_allclose(after, before[order])


def test_where_nothing_varies_or_a_set_has_one_item_nothing_is_known_of_the_error() -> None:
    value, error, freedom = of_one_arm(np.ones((3, 4)), np.ones((1, 1)), np.zeros(4, np.int64))
    assert value[0] == 1 and np.isnan(error[0]) and np.isnan(freedom[0])
    d = np.random.default_rng(0).standard_normal((3, 5))
    _, error, _ = of_one_arm(d, np.array([[0.5, 0.5], [1.0, 0.0]]), np.array([0, 0, 0, 0, 1]))
    assert np.isnan(error[0]) and error[1] > 0


def test_a_difference_that_varies_by_rounding_alone_has_no_interval() -> None:
    of_other = np.random.default_rng(0).standard_normal((2, 20))
    of_arm, weights, codes = of_other + 0.1, np.ones((1, 1)), np.zeros(20, np.int64)
    x = (of_arm.mean(axis=0) - of_other.mean(axis=0))[None]
    assert x.std() > 0  # By rounding: the difference is 0.1 of every item.
    still = [(np.zeros(1), 1), (np.zeros(1), 1)]
    value, error, freedom = crossed_means(x, weights, codes, still)
    assert value[0] == pytest.approx(0.1) and np.isnan(error[0]) and np.isnan(freedom[0])


def test_group_means_are_means_of_the_items_of_a_group() -> None:
    d = np.arange(12.0).reshape(2, 6)
    np.testing.assert_array_equal(group_means(d, np.array([0, 1, 0, 1, 1, 1]), 2), [[1.0, 3.25], [7.0, 9.25]])
