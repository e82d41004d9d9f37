"""Laws of the bounds: no pair that matters is ever ruled out, whatever the numbers."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.rows import pools
from qads.kernels.bounds import BFloat16Product, BoundProduct, Bounds, Float32Product
from qads.kernels.distance import Points, widened

PRODUCTS = st.sampled_from((BFloat16Product(), Float32Product()))


def bounded(x: np.ndarray, *, cosine: bool) -> tuple[Points, Bounds]:
    points = Points(x, cosine=cosine)
    bounds = Bounds(points)
    for start, block in points.blocks():
        bounds.enclose(start, block, points.scale[start : start + len(block)])
    return points, bounds


def squared_distances(points: Points) -> np.ndarray:
    """Canonical [n, n]; row: the centre."""
    rows = np.arange(len(points))
    out = np.full((len(points), len(points)), np.inf)
    for row in rows:
        points.apply(points.take(rows[[row]])[0], 0, out[row], np.zeros(len(points), np.int32))
    return out


def product_of(bounds: Bounds, product: BoundProduct) -> np.ndarray:
    """Bounds [row, centre] of all pairs as float32."""
    rows = np.arange(len(bounds.left))
    bits = product(bounds.left, product.prepared(bounds.right(rows)))[:, : len(rows)]
    return widened(np.ascontiguousarray(bits).view(np.uint16)) if bits.dtype == np.int16 else bits.view(np.float32)


def has_direction(x: np.ndarray) -> bool:
    return bool((np.abs(widened(x)).max(axis=1) > 1e-140).all())


@given(x=pools(most=20), cosine=st.booleans(), product=PRODUCTS, reach=st.integers(0, 19))
def test_a_centre_as_near_as_the_nearest_so_far_is_never_ruled_out(
    x: np.ndarray, cosine: bool, product: BoundProduct, reach: int
) -> None:
    points, bounds = bounded(x, cosine=cosine and has_direction(x))
    squared = squared_distances(points)
    rows = np.arange(len(x))
    # The nearest so far is centre c: c itself ties with it, and all that are nearer matter.
    nearest = np.ascontiguousarray(squared[reach % len(x)])
    bounds.set_reach(rows, nearest)
    matters = squared.T <= nearest[:, None]
    assert (product_of(bounds, product)[matters] > 0).all()


@given(x=pools(most=20), cosine=st.booleans(), product=PRODUCTS, far=st.integers(0, 19), near=st.integers(0, 19))
def test_nor_when_the_nearest_has_come_nearer_since_the_bound_was_made(
    x: np.ndarray, cosine: bool, product: BoundProduct, far: int, near: int
) -> None:
    points, bounds = bounded(x, cosine=cosine and has_direction(x))
    squared = squared_distances(points)
    before = np.ascontiguousarray(squared[far % len(x)])
    bounds.set_reach(np.arange(len(x)), before)
    after = np.minimum(before, squared[near % len(x)])
    matters = squared.T <= after[:, None]
    least = np.minimum(bounds.unit * (before - after), 2.0**30)
    assert (product_of(bounds, product) >= least[:, None])[matters].all()


@given(x=pools(most=12), reach=st.integers(0, 11))
def test_pieces_enclose_what_they_stand_for_in_exact_arithmetic(x: np.ndarray, reach: int) -> None:
    points, bounds = bounded(x, cosine=False)
    rows, d = np.arange(len(x)), bounds.n_dims
    squared = np.ascontiguousarray(squared_distances(points)[reach % len(x)])
    bounds.set_reach(rows, squared)
    left, right = widened(bounds.left), widened(bounds.right(rows))
    for i in rows[bounds.squares >= 0]:
        y = [
            (Fraction(p) - Fraction(m)) * Fraction(bounds.power)
            for p, m in zip(points.take(rows[[i]])[0], bounds.mean, strict=True)
        ]
        square = sum(v * v for v in y)
        rest = sum((v - Fraction(float(b))) ** 2 for v, b in zip(y, left[i, :d], strict=True))
        rho, nu, high, low, *_ = (Fraction(float(v)) for v in left[i, d:])
        assert rho**2 >= rest and nu**2 >= square >= Fraction(float(bounds.squares[i]))
        assert high + low >= min((Fraction(squared[i]) * Fraction(bounds.power) ** 2 - square) / 2, Fraction(2) ** 60)
        sides = [Fraction(float(v)) for v in right[i, d : d + 6]]
        assert sides[0] ** 2 >= square and sides[1] ** 2 >= rest and sides[4] + sides[5] >= -square / 2


def test_most_pairs_that_do_not_matter_are_ruled_out() -> None:
    x = np.random.default_rng(0).normal(size=(400, 384)).astype(np.float32) + 3
    points, bounds = bounded(x, cosine=False)
    squared = squared_distances(points)
    nearest = np.sort(squared, axis=0)[10]  # The tenth nearest row: 11 of 400 matter.
    bounds.set_reach(np.arange(400), np.ascontiguousarray(nearest))
    for product in (BFloat16Product(), Float32Product()):
        assert (product_of(bounds, product) > 0).sum(axis=1).max() <= 40


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (5, 31), (32, 32), (33, 257), (2048, 256)])
@pytest.mark.parametrize("width", [8, 392, 4104])
def test_sums_are_taken_in_float32_at_least(shape: tuple[int, int], width: int) -> None:
    # 1 + many small products: in bfloat16 all but the first would be lost.
    rows, columns = shape
    left, right = (np.full((n, width), 0x3D00, np.uint16) for n in (rows, columns))  # 2⁻⁵
    left[:, 0] = right[:, 0] = 0x3F80
    exact = 1 + (width - 1) * 2.0**-10
    for product in (BFloat16Product(), Float32Product()):
        bits = product(left, product.prepared(right))
        sums = widened(np.ascontiguousarray(bits).view(np.uint16)) if bits.dtype == np.int16 else bits.view(np.float32)
        assert len(sums) == rows
        np.testing.assert_allclose(sums[:, :columns], exact, rtol=2.0**-8)
        assert (sums[:, columns:] == 0).all()
