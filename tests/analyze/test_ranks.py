"""Laws of ranks with bounds: what was told apart, and how often that is right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qads.analyze import rank_with_bounds
from qads.analyze.resampling import anchor_strata, draws, interval_of, row_means


def drawn(estimates: np.ndarray, error: float, *, seed: int = 0, n: int = 400) -> np.ndarray:
    return estimates + error * np.random.default_rng(seed).normal(size=(n, len(estimates)))


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=8), st.floats(0.01, 3), st.integers(0, 50))
def test_bounds_hold_the_rank_and_come_from_the_pairs(values: list[float], error: float, seed: int):
    x = np.array(values)
    found = rank_with_bounds(x, drawn(x, error, seed=seed), 0.95)
    assert (found.lowest <= found.ranks).all() and (found.ranks <= found.highest).all()
    assert (found.lowest == 1 + found.better.sum(axis=0)).all()
    assert (found.highest == len(x) - found.better.sum(axis=1)).all()
    assert not (found.better & found.better.T).any() and not found.better.diagonal().any()
    assert all(x[j] > x[k] for j, k in zip(*np.nonzero(found.better), strict=True))


@given(st.permutations(range(5)))
def test_the_order_of_the_sources_does_not_matter(order: list[int]):
    x = np.array([0.0, 0.2, 1.0, 1.1, 3.0])
    boot = drawn(x, 0.2)
    whole, moved = rank_with_bounds(x, boot, 0.95), rank_with_bounds(x[order], boot[:, order], 0.95)
    assert (whole.lowest[order] == moved.lowest).all() and (whole.highest[order] == moved.highest).all()
    assert (whole.tiers[order] == moved.tiers).all()


def test_far_apart_means_certain_ranks_and_equal_means_none():
    x = np.array([3.0, 1.0, 2.0])
    certain = rank_with_bounds(x, drawn(x, 0.001), 0.95)
    assert certain.lowest.tolist() == certain.highest.tolist() == [1, 3, 2]
    assert certain.tiers.tolist() == [1, 3, 2]
    none = rank_with_bounds(np.zeros(3), drawn(np.zeros(3), 1.0), 0.95)
    assert none.lowest.tolist() == [1, 1, 1] and none.highest.tolist() == [3, 3, 3]
    assert none.ranks.tolist() == [1, 1, 1]


def test_sources_that_move_together_are_told_apart_by_their_difference():
    # The same anchors favour both: alone each interval is wide, their difference is sure.
    common = np.random.default_rng(0).normal(size=(500, 1))
    x = np.array([0.0, 0.1])
    found = rank_with_bounds(x, x + common + 0.01 * np.random.default_rng(1).normal(size=(500, 2)), 0.95)
    assert found.better.tolist() == [[False, False], [True, False]]


def test_values_without_any_error_are_told_apart_unless_they_are_equal():
    x = np.array([0.0, 0.0, 1.0])
    found = rank_with_bounds(x, np.tile(x, (100, 1)), 0.95)
    assert found.ranks.tolist() == [2, 2, 1]
    assert found.lowest.tolist() == [2, 2, 1] and found.highest.tolist() == [3, 3, 1]


def test_draws_that_have_nothing_of_a_source_make_it_no_surer():
    x = np.array([0.3, 0.2, 0.25, 4.0])
    boot = drawn(x, 0.5)
    whole = rank_with_bounds(x, boot, 0.95)
    boot[7, 0] = np.nan
    without = rank_with_bounds(x, boot, 0.95)
    assert without.better.tolist() == whole.better.tolist() and without.better.tolist()[3] == [True] * 3 + [False]
    # What most draws lack is not known, and what is known of the others stays.
    boot[:300, 3] = np.nan
    boot[300:, 3] = 4.0
    lacking = rank_with_bounds(x, boot, 0.95)
    assert not lacking.better.any() and (lacking.lowest[3], lacking.highest[3]) == (1, 4)


def test_going_on_stepwise_tells_no_fewer_apart():
    rng = np.random.default_rng(3)
    for _ in range(20):
        x = rng.normal(size=6)
        boot = drawn(x, 0.4, seed=int(rng.integers(99)))
        gap = x[:, None] - x[None, :]
        moved = boot[:, :, None] - boot[:, None, :] - gap
        error = moved.std(axis=0)
        np.fill_diagonal(error, 1)
        single = gap / error > np.quantile((moved / error).max(axis=(1, 2)), 0.95)
        assert (rank_with_bounds(x, boot, 0.95).better >= single).all()


def test_all_true_ranks_lie_between_their_bounds_as_often_as_stated():
    # 95% stated; 200 repetitions, so that 0.90 is more than three standard errors below.
    rng = np.random.default_rng(0)
    truth = np.array([0.0, 0.0, 0.3, 0.35, 1.0])
    rank_low = np.array([1 + (truth > t).sum() for t in truth])
    rank_high = np.array([len(truth) - (truth < t).sum() for t in truth])
    covered = []
    for _ in range(200):
        samples = truth + rng.exponential(1.0, size=(60, len(truth))) - 1.0
        rows = rng.integers(0, 60, size=(300, 60))
        found = rank_with_bounds(samples.mean(axis=0), samples[rows].mean(axis=1), 0.95)
        covered.append(bool((found.lowest <= rank_low).all() and (rank_high <= found.highest).all()))
    assert np.mean(covered) >= 0.90


def test_drawing_keeps_rows_in_their_source_and_anchors_in_their_group():
    codes, groups = np.array([0, 1, 1, 0, 2]), ("a", "b") * 4 + ("b",)
    for draw in draws(codes, groups, 50, 0):
        assert (codes[draw.rows] == codes).all()
        assert draw.anchors[:8:2].sum() == 4 and draw.anchors[1::2].sum() + draw.anchors[8] == 5
    fixed = next(iter(draws(codes, groups, 1, 0, anchors=False)))
    assert fixed.anchors.tolist() == [1] * 9
    again = [(d.rows.tolist(), d.anchors.tolist()) for d in draws(codes, groups, 3, 7)]
    assert again == [(d.rows.tolist(), d.anchors.tolist()) for d in draws(codes, groups, 3, 7)]


@pytest.mark.parametrize(
    ("groups", "sizes"),
    [("aaaabbbb", [4, 4]), ("abcd", [4]), ("aabbbbb", [7]), ("abccccdddd", [6, 4]), ("abcdeeee", [4, 4]), ("a", [1])],
)
def test_small_groups_are_drawn_from_together(groups: str, sizes: list[int]):
    strata = anchor_strata(tuple(groups))
    assert [len(stratum) for stratum in strata] == sizes
    assert sorted(np.concatenate(strata).tolist()) == list(range(len(groups)))


@pytest.mark.parametrize("sizes", [[12], [4, 4, 4], [2] * 6, [1] * 12, [2, 2, 2] + [1] * 6, [9, 1, 1, 1]])
def test_an_interval_holds_the_truth_however_anchors_are_grouped(sizes: list[int]):
    groups = [f"g{i}" for i, size in enumerate(sizes) for _ in range(size)]
    rng, rows, held = np.random.default_rng(0), np.zeros(30, int), []
    strata = [[30], [len(stratum) for stratum in anchor_strata(groups)]]
    for seed in range(150):
        terms = rng.normal(size=len(groups)) + 0.5 * rng.normal(size=(30, len(groups)))
        found = np.array([row_means(terms, d.anchors)[d.rows].mean() for d in draws(rows, groups, 200, seed)])
        interval = interval_of(float(terms.mean()), found, 0.95, strata=strata)
        held.append(interval.low <= 0 <= interval.high)
    assert np.mean(held) > 0.87  # Of 150, four standard errors below 0.95.


def test_both_ways_of_drawing_err_together():
    # Variance of a mean over rows and anchors; the crossed bootstrap is at most mildly too wide (Owen 2007).
    rng = np.random.default_rng(0)
    ratios = []
    for _ in range(40):
        terms = 0.3 * rng.normal(size=(40, 1)) + 0.5 * rng.normal(size=(1, 16)) + rng.normal(size=(40, 16))
        boot = [row_means(terms, d.anchors)[d.rows].mean() for d in draws(np.zeros(40, int), ("g",) * 16, 200, 0)]
        ratios.append(np.var(boot) / (0.3**2 / 40 + 0.5**2 / 16 + 1 / 640))
    assert 0.8 < np.mean(ratios) < 1.4


def test_a_mean_over_anchors_leaves_out_what_was_not_scored():
    terms = np.array([[1.0, np.nan, 3.0], [np.nan, np.nan, 4.0]])
    assert row_means(terms, np.array([1.0, 5.0, 1.0])).tolist() == [2.0, 4.0]
    assert row_means(terms, np.array([2.0, 0.0, 1.0])).tolist() == pytest.approx([5 / 3, 4.0])
    assert np.isnan(row_means(terms, np.array([1.0, 1.0, 0.0]))[1])


def test_an_interval_holds_its_value_and_says_where_there_is_none():
    assert interval_of(5.0, np.array([1.0, 2.0, 3.0]), 0.9).high == 5.0
    assert np.isnan(interval_of(5.0, np.array([np.nan]), 0.9).low)


def test_intervals_are_wider_where_less_was_drawn_from():
    found = np.random.default_rng(0).normal(size=4000)
    widths = [
        (i := interval_of(0.0, found, 0.95, strata=strata)).high - i.low
        for strata in ([], [[1000]], [[40], [12, 12]], [[40], [4, 4, 4]], [[5]])
    ]
    assert widths == sorted(widths) and widths[1] < 1.01 * widths[0] and widths[-1] > 1.3 * widths[0]
    # What decides is the way of drawing that asks for the widest; what draws from one thing tells nothing of others.
    assert interval_of(0.0, found, 0.95, strata=[[5], [1000]]) == interval_of(0.0, found, 0.95, strata=[[5], [400]])
    assert np.isnan(interval_of(0.0, found, 0.95, strata=[[5], [1]]).low)


def test_how_many_sources_are_looked_at_together_changes_nothing(monkeypatch):
    estimates = np.array([0.3, 0.3, 0.1, 0.7, -0.2, 0.1])
    found = drawn(estimates, 0.1, n=50)
    found[:, 1] = found[:, 0]
    whole = rank_with_bounds(estimates, found, 0.9)
    monkeypatch.setattr("qads.analyze.ranks._NUMBERS", 1)
    one_by_one = rank_with_bounds(estimates, found, 0.9)
    for name, value in vars(whole).items():
        assert np.array_equal(value, getattr(one_by_one, name)), name
