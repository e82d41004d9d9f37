"""Laws of the nearest centre: what measuring every pair says, to the bit, for every prefix of the centres."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference
from kernels.rows import hard_rows, pools
from qads.kernels import nearest
from qads.kernels.bounds import BFloat16Product, BoundProduct, Float32Product
from qads.kernels.canonical import distance
from qads.kernels.distance import Points, Rows, widened
from qads.kernels.nearest import nearest_centres, nearest_distances

PRODUCTS = st.sampled_from((BFloat16Product(), Float32Product()))


def scanned(x: Rows, centres: np.ndarray, cosine: bool, prefix: int) -> tuple[np.ndarray, np.ndarray]:
    """Canonical distances to the nearest of the first centres, and its number, by looking at every pair."""
    points = Points(x, cosine=cosine)
    squared, near = np.full(len(x), np.inf), np.full(len(x), -1)
    for number, row in enumerate(centres[:prefix]):
        points.apply(points.take(np.array([row]))[0], number, squared, near)
    return np.array([distance(value, cosine) for value in squared]), near


@given(
    x=pools(most=50), cosine=st.booleans(), product=PRODUCTS, seed=st.integers(0, 999), block=st.integers(1, 60),
    chunk=st.integers(1, 9), data=st.data(),
)  # fmt: skip
def test_it_is_the_scan_of_all_pairs_to_the_bit(
    x: np.ndarray, cosine: bool, product: BoundProduct, seed: int, block: int, chunk: int, data: st.DataObject
):
    cosine = cosine and bool((np.abs(widened(x)).max(axis=1) > 1e-140).all())
    rng = np.random.default_rng(seed)
    centres = rng.choice(len(x), rng.integers(1, len(x) + 1), replace=False)
    prefixes = sorted(data.draw(st.sets(st.integers(1, len(centres)), max_size=5)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nearest, "_ROWS", block)
        patch.setattr(nearest, "_CHUNK", chunk)
        found = nearest_centres(x, centres, cosine=cosine, prefixes=prefixes, product=product)
    distances, near = scanned(x, centres, cosine, len(centres))
    np.testing.assert_array_equal(found.distances, distances)
    np.testing.assert_array_equal(found.nearest, near)
    for at, prefix in enumerate(prefixes):
        distances, _ = scanned(x, centres, cosine, prefix)
        assert found.largest[at] == distances.max()
        assert found.mean[at] == pytest.approx(distances.mean(), rel=1e-12)


@given(seed=st.integers(0, 99), kind=st.sampled_from(("grid", "duplicates", "equal")))
def test_of_equally_near_centres_it_is_the_first(seed: int, kind: str):
    rng = np.random.default_rng(seed)
    x = hard_rows(kind, 40, 3, rng)
    centres = rng.choice(40, 25, replace=False)
    expected, at = reference.nearest_pick(x, centres.tolist())
    found = nearest_centres(x, centres, cosine=False)
    np.testing.assert_allclose(found.distances, expected, rtol=1e-15)
    if kind == "grid":  # Where both add exactly, ties are the same.
        np.testing.assert_array_equal(found.nearest, at)


def test_nearest_distances_are_those_to_the_nearest_centre():
    x = np.random.default_rng(0).normal(size=(300, 20)).astype(np.float32)
    centres = np.arange(0, 300, 7)
    expected, _ = reference.nearest_pick(x, centres.tolist())
    np.testing.assert_allclose(nearest_distances(x, centres), expected, rtol=1e-14)
    of = np.array([250, 3, 7, 14, 299])
    np.testing.assert_array_equal(nearest_distances(x, centres, of=of), nearest_distances(x, centres)[of])


def test_a_memory_map_is_read_in_blocks_and_every_block_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    x = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float16, (100, 5))
    x[:] = np.random.default_rng(0).normal(size=(100, 5))
    monkeypatch.setattr(nearest, "_ROWS", 32)
    done: list[int] = []
    found = nearest_centres(np.load(tmp_path / "x.npy", mmap_mode="r"), np.arange(9), cosine=False, on_rows=done.append)
    assert done == [32, 64, 96, 100]
    np.testing.assert_array_equal(found.distances, nearest_centres(np.array(x), np.arange(9), cosine=False).distances)
