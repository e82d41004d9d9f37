"""Laws of what a report shows: every number can be counted again from the files of the run."""

from __future__ import annotations

import json
import math
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qads.errors import CorruptError, InputError, RunError
from qads.quality import AnchorGroups, Influence
from qads.report.curves import axis_over, binned_means, running_mean
from qads.report.facts import RunFacts, read_facts
from qads.report.passages import beginning, visible
from qads.run.sealed import read_json, write_json

PLAIN_STAGES = ("pool", "embed", "select", "mixture")
VALUES = st.lists(st.floats(-1e6, 1e6, allow_subnormal=False).filter(lambda v: v == 0 or abs(v) > 1e-6), min_size=1)


@pytest.fixture(scope="module")
def plain(plain_run: Path) -> RunFacts:
    return read_facts(plain_run, label_key="flaw")


@pytest.fixture(scope="module")
def scored(scored_run: Path) -> RunFacts:
    return read_facts(scored_run)


def table(run: Path, name: str) -> list[dict[str, Any]]:
    return pq.read_table(run / name).to_pylist()


def test_the_source_table_adds_up(plain: RunFacts) -> None:
    assert sum(s.rows for s in plain.sources) == plain.n_rows == 40
    assert sum(s.picks for s in plain.sources) == plain.n_picks == 12
    assert sum(s.share for s in plain.sources) == pytest.approx(1)
    assert sum(s.pick_share for s in plain.sources) == pytest.approx(1)
    assert sum(s.expected for s in plain.sources) == pytest.approx(plain.n_picks)
    assert sum(s.lift * s.share for s in plain.sources) == pytest.approx(1)


def test_picks_by_source_are_those_of_the_selection(plain: RunFacts, plain_run: Path) -> None:
    source_of = {row["id"]: row["source"] for row in table(plain_run, "pool/pool.parquet")}
    counted = Counter(source_of[pick["id"]] for pick in table(plain_run, "select/selection.parquet"))
    assert {s.name.text: s.picks for s in plain.sources if s.picks} == {n[:120]: k for n, k in counted.items()}


@pytest.mark.slow
def test_qualities_by_source_are_means_over_its_rows(scored: RunFacts, scored_run: Path) -> None:
    rows = table(scored_run, "pool/pool.parquet")
    quality = [row["quality"] for row in table(scored_run, "quality/quality.parquet")]
    picked = {pick["id"] for pick in table(scored_run, "select/selection.parquet")}
    real = table(scored_run, "quality/quality_real.parquet")
    for s in scored.sources:
        own = [q for row, q in zip(rows, quality, strict=True) if row["source"][:120] == s.name.text]
        chosen = [
            q
            for row, q in zip(rows, quality, strict=True)
            if row["source"][:120] == s.name.text and row["id"] in picked
        ]
        measured = [row["quality"] for row in real if row["source"][:120] == s.name.text]
        assert s.quality == pytest.approx(np.mean(own))
        assert s.quartiles == pytest.approx(np.percentile(own, [0, 25, 50, 75, 100]), rel=1e-6)
        assert s.pick_quality == (pytest.approx(np.mean(chosen)) if chosen else None)
        assert s.real_quality == (pytest.approx(np.mean(measured)) if measured else None)
        assert s.n_real == len(measured)
    assert sum(s.n_real for s in scored.sources) == 12


@pytest.mark.slow
def test_anchor_groups_are_those_of_the_scores(scored: RunFacts, scored_run: Path) -> None:
    found = Influence.from_table(pq.read_table(scored_run / "influence" / "influence.parquet"))
    sources = [row["source"] for row in table(scored_run, "quality/quality_real.parquet")]
    assert scored.anchor_groups is not None
    assert scored.anchor_groups.as_json() == AnchorGroups.of(found, sources).as_json()


