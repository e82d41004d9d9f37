"""Laws of the analysis of sources: what is counted, what is estimated, and what cannot be told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

import reference
from analyze.samples import make_pool, make_scores
from qads import AnalysisSettings, Influence, RowScores, analyze_sources
from qads.analyze.agreement import compare_models, reliability
from qads.analyze.diversity import measure_diversity
from qads.errors import AlignmentError, InputError
from qads.kernels.tails import best_without_each
from qads.report import analysis_findings

FAST = AnalysisSettings(draws=200, diversity_draws=3, diversity_rows=20)
SIZES = {"a": 120, "b": 60, "c": 90}
MEANS = {"a": 0.3, "b": 0.1, "c": 0.2}


def by_name(found):
    return {source.name: source for source in found.sources}


def test_every_row_is_counted_once_and_flags_add_up():
    pool = make_pool(SIZES)
    flag = np.random.default_rng(0).random(len(pool)) < 0.3
    found = analyze_sources(pool, tokens=np.arange(len(pool)), flags={"odd": flag}, settings=FAST)
    assert {s.name: s.n_rows for s in found.sources} == SIZES
    assert sum(s.flags["odd"] for s in found.sources) == flag.sum()
    assert sum(s.tokens.total for s in found.sources) == sum(range(len(pool)))
    assert all(sum(s.kinds.values()) == s.n_rows for s in found.sources)
    assert all((s.quality, s.examples, s.diversity) == ((), (), None) for s in found.sources)
    assert {s.steps.median for s in found.sources} == {2.0}


def test_means_are_of_the_scored_rows_and_the_ranking_follows_them():
    pool = make_pool(SIZES)
    scores = make_scores(pool, MEANS)
    found = analyze_sources(pool, scores=scores, settings=FAST)
    codes = pool.source_codes[scores.rows]
    for name, source in by_name(found).items():
        (q,) = source.quality
        mine = scores.quality[codes == pool.sources.index(name)]
        assert q.n_scored == len(mine) == 40
        assert q.mean.value == pytest.approx(mine.mean())
        assert q.quartiles == pytest.approx(np.quantile(mine, [0, 0.25, 0.5, 0.75, 1]))
        assert q.mean.low < q.mean.value < q.mean.high
    assert [s.name for s in found.sources] == ["a", "c", "b"]
    assert [s.quality[0].rank for s in found.sources] == [1, 2, 3]
    assert [(s.quality[0].rank_low, s.quality[0].rank_high) for s in found.sources] == [(1, 1), (2, 2), (3, 3)]


def test_sources_that_are_alike_are_not_told_apart():
    pool = make_pool(SIZES)
    found = analyze_sources(pool, scores=make_scores(pool, dict.fromkeys(SIZES, 0.2)), settings=FAST)
    assert all((s.quality[0].rank_low, s.quality[0].rank_high) == (1, 3) for s in found.sources)
    assert {s.quality[0].tier for s in found.sources} == {1}


def test_a_source_that_was_scored_on_few_anchors_is_no_surer():
    pool = make_pool(dict.fromkeys("abc", 20))
    terms = np.random.default_rng(0).normal(0.05, 0.1, (60, 64))
    terms[pool.source_codes == 0, 3:] = np.nan  # About one draw in twenty has none of the three.
    scores = RowScores(model="m", rows=np.arange(60), terms=terms)
    found = analyze_sources(pool, scores=scores, settings=AnalysisSettings(draws=500, diversity_draws=1))
    assert [(s.quality[0].rank_low, s.quality[0].rank_high) for s in found.sources] == [(1, 3)] * 3


def test_scores_of_an_influence_have_its_quality_whatever_a_rule_left_out():
    rng = np.random.default_rng(0)
    one_shot = rng.random((20, 16))
    names, anchors = tuple(map(str, range(20))), tuple(map(str, range(16)))
    whole = Influence(one_shot, np.full(16, 0.3), names, anchors, ("s", "t") * 8)
    rows = np.arange(20) * 2
    scores = RowScores.of(whole, rows, model="m", aggregate="mean_gain")
    np.testing.assert_allclose(scores.quality, whole.quality("mean_gain"))
    assert (scores.anchors, scores.groups) == (anchors, ("s", "t") * 8) and not scores.facts["stopped_early"]
    one_shot[5:, 8:] = np.nan
    stopped = Influence(one_shot, np.full(16, 0.3), names, anchors, ("s", "t") * 8, left_out=np.isnan(one_shot))
    scores = RowScores.of(stopped, rows, model="m", facts={"affected": 1})
    np.testing.assert_array_equal(scores.quality, stopped.quality())
    assert scores.terms.shape == (20, 16) and scores.anchors == anchors
    assert not np.allclose(scores.quality, np.nanmean(scores.terms, axis=1))
    np.testing.assert_array_equal(scores.take(np.arange(3, 9)).pending, stopped.pending[3:9])
    assert scores.facts == {"aggregate": "positive_gain", "anchors": 16, "stopped_early": True, "affected": 1}


def test_a_pair_that_a_rule_left_out_makes_nothing_surer():
    pool = make_pool(SIZES)
    whole = make_scores(pool, MEANS, noise=(0.01, 0.1, 0.01))
    terms, pending = whole.terms.copy(), np.zeros(whole.terms.shape, bool)
    for row in range(0, len(terms), 3):  # A third of the rows ended half-way.
        terms[row, 6:], pending[row, 6:] = np.nan, True
    stopped = replace(whole, terms=terms, pending=pending)
    for one, other in zip(
        *(analyze_sources(pool, scores=s, settings=FAST).sources for s in (whole, stopped)), strict=True
    ):
        (q,), (p,) = one.quality, other.quality
        assert p.mean.value == pytest.approx(q.mean.value, abs=0.02)
        assert p.mean.high - p.mean.low > 0.8 * (q.mean.high - q.mean.low)
        assert p.marginal is not None and np.isfinite(p.marginal.low)
    (model,) = analyze_sources(pool, scores=stopped, settings=FAST).models
    assert model.reliability is None and model.n_anchors == 12


def test_one_anchor_tells_nothing_of_others():
    pool = make_pool(SIZES)
    whole = make_scores(pool, MEANS)
    one = RowScores(model="m", rows=whole.rows, terms=whole.terms[:, :1])
    found = analyze_sources(pool, scores=one, settings=FAST)
    assert found.models[0].ranking is None
    assert all(np.isnan(s.quality[0].mean.low) and s.quality[0].rank is None for s in found.sources)
    assert "one anchor tells nothing of others" in analysis_findings(found)[0]
    fixed = analyze_sources(pool, scores=one, settings=AnalysisSettings(draws=200, draw_anchors=False))
    assert fixed.models[0].ranking is not None and np.isfinite(fixed.sources[0].quality[0].mean.low)


def test_anchors_that_were_drawn_widen_the_intervals():
    pool = make_pool(SIZES)
    scores = make_scores(pool, MEANS, noise=(0.01, 0.1, 0.01))
    fixed = AnalysisSettings(draws=200, draw_anchors=False)
    wide, narrow = (analyze_sources(pool, scores=scores, settings=how) for how in (FAST, fixed))
    for a, b in zip(wide.sources, narrow.sources, strict=True):
        (q,), (p,) = a.quality, b.quality
        assert q.mean.high - q.mean.low > 3 * (p.mean.high - p.mean.low)
    # All sources saw the same anchors, so their differences are as sure as before.
    assert [s.quality[0].rank_high for s in wide.sources] == [1, 2, 3]


def test_what_is_predicted_is_shown_and_enters_nothing():
    pool = make_pool(SIZES)
    plain = make_scores(pool, MEANS)
    with_predictions = RowScores(
        model="m", rows=plain.rows, terms=plain.terms, anchor_groups=plain.groups, predicted=np.arange(len(pool)) / 1.0
    )
    a, b = (analyze_sources(pool, scores=scores, settings=FAST) for scores in (plain, with_predictions))
    for one, other in zip(a.sources, b.sources, strict=True):
        assert one.quality[0].mean == other.quality[0].mean
        assert one.quality[0].marginal == other.quality[0].marginal
        assert one.quality[0].predicted_mean is None
        rows = pool.rows_by_source()[one.name]
        assert other.quality[0].predicted_mean == pytest.approx(rows.mean())


def test_shares_in_the_top_stand_for_the_rows_of_the_pool():
    # Each scored row stands for as many rows as its source has for each scored one: together they are the top.
    pool = make_pool({"small": 50, "large": 500})
    scores = make_scores(pool, {"small": 0.2, "large": 0.2}, per_source=50)
    found = analyze_sources(pool, scores=scores, settings=AnalysisSettings(draws=100, top=0.2))
    held = sum(s.quality[0].top_share.value * s.n_rows for s in found.sources)
    assert 0.2 * 550 <= held < 0.2 * 550 + 10
    for s in found.sources:
        assert 0 <= s.quality[0].top_share.low < s.quality[0].top_share.high <= 1


def test_a_source_with_few_scored_rows_has_no_interval_and_no_rank():
    pool = make_pool({"a": 100, "b": 100, "few": 3})
    found = by_name(analyze_sources(pool, scores=make_scores(pool, {"a": 0.3, "b": 0.1, "few": 9.0}), settings=FAST))
    (q,) = found["few"].quality
    assert (q.n_scored, q.rank, q.rank_low, q.tier) == (3, None, None, None)
    assert np.isnan(q.mean.low) and np.isfinite(q.mean.value)
    assert found["a"].quality[0].rank == 1


def test_rows_that_could_not_be_scored_are_counted_and_left_out():
    pool = make_pool(SIZES)
    scores = make_scores(pool, MEANS)
    terms = scores.terms.copy()
    terms[:7] = np.nan
    found = analyze_sources(pool, scores=RowScores(model="m", rows=scores.rows, terms=terms), settings=FAST)
    assert (found.models[0].n_scored, found.models[0].n_unscorable) == (113, 7)
    assert sum(s.quality[0].n_scored for s in found.sources) == 113


# --- marginal value ---


@given(st.integers(1, 30), st.integers(1, 4), st.integers(1, 3), st.floats(0.5, 40), st.integers(0, 999))
def test_the_best_without_each_are_those_of_brute_force(k: int, g: int, m: int, places: float, seed: int):
    rng = np.random.default_rng(seed)
    values, codes = np.round(rng.normal(size=(m, k)), 1), rng.integers(0, g, k)
    weights = rng.integers(0, 4, k) * rng.choice([0.5, 1.0])
    order = np.argsort(-values, axis=1, kind="stable")
    found = best_without_each(order, values, codes, weights, places, g)
    assert found == pytest.approx(reference.best_without_each(values, codes, weights, places, g), abs=1e-9)


def marginals(pool, scores, **changes: object):
    found = analyze_sources(pool, scores=scores, settings=AnalysisSettings(draws=100, **changes))
    return {s.name: s.quality[0].marginal for s in found.sources}


def test_a_source_whose_rows_others_have_as_good_adds_little():
    pool = make_pool({"a": 200, "twin": 200, "poor": 200})
    alone = marginals(
        make_pool({"a": 200, "poor": 200}), make_scores(make_pool({"a": 200, "poor": 200}), {"a": 0.5, "poor": 0.1})
    )
    both = marginals(pool, make_scores(pool, {"a": 0.5, "twin": 0.5, "poor": 0.1}))
    assert alone["a"].value > 3 * both["a"].value > 0
    assert both["poor"].value == 0 and both["poor"].high < 0.02


def test_a_source_that_serves_an_anchor_nobody_else_does_has_value_though_its_mean_is_low():
    pool = make_pool({"a": 200, "special": 200})
    scores = make_scores(pool, {"a": 0.3, "special": 0.1}, noise=(0.0, 0.0, 0.01), m=10)
    special = pool.source_codes[scores.rows] == pool.sources.index("special")
    terms = scores.terms.copy()
    terms[special, 0] += 1.0
    found = marginals(pool, RowScores(model="m", rows=scores.rows, terms=terms), draw_anchors=False)
    assert found["special"].low > 0.15


def test_the_marginal_value_is_never_negative_and_missing_where_the_rest_is_too_small():
    pool = make_pool(SIZES)
    found = marginals(pool, make_scores(pool, MEANS), budget=0.6)
    assert found["a"] is None  # 150 rows are left, 162 would be needed.
    assert all(0 <= each.low <= each.value <= each.high for name, each in found.items() if name != "a")


# --- diversity ---


def test_diversity_is_measured_at_equal_numbers_and_a_scale_goes_through():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 5))
    groups = {"a": np.arange(200), "b": np.arange(200, 240), "few": np.arange(240, 245)}
    found = measure_diversity(x, groups, most_rows=100, n_draws=4, seed=0)
    assert set(found) == {"a", "b"} and {d.n_rows for d in found.values()} == {40}
    twice = measure_diversity(2 * x, groups, most_rows=100, n_draws=4, seed=0)
    assert twice["a"].nearest.value == pytest.approx(2 * found["a"].nearest.value)
    assert twice["a"].radius.value == pytest.approx(2 * found["a"].radius.value)
    assert found["a"].nearest.low <= found["a"].nearest.value <= found["a"].nearest.high


def test_the_nearest_row_is_that_of_brute_force_where_all_rows_are_drawn():
    x = np.random.default_rng(0).normal(size=(30, 3))
    found = measure_diversity(x, {"a": np.arange(30)}, most_rows=100, n_draws=2, seed=1)["a"]
    apart = cdist(x, x) + np.diag(np.full(30, np.inf))
    assert found.nearest.value == pytest.approx(apart.min(axis=1).mean())
    assert found.nearest.low == pytest.approx(found.nearest.high)


def test_rows_that_all_have_a_twin_have_no_distance():
    x = np.repeat(np.arange(10.0)[:, None], 2, axis=0)
    assert measure_diversity(x, {"a": np.arange(20)}, most_rows=20, n_draws=1, seed=0)["a"].nearest.value == 0


def test_a_source_without_a_name_is_not_the_pool_as_a_whole():
    pool, named = (make_pool({name: 40, "b": 40}) for name in ("", "a"))
    x = np.random.default_rng(0).normal(size=(80, 3)) * np.where(pool.source_codes == 0, 1, 100)[:, None]
    found, same = (analyze_sources(each, embeddings=x, settings=FAST) for each in (pool, named))
    assert by_name(found)[""].diversity == by_name(same)["a"].diversity and found.whole == same.whole


# --- models ---


def test_a_model_agrees_with_itself_and_not_with_chance():
    pool = make_pool(SIZES)
    one, other = make_scores(pool, MEANS), make_scores(pool, MEANS, seed=1)
    same = RowScores(model="again", rows=one.rows, terms=one.terms, anchor_groups=one.groups, anchors=one.anchors)
    how = {"confidence": 0.95, "n_draws": 200, "seed": 0}
    itself = compare_models(one, same, pool.source_codes, **how)
    for name in ("pearson", "spearman", "within_pearson", "within_spearman", "source_pearson", "source_spearman"):
        assert getattr(itself, name).value == pytest.approx(1)
    chance = compare_models(one, other, pool.source_codes, **how)
    assert chance.n_rows == len(np.intersect1d(one.rows, other.rows))
    assert chance.pearson.value > 0.5 and abs(chance.within_pearson.value) < 0.35
    assert chance.within_pearson.low < 0 < chance.within_pearson.high


def test_models_without_common_rows_are_not_compared():
    pool = make_pool(SIZES)
    scores = make_scores(pool, MEANS)
    halves = [
        RowScores(model=f"m{i}", rows=scores.rows[i::2], terms=scores.terms[i::2], anchor_groups=scores.groups)
        for i in range(2)
    ]
    found = analyze_sources(pool, scores=halves, settings=FAST)
    assert found.agreements == () and len(found.models) == 2
    assert all(len(s.quality) == 2 for s in found.sources)


def test_reliability_tells_rows_from_noise():
    pool = make_pool(SIZES)
    clear = make_scores(pool, MEANS, noise=(0.5, 0.1, 0.05))
    noise = make_scores(pool, MEANS, noise=(0.0, 0.1, 0.5))
    assert reliability(clear, pool.source_codes, 0) > 0.95
    assert reliability(noise, pool.source_codes, 0) < 0.4
    one = RowScores(model="m", rows=clear.rows, terms=clear.terms[:, :1])
    assert reliability(one, pool.source_codes, 0) is None


# --- examples, errors, determinism ---


def test_examples_are_the_best_the_middling_and_the_worst_of_their_source_each_once():
    pool = make_pool(SIZES)
    scores = make_scores(pool, MEANS)
    for source in analyze_sources(pool, scores=scores, settings=FAST).sources:
        assert [e.place for e in source.examples] == ["top"] * 2 + ["middle"] * 2 + ["bottom"] * 2
        qualities = [e.quality for e in source.examples]
        assert qualities == sorted(qualities, reverse=True)
        q = source.quality[0]
        assert (qualities[0], qualities[-1]) == (q.quartiles[4], q.quartiles[0])
        assert all(pool[e.row].id == e.id and pool[e.row].source == source.name for e in source.examples)
    few = analyze_sources(make_pool({"a": 3}), scores=make_scores(make_pool({"a": 3}), {"a": 1.0}), settings=FAST)
    assert len(few.sources[0].examples) == 3


def test_the_same_seed_gives_the_same_analysis():
    pool = make_pool(SIZES)
    scores = make_scores(pool, MEANS)
    first, second = (analyze_sources(pool, scores=scores, settings=FAST) for _ in range(2))
    assert first.sources == second.sources


@pytest.mark.usefixtures("no_shape_checks")
def test_arrays_of_other_rows_are_refused():
    pool = make_pool({"a": 10})
    with pytest.raises(AlignmentError, match="tokens has 9 rows but the pool 10"):
        analyze_sources(pool, tokens=np.arange(9))
    with pytest.raises(AlignmentError, match="odd has 11 rows"):
        analyze_sources(pool, flags={"odd": np.zeros(11, bool)})
    with pytest.raises(InputError, match="name the row 10 of a pool of 10"):
        analyze_sources(pool, scores=RowScores(model="m", rows=np.array([10]), terms=np.ones((1, 2))))
    with pytest.raises(AlignmentError, match="predicted quality of m has 3 rows"):
        scores = RowScores(model="m", rows=np.array([1]), terms=np.ones((1, 2)), predicted=np.ones(3))
        analyze_sources(pool, scores=scores)
    with pytest.raises(AlignmentError, match="2 rows, 0 anchor groups"):
        RowScores(model="m", rows=np.array([1, 2]), terms=np.ones((1, 2)))
    with pytest.raises(InputError, match="scored twice"):
        RowScores(model="m", rows=np.array([1, 1]), terms=np.ones((2, 2)))
    with pytest.raises(InputError, match="no row has a quality under m"):
        analyze_sources(pool, scores=RowScores(model="m", rows=np.array([1]), terms=np.full((1, 2), np.nan)))
    with pytest.raises(InputError, match="the pool is empty"):
        analyze_sources(pool.take([]))


@pytest.mark.parametrize("wrong", [{"top": 0}, {"budget": 1}, {"confidence": 95}, {"draws": 10}, {"seed": -1}])
def test_settings_that_mean_nothing_are_refused(wrong: dict):
    with pytest.raises(InputError, match=next(iter(wrong))):
        AnalysisSettings(**wrong)
