"""Style-controlled influence, and the table of sources against anchor groups."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import qads
from qads.errors import AlignmentError, InputError
from qads.kernels.correlation import pearson, share_between

AGGREGATES = ("positive_gain", "mean_gain", "win_rate", "relative")


def scored(gains, *, groups=None, pending=None):
    gains = np.asarray(gains, np.float64)
    n, m = gains.shape
    zero = np.linspace(-3, -1, m)
    return qads.Influence(
        gains + zero,
        zero,
        tuple(f"r{i}" for i in range(n)),
        tuple(f"a{j}" for j in range(m)),
        tuple(groups or ("t",) * m),
        left_out=pending,
    )


def pool_of(styles, problems=None):
    return qads.Pool.from_rows(
        qads.Row(id=f"r{i}", source=s, problem=f"What is {p}?", solution=f"It is {p}.", kind="cot")
        for i, (s, p) in enumerate(zip(styles, problems or range(len(styles)), strict=True))
    )


@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_quality_apart_from_style_is_by_the_aggregate_that_was_set(aggregate):
    gains = np.random.default_rng(0).normal(size=(8, 3))
    apart = qads.StyleControl(min_mates=2, aggregate=aggregate)(scored(gains), pool_of("s" * 8))
    assert apart.quality().tolist() == apart.quality(aggregate).tolist()
    assert (apart.quality() < 0).any() == (aggregate in ("mean_gain", "relative"))


def oracle(gains, styles, problems, min_mates):
    """The definition, one pair after the other."""
    apart = np.full(gains.shape, np.nan)
    for i, j in np.ndindex(*gains.shape):
        mates = [
            gains[k, j]
            for k in range(len(gains))
            if styles[k] == styles[i] and problems[k] != problems[i] and not np.isnan(gains[k, j])
        ]
        if len(mates) >= min_mates:
            apart[i, j] = gains[i, j] - np.mean(mates)
    return apart


@st.composite
def matrices(draw):
    """Gains of up to nine rows of three styles and six problems, some pairs not scored."""
    n, m, seed = draw(st.integers(1, 9)), draw(st.integers(1, 4)), draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    gains = np.where(rng.random((n, m)) < draw(st.floats(0, 0.5)), np.nan, rng.normal(size=(n, m)))
    return gains, ["xyz"[c] for c in rng.integers(0, 3, n)], rng.integers(0, 6, n).tolist()


@settings(max_examples=25, deadline=None)
@given(matrices(), st.integers(1, 4))
def test_gains_are_less_what_other_problems_of_the_style_give_on_the_anchor(matrix, min_mates):
    gains, styles, problems = matrix
    found = qads.StyleControl(min_mates=min_mates)(scored(gains), pool_of(styles, problems))
    np.testing.assert_allclose(found.gains, oracle(gains, styles, problems, min_mates), atol=1e-9)


@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_what_a_style_adds_to_an_anchor_changes_nothing(aggregate):
    rng = np.random.default_rng(0)
    gains, styles = rng.normal(size=(30, 6)), [f"s{i % 3}" for i in range(30)]
    styled = gains + rng.normal(size=(3, 6))[np.arange(30) % 3]
    pool, control = pool_of(styles), qads.StyleControl()
    a, b = (control(scored(g), pool) for g in (gains, styled))
    # A gain that is 0 but for rounding may fall on either side.
    np.testing.assert_allclose(a.gains, b.gains, atol=1e-12)
    np.testing.assert_allclose(a.quality(aggregate), b.quality(aggregate), atol=1e-12)


def test_controlled_mean_gain_is_the_part_within_styles():
    rng = np.random.default_rng(1)
    gains, styles = rng.normal(size=(24, 5)), [f"s{i % 2}" for i in range(24)]
    controlled = qads.StyleControl()(scored(gains), pool_of(styles)).quality()
    plain = gains.mean(axis=1)
    means = np.array([plain[i % 2 :: 2].mean() for i in range(24)])
    np.testing.assert_allclose(controlled, (plain - means) * 12 / 11)
    assert abs(controlled.mean()) < 1e-12


def test_a_row_with_too_few_mates_has_no_quality_and_the_others_keep_theirs():
    gains = np.random.default_rng(2).normal(size=(8, 3))
    found = qads.StyleControl(min_mates=4)(scored(gains), pool_of([*"aaaaaab", "c"]))
    assert np.isnan(found.quality("mean_gain")).tolist() == [False] * 6 + [True] * 2
    assert np.isnan(found.standard_error("mean_gain")).tolist() == [False] * 6 + [True] * 2


def test_rows_of_one_problem_are_no_mates():
    gains = np.random.default_rng(3).normal(size=(6, 3))
    found = qads.StyleControl(min_mates=1)(scored(gains), pool_of("aaaaaa", [7] * 6))
    assert np.isnan(found.gains).all()


def test_quality_is_the_mean_over_the_anchors_that_a_row_was_scored_on():
    gains, pending = np.random.default_rng(4).normal(size=(10, 4)), np.zeros((10, 4), bool)
    gains[:, 0], gains[2, 3], pending[2, 3] = np.nan, np.nan, True
    found = qads.StyleControl()(scored(gains, pending=pending), pool_of("a" * 10))
    assert found.n_scored.tolist() == [3, 3, 2, *[3] * 7]
    assert not found.pending.any()
    np.testing.assert_allclose(found.quality("mean_gain"), np.nanmean(found.gains, axis=1))


def test_controlled_scores_cannot_be_extended():
    infl = scored(np.zeros((6, 2)))
    assert qads.StyleControl()(infl, pool_of("aaaaaa")).origin is None


def test_rows_in_another_order_are_refused():
    pool = pool_of("aaaaaa")
    with pytest.raises(AlignmentError, match="6 candidates and 6 rows that are not the same"):
        qads.StyleControl()(scored(np.zeros((6, 2))), pool.take([1, 0, 2, 3, 4, 5]))


@pytest.mark.parametrize("setting", [{"min_mates": 0}, {"n_clusters": 0}, {"seed": -1}])
def test_settings_that_mean_nothing_are_refused(setting):
    with pytest.raises(InputError, match=next(iter(setting))):
        qads.StyleControl(**setting)


def written(i):
    """A prose row, a row of LaTeX and a program, in turns; all of one source."""
    shapes = (
        ("How many apples do {i} children with 2 each have?", "Each has 2. So they have {i} * 2 = {d} apples."),
        ("Let $x = {i}$. Find $2x$.", r"We have $2x = 2 \cdot {i} = \boxed{{{d}}}$."),
        ("Write a function of {i}.", "def double(x):\n    return 2 * x\n\nprint(double({i}))"),
    )
    problem, solution = (text.format(i=i, d=2 * i) for text in shapes[i % 3])
    return qads.Row(id=f"r{i}", source="mixed", problem=problem, solution=solution, kind="cot")


def test_styles_by_surface_are_found_within_one_source():
    pool = qads.Pool.from_rows(written(i) for i in range(10, 40))
    control = qads.StyleControl(by="surface", n_clusters=3)
    styles = control.styles(pool)
    assert [len({styles[i] for i in range(k, 30, 3)}) for k in range(3)] == [1, 1, 1]
    assert len(set(styles)) == 3
    assert styles == control.styles(pool)


def test_more_styles_than_different_rows_are_refused():
    row = written(1)
    same = qads.Pool.from_rows(
        qads.Row(id=str(i), source="s", problem=row.problem, solution=row.solution, kind="cot") for i in range(20)
    )
    with pytest.raises(InputError, match="n_clusters is 16, but the 20 scored rows have only 1 different"):
        qads.StyleControl(by="surface").styles(same)


def test_anchor_groups_are_means_with_their_errors_the_best_source_first():
    rng = np.random.default_rng(5)
    gains = rng.normal(size=(9, 5)) + np.array([0, 3, 0] * 3)[:, None]
    gains[4, :2] = np.nan
    groups = ["g", "g", "h", "h", "h"]
    found = qads.AnchorGroups.of(scored(gains, groups=groups), [f"s{i % 3}" for i in range(9)])
    assert found.sources[0] == "s1"
    assert (found.groups, found.n_anchors) == (("g", "h"), (2, 3))
    own = np.nanmean(gains[[1, 7]][:, :2], axis=1)
    cell = found.cells[0][0]
    assert cell.n_rows == 2
    assert (cell.gain, cell.standard_error) == pytest.approx((own.mean(), own.std(ddof=1) / np.sqrt(2)))
    assert found.overall[0].n_rows == 3
    assert found.greatest == max(abs(c.gain) for row in found.cells for c in row)


@pytest.mark.parametrize("aggregate", ["positive_gain", "mean_gain"])
def test_what_a_selection_is_worth_to_a_group_is_the_mean_over_its_rows_each_taken_for_one_of_its_source(aggregate):
    rng = np.random.default_rng(7)
    gains, sources = rng.normal(size=(12, 5)), np.array(["a", "b", "c"] * 4)
    gains[sources == "a", 2:] -= 9  # What helps the first group harms the second.
    gains[sources != "a", 2:] += 9
    found = qads.AnchorGroups.of(scored(gains, groups=["g", "g", "h", "h", "h"]), sources.tolist(), aggregate=aggregate)
    terms = np.maximum(gains, 0) if aggregate == "positive_gain" else gains
    chosen, pool = {"a": 36, "b": 4}, {"a": 100, "b": 200, "c": 100}
    p, u = np.array([0.9, 0.1, 0]), np.array([0.25, 0.5, 0.25])
    for worth, columns in zip(found.worth(chosen, pool), (slice(0, 2), slice(2, 5)), strict=True):
        of = [terms[sources == name, columns].mean(axis=1) for name in "abc"]
        mean, variance = np.array([each.mean() for each in of]), np.array([each.var(ddof=1) / 4 for each in of])
        assert (worth.chosen, worth.pool) == pytest.approx((p @ mean, u @ mean))
        of_random_rows = u @ (mean - u @ mean) ** 2 / 40 * (1 - 40 / 400)
        half = 1.96 * np.sqrt((p - u) ** 2 @ variance + of_random_rows)
        assert (worth.low, worth.high) == pytest.approx((worth.difference - half, worth.difference + half), abs=1e-3)
        assert (worth.best, worth.best_quality) == ("abc"[mean.argmax()], pytest.approx(mean.max()))
    assert [each.high < 0 for each in found.worth(chosen, pool)] == [False, True]
    assert [each.difference for each in found.worth(pool, pool)] == [0, 0]
    # What was written before there were qualities tells nothing; another shape is no table.
    told = found.as_json()
    assert qads.AnchorGroups.from_json({k: v for k, v in told.items() if k != "qualities"}).worth(chosen, pool) == ()
    with pytest.raises(ValueError, match="another shape"):
        qads.AnchorGroups.from_json(told | {"qualities": [[]]})


def test_of_random_rows_few_are_called_better_or_worse_than_random_rows():
    rng = np.random.default_rng(8)
    names, sizes = [f"s{i}" for i in range(12)], rng.integers(50, 900, 12)
    sources, means = np.repeat(names, sizes), rng.normal(size=(12, 3))
    gains = np.repeat(means, 40, axis=0) + rng.normal(size=(480, 3))
    found = qads.AnchorGroups.of(
        scored(gains, groups=["g", "h", "i"]), np.repeat(names, 40).tolist(), aggregate="mean_gain"
    )
    drawn = [Counter(rng.choice(sources, 60, replace=False).tolist()) for _ in range(300)]
    told = [worth for rows in drawn for worth in found.worth(rows, Counter(sources.tolist()))]
    apart = np.mean([worth.high < 0 or worth.low > 0 for worth in told])
    assert 0.01 < apart < 0.08


def test_rows_of_sources_that_were_not_scored_are_left_out_and_not_most_of_them():
    found = qads.AnchorGroups.of(scored(np.eye(6)), ["a", "a", "a", "b", "b", "b"])
    known, half, most = (found.worth({"a": 2, "new": n}, {"a": 5, "b": 5})[0] for n in (0, 2, 3))
    assert (half.chosen, half.low) == (known.chosen, known.low)
    assert np.isnan([most.chosen, most.pool, most.low, most.high]).all()
    assert (most.best, most.n_anchors) == (known.best, 6)
    # The best source is one whose rows there are.
    gone = found.worth({"b": 2}, {"a": 0, "b": 5})[0]
    assert gone.best == "b"
    assert found.worth({"new": 1}, {"new": 2})[0].best == ""


def test_a_source_with_one_scored_row_has_the_spread_of_the_others_and_silences_none():
    rng = np.random.default_rng(9)
    gains = rng.normal(size=(9, 4))
    several = qads.AnchorGroups.of(scored(gains[:8]), ["a"] * 4 + ["b"] * 4).worth({"a": 5}, {"a": 50, "b": 50})[0]
    found = qads.AnchorGroups.of(scored(gains), ["a"] * 4 + ["b"] * 4 + ["c"])
    with_one = found.worth({"a": 5}, {"a": 50, "b": 50, "c": 1})[0]
    assert (with_one.low, with_one.high) == pytest.approx((several.low, several.high), abs=0.05)
    alone = qads.AnchorGroups.of(scored(gains[:2]), ["a", "b"]).worth({"a": 5}, {"a": 50, "b": 50})[0]
    assert np.isfinite(alone.chosen) and np.isnan([alone.low, alone.high]).all()


def test_the_table_comes_back_from_json_with_what_is_not_known():
    gains = np.random.default_rng(6).normal(size=(4, 3))
    gains[3] = np.nan
    found = qads.AnchorGroups.of(scored(gains), ["a", "a", "b", "c"])
    written = json.dumps(found.as_json(), allow_nan=False)
    again = qads.AnchorGroups.from_json(json.loads(written))
    assert again.as_json() == found.as_json()
    assert np.isnan(again.cells[2][0].gain) and again.cells[2][0].n_rows == 0
    assert np.isnan(again.cells[0][0].standard_error)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000))
def test_the_share_between_groups_is_that_of_an_analysis_of_variance(seed):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 4, 30)
    values = rng.normal(size=30) + codes * rng.normal()
    groups = [values[codes == c] for c in np.unique(codes)]
    within = sum(((g - g.mean()) ** 2).sum() for g in groups) / (30 - len(groups))
    assert share_between(values, codes) == pytest.approx(1 - within / values.var(ddof=1))


def test_the_share_between_groups_is_one_where_only_the_group_counts_and_about_none_by_chance():
    codes = np.arange(3000) % 300
    noise = np.random.default_rng(7).normal(size=3000)
    assert share_between(codes * 1.0, codes) == pytest.approx(1)
    assert abs(share_between(noise, codes)) < 0.05
    assert np.isnan(share_between(np.ones(9), codes[:9] % 3))
    assert np.isnan(share_between(noise[:9], np.arange(9)))


@pytest.mark.parametrize("by", ["source", "surface"])
def test_on_real_scores_what_the_style_gives_is_gone(by):
    # Scores of 208 real rows by SmolLM2-135M, measured for the choice of the aggregate.
    results = Path(__file__).parents[2] / "experiments" / "results" / "aggregates"
    found = qads.Influence.from_table(pq.read_table(results / "influence.parquet"))
    sources = [name.split("-")[0] for name in found.candidate_ids]
    styles = sources if by == "source" else [f"{len(name)}" for name in sources]
    pool = qads.Pool.from_rows(
        qads.Row(id=name, source=style, problem=name, solution="It is so.", kind="cot")
        for name, style in zip(found.candidate_ids, styles, strict=True)
    )
    apart = qads.StyleControl()(found, pool)
    plain, controlled = found.quality("mean_gain"), apart.quality("mean_gain")
    codes = np.unique(styles, return_inverse=True)[1]
    assert share_between(plain, codes) > 0.3
    assert share_between(controlled, codes) < 0
    assert 0 < pearson(plain, controlled) < 1
