"""A summary of a selection says what brute force says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qads.analyze import summarize_selection
from qads.errors import AlignmentError, InputError


def brute_force(x: np.ndarray, picks: np.ndarray) -> np.ndarray:
    return np.array([min(np.sqrt(((row - x[pick]) ** 2).sum()) for pick in picks) for row in x.astype(np.float64)])


@given(st.integers(1, 40), st.integers(1, 6), st.integers(1, 40), st.integers(0, 99))
def test_the_radius_and_the_mean_distance_are_those_of_brute_force(n: int, d: int, k: int, seed: int):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)).astype(np.float32)
    picks = rng.choice(n, min(k, n), replace=False)
    found = summarize_selection("s", picks, embeddings=x, quality=None, labels=["a"] * n)
    expected = brute_force(x, picks)
    assert found.coverage_radius == pytest.approx(expected.max(), abs=1e-6)
    assert found.mean_distance == pytest.approx(expected.mean(), abs=1e-6)


def test_the_whole_pool_covers_itself():
    x = np.random.default_rng(0).normal(size=(9, 3))
    found = summarize_selection("all", np.arange(9), embeddings=x, quality=None, labels=["a"] * 9)
    assert (found.coverage_radius, found.mean_distance) == (0, 0)


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=30), st.integers(1, 30), st.integers(0, 99))
def test_the_counts_add_up_and_name_every_label(labels: list[str], k: int, seed: int):
    picks = np.random.default_rng(seed).choice(len(labels), min(k, len(labels)), replace=False)
    found = summarize_selection("s", picks, embeddings=np.zeros((len(labels), 2)), quality=None, labels=labels)
    assert sum(found.counts.values()) == found.n_rows == len(picks)
    assert list(found.counts) == list(dict.fromkeys(labels))
    assert found.counts == {name: sum(labels[i] == name for i in picks) for name in found.counts}


def test_more_picks_never_cover_less():
    x = np.random.default_rng(1).normal(size=(50, 4))
    order = np.random.default_rng(2).permutation(50)
    radii = [
        summarize_selection("s", order[:k], embeddings=x, quality=None, labels=["a"] * 50).coverage_radius
        for k in range(1, 51)
    ]
    assert radii == sorted(radii, reverse=True)


def test_the_mean_quality_is_of_the_picks():
    quality = np.array([1.0, 2.0, 4.0, 100.0])
    given_quality = {"embeddings": np.zeros((4, 1)), "labels": list("aabb")}
    assert summarize_selection("s", np.array([0, 2]), quality=quality, **given_quality).mean_quality == 2.5
    assert summarize_selection("s", np.array([0, 2]), quality=None, **given_quality).mean_quality is None


@pytest.mark.usefixtures("no_shape_checks")
def test_what_is_not_of_the_same_rows_is_refused():
    x = np.zeros((4, 2))
    with pytest.raises(AlignmentError, match="4 embeddings, 3 labels and no qualities"):
        summarize_selection("s", np.array([0]), embeddings=x, quality=None, labels=list("abc"))
    with pytest.raises(AlignmentError, match="4 embeddings, 4 labels and 5 qualities"):
        summarize_selection("s", np.array([0]), embeddings=x, quality=np.zeros(5), labels=list("abcd"))


@pytest.mark.parametrize("picks", [[], [4], [-1], [0, 99]])
def test_picks_that_are_no_rows_are_refused(picks: list[int]):
    with pytest.raises(InputError, match=r"must be positions in 0\.\.3, and one at least"):
        summarize_selection(
            "s", np.array(picks, dtype=np.int64), embeddings=np.zeros((4, 2)), quality=None, labels=list("abcd")
        )


def test_of_a_draw_of_rows_the_distances_are_those_of_these_rows():
    x = np.random.default_rng(1).normal(size=(30, 3)).astype(np.float32)
    picks, measured = np.array([4, 17]), np.array([0, 4, 9, 29])
    found = summarize_selection("s", picks, embeddings=x, quality=None, labels=["a"] * 30, measured=measured)
    expected = brute_force(x, picks)[measured]
    assert found.coverage_radius == pytest.approx(expected.max(), abs=1e-6)
    assert found.mean_distance == pytest.approx(expected.mean(), abs=1e-6)
