"""Agreement of predicted with real quality: what it says of predictions whose worth is known."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qads.errors import AlignmentError, InputError
from qads.pool import to_json
from qads.quality import AnchorGroups
from qads.quality.anchor_groups import Cell
from qads.quality.fidelity import (
    CurvePoint,
    Fidelity,
    FidelityReport,
    HeldOut,
    OtherAnchors,
    ScoringCost,
    compare_predictions,
    fidelity,
    half_qualities,
    halves_of_anchors,
    noise_ceiling,
    on_other_anchors,
)

RNG = np.random.default_rng(0)
EMPTY = Cell(float("nan"), float("nan"), 0)
N, M = 400, 24
CODES = RNG.integers(0, 8, N)
OF_SOURCE = 2 * RNG.standard_normal(8)[CODES]
OF_ROW = 0.5 * RNG.standard_normal(N)
TERMS = (OF_SOURCE + OF_ROW)[:, None] + 1.5 * RNG.standard_normal((N, M))
ROWS = HeldOut(
    id=tuple(map(str, range(N))),
    source=tuple("abcdefgh"[code] for code in CODES),
    real=TERMS.mean(axis=1),
    predicted=TERMS.mean(axis=1),
    fold=np.arange(N) % 4,
    cluster=np.arange(N),
    source_mean=OF_SOURCE,
    length=RNG.integers(20, 2000, N),
)


def judged(predicted: np.ndarray, *, terms: np.ndarray | None = None, **more: object) -> Fidelity:
    return fidelity(replace(ROWS, predicted=predicted, **more), terms=terms, n_bootstraps=100)  # type: ignore[arg-type]


@pytest.mark.parametrize("n_clusters", [2, 5])
def test_few_clusters_are_no_certainty(n_clusters: int):
    rng = np.random.default_rng(0)
    above = 0
    for _ in range(10):
        real, cluster = rng.standard_normal(40), np.arange(40) % n_clusters
        noise = replace(
            ROWS, id=ROWS.id[:40], source=("a",) * 40, real=real, predicted=rng.standard_normal(40),
            cluster=cluster, fold=cluster % 5, source_mean=np.zeros(40), length=ROWS.length[:40],
        )  # fmt: skip
        found = fidelity(noise, terms=None, n_bootstraps=100).overall["pearson"]
        assert found.low < found.value < found.high
        above += found.low > 0
    assert above <= 3


def test_a_perfect_prediction_agrees_in_everything():
    found = judged(ROWS.real)
    for estimates in (found.overall, found.within_source, {s: f.pearson for s, f in found.by_source.items()}):
        for each in estimates.values():
            assert (each.value, each.low, each.high) == pytest.approx((1, 1, 1))
    assert found.slope.value == pytest.approx(1) and found.bias.value == 0 and found.mean_absolute_error.value == 0


def test_a_prediction_that_knows_the_source_alone_is_called_useless():
    found = judged(OF_SOURCE + 0.01 * RNG.standard_normal(N))
    assert found.overall["pearson"].value > 0.9
    assert found.is_useless and found.verdict.startswith("Useless within sources")
    assert "does not beat the mean of the source" in found.verdict


def test_a_prediction_of_the_wrong_sign_is_worse_than_useless():
    found = judged(OF_SOURCE - OF_ROW)
    assert found.verdict.startswith("Worse than useless") and "worse than the mean of the source" in found.verdict
    assert found.is_useless


def test_a_prediction_that_knows_rows_beats_the_mean_of_the_source():
    found = judged(OF_SOURCE + OF_ROW, terms=TERMS)
    assert found.over_source_mean.low > 0 and not found.is_useless
    assert "of the ceiling" in found.verdict and "It beats the mean of the source" in found.verdict


def test_a_prediction_of_what_halves_of_the_anchors_do_not_agree_on_is_not_praised():
    # Each anchor says the opposite of another, and what is left is one anchor's own.
    terms = np.concatenate([TERMS[:, :4], 2 * OF_SOURCE[:, None] - TERMS[:, :4]], axis=1)
    terms[:, 0] += 0.2 * OF_ROW
    found = judged(terms.mean(axis=1), terms=terms, real=terms.mean(axis=1))
    assert found.within_source["pearson"].value > 0.99 and found.ceiling_within.value == 0
    assert found.verdict.startswith("Not to be told within sources: r = 1.00") and "score on more" in found.verdict


def test_agreement_above_the_ceiling_is_said_to_be_of_these_anchors():
    terms = TERMS + 3 * RNG.standard_normal(TERMS.shape)
    found = judged(terms.mean(axis=1), terms=terms, real=terms.mean(axis=1))
    assert 0 < found.ceiling_within.value < 0.9
    assert "above the ceiling of 0." in found.verdict and "% of the ceiling" not in found.verdict


def test_the_mean_of_the_source_itself_tells_nothing_within():
    found = judged(OF_SOURCE)
    assert np.isnan(found.within_source["pearson"].value) and found.is_useless
    assert found.over_source_mean.value == found.over_source_mean.high == 0
    assert found.verdict.startswith("Useless within sources: nothing varies")


def test_the_ceiling_is_what_the_true_quality_reaches():
    found = judged(OF_SOURCE + OF_ROW, terms=TERMS)
    for ceiling, reached in [
        (found.ceiling, found.overall["pearson"].value),
        (found.ceiling_within, found.within_source["pearson"].value),
    ]:
        assert ceiling.low < ceiling.value < ceiling.high <= 1
        assert ceiling.value == pytest.approx(reached, abs=0.06)
    nothing = noise_ceiling(RNG.standard_normal((N, M)), np.zeros(N, np.int64))
    assert nothing.low == 0 and nothing.value < 0.4


def test_a_ceiling_needs_two_anchors():
    assert np.isnan(noise_ceiling(TERMS[:, :1], np.zeros(N, np.int64)).value)
    two = noise_ceiling(TERMS[:, :2], np.zeros(N, np.int64))
    assert 0 < two.value < 1 and np.isnan(two.low)


GROUPS = ("a", "b", "c") * (M // 3)
HALVES = halves_of_anchors(GROUPS)


def on_others(said: np.ndarray, terms: np.ndarray = TERMS) -> tuple[float, float, float, float]:
    folds = np.tile(np.arange(N) % 4, (len(HALVES), 1))
    found = on_other_anchors(half_qualities(terms, HALVES), said, folds, CODES, n_anchors=M // 2)
    assert (found.n_anchors, found.n_halves) == (M // 2, 6)
    return found.scorer, found.scorer_within, found.real, found.real_within


def test_a_half_of_the_anchors_and_its_complement_have_as_many_of_each_group():
    for half, other in HALVES.reshape(-1, 2, M):
        assert (half ^ other).all()
        assert all(abs(int(half[np.array(GROUPS) == name].sum()) - M // 6) <= 1 for name in "abc")
    assert len(halves_of_anchors(GROUPS[:7])) == 0


def test_the_quality_of_a_half_is_the_mean_of_what_it_scored():
    terms = TERMS.copy()
    terms[3, 5], terms[4] = np.nan, np.nan
    found = half_qualities(terms, HALVES)
    for quality, half in zip(found, HALVES, strict=True):
        assert quality[3] == pytest.approx(np.nanmean(terms[3, half])) and np.isnan(quality[4])
        assert quality[10:] == pytest.approx(TERMS[10:, half].mean(axis=1))


def test_what_is_peculiar_to_anchors_counts_on_them_and_not_on_others():
    mine = half_qualities(TERMS, HALVES)
    learnt_by_heart = on_others(mine)
    assert learnt_by_heart[:2] == learnt_by_heart[2:]
    without_noise = on_others(np.tile(OF_SOURCE + OF_ROW, (len(HALVES), 1)))
    assert without_noise[0] > without_noise[2] and without_noise[1] > without_noise[3] + 0.1
    apart = on_others(mine, TERMS + 50 * RNG.standard_normal((N, M)))  # Nothing in common with the anchors of `mine`.
    assert abs(apart[1]) < 0.2


def test_folds_with_offsets_of_their_own_do_not_count():
    plain, moved = (judged(p) for p in (OF_ROW, OF_ROW + 5.0 * (np.arange(N) % 4)))
    for name in plain.overall:
        assert plain.overall[name].value == pytest.approx(moved.overall[name].value, abs=1e-9)
        assert plain.within_source[name].value == pytest.approx(moved.within_source[name].value, abs=1e-9)


def test_the_mean_of_the_other_folds_makes_no_correlation():
    fold, real = np.arange(N) % 4, RNG.standard_normal(N)
    others = np.array([real[fold != f].mean() for f in fold])
    found = fidelity(replace(ROWS, real=real, predicted=others, source_mean=None), n_bootstraps=20)
    assert np.isnan(found.overall["pearson"].value)


def test_near_duplicates_make_no_interval_narrower():
    rows = np.repeat(np.arange(100), 4)
    repeated = ROWS.take(rows)
    predicted = (OF_ROW + RNG.standard_normal(N))[rows]
    apart, together = (
        fidelity(replace(repeated, predicted=predicted, fold=None, cluster=cluster)).overall["pearson"]
        for cluster in (np.arange(N), rows)
    )
    assert together.high - together.low > 1.6 * (apart.high - apart.low)


def test_near_duplicates_in_two_folds_are_refused():
    with pytest.raises(InputError, match="cluster 0 lies in several folds"):
        judged(ROWS.real, cluster=np.arange(N) // 2)


def test_rows_that_were_only_fitted_on_are_counted_and_not_judged():
    hidden = np.arange(N) < 50
    found = judged(np.where(hidden, np.nan, ROWS.real), terms=TERMS)
    assert (found.n_rows, found.n_fitted_only) == (N - 50, 50)


def test_intervals_of_the_real_quality_are_counted():
    high = ROWS.real + np.where(np.arange(N) < 100, -0.5, 1)
    found = judged(ROWS.real, low=ROWS.real - 1, high=high)
    assert found.covered.value == 0.75 and found.covered.low < 0.75 < found.covered.high
    every = judged(ROWS.real, low=ROWS.real - 1, high=ROWS.real + 1).covered
    assert every.value == every.high == 1 and 0.98 < every.low < 1
    assert np.isnan(judged(ROWS.real).covered.value)


def test_calibration_and_lengths_cover_every_row_once():
    found = judged(0.5 * ROWS.real)
    assert sum(each.n_rows for each in found.calibration) == sum(each.n_rows for each in found.error_by_length) == N
    assert found.slope.value == pytest.approx(2) and found.slope.low == pytest.approx(2)
    predicted = [each.predicted for each in found.calibration]
    assert predicted == sorted(predicted)
    assert [each.shortest for each in found.error_by_length] == sorted(e.shortest for e in found.error_by_length)


def test_small_sources_are_shown_without_a_correlation():
    source = ("tiny",) * 3 + ROWS.source[3:]
    found = judged(OF_SOURCE + OF_ROW, source=source)
    assert found.by_source["tiny"].n_rows == 3 and np.isnan(found.by_source["tiny"].pearson.value)
    assert all(np.isfinite(f.pearson.value) for name, f in found.by_source.items() if name != "tiny")


def test_one_source_has_no_mean_to_beat():
    found = judged(OF_SOURCE + OF_ROW, source=("a",) * N)
    assert np.isnan(found.source_mean.value) and "mean of the source" not in found.verdict
    assert found.overall["pearson"] == found.within_source["pearson"]


def test_a_comparison_is_paired_and_antisymmetric():
    good, bad = OF_SOURCE + OF_ROW, OF_SOURCE + OF_ROW + 0.2 * RNG.standard_normal(N)
    forth = compare_predictions(replace(ROWS, predicted=good), bad, n_bootstraps=200)
    back = compare_predictions(replace(ROWS, predicted=bad), good, n_bootstraps=200)
    for a, b in [(forth.overall, back.overall), (forth.within_source, back.within_source)]:
        assert (a.value, a.low, a.high) == pytest.approx((-b.value, -b.high, -b.low))
        assert a.low > 0
    alone = judged(good).within_source["pearson"]
    assert forth.within_source.high - forth.within_source.low < alone.high - alone.low
    same = compare_predictions(replace(ROWS, predicted=good), good)
    assert (same.overall.low, same.overall.high) == (0, 0)


def test_a_rival_that_is_constant_within_sources_counts_as_zero_there():
    found = compare_predictions(replace(ROWS, predicted=OF_ROW), OF_SOURCE, n_bootstraps=100)
    assert found.within_source.value == pytest.approx(judged(OF_ROW).within_source["pearson"].value)


@pytest.mark.parametrize(
    ("change", "complaint"), [({"predicted": np.zeros(3)}, "3 values of predicted"), ({"id": ("a",)}, "1 values of id")]
)
@pytest.mark.usefixtures("no_shape_checks")
def test_fields_of_different_lengths_are_refused(change: dict, complaint: str):
    with pytest.raises(AlignmentError, match=complaint):
        replace(ROWS, **change)


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(InputError, match="takes 10 at least"):
        judged(np.where(np.arange(N) < 9, ROWS.real, np.nan))
    with pytest.raises(AlignmentError, match="terms of 3 rows"):
        judged(ROWS.real, terms=TERMS[:3])
    with pytest.raises(AlignmentError, match="3 predictions of the rival"):
        compare_predictions(ROWS, np.zeros(3))


def test_held_out_rows_survive_their_table():
    hidden = replace(ROWS, predicted=np.where(np.arange(N) < 5, np.nan, ROWS.real), low=ROWS.real, high=None)
    table = hidden.to_table()
    assert table["predicted"].null_count == 5
    back = HeldOut.from_table(table)
    assert back.high is None and back.source == hidden.source and back.id == hidden.id
    for name in ("real", "predicted", "low", "fold", "cluster", "length", "source_mean"):
        np.testing.assert_array_equal(getattr(back, name), getattr(hidden, name))


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        (pa.table({"id": ["a"]}), "no column source, real, predicted"),
        (pa.table({"source": ["a"], "real": ["x"], "predicted": [1.0]}), "something else"),
        (
            pa.table({"source": ["a"], "real": [1.0], "predicted": [1.0], "fold": pa.array([None], pa.int64())}),
            "no fold",
        ),
    ],
)
def test_a_table_of_something_else_is_refused(table: pa.Table, complaint: str):
    with pytest.raises(InputError, match=complaint):
        HeldOut.from_table(table)


def report() -> FidelityReport:
    found = judged(OF_SOURCE + OF_ROW)
    cost = ScoringCost(24, 8000.0, 2e12, 3.0, 200.0, float("nan"), 0.1)
    curve = (CurvePoint(100, found.overall["pearson"], found.within_source["pearson"]),)
    return FidelityReport(
        scorer={"kind": "probe", "alpha": 1.0}, fidelity=found, curve=curve, cost=cost, unscored={"too long": 3},
        groups=AnchorGroups(("a",), ("x",), (M,), ((EMPTY,),), (EMPTY,), (0.5,), float("nan")),
        other_anchors=OtherAnchors(12, 6, 0.8, 0.3, 0.85, float("nan")),
    )  # fmt: skip


def test_a_report_survives_its_json():
    first = report()
    back = FidelityReport.from_json(json.loads(to_json(first.as_json())))
    assert to_json(back.as_json()) == to_json(first.as_json())
    assert np.isnan(back.fidelity.ceiling.value) and back.cost is not None and np.isnan(back.cost.predicted_flops)
    assert back.cost.token_ratio == 0.025 and back.fidelity.verdict == first.fidelity.verdict


def test_a_damaged_report_is_refused_by_its_place():
    raw = json.loads(to_json(report().as_json()))
    raw["fidelity"]["overall"]["pearson"]["low"] = "much"
    with pytest.raises(InputError, match=r"fidelity\.overall\.pearson\.low"):
        FidelityReport.from_json(raw)
    raw = json.loads(to_json(report().as_json())) | {"groups": {"sources": ["a"]}}
    with pytest.raises(InputError, match=r"groups: .*no table of anchor groups"):
        FidelityReport.from_json(raw)


def test_a_summary_is_plain_and_null_where_nothing_is_known():
    found = judged(OF_SOURCE + OF_ROW).summary()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["ceiling"] is None and found["n_rows"] == N and found["pearson_low"] < found["pearson"]


@settings(max_examples=8)
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 10), st.floats(-5, 5))
def test_scale_and_shift_of_the_prediction_change_no_correlation(seed: int, scale: float, shift: float):
    rng = np.random.default_rng(seed)
    rows = ROWS.take(rng.permutation(N)[:60])
    rows = replace(rows, predicted=rng.standard_normal(60))
    first, second = (
        fidelity(replace(rows, predicted=p), n_bootstraps=20) for p in (rows.predicted, scale * rows.predicted + shift)
    )
    for name in first.overall:
        assert first.overall[name].value == pytest.approx(second.overall[name].value, abs=1e-6)
        assert first.within_source[name].low == pytest.approx(second.within_source[name].low, abs=1e-6, nan_ok=True)
