"""Laws of coverage: brute force finds the same picks and curves, and K-center's gains are its radii."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference
from qads.errors import AlignmentError, InputError
from qads.pool import Selection
from qads.selection import KCenterGreedy, RandomSelection, TopQuality, coverage, find_knee


def grid(n: int, d: int, seed: int) -> np.ndarray:
    """Rows whose squared distances are exact, so that ties are the same for everyone."""
    return np.random.default_rng(seed).integers(-4, 5, size=(n, d)).astype(np.float64)


@given(st.integers(1, 40), st.integers(1, 5), st.integers(1, 40), st.integers(0, 999))
def test_every_row_is_covered_by_the_nearest_pick_the_earliest_of_equals(n: int, d: int, k: int, seed: int):
    x = grid(n, d, seed)
    selection = RandomSelection(seed=seed)(x, budget=min(k, n))
    found = coverage(x, selection)
    distances, steps = reference.nearest_pick(x, selection.indices.tolist())
    np.testing.assert_array_equal(found.distances, distances)
    np.testing.assert_array_equal(found.steps, steps)
    np.testing.assert_array_equal(found.rows, selection.indices[steps])


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 999), st.sampled_from(("euclidean", "cosine")))
def test_the_curves_are_those_of_the_first_picks(n: int, k: int, seed: int, metric: str):
    rng = np.random.default_rng(seed)
    x, quality, tokens = rng.normal(size=(n, 4)), rng.random(n), rng.integers(0, 99, n)
    selection = TopQuality()(x, quality, budget=min(k, n))
    found = coverage(x, selection, metric=metric, quality=quality, tokens=tokens)
    assert found.mean_quality is not None and found.n_tokens is not None
    assert {1, len(selection)} <= set(found.budgets.tolist())
    assert (np.diff(found.budgets) > 0).all()
    for at, budget in enumerate(found.budgets):
        picks = selection.indices[:budget].tolist()
        distances, _ = reference.nearest_pick(x, picks, metric)
        assert found.radius[at] == pytest.approx(distances.max(), rel=1e-12, abs=1e-15)
        assert found.mean_distance[at] == pytest.approx(distances.mean(), rel=1e-12, abs=1e-15)
        assert found.mean_quality[at] == pytest.approx(quality[picks].mean(), rel=1e-12)
        assert found.n_tokens[at] == tokens[picks].sum()


@given(st.integers(2, 40), st.integers(0, 999), st.sampled_from(("euclidean", "cosine")))
def test_the_radius_of_k_picks_is_the_next_gain_of_plain_kcenter(n: int, seed: int, metric: str):
    # To the bit: selection and coverage measure with the same numbers.
    x = np.random.default_rng(seed).normal(size=(n, 6)).astype(np.float32)
    selection = KCenterGreedy(metric=metric)(x, budget=n)  # pyright: ignore[reportArgumentType]
    found = coverage(x, selection, metric=metric, budgets=range(1, n + 1))
    np.testing.assert_array_equal(found.radius[:-1], selection.gains[1:])
    assert found.radius[-1] == 0


def test_a_pick_covers_itself_and_its_duplicates_go_to_the_first():
    x = np.array([[1.0], [3.0], [1.0], [3.0]])
    found = coverage(x, selection_of([2, 3, 0], 4))
    assert found.rows.tolist() == [2, 3, 2, 3]
    assert found.steps.tolist() == [0, 1, 0, 1]
    assert (found.mean_quality, found.n_tokens) == (None, None)


def test_the_knee_is_where_the_curve_bends():
    budgets = np.arange(1, 101)
    assert find_knee(budgets, np.maximum(1 - (budgets - 1) / 20, 0.01)) == 20 + 1
    # Clusters: after one pick in each, more rows bring nothing nearer.
    rng = np.random.default_rng(0)
    x = (100 * rng.normal(size=(8, 5)))[rng.integers(0, 8, 400)] + 0.01 * rng.normal(size=(400, 5))
    assert coverage(x, KCenterGreedy()(x, budget=200)).knee in (7, 8, 9)


def test_a_straight_or_level_or_short_curve_has_no_knee():
    budgets = np.array([1, 5, 9, 13])
    assert find_knee(budgets, -budgets.astype(float)) is None
    assert find_knee(budgets, np.ones(4)) is None
    assert find_knee(budgets[:2], np.array([2.0, 1.0])) is None


@given(st.lists(st.floats(0, 1), min_size=3, max_size=30), st.floats(1e-3, 1e3), st.floats(-10, 10))
def test_the_knee_does_not_depend_on_the_unit(steps: list[float], factor: float, shift: float):
    falling = -np.cumsum(np.round(steps, 3))
    budgets = np.arange(1, len(falling) + 1)
    scaled = np.round(factor, 3) * falling + np.round(shift, 3)
    above = (falling[0] - falling) / ((falling[0] - falling[-1]) or 1) - (budgets - 1) / (len(budgets) - 1)
    if np.ptp(scaled) == 0 or np.ptp(np.sort(above)[-2:]) < 1e-6 or abs(above.max() - 1 / (len(budgets) - 1)) < 1e-6:
        return  # Rounding decides between equals.
    assert find_knee(budgets, scaled) == find_knee(budgets, falling)


def test_what_cannot_be_covered_is_refused():
    x = np.ones((4, 2))
    with pytest.raises(AlignmentError, match="selection is of 3 rows but there are 4 embeddings"):
        coverage(x, selection_of([0], 3))
    with pytest.raises(InputError, match="the selection is empty"):
        coverage(x, selection_of([], 4))
    with pytest.raises(InputError, match=r"budget 3 of a selection of 2 picks; each must lie in 1\.\.2"):
        coverage(x, selection_of([0, 1], 4), budgets=[1, 3])
    with pytest.raises(InputError, match="metric is 'manhattan'"):
        coverage(x, selection_of([0], 4), metric="manhattan")
    with pytest.raises(AlignmentError, match=r"tokens has shape \(3,\)"):
        coverage(x, selection_of([0], 4), tokens=[1, 2, 3])
    with pytest.raises(InputError, match="whole numbers"):
        coverage(x, selection_of([0], 4), tokens=[1, 2, 3, -1])


def selection_of(rows: list[int], n_rows: int) -> Selection:
    k = len(rows)
    return Selection(
        np.array(rows, np.int64), np.full(k, np.nan), np.full(k, np.nan), np.full(k, -1), np.ones(k), n_rows, "x"
    )
