"""Every other strategy against its definition, and the guarantees that its paper proves."""

from __future__ import annotations

import itertools
import logging
import sys
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference
from qads.errors import InputError
from qads.kernels.apportion import apportion
from qads.kernels.distance import Points
from qads.selection import (
    Constraints,
    Deita,
    FacilityLocation,
    Gist,
    Grouping,
    IFDRanking,
    KCenterGreedy,
    LongestResponse,
    NearestToAnchors,
    PerplexityRanking,
    Quota,
    StratifiedRandom,
    TokenBudget,
)

SEEDS = st.integers(0, 10_000)


def grid(seed: int, n: int = 20) -> np.ndarray:
    """Rows with duplicates and ties, none of them zero."""
    x = np.random.default_rng(seed).integers(-2, 3, size=(n, 3)).astype(np.float32)
    x[~x.any(axis=1)] = 1
    return x


# Stratified random.


@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    weights=st.lists(st.integers(1, 9), min_size=6, max_size=6),
    part=st.floats(0, 1),
)
def test_counts_add_up_and_are_the_share_rounded_unless_a_group_is_short(sizes, weights, part) -> None:
    total = round(part * sum(sizes))
    shares = [Fraction(weight) for weight in weights[: len(sizes)]]
    counts = apportion(total, shares, sizes)
    assert sum(counts) == total
    assert all(0 <= count <= size for count, size in zip(counts, sizes, strict=True))
    free = [g for g in range(len(sizes)) if counts[g] < sizes[g]]
    left = total - sum(counts[g] for g in range(len(sizes)) if g not in free)
    full_by_rounding = [g for g in range(len(sizes)) if g not in free]
    # Groups with rows to spare share what the full ones leave; a group may also have become full by rounding up.
    for g in free:
        share = left * shares[g] / sum(shares[other] for other in free)
        assert abs(counts[g] - share) < 1 + len(full_by_rounding)


@given(weights=st.lists(st.integers(1, 9), min_size=1, max_size=6), total=st.integers(0, 50))
def test_with_rows_enough_counts_are_hamiltons(weights: list[int], total: int) -> None:
    quotas = [Fraction(total * weight, sum(weights)) for weight in weights]
    remainders = sorted(range(len(weights)), key=lambda g: (int(quotas[g]) - quotas[g], g))
    expected = [int(quota) for quota in quotas]
    for g in remainders[: total - sum(expected)]:
        expected[g] += 1
    assert apportion(total, [Fraction(weight) for weight in weights], [total + 1] * len(weights)) == expected


@given(seed=SEEDS, k=st.integers(1, 20), shares=st.sampled_from(["equal", "sqrt", "proportional"]))
def test_every_group_gives_its_count_of_random_rows(seed: int, k: int, shares: Any) -> None:
    groups = np.random.default_rng(seed).choice(["a", "b", "b", "b", "c"], 20)
    sel = StratifiedRandom(shares=shares, seed=seed)(grid(seed), budget=k, groups=groups)
    names = list(dict.fromkeys(groups.tolist()))
    sizes = [int((groups == name).sum()) for name in names]
    power = {"equal": 0.0, "sqrt": 0.5, "proportional": 1.0}[shares]
    weights = [Fraction(size**power) for size in sizes]
    assert [int((groups[sel.indices] == name).sum()) for name in names] == apportion(k, weights, sizes)


def test_every_row_of_a_group_is_as_likely() -> None:
    groups = ["a"] * 3 + ["b"] * 7
    picked = np.concatenate(
        [StratifiedRandom(seed=seed)(np.zeros((10, 1)), budget=4, groups=groups).indices for seed in range(1000)]
    )
    counts = np.bincount(picked, minlength=10)
    for part, share in ((slice(0, 3), 2 / 3), (slice(3, 10), 2 / 7)):
        # The seeds are fixed, so this either holds always or never.
        assert np.abs(counts[part] - 1000 * share).max() < 5 * np.sqrt(1000 * share * (1 - share))


def test_groups_must_be_strings() -> None:
    with pytest.raises(InputError, match=r"StratifiedRandom: groups have shape \(3,\) and type int64; give one string"):
        StratifiedRandom()(np.zeros((3, 1)), budget=1, groups=[1, 2, 3])


# DEITA.


