"""A scorer of its own from the command line: fitted, used on other rows, refused where it does not belong."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cli.conftest import Call, parsed
from qads.config import load_config
from qads.run.shards import DiskShards
from run.processes import started, wait_until_stopped
from run.tiny import StopAt, rows, run, settings, write_rows

CPU = ("--device", "cpu")


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pool that the scorer is fitted on."""
    return write_rows(tmp_path_factory.mktemp("known") / "pool.jsonl", rows(60))


@pytest.fixture(scope="module")
def fitted(model: Path, known: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has quality, real and predicted."""
    directory = tmp_path_factory.mktemp("fitted") / "run"
    run(load_config(settings(model, known)), directory, until="quality")
    return directory


@pytest.fixture
def new(tmp_path: Path) -> Path:
    """A pool that the scorer has not seen, with a row that no context holds."""
    made = rows(12, seed=7, prefix="n")
    made[4] |= {"solution": " ".join(map(str, range(10_000, 10_600)))}
    return write_rows(tmp_path / "new.jsonl", made)


def table(path: Path) -> list[dict[str, Any]]:
    return pq.read_table(path).to_pylist()


def test_fitting_scores_rows_and_says_how_well_the_rest_is_predicted(
    qads: Call, tiny: list[str], known: Path, tmp_path: Path
):
    words = ("fit-scorer", known, "--out", tmp_path / "run", *tiny, "--set", "quality.sample=30")
    assert qads(*words, "--dry-run").code == 0 and not (tmp_path / "run").exists()
    found = qads(*words)
    assert found.code == 0, found.err
    assert "Scorer: probe, " in found.out and "within sources" in found.out and "--scorer" in found.out
    assert (tmp_path / "run" / "scorer" / "scorer.safetensors").exists()
    assert (tmp_path / "run" / "report" / "fidelity.html").exists()
    assert not (tmp_path / "run" / "quality").exists(), "nothing is predicted yet"
    told = parsed(qads(*words, "--json").out)
    assert told["stages"]["scorer"]["labels"] == 30 and told["stages"]["scorer"]["fidelity"]["n_rows"] == 30


def test_predictions_are_those_of_the_run_that_fitted(qads: Call, fitted: Path, known: Path, tmp_path: Path):
    found = qads("predict", known, "--scorer", fitted, "-o", tmp_path / "out.parquet", *CPU)
    assert found.code == 0, found.err
    assert "60 rows predicted by a scorer fitted before; none really scored" in found.out
    by_run, alone = table(fitted / "quality" / "quality.parquet"), table(tmp_path / "out.parquet")
    assert [row["id"] for row in alone] == [row["id"] for row in by_run]
    assert {row["origin"] for row in alone} == {"predicted"}
    rest = [i for i, row in enumerate(by_run) if row["origin"] == "predicted"]
    assert len(rest) == 40
    for name in ("quality", "low", "high"):
        np.testing.assert_allclose([alone[i][name] for i in rest], [by_run[i][name] for i in rest], rtol=1e-4)
    assert all(row["low"] <= row["quality"] <= row["high"] for row in alone)


def test_json_lines_hold_what_parquet_holds(qads: Call, fitted: Path, known: Path, tmp_path: Path):
    words = ("predict", known, "--scorer", fitted / "scorer", "--run-dir", tmp_path / "run", *CPU)
    assert qads(*words, "-o", tmp_path / "a.parquet").code == 0
    assert qads(*words, "-o", tmp_path / "a.jsonl").code == 0
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert lines == table(tmp_path / "a.parquet")
    found = qads(*words, "-o", tmp_path / "a.csv")
    assert found.code == 2 and "written as .parquet or .jsonl" in found.err


def test_another_pool_is_refused_by_name_and_a_row_too_long_has_no_number(
    qads: Call, fitted: Path, new: Path, tmp_path: Path
):
    words = ("predict", new, "--scorer", fitted, "-o", tmp_path / "out.parquet", *CPU)
    refused = qads(*words)
    assert refused.code == 2 and not (tmp_path / "out.parquet").exists()
    assert "pool: was " in refused.err and "--allow-other pool" in refused.err
    found = qads(*words, "--allow-other", "pool", "--redo", "quality")
    assert found.code == 0, found.err
    assert "No quality: 1 rows (1 × " in found.out and "tokens where the context of the model holds 1024" in found.out
    rows_ = table(tmp_path / "out.parquet")
    assert [i for i, row in enumerate(rows_) if row["quality"] is None] == [4]
    assert rows_[4] == {"id": "n4", "quality": None, "low": None, "high": None, "origin": "none"}
    listed = (tmp_path / "out.parquet.qads" / "quality" / "unscored.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in listed] == ["n4"] and "context" in json.loads(listed[0])["reason"]
    told = parsed(qads(*words, "--allow-other", "pool", "--json").out)
    assert told["out"] == str(tmp_path / "out.parquet")
    assert told["stages"]["quality"]["unscored"] == 1 and told["stages"]["quality"]["predicted"] == 11


def test_a_prediction_that_is_killed_goes_on_where_it_was(qads: Call, model: Path, tmp_path: Path):
    pool, out, scorer = write_rows(tmp_path / "pool.jsonl", rows(600)), tmp_path / "out.parquet", tmp_path / "run"
    made = settings(model, pool)
    run(load_config(made), scorer, until="scorer")
    config = load_config(made | {"quality": {"scorer": {"kind": "saved", "path": str(scorer)}}})
    directory, words = tmp_path / "out.parquet.qads", ("predict", pool, "--scorer", scorer, *CPU)
    with started(config, directory, StopAt("quality", 512)) as process:  # Rows are predicted in shards of 512.
        wait_until_stopped(process)
        process.kill()
        process.join()
    shards = DiskShards(directory / "quality")
    finished = shards.get(0)
    assert finished is not None and shards.count() == 1
    shards.put(0, finished.set_column(0, "quality", pa.array([9.0] * 512, pa.float32())))  # To be known again by.
    assert qads(*words, "-o", out).code == 0 and qads(*words, "-o", tmp_path / "whole.parquet").code == 0
    resumed, whole = (pq.read_table(path)["quality"].to_numpy() for path in (out, tmp_path / "whole.parquet"))
    assert (resumed[:512] == 9.0).all()
    np.testing.assert_array_equal(resumed[512:], whole[512:])


def test_a_selection_uses_a_scorer_that_was_fitted_before(qads: Call, fitted: Path, new: Path, tmp_path: Path):
    # Its embeddings are made as those that the scorer was fitted on: by the tiny model.
    words = ["select", new, "--budget", 5, "-o", tmp_path / "out.jsonl", "--scorer", fitted, *CPU]
    refused = qads(*words)
    assert refused.code == 2 and "--allow-other pool" in refused.err
    found = qads(*words, "--allow-other", "pool", "--redo", "quality")
    assert found.code == 0, found.err
    assert json.loads((tmp_path / "out.jsonl.qads" / "config.json").read_text())["embedding"]["kind"] == "lm"
    assert "Quality: 11 rows predicted by a scorer fitted before; none really scored." in found.out
    picked = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert len(picked) == 5 and {row["qads"]["quality_origin"] for row in picked} == {"predicted"}
    assert "n4" not in {row["id"] for row in picked}
    assert not (tmp_path / "out.jsonl.qads" / "influence").exists()
    page = (tmp_path / "out.jsonl.qads" / "report" / "report.html").read_text()
    assert "predicted by a scorer that was fitted before" in page and "1 row without quality" in page
    shown = re.sub(r"<script.*?</script>|<style.*?</style>|<[^>]*>", " ", page, flags=re.DOTALL)
    assert "nan" not in shown.casefold().split()
    told = parsed(qads("explain", tmp_path / "out.jsonl.qads", "--row", "n4", "--json").out)
    assert "NaN" not in json.dumps(told)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--anchors", "3"), "--anchors: a scorer that was fitted before scores nothing for real"),
        (("--sample", "20"), "--sample: a scorer that was fitted before scores nothing for real"),
        (("--until-se", "0.1"), "a scorer that was fitted before scores nothing for real"),
        (("--no-quality",), "--no-quality excludes --scorer: nothing is predicted then"),
    ],
)
def test_what_scores_for_real_is_refused_beside_a_fitted_scorer(
    qads: Call, fitted: Path, known: Path, tmp_path: Path, words: tuple[str, ...], message: str
):
    found = qads("select", known, "--budget", 5, "-o", tmp_path / "out.jsonl", "--scorer", fitted, *words)
    assert found.code == 2 and message in " ".join(found.err.replace("│", " ").split())
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_allowed_or_is_no_scorer_is_refused(qads: Call, known: Path, tmp_path: Path):
    select = ("select", known, "--budget", 5, "-o", tmp_path / "out.jsonl")
    found = qads(*select, "--no-quality", "--scorer", "lm")
    assert found.code == 2 and "--no-quality excludes --scorer" in found.err
    found = qads(*select, "--allow-other", "pool")
    assert found.code == 2 and "--allow-other is of a scorer that was fitted before" in found.err
    found = qads("predict", known, "--scorer", tmp_path / "none", "-o", tmp_path / "out.parquet")
    assert found.code == 2 and "holds no scorer" in found.err
    assert list(tmp_path.iterdir()) == []


def test_another_difference_than_there_is_cannot_be_allowed(qads: Call, fitted: Path, known: Path, tmp_path: Path):
    words = ("predict", known, "--scorer", fitted, "-o", tmp_path / "out.parquet", "--allow-other")
    found = qads(*words, "everything")
    assert found.code == 2 and "'everything' is none of pool, model, template, anchors, embedding" in found.err
