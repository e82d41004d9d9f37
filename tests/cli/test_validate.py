"""How well a scorer predicts, from the command line: what the run measured, and a test on rows it has not seen."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from cli.conftest import Call, parsed
from qads.quality.fidelity import HeldOut
from qads.run import RunDirectory
from run.tiny import write_rows

SYLLABLES = "ba do fi gu la me no pi ra su ta vo zi ke".split()
SAMPLE = ("--set", "quality.sample=30", "--set", "quality.scorer.kind=retrieval")


def unlike(n: int) -> list[dict[str, Any]]:
    """Rows of words that no two have in common."""
    draw = random.Random(0)

    def words(k: int) -> str:
        return " ".join("".join(draw.choices(SYLLABLES, k=3)) for _ in range(k))

    return [
        {"id": f"r{i}", "source": f"s{i % 3}", "problem": words(8), "solution": words(4 + 6 * (i % 5)), "kind": "cot"}
        for i in range(n)
    ]


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = unlike(90)
    made += [row | {"id": f"again {row['id']}", "solution": row["solution"] + " ba."} for row in made[:10]]
    return write_rows(tmp_path_factory.mktemp("pool") / "pool.jsonl", made)


@pytest.fixture
def run(qads: Call, tiny: list[str], pool: Path, tmp_path: Path) -> Path:
    directory = tmp_path / "run"
    found = qads("score", pool, "--out", directory, *tiny, *SAMPLE)
    assert found.code == 0, found.err
    return directory


def test_what_the_run_measured_is_shown_with_a_verdict_and_a_page(qads: Call, run: Path, tmp_path: Path):
    found = qads("validate-scorer", run)
    assert found.code == 0, found.err
    assert "Pearson’s r" in found.out and "within sources" in found.out
    assert f"Page: {run / 'report' / 'fidelity.html'}" in found.out
    page = (run / "report" / "fidelity.html").read_text()
    told = parsed(qads("validate-scorer", run, "--json", "--out", tmp_path / "mine.html").out)
    assert told["page"] == str(tmp_path / "mine.html") and (tmp_path / "mine.html").read_text() == page
    assert told["summary"]["verdict"] in found.out and told["summary"]["n_rows"] == 30
    manifest = json.loads((run / "scorer" / "manifest.json").read_text())
    assert manifest["fidelity"] == told["summary"]


def test_new_rows_are_unlike_all_that_was_fitted_on(qads: Call, run: Path):
    told = parsed(qads("validate-scorer", run, "--labels", 40, "--json").out)
    folder = Path(told["page"]).parent
    assert folder.parent == run / "validation"
    rows = HeldOut.from_table(pq.read_table(folder / "held_out.parquet"))
    labelled = set(pq.read_table(run / "quality" / "quality_real.parquet")["candidate"].to_pylist())
    anchors = set(pq.read_table(run / "anchors" / "anchors.parquet")["id"].to_pylist())
    assert rows.id is not None
    for taken in labelled | anchors:
        twins = {taken, taken.removeprefix("again "), f"again {taken}"}
        assert not twins & set(rows.id)
    assert len(rows) + sum(told["unscored"].values()) == 40
    assert told["fidelity"]["n_folds"] == 1 and told["cost"]["n_anchors"] == 3
    assert told["cost"]["real_tokens"] > told["cost"]["predicted_tokens"] == 0
    assert set(told["groups"]["sources"]) == set(rows.source)


def test_the_real_quality_of_new_rows_is_what_a_run_would_measure(
    qads: Call, tiny: list[str], pool: Path, run: Path, tmp_path: Path
):
    told = parsed(qads("validate-scorer", run, "--labels", 30, "--json").out)
    rows = HeldOut.from_table(pq.read_table(Path(told["page"]).parent / "held_out.parquet"))
    assert qads("score", pool, "--out", tmp_path / "all", *tiny, *SAMPLE, "--set", "quality.sample=99").code == 0
    table = pq.read_table(tmp_path / "all" / "quality" / "quality_real.parquet")
    real = dict(zip(table["candidate"].to_pylist(), table["quality"].to_pylist(), strict=True))
    assert rows.id is not None
    np.testing.assert_allclose(rows.real, [real[name] for name in rows.id], atol=1e-5)
    predicted = pq.read_table(run / "quality" / "quality.parquet")
    said = dict(zip(predicted["id"].to_pylist(), predicted["quality"].to_pylist(), strict=True))
    np.testing.assert_allclose(rows.predicted, [said[name] for name in rows.id], atol=1e-6)


def test_a_second_test_takes_over_what_the_first_has_scored(qads: Call, run: Path):
    first = parsed(qads("validate-scorer", run, "--labels", 20, "--json").out)
    again = parsed(qads("validate-scorer", run, "--labels", 20, "--json").out)
    assert again["fidelity"] == first["fidelity"] and again["page"] == first["page"]
    larger = parsed(qads("validate-scorer", run, "--labels", 30, "--json").out)
    small, large = (json.loads((Path(t["page"]).parent / "manifest.json").read_text()) for t in (first, larger))
    assert small["pairs_reused"] == 0 and large["pairs_reused"] == small["rows"] * 3
    other = parsed(qads("validate-scorer", run, "--labels", 20, "--seed", 1, "--json").out)
    assert other["page"] != first["page"]


def test_a_style_is_taken_off_new_rows_too(qads: Call, tiny: list[str], pool: Path, tmp_path: Path):
    words = ("score", pool, "--out", tmp_path / "run", *tiny, *SAMPLE, "--set", "quality.style.by=source")
    assert qads(*words).code == 0
    told = parsed(qads("validate-scorer", tmp_path / "run", "--labels", 30, "--json").out)
    real = [tenth["real"]["value"] for tenth in told["fidelity"]["calibration"]]
    assert min(real) < 0 < max(real)
    assert all(
        source["real"] == pytest.approx(0, abs=np.ptp(real)) for source in told["fidelity"]["by_source"].values()
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--labels", "3"), "3 rows asked for; a test needs 10 at least"),
        (("--seed", "1"), "are of the rows that --labels N draws"),
        (("--out", "page.pdf"), "ends in .html"),
    ],
)
def test_what_makes_no_sense_is_exit_code_2(qads: Call, run: Path, words: tuple[str, ...], message: str):
    found = qads("validate-scorer", run, *words)
    assert found.code == 2 and message in " ".join(found.err.split())


def test_a_run_without_a_scorer_says_so(qads: Call, tiny: list[str], pool: Path, tmp_path: Path):
    assert qads("embed", pool, "--out", tmp_path / "run", *tiny[:6], *tiny[-2:]).code == 0
    found = qads("validate-scorer", tmp_path / "run")
    assert found.code == 2
    assert qads("validate-scorer", tmp_path / "nowhere").code == 2


def test_a_run_that_another_is_in_is_left_alone(qads: Call, run: Path):
    with RunDirectory(run).lock():
        found = qads("validate-scorer", run, "--labels", 20)
    assert found.code == 2 and "another run is using this directory" in found.err


def test_a_damaged_report_is_named(qads: Call, run: Path):
    (run / "scorer" / "fidelity.json").write_text("{}")
    found = qads("validate-scorer", run)
    assert found.code == 2 and "fidelity.json" in found.err and "--redo scorer" in found.err


def test_a_whole_run_leaves_the_page_beside_its_report(qads: Call, tiny: list[str], pool: Path, tmp_path: Path):
    run = tmp_path / "run"
    words = ("select", pool, "--budget", 10, "--run-dir", run, "-o", tmp_path / "out.jsonl", *tiny, *SAMPLE)
    assert qads(*words).code == 0
    page = (run / "report" / "fidelity.html").read_text()
    assert qads("validate-scorer", run).code == 0 and (run / "report" / "fidelity.html").read_text() == page
    assert "report/fidelity.html" in (run / "report" / "report.html").read_text()
    assert qads(*words, "--redo", "scorer").code == 0 and (run / "report" / "fidelity.html").exists()