@given(seed=SEEDS, k=st.integers(1, 20), threshold=st.sampled_from([-1.0, 0.0, 0.5, 0.9]))
def test_deita_keeps_the_best_rows_of_which_no_two_are_too_much_alike(seed: int, k: int, threshold: float) -> None:
    x, quality = grid(seed), np.random.default_rng(seed).integers(-3, 3, 20) / 4
    expected = reference.deita(x, quality, threshold)
    sel = Deita(threshold=threshold)(x, quality, budget=k)
    assert sel.indices.tolist() == expected[:k]
    assert sel.gains.tolist() == quality[sel.indices].tolist()
    for at, (row, distance, step) in enumerate(zip(sel.indices, sel.distances, sel.nearest, strict=True)):
        nearest, _ = reference.nearest_pick(x, sel.indices[:at].tolist(), "cosine")
        assert distance == pytest.approx(nearest[row], abs=1e-12)
        # Of picks that are equally near, rounding may name either.
        named = reference.distances_from(x, int(sel.indices[step]), "cosine")[row] if at else np.inf
        assert named == pytest.approx(nearest[row], abs=1e-12)


@given(seed=SEEDS, k=st.integers(1, 20))
def test_deita_filled_goes_on_with_the_others_by_quality(seed: int, k: int) -> None:
    x, quality = grid(seed), np.random.default_rng(seed).integers(-3, 3, 20) / 4
    kept = reference.deita(x, quality, 0.5)
    rest = sorted(set(range(20)) - set(kept), key=lambda row: (-quality[row], row))
    sel = Deita(threshold=0.5, fill=True)(x, quality, budget=k)
    assert sel.indices.tolist() == [*kept, *rest][:k]
    assert sel.stopped is None and sel.prefix_closed


@given(seed=SEEDS, k=st.integers(1, 20))
def test_deita_is_greedy_selection_by_quality_with_a_least_distance(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    x, quality = rng.normal(size=(20, 3)), rng.integers(0, 5, 20)
    apart = Constraints(min_distance=0.2)
    expected = KCenterGreedy(combine="sum", w=1.0, metric="cosine")(x, quality, budget=k, constraints=apart)
    sel = Deita(threshold=0.8)(x, quality, budget=k)
    for name in ("indices", "distances", "nearest"):
        np.testing.assert_array_equal(getattr(sel, name), getattr(expected, name))


@given(seed=SEEDS, most=st.integers(0, 10), fill=st.booleans())
def test_deita_filled_or_not_keeps_to_quotas(seed: int, most: int, fill: bool) -> None:
    x, quality = grid(seed), np.random.default_rng(seed).integers(0, 5, 20)
    half = Grouping(name="half", values=["a"] * 10 + ["b"] * 10, quotas=(Quota(value="a", maximum=most),))
    sel = Deita(threshold=0.5, fill=fill)(x, quality, budget=10, constraints=Constraints(groupings=(half,)))
    assert (sel.indices < 10).sum() <= most
    assert len(sel) == 10 if fill else (sel.stopped is None) == (len(sel) == 10)


def test_deita_says_how_many_it_could_not_fill() -> None:
    sel = Deita()([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]], [3, 2, 1], budget=3)
    assert sel.indices.tolist() == [0, 2]
    assert sel.stopped == "2 of 3 picks: no row is open any more that is 0.1 or more away from all picks and given rows"


def test_deita_out_of_tokens_is_not_filled() -> None:
    budget = TokenBudget(max_tokens=5, tokens=[3, 1, 4])
    sel = Deita(fill=True)([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]], [3, 1, 2], budget=budget)
    assert sel.indices.tolist() == [0]


def test_deita_refuses_to_fill_what_must_keep_apart() -> None:
    with pytest.raises(InputError, match=r"Deita: fill takes rows whatever their distance, but min_distance is 0\.2"):
        Deita(fill=True)(grid(0), np.ones(20), budget=3, constraints=Constraints(min_distance=0.2))


def test_deita_without_quality_or_with_an_impossible_threshold_is_refused() -> None:
    with pytest.raises(InputError, match="Deita: quality is None"):
        Deita()(grid(0), budget=3)
    with pytest.raises(InputError, match=r"Deita: threshold is 1\.0; it is a cosine similarity"):
        Deita(threshold=1.0)


# Facility location.


