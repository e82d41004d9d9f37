"""Laws of what the scripts of a page are given: every row once, as the files of the run have it."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from qads import TSNEProjection
from qads.config import ReportConfig
from qads.errors import InputError
from qads.report import open_run
from qads.report.samples import SampleFacts, read_samples
from qads.run import RunDirectory, read_status


def unpacked(text: str) -> dict[str, Any]:
    return json.loads(gzip.decompress(base64.b64decode(text)))


def array(text: str, kind: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), kind)


def samples(run: Path, settings: ReportConfig) -> SampleFacts:
    with RunDirectory(run).lock():
        found = read_samples(open_run(run), settings)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def facts(plain_run: Path) -> SampleFacts:
    return samples(plain_run, ReportConfig())


def test_columns_are_those_of_the_run(facts: SampleFacts, plain_run: Path) -> None:
    columns = unpacked(facts.columns)
    picks = pq.read_table(plain_run / "select" / "selection.parquet").to_pylist()
    steps = array(columns["step"], "<i4")
    assert columns["n"] == len(columns["ids"]) == len(steps) == facts.n_shown == 40
    assert {int(step): int(row) for row, step in enumerate(steps) if step >= 0} == {p["step"]: p["row"] for p in picks}
    distance = array(columns["distance"], "<f4")
    known = [(p["row"], p["distance"]) for p in picks if p["distance"] is not None]
    assert all(distance[row] == np.float32(value) for row, value in known)
    assert facts.n_left_out == facts.n_placed == 0


def test_a_row_that_was_not_picked_names_the_pick_that_covers_it(facts: SampleFacts, plain_run: Path) -> None:
    columns = unpacked(facts.columns)
    steps, near = array(columns["step"], "<i4"), array(columns["near"], "<i4")
    coverage = pq.read_table(plain_run / "coverage" / "coverage.parquet")["covering_step"].to_numpy()
    assert (near[steps < 0] == coverage[steps < 0]).all()
    assert near[np.flatnonzero(steps == 0)[0]] == -1
    assert (near[steps > 0] < steps[steps > 0]).all()


def test_places_are_those_of_the_map_to_a_thousandth(facts: SampleFacts, plain_run: Path) -> None:
    table = pq.read_table(plain_run / "projection" / "projection.parquet")
    columns = unpacked(facts.columns)
    for axis in "xy":
        text, least, step = columns[axis]
        true = table[axis].to_numpy()
        assert np.allclose(least + step * array(text, "<u2"), true, atol=1e-3 * np.ptp(true))


@pytest.mark.parametrize("n", [0, 5, 12, 20, 40, 100])
def test_picks_have_their_texts_first(plain_run: Path, n: int) -> None:
    found = samples(plain_run, ReportConfig(texts=n))
    texts, steps = unpacked(found.texts), array(unpacked(found.columns)["step"], "<i4")
    assert len(texts["rows"]) == len(set(texts["rows"])) == found.n_texts == min(n, 40)
    assert [steps[row] for row in texts["rows"][: min(n, 12)]] == list(range(min(n, 12)))
    assert [bool(beginning) for beginning in texts["beginnings"]] == [i not in texts["rows"] for i in range(40)]


def test_long_texts_are_cut_and_counted(plain_run: Path) -> None:
    found = samples(plain_run, ReportConfig(characters=300))
    assert found.n_cut == gzip.decompress(base64.b64decode(found.texts)).decode().count("… (of ") > 0
    assert samples(plain_run, ReportConfig()).n_cut == 0


def test_of_a_large_pool_all_picks_are_shown_and_the_page_says_what_is_not(plain_run: Path) -> None:
    found = samples(plain_run, ReportConfig(projection=TSNEProjection(most=10)))
    steps = array(unpacked(found.columns)["step"], "<i4")
    assert sorted(steps[steps >= 0]) == list(range(12))
    assert found.n_shown == 10 + found.n_placed and found.n_left_out == 40 - found.n_shown
    samples(plain_run, ReportConfig())  # The map of all rows, for the tests that come.


def test_the_same_run_gives_the_same_texts(facts: SampleFacts, plain_run: Path) -> None:
    again = samples(plain_run, ReportConfig())
    assert (again.columns, again.texts) == (facts.columns, facts.texts)


def test_without_a_map_nothing_is_laid_out(plain_run: Path) -> None:
    with RunDirectory(plain_run).lock():
        assert read_samples(open_run(plain_run), ReportConfig(projection=None)) is None


def test_status_lists_the_map_where_one_is_asked_for(tmp_path: Path) -> None:
    asked = {"pool": {}, "budget": 1, "quality": None}
    for report, listed in ((None, True), ({"projection": None}, False), ({"projection": {}}, True)):
        (tmp_path / "config.json").write_text(json.dumps(asked | ({} if report is None else {"report": report})))
        assert ("projection" in [stage.name for stage in read_status(tmp_path).stages]) == listed


@pytest.mark.parametrize("setting", [{"texts": -1}, {"characters": 10}])
def test_settings_that_make_no_sense_are_refused(setting: dict[str, int]) -> None:
    with pytest.raises(InputError, match=rf"report\.{next(iter(setting))}"):
        ReportConfig(**setting)  # pyright: ignore[reportArgumentType]
