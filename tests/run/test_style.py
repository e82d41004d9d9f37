"""A run whose quality is apart from style."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from qads.config import load_config
from qads.errors import ConfigError, InputError
from qads.quality import AnchorGroups, Influence, StyleControl
from qads.report import open_scored_run, read_scores, write_report
from run.tiny import rows, run, settings, write_rows

STYLED = ["quality.style.by=source"]


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("pool") / "pool.jsonl", rows(30))


@pytest.fixture(scope="module")
def plain(model: Path, pool: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("plain") / "run"
    run(load_config(settings(model, pool)), directory, until="influence")
    return directory


@pytest.fixture(scope="module")
def styled(model: Path, pool: Path, plain: Path) -> Path:
    """The same scores, with what the source gives taken off."""
    heard = run(load_config(settings(model, pool), STYLED), plain)
    assert "influence" in heard.reused  # No new scores are needed.
    return plain


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_the_labels_are_those_of_the_control_with_the_plain_quality_beside_them(styled: Path):
    table = pq.read_table(styled / "quality" / "quality_real.parquet").to_pydict()
    found = Influence.from_table(pq.read_table(styled / "influence" / "influence.parquet"))
    rows_of = open_scored_run(styled).pool.take(np.load(styled / "anchors" / "candidates.npy"))
    apart = StyleControl()(found, rows_of)
    assert table["quality"] == pytest.approx(apart.quality("mean_gain").tolist())
    assert table["standard_error"] == pytest.approx(apart.standard_error("mean_gain").tolist())
    assert table["quality_plain"] == pytest.approx(found.quality("positive_gain").tolist())
    assert table["style"] == table["source"]


def test_negative_quality_goes_through_the_whole_run(styled: Path):
    quality = np.load(styled / "quality" / "quality.npy")
    assert quality.min() < 0 < quality.max()
    assert len(pq.read_table(styled / "select" / "selection.parquet")) == 6


def test_the_manifest_says_what_quality_is_apart_from(styled: Path):
    manifest = read(styled / "quality" / "manifest.json")
    assert manifest["settings"]["quality"]["style"]["by"] == "source"
    style = manifest["style"]
    assert (style["by"], style["aggregate"], style["without_mates"]) == ("source", "mean_gain", {})
    assert sum(style["rows"].values()) == 20 and -1 <= style["pearson_with_plain"] <= 1


def test_means_of_sources_that_are_level_predict_nothing(styled: Path):
    found = read(styled / "scorer" / "manifest.json")["fidelity"]
    assert found["source_mean"] is None and "mean" not in found["verdict"]
    assert "source_mean" not in pq.read_table(styled / "scorer" / "held_out.parquet").column_names


def test_the_table_of_anchor_groups_is_in_the_run_and_on_its_page(styled: Path):
    groups = AnchorGroups.from_json(read(styled / "quality" / "anchor_groups.json"))
    assert sum(cell.n_rows for cell in groups.overall) == 20 and sum(groups.n_anchors) == 3
    assert read(styled / "scorer" / "fidelity.json")["groups"] == groups.as_json()
    page = write_report(styled).read_text()
    assert ".heatmap td" in page  # Its style sheet is there.
    assert "Which source helps which anchors" in page and "apart from style" in page
    assert "Variance between styles" in page


def test_sources_are_compared_with_what_their_style_gives(styled: Path):
    scores = read_scores(open_scored_run(styled))
    found = Influence.from_table(pq.read_table(styled / "influence" / "influence.parquet"))
    np.testing.assert_array_equal(scores.terms, found.terms("positive_gain"))
    assert scores.predicted is None and scores.facts["predictions_apart_from_style"]


def test_rows_without_mates_are_listed_and_predicted(model: Path, tmp_path: Path):
    lonely = [{**row, "source": "lonely"} if i < 3 else row for i, row in enumerate(rows(40))]
    target = write_rows(tmp_path / "target.jsonl", rows(2, seed=9, prefix="t"))
    pool = write_rows(tmp_path / "pool.jsonl", lonely)
    config = settings(model, pool, anchors={"sources": str(target)})
    run(load_config(config, STYLED), tmp_path / "run", until="quality")
    manifest = read(tmp_path / "run" / "quality" / "manifest.json")
    assert manifest["style"]["without_mates"] == {"lonely": 3}
    assert manifest["real"] == 17
    origin = pq.read_table(tmp_path / "run" / "quality" / "quality.parquet")["origin"].to_pylist()
    assert origin[:3] == ["predicted"] * 3


def test_a_pool_of_single_rows_is_refused_with_what_to_do(model: Path, tmp_path: Path):
    apart = [{**row, "source": f"s{i}"} for i, row in enumerate(rows(30))]
    pool = write_rows(tmp_path / "pool.jsonl", apart)
    with pytest.raises(InputError, match=r"20 of 20 scored rows have fewer than 4 others of their source.*surface"):
        run(load_config(settings(model, pool), STYLED), tmp_path / "run", until="quality")


def test_a_scale_that_takes_no_negative_quality_is_refused_before_the_work(model: Path, pool: Path):
    with pytest.raises(ConfigError, match=r"selection\.scale is 'none', but with quality\.style"):
        load_config(settings(model, pool), [*STYLED, "selection.scale=none"])
    counted = [*STYLED, "quality.style.aggregate=win_rate", "selection.scale=none"]
    assert load_config(settings(model, pool), counted).quality is not None