def test_coverage_is_the_distance_of_every_row_to_its_nearest_pick(plain: RunFacts, plain_run: Path) -> None:
    x = np.load(plain_run / "embed" / "embeddings.npy").astype(np.float64)
    picks = [pick["row"] for pick in table(plain_run, "select/selection.parquet")]
    nearest = np.linalg.norm(x[:, None] - x[picks][None], axis=2).min(axis=1)
    measures = {m.name: m for m in plain.comparison.measures}
    assert measures["coverage_radius"].chosen == pytest.approx(nearest.max(), abs=1e-6)
    assert measures["mean_distance"].chosen == pytest.approx(nearest.mean(), abs=1e-6)
    assert measures["n_rows"].chosen == measures["n_rows"].random.low == measures["n_rows"].random.high == 12


def test_k_center_covers_better_than_random_rows(plain: RunFacts) -> None:
    radius = next(m for m in plain.comparison.measures if m.name == "coverage_radius")
    assert radius.chosen < radius.random.low <= radius.random.mean <= radius.random.high


def test_labels_add_up_and_null_is_clean(plain: RunFacts, plain_run: Path) -> None:
    labels = plain.comparison.labels
    metas = [json.loads(row["meta"]) for row in table(plain_run, "pool/pool.parquet")]
    assert {label.name.text: label.rows for label in labels} == {
        ("clean" if name is None else name[:120]): n for name, n in Counter(m["flaw"] for m in metas).items()
    }
    assert sum(label.rows for label in labels) == 40
    assert sum(label.picks for label in labels) == 12
    assert sum(label.random.mean for label in labels) == pytest.approx(12)
    assert sum(label.share for label in labels) == pytest.approx(1)


def test_rare_labels_are_counted_together(plain_run: Path) -> None:
    labels = read_facts(plain_run, label_key="truth").comparison.labels
    assert len(labels) == 21
    assert labels[-1].name.text.endswith("other labels")
    assert (sum(label.rows for label in labels), sum(label.picks for label in labels)) == (40, 12)


def test_a_label_that_no_row_has_is_an_error(plain_run: Path) -> None:
    with pytest.raises(InputError, match="'flew'"):
        read_facts(plain_run, label_key="flew")


def test_picks_come_in_order_with_their_reasons(plain: RunFacts, plain_run: Path) -> None:
    reasons = table(plain_run, "select/selection.parquet")
    assert [pick.number for pick in plain.first_picks] == list(range(1, 13))
    assert [pick.id.text for pick in plain.first_picks] == [reason["id"][:120] for reason in reasons]
    assert [pick.distance for pick in plain.first_picks] == [reason["distance"] for reason in reasons]
    assert plain.first_picks[0].distance is None
    assert plain.last_picks == ()


def test_the_first_and_the_last_picks_do_not_overlap(plain_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qads.report.facts._FIRST_PICKS", 5)
    facts = read_facts(plain_run)
    assert [p.number for p in facts.first_picks] == [1, 2, 3, 4, 5]
    assert [p.number for p in facts.last_picks] == [6, 7, 8, 9, 10, 11, 12]


def test_rows_set_aside_are_counted_and_named(plain: RunFacts) -> None:
    aside = plain.aside
    assert aside.n_rejected == len(aside.rejected) == sum(n for _, n in aside.reasons) == 2
    assert "<script>" in aside.rejected[0][2].text


def test_without_quality_nothing_about_quality_is_claimed(plain: RunFacts) -> None:
    assert (plain.agreement, plain.qualities, plain.anchor_groups, plain.mean_quality) == (None,) * 4
    assert {(s.quality, s.pick_quality, s.real_quality, s.quartiles) for s in plain.sources} == {(None,) * 4}


@pytest.mark.parametrize("stage", PLAIN_STAGES)
def test_a_missing_stage_is_named_with_what_to_do(plain_run: Path, tmp_path: Path, stage: str) -> None:
    run = shutil.copytree(plain_run, tmp_path / "run")
    (run / stage / "manifest.json").unlink()
    with pytest.raises(RunError, match=rf"stage '{stage}' is missing.*qads run"):
        read_facts(run)


def test_quality_that_was_configured_but_not_computed_is_missing(plain_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(plain_run, tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"quality": {"sample": 12}}))
    with pytest.raises(RunError, match="'anchors' is missing"):
        read_facts(run)


