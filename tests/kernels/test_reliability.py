"""Reliability of means over anchors: what is known of it by construction."""

from __future__ import annotations

import numpy as np
import pytest

from qads.kernels.reliability import halvings, reliability

RNG = np.random.default_rng(0)


def made(n: int, m: int, noise: float) -> np.ndarray:
    return RNG.standard_normal(n)[:, None] + noise * RNG.standard_normal((n, m))


@pytest.mark.parametrize("m", [2, 5, 8, 24])
def test_it_is_the_share_of_variance_that_the_anchors_share(m: int):
    terms, cells = made(20_000, m, 2.0), np.zeros(20_000, np.int64)
    found = reliability(terms, cells, halvings([""] * m, 20, 0))
    assert found == pytest.approx(1 / (1 + 4 / m), abs=0.02)
    assert reliability(terms, cells, halvings([""] * m, 20, 0), length=2 * m) == pytest.approx(
        1 / (1 + 2 / m), abs=0.02
    )


def test_halves_have_as_many_anchors_of_each_group():
    groups = ["a"] * 6 + ["b"] * 3 + ["c"]
    for half in halvings(groups, 50, 0):
        assert half.sum() == 5 and half[:6].sum() == 3 and half[6:9].sum() in (1, 2)


@pytest.mark.parametrize("groups", ["abcdefgh", "hgfedcba", "aabbccde"])
def test_halves_of_small_groups_differ_from_each_other(groups: str):
    found = {tuple(half) if half[0] else tuple(1 - half) for half in halvings(tuple(groups), 50, 0)}
    assert len(found) >= 8 and all(sum(half) == 4 for half in found)


def test_names_of_groups_make_no_difference():
    terms, cells = made(4000, 4, 0.3), np.zeros(4000, np.int64)
    terms[:, 2:] = made(4000, 2, 0.3)  # Two pairs of anchors, each with something of its own.
    found = [reliability(terms, cells, halvings(tuple(groups), 400, 0)) for groups in ("abcd", "acbd", "dbca")]
    assert max(found) - min(found) < 0.1


def test_what_differs_between_cells_counts_for_nothing():
    cells = np.arange(600) % 6
    terms, halves = made(600, 8, 1.0), halvings([""] * 8, 20, 0)
    moved = terms + 10.0 * cells[:, None]
    assert reliability(moved, cells, halves) == pytest.approx(reliability(terms, cells, halves))
    assert reliability(moved, np.zeros(600, np.int64), halves) > 0.99


def test_noise_alone_has_none_and_one_anchor_tells_nothing():
    cells = np.zeros(2000, np.int64)
    assert abs(reliability(RNG.standard_normal((2000, 12)), cells, halvings([""] * 12, 20, 0))) < 0.15
    assert np.isnan(reliability(RNG.standard_normal((2000, 1)), cells, halvings([""], 20, 0)))


def test_pairs_that_were_not_scored_are_left_out():
    terms, cells = made(5000, 12, 1.5), np.zeros(5000, np.int64)
    halves = halvings([""] * 12, 20, 0)
    holes = np.where(RNG.random(terms.shape) < 0.05, np.nan, terms)
    assert reliability(holes, cells, halves) == pytest.approx(reliability(terms, cells, halves), abs=0.03)
