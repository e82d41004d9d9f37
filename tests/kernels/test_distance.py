"""Laws of the greedy scan.

Indices are compared exactly, which is fair for two kinds of data only. On *grids* (small integers, times a
power of two) every squared distance is exact in float64, so kernel and oracle see the very same ties. On
*clouds* (normal draws) sums in different order may differ in the last bits, but rows within 1e-12 of a tie
that are no duplicates do not happen, and duplicates get identical sums on either side.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference
from qads.kernels.distance import GreedyPicks, greedy_scan

DIMS = (1, 2, 9, 31, 32, 33, 70)


def scan(
    x: np.ndarray,
    weight: np.ndarray,
    *,
    k: int,
    start: tuple[int, ...] = (0,),
    cosine: bool = False,
    distance_share: float | None = None,
) -> GreedyPicks:
    return greedy_scan(x, weight, start=start, k=k, cosine=cosine, distance_share=distance_share)


@st.composite
def grids(draw: st.DrawFn) -> np.ndarray:
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    n, d, span = draw(st.integers(1, 24)), draw(st.sampled_from(DIMS)), draw(st.sampled_from((0, 1, 3, 40)))
    x = rng.integers(-span, span + 1, size=(n, d)) * 2.0 ** draw(st.sampled_from((-13, 0, 13)))
    x = x + draw(st.sampled_from((0.0, 1000.0)))
    return x.astype(draw(st.sampled_from((np.float32, np.float64))))


@st.composite
def clouds(draw: st.DrawFn) -> np.ndarray:
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    n, d = draw(st.integers(1, 24)), draw(st.sampled_from(DIMS))
    x = rng.normal(size=(n, d)) * draw(st.sampled_from((1e-4, 1.0, 1e4))) + draw(st.sampled_from((0.0, 1000.0)))
    x = rng.permutation(np.repeat(x, draw(st.sampled_from((1, 2, 5))), axis=0))
    return x.astype(draw(st.sampled_from((np.float32, np.float64))))


def weights(n: int, kind: str) -> np.ndarray:
    rng = np.random.default_rng(n)
    return {
        "ones": np.ones(n),
        "zeros": np.zeros(n),
        "few": rng.integers(0, 4, size=n) / 4,
        "any": rng.random(n),
    }[kind]


WEIGHTS = st.sampled_from(("ones", "zeros", "few", "any"))
SHARES = st.sampled_from((None, 0.0, 0.25, 0.5, 1.0))


def oracle(x: np.ndarray, q: np.ndarray, *, k: int, share: float | None, metric: str = "euclidean") -> reference.Picks:
    rule = {"combine": "product"} if share is None else {"combine": "sum", "w": 1 - share}
    return reference.kcenter_greedy(x, q, budget=k, scale="none", metric=metric, **rule)


def first_of(q: np.ndarray) -> tuple[int]:
    return (int(np.argmax(q)),)


@given(x=grids(), kind=WEIGHTS, share=SHARES, part=st.sampled_from((0.3, 1.0)))
def test_the_scan_is_the_definition_to_the_bit_on_grids(
    x: np.ndarray, kind: str, share: float | None, part: float
) -> None:
    q, k = weights(len(x), kind), math.ceil(part * len(x))
    weight = q if share is None else (1 - share) * q
    picks = scan(x, weight, k=k, start=first_of(q), distance_share=share)
    expected = oracle(x, q, k=k, share=share)
    np.testing.assert_array_equal(picks.indices, expected.indices)
    np.testing.assert_array_equal(picks.distances, expected.distances)
    np.testing.assert_array_equal(picks.nearest, expected.nearest)
    np.testing.assert_array_equal(picks.gains[1:], expected.gains[1:])


@given(x=clouds(), kind=WEIGHTS, share=SHARES)
def test_the_scan_is_the_definition_on_clouds_with_duplicates(x: np.ndarray, kind: str, share: float | None) -> None:
    q = weights(len(x), kind)
    weight = q if share is None else (1 - share) * q
    picks = scan(x, weight, k=len(x), start=first_of(q), distance_share=share)
    expected = oracle(x, q, k=len(x), share=share)
    np.testing.assert_array_equal(picks.indices, expected.indices)
    np.testing.assert_array_equal(picks.nearest, expected.nearest)
    np.testing.assert_allclose(picks.distances, expected.distances, rtol=1e-12)


@given(seed=st.integers(0, 10_000), d=st.sampled_from((1, 4, 16)), share=SHARES)
def test_cosine_is_the_definition_to_the_bit_where_lengths_are_powers_of_two(
    seed: int, d: int, share: float | None
) -> None:
    rng = np.random.default_rng(seed)
    x = rng.choice([-1.0, 1.0], size=(20, d)) * 2.0 ** rng.integers(-3, 4, size=(20, 1))
    q = weights(20, "few")
    weight = q if share is None else (1 - share) * q
    picks = scan(x, weight, k=20, start=first_of(q), cosine=True, distance_share=share)
    expected = oracle(x, q, k=20, share=share, metric="cosine")
    np.testing.assert_array_equal(picks.indices, expected.indices)
    np.testing.assert_array_equal(picks.distances, expected.distances)
    np.testing.assert_array_equal(picks.nearest, expected.nearest)


@given(seed=st.integers(0, 10_000), d=st.sampled_from(DIMS), exponent=st.sampled_from((-4, 0, 4)))
def test_cosine_distance_is_one_minus_the_cosine(seed: int, d: int, exponent: int) -> None:
    x = np.random.default_rng(seed).normal(size=(2, d)) * 10.0**exponent
    cosine = x[0] @ x[1] / math.sqrt((x[0] @ x[0]) * (x[1] @ x[1]))
    assert scan(x, np.ones(2), k=2, cosine=True).distances[1] == pytest.approx(1 - cosine, abs=1e-14)


def folded_lanes(a: np.ndarray, b: np.ndarray) -> float:
    lanes = [0.0] * 32
    for j, (p, q) in enumerate(zip(a.tolist(), b.tolist(), strict=True)):
        lanes[j % 32] += (p - q) * (p - q)
    while len(lanes) > 1:
        half = len(lanes) // 2
        lanes = [lanes[i] + lanes[i + half] for i in range(half)]
    return lanes[0]


@given(seed=st.integers(0, 10_000), d=st.integers(1, 100), dtype=st.sampled_from((np.float32, np.float64)))
def test_squares_are_added_in_one_fixed_order(seed: int, d: int, dtype: type) -> None:
    # Two machines agree to the bit only if nothing reorders the sum or fuses its multiplications.
    x = np.random.default_rng(seed).normal(size=(2, d)).astype(dtype)
    assert scan(x, np.ones(2), k=2).distances[1] == math.sqrt(folded_lanes(x[0], x[1]))


@given(x=clouds())
def test_distance_is_symmetric_to_the_bit(x: np.ndarray) -> None:
    forth = scan(x[[0, -1]], np.ones(2), k=2, start=(0,))
    back = scan(x[[0, -1]], np.ones(2), k=2, start=(1,))
    assert forth.distances[1] == back.distances[1]


@pytest.mark.parametrize("offset", [0.0, 10.0, 1000.0])
def test_near_duplicates_keep_their_distance(offset: float) -> None:
    # The float32 expansion |a|² − 2ab + |b|² errs by up to 0.1 here and makes negative squared distances.
    rng = np.random.default_rng(0)
    base = rng.normal(size=384) + offset
    x = np.stack([base, base + 1e-3 * rng.normal(size=384)]).astype(np.float32)
    exact = sum((Fraction(float(a)) - Fraction(float(b))) ** 2 for a, b in zip(*x, strict=True))
    assert scan(x, np.ones(2), k=2).distances[1] == pytest.approx(math.sqrt(exact), rel=1e-14)


def test_a_duplicate_is_at_distance_zero() -> None:
    x = np.tile(np.random.default_rng(0).normal(size=384) + 10, (3, 1)).astype(np.float32)
    for cosine in (False, True):
        assert scan(x, np.ones(3), k=3, cosine=cosine).distances.tolist() == [np.inf, 0.0, 0.0]


@pytest.mark.parametrize("share", [None, 0.5])
def test_equal_rows_fill_the_budget_from_the_lowest(share: float | None) -> None:
    picks = scan(np.ones((6, 3)), np.ones(6), k=5, start=(2,), distance_share=share)
    assert picks.indices.tolist() == [2, 0, 1, 3, 4]


def test_start_rows_come_first_in_their_order() -> None:
    x = np.array([[0.0], [1.0], [5.0], [9.0]])
    picks = scan(x, np.ones(4), k=3, start=(2, 1))
    assert picks.indices.tolist() == [2, 1, 3]
    assert picks.distances.tolist() == [np.inf, 4.0, 4.0]
    assert picks.nearest.tolist() == [-1, 0, 0]
    assert np.isnan(picks.gains[:2]).all()
    assert picks.gains[2] == 4.0


def test_start_rows_may_be_the_whole_budget() -> None:
    picks = scan(np.arange(4.0)[:, None], np.ones(4), k=2, start=(3, 1))
    assert picks.indices.tolist() == [3, 1]


def test_the_sum_measures_distance_by_the_largest_one_to_the_first_pick() -> None:
    # From row 0 the distances are 4 and 8 of 8: scores 0.5·4/8 + 0.3 = 0.55 and 0.5·8/8 + 0.0 = 0.5.
    picks = scan(np.array([[0.0], [4.0], [8.0]]), np.array([0.0, 0.3, 0.0]), k=3, distance_share=0.5)
    assert picks.indices.tolist() == [0, 1, 2]
    assert picks.gains[1:].tolist() == pytest.approx([0.55, 0.25])


def test_every_pick_is_reported_once() -> None:
    seen: list[int] = []
    x = np.arange(5.0)[:, None]
    greedy_scan(x, np.ones(5), start=(1, 2), k=4, cosine=False, distance_share=None, on_pick=seen.append)
    assert seen == [1, 2, 3, 4]


def test_the_inputs_are_only_read() -> None:
    x, weight = np.random.default_rng(0).normal(size=(9, 5)), np.ones(9)
    x.flags.writeable = weight.flags.writeable = False
    assert len(scan(x, weight, k=9).indices) == 9
