"""Laws of K-center Greedy with quality, at its public face.

Indices are compared exactly. On *grids* (small integers) all squared distances are exact in float64, so the
oracle sees the very same ties. On *clouds* (normal draws, distinct rows or exact duplicates) nothing else
comes within rounding of a tie. Where hypothesis chooses every number, a pick must be best up to rounding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import reference
from qads.errors import InputError
from qads.selection import Constraints, KCenterGreedy, TopQuality

SEEDS = st.integers(0, 10_000)
RULES = st.one_of(
    st.fixed_dictionaries({"combine": st.just("product"), "alpha": st.sampled_from((0.0, 0.5, 1.0, 2.0, 3.7))}),
    st.fixed_dictionaries({"combine": st.just("sum"), "w": st.sampled_from((0.0, 0.25, 0.5, 1.0))}),
)
SCALES = st.sampled_from(("rank", "minmax", "none"))


@st.composite
def starts(draw: st.DrawFn, most: int) -> dict[str, Any]:
    if draw(st.booleans()):
        return {"start": "quality"}
    return {"start": "random", "n_start": draw(st.integers(1, most)), "seed": draw(st.integers(0, 99))}


def grid(seed: int, n: int = 20, d: int = 3, span: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).integers(-span, span + 1, size=(n, d)).astype(np.float64)


def cloud(seed: int, n: int = 24, d: int = 9) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


def qualities(seed: int, n: int, kind: str) -> np.ndarray | None:
    rng = np.random.default_rng(seed + 1)
    return {
        "missing": None,
        "zero": np.zeros(n),
        "constant": np.full(n, 0.3),
        "few": rng.integers(0, 4, size=n) / 4,
        "distinct": rng.permutation(n) / n,
        "any": rng.random(n),
    }[kind]


QUALITIES = st.sampled_from(("missing", "zero", "constant", "few", "distinct", "any"))


@given(data=st.data(), seed=SEEDS, kind=QUALITIES, rule=RULES, scale=SCALES)
def test_picks_are_the_oracles_on_grids(data: st.DataObject, seed: int, kind: str, rule: Any, scale: Any) -> None:
    x = grid(seed)
    quality = qualities(seed, len(x), kind)
    k = data.draw(st.integers(1, len(x)))
    begin = data.draw(starts(most=k))
    sel = KCenterGreedy(**rule, **begin, scale=scale)(x, quality, budget=k)
    expected = reference.kcenter_greedy(x, quality, budget=k, **rule, **begin, scale=scale)
    np.testing.assert_array_equal(sel.indices, expected.indices)
    np.testing.assert_array_equal(sel.distances, expected.distances)
    np.testing.assert_array_equal(sel.nearest, expected.nearest)
    np.testing.assert_array_equal(sel.gains, expected.gains)


@given(data=st.data(), seed=SEEDS, kind=QUALITIES, rule=RULES, scale=SCALES, five_fold=st.booleans())
def test_picks_are_the_oracles_under_the_cosine(
    data: st.DataObject, seed: int, kind: str, rule: Any, scale: Any, five_fold: bool
) -> None:
    x = np.repeat(cloud(seed, n=5), 5, axis=0) if five_fold else cloud(seed)
    quality = qualities(seed, len(x), kind)
    begin = data.draw(starts(most=len(x)))
    sel = KCenterGreedy(**rule, **begin, scale=scale, metric="cosine")(x, quality, budget=len(x))
    expected = reference.kcenter_greedy(x, quality, budget=len(x), **rule, **begin, scale=scale, metric="cosine")
    np.testing.assert_array_equal(sel.indices, expected.indices)
    np.testing.assert_array_equal(sel.nearest, expected.nearest)
    np.testing.assert_allclose(sel.distances, expected.distances, rtol=1e-11)
    np.testing.assert_allclose(sel.gains, expected.gains, rtol=1e-11)


FLOATS = st.floats(-1e6, 1e6, width=32, allow_subnormal=False)


@given(data=st.data(), rule=RULES)
def test_every_pick_is_best_whatever_the_numbers(data: st.DataObject, rule: Any) -> None:
    n, d = data.draw(st.integers(1, 10)), data.draw(st.integers(1, 9))
    x = data.draw(hnp.arrays(np.float64, (n, d), elements=FLOATS))
    quality = data.draw(hnp.arrays(np.float64, n, elements=st.floats(0, 1, width=32, allow_subnormal=False)))
    picks = KCenterGreedy(**rule, scale="none")(x, quality, budget=n).indices.tolist()
    assert sorted(picks) == list(range(n))
    for step in range(1, n):
        score = reference.kcenter_scores(x, quality, picks[:step], **rule)
        assert score[picks[step]] >= score.max() * (1 - 1e-12)


@given(seed=SEEDS, kind=QUALITIES, rule=RULES, metric=st.sampled_from(("euclidean", "cosine")))
def test_distance_and_nearest_are_those_of_the_nearest_earlier_pick(
    seed: int, kind: str, rule: Any, metric: Any
) -> None:
    x = cloud(seed)
    sel = KCenterGreedy(**rule, metric=metric)(x, qualities(seed, len(x), kind), budget=15)
    assert (sel.distances[0], sel.nearest[0]) == (np.inf, -1)
    for step in range(1, 15):
        d, at = reference.nearest_pick(x, sel.indices[:step].tolist(), metric)
        assert sel.nearest[step] == at[sel.indices[step]]
        assert sel.distances[step] == pytest.approx(d[sel.indices[step]], rel=1e-10)


@given(seed=SEEDS, alpha=st.sampled_from((0.0, 0.5, 1.0, 2.0)), scale=SCALES)
def test_the_gain_is_distance_times_quality(seed: int, alpha: float, scale: Any) -> None:
    x, quality = cloud(seed), np.random.default_rng(seed).random(24)
    sel = KCenterGreedy(alpha=alpha, scale=scale)(x, quality, budget=24)
    q = reference.scaled(quality, scale)[sel.indices]
    np.testing.assert_allclose(sel.gains[1:], (q**alpha * sel.distances)[1:], rtol=1e-14)
    assert sel.gains[0] == q[0] == q.max()
    np.testing.assert_array_equal(sel.quality, quality[sel.indices])


# Metamorphic laws: change the input in a way that must not matter.


@given(seed=SEEDS, rule=RULES)
def test_permuting_the_rows_permutes_the_selection(seed: int, rule: Any) -> None:
    x, quality = cloud(seed), qualities(seed, 24, "distinct")
    assert quality is not None
    order = np.random.default_rng(seed).permutation(24)
    sel = KCenterGreedy(**rule)(x, quality, budget=12)
    moved = KCenterGreedy(**rule)(x[order], quality[order], budget=12)
    np.testing.assert_array_equal(order[moved.indices], sel.indices)
    np.testing.assert_array_equal(moved.distances, sel.distances)
    np.testing.assert_array_equal(moved.nearest, sel.nearest)


@given(seed=SEEDS, rule=RULES, factor=st.sampled_from((1e-4, 0.3, 7.0, 1e4)))
def test_moving_turning_and_scaling_the_space_changes_only_distances(seed: int, rule: Any, factor: float) -> None:
    rng = np.random.default_rng(seed)
    x, quality = cloud(seed), qualities(seed, 24, "any")
    rotation = np.linalg.qr(rng.normal(size=(9, 9)))[0]
    sel = KCenterGreedy(**rule)(x, quality, budget=24)
    moved = KCenterGreedy(**rule)(factor * (x @ rotation) + 10 * factor * rng.normal(size=9), quality, budget=24)
    np.testing.assert_array_equal(moved.indices, sel.indices)
    np.testing.assert_array_equal(moved.nearest, sel.nearest)
    np.testing.assert_allclose(moved.distances, factor * sel.distances, rtol=1e-10)


@given(seed=SEEDS, offset=st.integers(-1000, 1000))
def test_moving_a_grid_changes_nothing_though_everything_ties(seed: int, offset: int) -> None:
    x = grid(seed)
    sel, moved = (KCenterGreedy()(rows, budget=20) for rows in (x, x + offset))
    np.testing.assert_array_equal(moved.indices, sel.indices)
    np.testing.assert_array_equal(moved.distances, sel.distances)


@given(seed=SEEDS, rule=RULES, factor=st.floats(1e-6, 1e6), scale=st.sampled_from(("rank", "minmax")))
def test_scaling_quality_changes_nothing(seed: int, rule: Any, factor: float, scale: Any) -> None:
    x, quality = cloud(seed), np.random.default_rng(seed).normal(size=24)
    sel = KCenterGreedy(**rule, scale=scale)(x, quality, budget=24)
    scaled = KCenterGreedy(**rule, scale=scale)(x, factor * quality, budget=24)
    np.testing.assert_array_equal(scaled.indices, sel.indices)
    np.testing.assert_allclose(scaled.gains, sel.gains, rtol=1e-9, atol=1e-12)


@given(
    seed=SEEDS,
    alpha=st.sampled_from((0.5, 1.0, 3.7)),
    scale=st.sampled_from(("rank", "minmax")),
    sign=st.sampled_from((1, -1)),
)
def test_excluded_rows_are_as_if_they_were_not_there(seed: int, alpha: float, scale: Any, sign: int) -> None:
    x, quality = cloud(seed, n=40), sign * np.random.default_rng(seed).random(40)
    out = np.random.default_rng(seed + 1).choice(40, 25, replace=False)
    kept = np.setdiff1d(np.arange(40), out)
    select = KCenterGreedy(scale=scale, alpha=alpha)
    alone = select(x[kept], quality[kept], budget=8)
    quality[out] = 0.0  # Of rows without a quality nothing is known; they must not count as the best or the worst.
    found = select(x, quality, budget=8, constraints=Constraints(exclude=out))
    assert found.indices.tolist() == kept[alone.indices].tolist()
    np.testing.assert_allclose(found.gains, alone.gains)


@given(seed=SEEDS, rule=RULES)
def test_only_the_order_of_quality_counts_under_rank(seed: int, rule: Any) -> None:
    x, quality = cloud(seed), np.random.default_rng(seed).normal(size=24)
    sel, bent = (KCenterGreedy(**rule)(x, q, budget=24) for q in (quality, np.exp(3 * quality) - 5))
    np.testing.assert_array_equal(bent.indices, sel.indices)
    np.testing.assert_array_equal(bent.gains, sel.gains)


@given(seed=SEEDS, kind=QUALITIES, scale=SCALES)
def test_alpha_zero_is_no_quality_at_all_after_the_same_start(seed: int, kind: str, scale: Any) -> None:
    x, quality = cloud(seed), qualities(seed, 24, kind)
    begin: dict[str, Any] = {"start": "random", "n_start": 2, "seed": seed}
    sel = KCenterGreedy(alpha=0.0, scale=scale, **begin)(x, quality, budget=24)
    plain = KCenterGreedy(**begin)(x, budget=24)
    np.testing.assert_array_equal(sel.indices, plain.indices)
    np.testing.assert_array_equal(sel.gains, plain.gains)


@given(seed=SEEDS, quality_seed=SEEDS)
def test_w_zero_is_plain_kcenter(seed: int, quality_seed: int) -> None:
    x, quality = cloud(seed), np.random.default_rng(quality_seed).random(24)
    total, plain = KCenterGreedy(combine="sum", w=0.0), KCenterGreedy(alpha=0.0)
    np.testing.assert_array_equal(total(x, quality, budget=24).indices, plain(x, quality, budget=24).indices)


@given(seed=SEEDS, kind=st.sampled_from(("constant", "few", "any")))
def test_w_one_is_top_quality(seed: int, kind: str) -> None:
    x, quality = cloud(seed), qualities(seed, 24, kind)
    total = KCenterGreedy(combine="sum", w=1.0)(x, quality, budget=24)
    np.testing.assert_array_equal(total.indices, TopQuality()(x, quality, budget=24).indices)


@given(seed=SEEDS, scale=SCALES)
def test_constant_quality_is_no_quality(seed: int, scale: Any) -> None:
    x = cloud(seed)
    sel = KCenterGreedy(scale=scale)(x, np.full(24, 0.3), budget=24)
    np.testing.assert_array_equal(sel.indices, KCenterGreedy()(x, budget=24).indices)


@given(seed=SEEDS, data=st.data(), rule=RULES)
def test_a_smaller_budget_is_a_prefix(seed: int, data: st.DataObject, rule: Any) -> None:
    x, quality = grid(seed), qualities(seed, 20, "few")
    k = data.draw(st.integers(1, 20))
    method = KCenterGreedy(**rule, **data.draw(starts(most=k)))
    whole, part = method(x, quality, budget=20), method(x, quality, budget=k)
    for name in ("indices", "gains", "distances", "nearest", "quality"):
        np.testing.assert_array_equal(getattr(whole.head(k), name), getattr(part, name))


@given(seed=SEEDS, rule=RULES)
def test_the_cosine_ignores_the_length_of_a_row(seed: int, rule: Any) -> None:
    rng = np.random.default_rng(seed)
    x, quality = cloud(seed), rng.random(24)
    method = KCenterGreedy(**rule, metric="cosine")
    sel = method(x, quality, budget=24)
    stretched = method(x * np.exp(rng.normal(size=(24, 1))), quality, budget=24)
    np.testing.assert_array_equal(stretched.indices, sel.indices)
    np.testing.assert_allclose(stretched.distances, sel.distances, rtol=1e-10)


# What K-center Greedy promises.


@given(seed=SEEDS, n=st.integers(1, 9), span=st.integers(0, 4), data=st.data())
def test_plain_kcenter_is_within_twice_the_best_radius(seed: int, n: int, span: int, data: st.DataObject) -> None:
    x = grid(seed, n=n, d=2, span=span)
    k = data.draw(st.integers(1, n))
    picks = KCenterGreedy()(x, budget=k).indices.tolist()
    assert reference.covering_radius(x, picks) <= 2 * reference.smallest_covering_radius(x, k) * (1 + 1e-12)


@given(seed=SEEDS)
def test_plain_distances_never_grow_and_each_is_the_radius_before(seed: int) -> None:
    x = cloud(seed)
    sel = KCenterGreedy()(x, budget=24)
    assert (np.diff(sel.distances) <= 0)[1:].all()
    for step in range(1, 24):
        radius = reference.covering_radius(x, sel.indices[:step].tolist())
        assert sel.distances[step] == pytest.approx(radius, rel=1e-12)


def test_rows_of_no_quality_come_last_and_in_order() -> None:
    x = cloud(0)
    quality = np.where(np.arange(24) % 2, 0.0, 1.0)
    picks = KCenterGreedy(scale="none")(x, quality, budget=24).indices.tolist()
    assert sorted(picks[:12]) == list(range(0, 24, 2))
    assert picks[12:] == list(range(1, 24, 2))


# Starting.


def test_the_first_pick_has_the_highest_quality_and_the_lowest_row_of_equals() -> None:
    x = cloud(0, n=5)
    for alpha in (0.0, 1.0):
        assert KCenterGreedy(alpha=alpha)(x, [0.1, 0.7, 0.2, 0.7, 0.3], budget=3).indices[0] == 1


def test_without_quality_the_first_pick_is_row_zero_and_all_count_as_one() -> None:
    sel = KCenterGreedy()(cloud(0), budget=3)
    assert sel.indices[0] == 0
    assert sel.quality.tolist() == [1.0, 1.0, 1.0]
    assert sel.gains[0] == 1.0


def test_random_first_rows_are_distinct_and_part_of_the_selection() -> None:
    x = cloud(0)
    sel = KCenterGreedy(start="random", n_start=10, seed=3)(x, budget=12)
    first = sel.indices[:10]
    assert len(sel) == 12 and len(set(sel.indices.tolist())) == 12
    assert np.isnan(sel.gains[:10]).all() and not np.isnan(sel.gains[10:]).any()
    np.testing.assert_array_equal(first, np.random.default_rng(3).choice(24, 10, replace=False))
    np.testing.assert_array_equal(KCenterGreedy(start="random", n_start=10, seed=3)(x, budget=10).indices, first)


def test_another_seed_draws_other_first_rows() -> None:
    first = {KCenterGreedy(start="random", seed=seed)(cloud(0), budget=1).indices[0] for seed in range(20)}
    assert len(first) > 5


def test_more_first_rows_than_budget_are_refused() -> None:
    with pytest.raises(InputError, match=r"KCenterGreedy: n_start is 6 but the budget is 5.*at most the budget"):
        KCenterGreedy(start="random", n_start=6)(cloud(0), budget=5)


def test_the_first_pick_may_be_a_row_by_number() -> None:
    sel = KCenterGreedy(start=7)(cloud(0), np.arange(24.0), budget=3)
    assert sel.indices[0] == 7
    assert np.isnan(sel.gains[0]) and not np.isnan(sel.gains[1:]).any()
    with pytest.raises(InputError, match=r"start is row 24 but the pool has 24; it must lie in 0\.\.23"):
        KCenterGreedy(start=24)(cloud(0), budget=3)


# Given rows.


@given(seed=SEEDS, rule=RULES, vectors=st.booleans(), quality=QUALITIES)
def test_after_given_rows_picks_are_the_oracles(seed: int, rule: Any, vectors: bool, quality: str) -> None:
    x, q = grid(seed), qualities(seed, 20, quality)
    given_rows = np.random.default_rng(seed).choice(20, 3, replace=False)
    centres = x[given_rows] + 0.5 if vectors else given_rows
    sel = KCenterGreedy(**rule, scale="none")(x, q, budget=17, given=centres)
    expected = reference.kcenter_after(x, np.ones(20) if q is None else q, centres, budget=17, **rule)
    np.testing.assert_array_equal(sel.indices, expected.indices)
    np.testing.assert_array_equal(sel.gains, expected.gains)
    np.testing.assert_array_equal(sel.distances, expected.distances)
    np.testing.assert_array_equal(sel.nearest, expected.nearest)


@given(seed=SEEDS, rule=RULES, k=st.integers(2, 23))
def test_given_the_first_picks_the_next_ones_follow(seed: int, rule: Any, k: int) -> None:
    # What a trained-on selection leaves is what a larger budget would have added.
    x, quality = cloud(seed), qualities(seed, 24, "any")
    whole = KCenterGreedy(**rule)(x, quality, budget=24)
    rest = KCenterGreedy(**rule)(x, quality, budget=24 - k, given=whole.indices[:k])
    np.testing.assert_array_equal(rest.indices, whole.indices[k:])
    np.testing.assert_array_equal(rest.gains, whole.gains[k:])
    assert not set(rest.indices.tolist()) & set(whole.indices[:k].tolist())


def test_none_given_is_the_same_as_nothing_given() -> None:
    x = cloud(0)
    np.testing.assert_array_equal(KCenterGreedy()(x, budget=9, given=[]).indices, KCenterGreedy()(x, budget=9).indices)


@pytest.mark.parametrize(
    ("given_rows", "message"),
    [
        ([3, 24], r"given names row 24, but the pool has the rows 0\.\.23"),
        ([-1], r"given names row -1, but"),
        ([3, 5, 3], r"given names row 3 twice"),
        (np.zeros(24, dtype=bool), r"given has shape \(24,\) and type bool; .*np\.flatnonzero"),
        ([0.5], r"given has shape \(1,\) and type float64"),
        (np.ones((2, 8)), r"the given vectors have 8 dimensions but the embeddings 9"),
        (np.full((2, 9), np.nan), r"row 0 of the given vectors holds nan"),
        (list(range(20)), r"only 4 rows can be selected: 24 in the pool − 20 given; the budget is 5"),
    ],
)
def test_what_cannot_be_given_is_refused(given_rows: Any, message: str) -> None:
    with pytest.raises(InputError, match=f"^KCenterGreedy: {message}"):
        KCenterGreedy()(cloud(0), budget=5, given=given_rows)


def test_given_rows_are_a_start_and_so_exclude_another() -> None:
    for begin in ({"start": "random"}, {"start": 3}):
        with pytest.raises(InputError, match="given rows are a start already; leave it at 'quality'"):
            KCenterGreedy(**begin)(cloud(0), budget=5, given=[1])


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"start": -1}, r"start is row -1; rows count from 0"),
        ({"alpha": -1.0}, r"alpha is -1\.0; it must be a finite number"),
        ({"alpha": float("nan")}, r"alpha is nan; it must"),
        ({"alpha": float("inf")}, r"alpha is inf; it must"),
        ({"w": -0.1}, r"w is -0\.1; it must lie in \[0, 1\]"),
        ({"w": 1.5}, r"w is 1\.5; it must lie in \[0, 1\]"),
        ({"w": float("nan")}, r"w is nan; it must lie in \[0, 1\]"),
        ({"start": "random", "n_start": 0}, r"n_start is 0; there must be one first row"),
        ({"n_start": 2}, r"n_start is 2; it must be 1, since only start='random' uses it"),
        ({"seed": -1}, r"seed is -1; it must be a whole number ≥ 0"),
    ],
)
def test_settings_out_of_range_are_refused_by_name_and_value(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^KCenterGreedy: {message}"):
        KCenterGreedy(**setting)


def test_a_first_row_may_be_a_number_of_numpy(no_shape_checks: None) -> None:
    assert KCenterGreedy(start=np.int64(3)) == KCenterGreedy(start=3)
    with pytest.raises(InputError, match="start is row -1"):
        KCenterGreedy(start=np.int64(-1))


@pytest.mark.parametrize("name", ["combine", "metric", "scale", "start"])
def test_a_misspelt_choice_is_refused(name: str) -> None:
    # A run-time type checker, where one is installed, objects before the method itself does.
    with pytest.raises((InputError, TypeError), match="cosin3"):
        KCenterGreedy(**{name: "cosin3"})


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_row_without_direction_is_refused_under_the_cosine(dtype: type) -> None:
    x = cloud(0).astype(dtype)
    x[7] = 0
    with pytest.raises(InputError, match=r"KCenterGreedy: row 7 .* is zero.*must have a direction"):
        KCenterGreedy(metric="cosine")(x, budget=2)
    assert len(KCenterGreedy()(x, budget=24)) == 24


def test_the_shortest_rows_of_float32_have_a_direction() -> None:
    x = np.array([[1e-45, 0.0], [1.0, 0.0], [0.0, 1e30]], dtype=np.float32)
    assert KCenterGreedy(metric="cosine")(x, budget=3).distances.tolist() == [np.inf, 1.0, 0.0]


def test_negative_quality_is_refused_only_where_it_would_be_used_as_it_is() -> None:
    x, quality = cloud(0), np.linspace(1.0, -1.3, 24)
    with pytest.raises(InputError, match=r"KCenterGreedy: quality of row 23 is -1\.3; with scale='none'"):
        KCenterGreedy(scale="none")(x, quality, budget=2)
    for scale in ("rank", "minmax"):
        assert KCenterGreedy(scale=scale)(x, quality, budget=2).indices[0] == 0


def test_a_power_of_quality_beyond_float64_is_refused() -> None:
    with pytest.raises(InputError, match=r"KCenterGreedy: quality of row 1 to the power 40 is inf; it must"):
        KCenterGreedy(scale="none", alpha=40.0)([[0.0], [1.0]], [1.0, 1e40], budget=2)


def test_a_negative_quality_is_told_by_its_row_whatever_is_excluded() -> None:
    x, quality = cloud(0, n=6), np.array([-9.0, 1.0, 2.0, -1.0, 3.0, 4.0])
    with pytest.raises(InputError, match="quality of row 3 is -1;"):
        KCenterGreedy(scale="none")(x, quality, budget=2, constraints=Constraints(exclude=[0, 1]))
    chosen = KCenterGreedy(scale="none")(x, quality, budget=2, constraints=Constraints(exclude=[0, 3]))
    assert not {0, 3} & {*chosen.indices.tolist()}