def similarity(x: np.ndarray, method: FacilityLocation) -> np.ndarray:
    if method.similarity == "cosine":
        return np.maximum(reference.cosines(x, x), 0)
    squared = ((x[:, None].astype(np.float64) - x[None]) ** 2).sum(axis=2)
    return np.exp(-method.gamma * squared)


FACILITY = st.sampled_from([FacilityLocation(), FacilityLocation(similarity="rbf", gamma=0.3)])


@given(seed=SEEDS, method=FACILITY)
def test_every_pick_of_facility_location_adds_as_much_as_any_could(seed: int, method: FacilityLocation) -> None:
    x = grid(seed, 60)
    alike = similarity(x, method)
    sel = method(x, budget=60)
    for step in range(60):
        before = sel.indices[:step].tolist()
        value = reference.covered(alike, before)
        best = max(reference.covered(alike, [*before, row]) for row in set(range(60)) - set(before)) - value
        added = reference.covered(alike, [*before, int(sel.indices[step])]) - value
        assert added >= best - 1e-4
        assert sel.gains[step] == pytest.approx(added, abs=1e-4)


@given(seed=SEEDS, k=st.integers(1, 4), method=FACILITY)
def test_facility_location_reaches_its_guarantee(seed: int, k: int, method: FacilityLocation) -> None:
    x = np.random.default_rng(seed).normal(size=(9, 3))
    alike = similarity(x, method)
    value = reference.covered(alike, method(x, budget=k).indices.tolist())
    assert value >= (1 - 1 / np.e) * reference.most_covered(alike, k) - 1e-4


def test_blocks_of_candidates_change_nothing_but_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).normal(size=(400, 8))
    whole = FacilityLocation()(x, budget=100)
    monkeypatch.setattr("qads.kernels.facility._BLOCK_NUMBERS", 1)  # 16 rows a block.
    small = FacilityLocation()(x, budget=100)
    np.testing.assert_array_equal(small.indices, whole.indices)
    np.testing.assert_allclose(small.gains, whole.gains, rtol=1e-5)


def test_all_rows_as_witnesses_are_the_whole_sum() -> None:
    x = np.random.default_rng(0).normal(size=(50, 4))
    whole, few = FacilityLocation()(x, budget=10), FacilityLocation(n_witnesses=5)(x, budget=10)
    np.testing.assert_array_equal(FacilityLocation(n_witnesses=50)(x, budget=10).indices, whole.indices)
    assert few.gains.sum() <= 5 + 1e-6  # No row is more alike than 1.
    with pytest.raises(InputError, match="n_witnesses is 51 but the pool has 50 rows"):
        FacilityLocation(n_witnesses=51)(x, budget=10)


@pytest.mark.parametrize("offset", [1e4, 1e6])
def test_where_all_rows_are_moved_to_changes_nothing_of_a_similarity_by_distance(offset: float) -> None:
    x = np.random.default_rng(0).integers(-16, 16, size=(200, 16)) / 8
    method = FacilityLocation(similarity="rbf", gamma=0.05)
    here, there = method(x, budget=20), method(x + offset, budget=20)
    np.testing.assert_array_equal(there.indices, here.indices)
    np.testing.assert_allclose(there.gains, here.gains, rtol=1e-4)
    value = reference.covered(similarity(x, method), there.indices.tolist())
    assert there.gains.sum() == pytest.approx(value, rel=1e-4)


@pytest.mark.parametrize("far", [1e25, 1e40])
def test_rows_too_far_apart_for_float32_are_refused(far: float) -> None:
    x = np.array([[0.0, 1.0], [0.0, 2.0], [far, 0.0], [0.0, 3.0]])
    with pytest.raises(InputError, match=r"row 2 of the embeddings is too far from the others for float32; scale"):
        FacilityLocation(similarity="rbf")(x, budget=3)
    assert len(FacilityLocation()(x, budget=3)) == 3


# Rankings.


@given(seed=SEEDS, k=st.integers(1, 20))
def test_the_longest_rows_come_first(seed: int, k: int) -> None:
    lengths = np.random.default_rng(seed).integers(0, 6, 20)
    sel = LongestResponse()(grid(seed), budget=k, lengths=lengths)
    assert sel.indices.tolist() == sorted(range(20), key=lambda row: (-lengths[row], row))[:k]
    assert sel.gains.tolist() == lengths[sel.indices].tolist()


