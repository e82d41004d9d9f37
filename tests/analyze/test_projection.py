"""Laws of the map: the same rows, the same places; neighbours stay neighbours."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.manifold import trustworthiness
from threadpoolctl import threadpool_limits

from qads import TSNEProjection
from qads.errors import InputError


def groups(n: int, *, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(8, 24))[rng.integers(0, 8, n)] * 4 + rng.normal(size=(n, 24))).astype(np.float32)


def test_the_same_rows_give_the_same_places_to_the_bit() -> None:
    x = groups(300)
    method = TSNEProjection(rounds=60)
    assert np.array_equal(method(x), method(x.copy()))


def test_neighbours_stay_neighbours_more_than_on_two_axes() -> None:
    x = groups(400)
    two = x - x.mean(axis=0)
    two = two @ np.linalg.svd(two, full_matrices=False)[2][:2].T
    assert trustworthiness(x, TSNEProjection()(x)) > trustworthiness(x, two) + 0.02


def test_where_the_pool_lies_and_how_large_it_is_do_not_matter() -> None:
    x = groups(120)
    places = TSNEProjection(rounds=30)(x)
    assert places.shape == (120, 2) and places.dtype == np.float32
    assert np.allclose(places.max(axis=0) + places.min(axis=0), 0, atol=1e-4)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7, 40])
def test_few_rows_are_laid_out_too(n: int) -> None:
    places = TSNEProjection(rounds=30)(groups(n))
    assert places.shape == (n, 2) and np.isfinite(places).all()


def test_equal_rows_and_one_dimension_are_laid_out() -> None:
    assert np.isfinite(TSNEProjection(rounds=30)(np.ones((50, 4)))).all()
    assert np.isfinite(TSNEProjection(rounds=30)(np.arange(50.0)[:, None])).all()
    assert np.isfinite(TSNEProjection(rounds=30)(np.repeat(groups(6), 10, axis=0))).all()


def test_of_a_large_pool_an_even_draw_is_laid_out_that_grows() -> None:
    few, more = TSNEProjection(most=100).drawn(10_000), TSNEProjection(most=1000).drawn(10_000)
    assert len(few) == 100 and set(few) < set(more) and list(few) == sorted(few)
    assert 30 < (few < 5000).sum() < 70
    assert TSNEProjection(most=100).drawn(100).tolist() == list(range(100))


@pytest.mark.parametrize("setting", [{"most": 0}, {"axes": 1}, {"rounds": 2}, {"perplexity": 1}, {"seed": -1}])
def test_a_setting_that_makes_no_sense_is_refused(setting: dict[str, int]) -> None:
    with pytest.raises(InputError, match=next(iter(setting))):
        TSNEProjection(**setting)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("x", [np.zeros((0, 3)), np.zeros(3), np.array([[np.nan, 1.0]])])
def test_what_is_no_table_of_numbers_is_refused(x: np.ndarray) -> None:
    with pytest.raises(InputError, match="embeddings have shape"):
        TSNEProjection()(x)


def test_the_map_is_the_same_however_many_threads_there_are() -> None:
    x = np.random.default_rng(0).normal(size=(40, 384)).astype(np.float32)
    found: list[np.ndarray] = []
    for n_threads in (1, 2):
        with threadpool_limits(n_threads, user_api="blas"):
            found.append(TSNEProjection()(x))
    np.testing.assert_array_equal(*found)
