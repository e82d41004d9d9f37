"""Explanations of a finished run: each number can be found again in its files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import reference
from cli.conftest import Call
from qads.run import read_status


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("computed")


@pytest.fixture
def finished(qads: Call, folder: Path, pool: Path, tiny: list[str], tmp_path: Path) -> Path:
    """A run that is computed once, and copied for each test."""
    if not (folder / "out.jsonl").exists():
        assert qads("select", pool, "-b", "8", "-o", folder / "out.jsonl", *tiny).code == 0
    return Path(shutil.copytree(folder / "out.jsonl.qads", tmp_path / "out.jsonl.qads"))


@pytest.fixture
def bare(qads: Call, pool: Path, tiny: list[str], tmp_path: Path) -> Path:
    """A run without quality that no report has been made of."""
    assert qads("select", pool, "-b", "8", "-o", tmp_path / "out.jsonl", "--no-quality", *tiny[:6]).code == 0
    shutil.rmtree(tmp_path / "out.jsonl.qads" / "coverage")
    return tmp_path / "out.jsonl.qads"


def picks(run: Path) -> list[dict[str, Any]]:
    return pq.read_table(run / "select" / "selection.parquet").to_pylist()


def asked(qads: Call, *words: object) -> dict[str, Any]:
    found = qads("explain", *words, "--json")
    assert found.code == 0, found.err
    return json.loads(found.out)


def test_a_picked_row_has_the_reason_that_the_selection_wrote(qads: Call, finished: Path):
    for pick in picks(finished):
        (row,) = asked(qads, finished, "--row", pick["id"])["rows"]
        assert row["picked"]
        assert {name: row[name] for name in ("id", "row", "step", "gain", "distance", "nearest", "quality_origin")} == {
            name: pick[name] for name in ("id", "row", "step", "gain", "distance", "nearest", "quality_origin")
        }
        assert row["quality"] == pytest.approx(pick["quality"])


def test_a_row_that_was_not_picked_is_covered_by_the_nearest_pick(qads: Call, finished: Path):
    chosen = picks(finished)
    x, quality = np.load(finished / "embed" / "embeddings.npy"), np.load(finished / "quality" / "quality.npy")
    distances, steps = reference.nearest_pick(x, [pick["row"] for pick in chosen])
    found = asked(qads, finished, "--not-picked", "--show", "100")["rows"]
    assert len(found) == len(x) - len(chosen)
    assert [row["quality"] for row in found] == sorted((row["quality"] for row in found), reverse=True)
    for row in found:
        assert (row["picked"], row["step"], row["gain"], row["covers"]) == (False, None, None, None)
        assert row["nearest"] == chosen[row["nearest_step"]]["id"]
        assert row["nearest_step"] == steps[row["row"]]
        assert row["distance"] == pytest.approx(distances[row["row"]], rel=1e-12)
        assert row["quality"] == quality[row["row"]]


def test_every_row_of_the_pool_is_covered_once(qads: Call, finished: Path):
    found = asked(qads, finished, *(word for pick in picks(finished) for word in ("--row", pick["id"])))["rows"]
    assert sum(row["covers"] for row in found) == 30
    assert min(row["covers"] for row in found) >= 1


def test_without_rows_the_curves_are_shown_with_their_knee(qads: Call, finished: Path):
    found = asked(qads, finished)
    curves = found["curves"]
    assert curves["budget"] == list(range(1, 9))
    assert curves["radius"] == sorted(curves["radius"], reverse=True)
    assert (found["metric"], found["prefix_closed"], curves["tokens"]) == ("euclidean", True, None)
    quality = [pick["quality"] for pick in picks(finished)]
    assert curves["mean_quality"] == pytest.approx(np.cumsum(quality) / np.arange(1, 9))
    said = qads("explain", finished).out
    assert "covering radius" in said and "Knee: " in said
    assert found["knee"] is None or f"Knee: {found['knee']} rows" in said


def test_coverage_is_made_on_demand_kept_and_made_anew_for_another_selection(
    qads: Call, bare: Path, pool: Path, tiny: list[str], tmp_path: Path
):
    assert {s.name: s.state for s in read_status(bare).stages}["coverage"] == "to do"
    first = asked(qads, bare)
    assert first["curves"]["mean_quality"] is None
    file = bare / "coverage" / "coverage.parquet"
    made = file.stat().st_mtime_ns
    assert asked(qads, bare) == first
    assert file.stat().st_mtime_ns == made
    again = ["select", pool, "-b", "5", "-o", tmp_path / "out.jsonl", "--no-quality", *tiny[:6], "--redo", "select"]
    assert qads(*again).code == 0
    assert asked(qads, bare)["curves"]["budget"] == [1, 2, 3, 4, 5]
    assert file.stat().st_mtime_ns != made


def test_the_run_plans_the_coverage_that_is_made_on_demand(qads: Call, finished: Path, pool: Path, tiny: list[str]):
    found = qads("select", pool, "-b", "8", "-o", finished.with_suffix(""), *tiny, "--dry-run", "--json")
    states = {stage["name"]: stage["status"] for stage in json.loads(found.out)["stages"]}
    assert states["coverage"] == "done"


def test_an_unknown_row_is_an_error_that_names_near_ones(qads: Call, finished: Path):
    found = qads("explain", finished, "--row", "r99")
    assert found.code == 2
    assert "--row r99: no row of the pool" in found.err
    assert "did you mean 'r9'" in found.err


def test_what_is_no_finished_run_cannot_be_explained(qads: Call, tmp_path: Path):
    found = qads("explain", tmp_path)
    assert (found.code, found.out) == (2, "")
    assert "not a run directory" in found.err


def test_a_damaged_coverage_is_made_again(qads: Call, finished: Path):
    file = finished / "coverage" / "coverage.parquet"
    assert qads("explain", finished).code == 0  # Makes it.
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    found = qads("explain", finished)
    assert found.code == 0, found.err
    assert file.read_bytes() == whole