def test_a_stage_made_from_another_stage_is_refused(plain_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(plain_run, tmp_path / "run")
    manifest = read_json(run / "embed" / "manifest.json") or {}
    write_json(run / "embed" / "manifest.json", manifest | {"fingerprint": "f" * 64}, sealed=True)
    with pytest.raises(RunError, match=r"'select' was made from the stage 'embed'.*--redo select"):
        read_facts(run)


def test_a_changed_file_is_refused(plain_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(plain_run, tmp_path / "run")
    vectors = np.load(run / "embed" / "embeddings.npy")
    np.save(run / "embed" / "embeddings.npy", vectors + 1)
    with pytest.raises(CorruptError, match=r"embeddings\.npy"):
        read_facts(run)


@pytest.mark.parametrize(("text", "error"), [(None, RunError), ("{", CorruptError), ("[]", CorruptError)])
def test_a_directory_without_a_usable_config_is_refused(
    tmp_path: Path, text: str | None, error: type[Exception]
) -> None:
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(error, match=r"config\.json"):
        read_facts(tmp_path)


@given(VALUES)
def test_an_axis_holds_its_values_between_even_ticks(values: list[float]) -> None:
    axis = axis_over(values)
    steps = np.diff(axis.ticks)
    assert 2 <= len(axis.ticks) <= 7
    assert np.all(steps > 0) and np.allclose(steps, steps[0], rtol=1e-3)
    assert all(-0.01 <= axis.place(value) <= 100.01 for value in values)
    assert len({f"{tick:.{axis.digits}f}" for tick in axis.ticks}) == len(axis.ticks)


@given(st.integers(1, 1000), st.integers(0, 99))
def test_bins_keep_the_extremes_and_the_ends(n: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=n)
    curve = binned_means(values)
    assert curve is not None and len(curve.values) <= 240
    assert (min(curve.low), max(curve.high)) == (values.min(), values.max())
    assert all(
        low <= v + 1e-12 and v <= high + 1e-12 for low, v, high in zip(curve.low, curve.values, curve.high, strict=True)
    )
    mean = running_mean(values)
    assert mean is not None
    assert (mean.values[0], mean.numbers[-1]) == (values[0], n)
    assert mean.values[-1] == pytest.approx(values.mean(), abs=1e-9)


def test_nulls_are_no_points_of_a_curve() -> None:
    curve = binned_means(np.array([math.nan, 3.0, 1.0]))
    assert curve is not None
    assert (curve.numbers, curve.values, curve.n_picks) == ((2.0, 3.0), (3.0, 1.0), 3)
    assert binned_means(np.array([math.nan])) is None


@given(st.text())
def test_what_is_visible_acts_no_more(text: str) -> None:
    shown = visible(text)
    assert visible(shown) == shown
    assert not set(shown) & set("\x00\x07\x1b\x9b\u061c\u200e\u200f\u2028\u202a\u202b\u202d\u202e\u2066\u2069\ufeff\r")


def test_what_does_not_act_is_left_alone() -> None:
    for text in ("x² ≤ 3\n\tfrac", "می‌خواهم", "👩‍👧", "שלום"):
        assert visible(text) == text
    assert visible("a\r\nb\x1b[0m\u202e") == "a\nb⟨U+001B⟩[0m⟨U+202E⟩"


def test_a_cut_text_says_how_long_it_was() -> None:
    assert str(beginning("ab" * 1000)) == "ab" * 200 + "… (of 2,000 characters)"
    assert str(beginning("short")) == "short"