def scores(seed: int) -> np.ndarray:
    """Likelihoods with ties and rows that could not be scored."""
    rng = np.random.default_rng(seed)
    found = -rng.integers(1, 6, (20, 2)) / 2
    found[rng.random(20) < 0.2] = np.nan
    found[0] = [-1.0, -1.5]
    return found


@given(seed=SEEDS, part=st.sampled_from(["low", "high"]), text=st.sampled_from([0, 1]))
def test_perplexity_orders_the_rows_that_were_scored(seed: int, part: Any, text: int) -> None:
    found = scores(seed)
    method = PerplexityRanking(part=part, text=("solution given problem", "solution")[text])  # type: ignore[arg-type]
    n_scored = int(np.isfinite(found[:, text]).sum())
    sel = method(grid(seed), budget=n_scored, likelihoods=found)
    sign = -1 if part == "low" else 1
    ranked = sorted(np.flatnonzero(np.isfinite(found[:, text])), key=lambda row: (sign * found[row, text], row))
    assert sel.indices.tolist() == ranked
    np.testing.assert_allclose(sel.gains, np.exp(-found[sel.indices, text]))


@given(seed=SEEDS, k=st.integers(1, 12))
def test_the_middle_of_perplexity_surrounds_the_median(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    found = np.column_stack([-rng.permutation(20) - 1.0, np.full(20, -30.0)])
    sel = PerplexityRanking()(grid(seed), budget=k, likelihoods=found)
    ranks = sorted((-found[sel.indices, 0]).astype(int) - 1)
    assert ranks == list(range(ranks[0], ranks[0] + k))
    assert abs((ranks[0] + ranks[-1]) / 2 - 9.5) <= 0.5


@given(seed=SEEDS, k=st.integers(1, 20))
def test_ifd_takes_the_highest_below_one(seed: int, k: int) -> None:
    found = scores(seed)
    with np.errstate(invalid="ignore"):
        ifd = np.exp(-found[:, 0]) / np.exp(-found[:, 1])
    eligible = [row for row in range(20) if found[row, 1] < found[row, 0]]
    sel = IFDRanking()(grid(seed), budget=k, likelihoods=found)
    assert sel.indices.tolist() == sorted(eligible, key=lambda row: (found[row, 0] - found[row, 1], row))[:k]
    np.testing.assert_allclose(sel.gains, ifd[sel.indices])
    assert (sel.stopped is None) == (len(eligible) >= k)


def test_rows_that_are_left_out_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    found = np.array([[-1.0, -2.0], [-2.0, -1.0], [-1.0, -1.0], [np.nan, np.nan]])
    with caplog.at_level(logging.INFO, "qads"):
        sel = IFDRanking()(np.zeros((4, 1)), budget=2, likelihoods=found)
    said = "2 of 4 rows have an IFD of 1 or more, 1 of 4 rows could not be scored"
    assert sel.stopped == f"1 of 2 picks: no row is open any more; {said}"
    assert said in caplog.text
    with pytest.raises(InputError, match="IFDRanking: no row is left to select: 3 of 3 rows could not be scored"):
        IFDRanking()(np.zeros((3, 1)), budget=2, likelihoods=np.full((3, 2), np.nan))


@pytest.mark.parametrize(
    ("likelihoods", "message"),
    [
        ([[0.5, -1.0]], r"likelihood of row 0 is 0\.5 in column 0"),
        ([[-1.0, -np.inf]], r"likelihood of row 0 is -inf in column 1"),
        ([[-1.0]], r"likelihoods have shape \(1, 1\) and type float64; give two numbers a row"),
    ],
)
def test_likelihoods_that_are_none_are_refused(likelihoods: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        PerplexityRanking()([[1.0]], budget=1, likelihoods=likelihoods)


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_a_length_that_is_none_is_refused_by_row(value: float) -> None:
    with pytest.raises(InputError, match=rf"LongestResponse: length of row 1 is {value}"):
        LongestResponse()(np.zeros((2, 1)), budget=1, lengths=[1.0, value])


# Nearest to anchors.


@given(seed=SEEDS, m=st.integers(1, 25), k=st.integers(1, 20))
def test_anchors_in_turn_take_their_nearest_free_row(seed: int, m: int, k: int) -> None:
    x, targets = grid(seed), grid(seed + 1, m)
    sel = NearestToAnchors()(x, budget=k, targets=targets)
    assert sel.indices.tolist() == reference.nearest_in_turn(x, targets, k)
    alike = reference.cosines(x, targets)
    np.testing.assert_allclose(sel.gains, [alike[row, step % m] for step, row in enumerate(sel.indices)], atol=1e-10)


def test_an_anchor_that_has_looked_up_too_few_rows_looks_again() -> None:
    rng = np.random.default_rng(0)
    x, targets = rng.normal(size=(600, 4)), rng.normal(size=(1, 4)) + 0.001 * rng.normal(size=(40, 4))
    sel = NearestToAnchors()(x, budget=200, targets=targets)  # All anchors want the same rows.
    assert sel.indices.tolist() == reference.nearest_in_turn(x, targets, 200)


@pytest.mark.parametrize(("m", "k", "spread", "most"), [(40, 400, 0.0, 20), (40, 400, 0.1, 20), (300, 200, 0.1, 60)])
def test_anchors_that_are_alike_look_again_together(
    m: int, k: int, spread: float, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    x, targets = rng.normal(size=(600, 4)), rng.normal(size=(1, 4)) + spread * rng.normal(size=(m, 4))
    passes, blocks = [], Points.blocks
    monkeypatch.setattr(Points, "blocks", lambda points: passes.append(len(points)) or blocks(points))
    sel = NearestToAnchors()(x, budget=k, targets=targets)
    assert passes.count(len(x)) <= most  # Each for itself, they take 150 and more.
    assert sel.indices.tolist() == reference.nearest_in_turn(x, targets, k)


def test_targets_of_another_dimension_are_refused() -> None:
    with pytest.raises(InputError, match="NearestToAnchors: the targets have 2 dimensions but the embeddings 3"):
        NearestToAnchors()(grid(0), budget=1, targets=[[1.0, 2.0]])


# GIST.


@given(seed=SEEDS, k=st.integers(1, 5), lam=st.sampled_from([0.0, 0.5, 2.0, 10.0]))
def test_gist_reaches_its_guarantee_for_the_sum_of_qualities(seed: int, k: int, lam: float) -> None:
    pytest.importorskip("divsel", reason="the extra gist is not installed")
    rng = np.random.default_rng(seed)
    x, quality = rng.normal(size=(9, 3)).astype(np.float32), rng.random(9)
    sel = Gist(lam=lam, scale="none")(x, quality, budget=k)
    value = reference.spread_value(x, sel.indices.tolist(), quality[sel.indices].sum(), lam)
    best = max(
        reference.spread_value(x, picks, quality[list(picks)].sum(), lam)
        for size in range(1, k + 1)
        for picks in itertools.combinations(range(9), size)
    )
    assert value >= (2 / 3 - 0.1) * best - 1e-6


@given(seed=SEEDS, k=st.integers(1, 4), lam=st.sampled_from([0.5, 2.0]))
def test_gist_reaches_its_guarantee_for_facility_location(seed: int, k: int, lam: float) -> None:
    pytest.importorskip("divsel", reason="the extra gist is not installed")
    x = np.random.default_rng(seed).normal(size=(8, 3)).astype(np.float32)
    alike = np.maximum(reference.cosines(x, x), 0)
    sel = Gist(lam=lam, utility="facility-location")(x, budget=k)

    def value(picks: Any) -> float:
        return reference.spread_value(x, picks, reference.covered(alike, picks), lam)

    best = max(value(picks) for size in range(1, k + 1) for picks in itertools.combinations(range(8), size))
    assert value(sel.indices.tolist()) >= (1 / 2 - 0.1) * best - 1e-6


def test_gist_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "divsel", None)  # As Python marks what cannot be imported.
    with pytest.raises(InputError, match=r"Gist: the package divsel.*pip install 'qads\[gist\]'"):
        Gist()(grid(0), budget=3)


def test_gist_says_distances_of_its_picks() -> None:
    pytest.importorskip("divsel", reason="the extra gist is not installed")
    x = np.array([[0.0], [1.0], [5.0]])
    sel = Gist(lam=100.0)(x, budget=2)
    assert sorted(sel.indices.tolist()) == [0, 2]
    assert sel.distances[1] == 5.0 and sel.nearest.tolist() == [-1, 0]
