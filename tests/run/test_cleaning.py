"""Cleaning is a stage like any other, and what it takes out is counted, listed, and out of everything after it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from qads.config import RunConfig, load_config
from qads.errors import ConfigError, DriftError, InputError
from qads.report import write_report
from qads.run import estimate_run, read_status, run_pipeline
from qads.run.plan import plan_stages, stage_names
from run.tiny import rows, run, settings, write_rows

ALL = ["pool", "clean", "embed", "anchors", "influence", "scorer", "quality", "select", "mixture"]


def repeated(n: int = 30) -> list[dict[str, Any]]:
    """Rows no two alike; then three that are equal to the first, one in nearly the words of the second."""
    made = rows(n)
    copies = [made[0] | {"id": f"copy{number}", "problem": made[0]["problem"].upper()} for number in range(3)]
    story = made[1]["problem"] + " They are counted one by one in the long hall behind the mill, and then once more."
    made[1] = made[1] | {"problem": story}
    return [*made, *copies, made[1] | {"id": "near", "problem": story + " Say it."}]


@pytest.fixture
def evaluation(tmp_path: Path) -> Path:
    """Two of the pool's problems, and one that is not there."""
    found = [row | {"id": f"e{number}", "source": "exam"} for number, row in enumerate(rows(6)[4:])]
    return write_rows(tmp_path / "exam.jsonl", [*found, *rows(1, seed=9, prefix="other")])


@pytest.fixture
def raw(model: Path, tmp_path: Path, evaluation: Path) -> dict[str, Any]:
    pool = write_rows(tmp_path / "pool.jsonl", repeated())
    clean = {"duplicates": {}, "against": str(evaluation)}
    return settings(model, pool, clean=clean)


def table(path: Path) -> list[dict[str, Any]]:
    return pq.read_table(path).to_pylist()


def manifest(directory: Path, stage: str) -> dict[str, Any]:
    return json.loads((directory / stage / "manifest.json").read_text())


def plans(config: RunConfig, raw: dict[str, Any]) -> dict[str, str]:
    found = plan_stages(config, (raw["pool"]["sources"],), ())
    return {name: plan.fingerprint for name, plan in found.items()}


def test_what_repeats_and_what_is_in_the_evaluation_goes_and_is_listed(raw: dict[str, Any], tmp_path: Path):
    directory = tmp_path / "run"
    assert run(load_config(raw), directory).computed == ALL
    gone = {row["id"]: (row["reason"], row["kept"]) for row in table(directory / "clean" / "dropped.parquet")}
    copies = {f"copy{number}": ("exact", "r0") for number in range(3)}
    assert gone == copies | {"near": ("near", "r1"), "r4": ("contaminated", None), "r5": ("contaminated", None)}
    evidence = table(directory / "clean" / "contaminated.parquet")
    assert {(row["id"], row["evaluation_id"], row["kind"]) for row in evidence} == {
        ("r4", "e0", "exact"),
        ("r5", "e1", "exact"),
    }
    found = manifest(directory, "clean")
    assert (found["rows_before"], found["rows"]) == (34, 28)
    assert found["dropped"] == {"contaminated": 2, "exact": 3, "near": 1}
    assert sum(n for lost in found["dropped_by_source"].values() for n in lost.values()) == 6
    assert found["contamination"]["rows_by_set"] == {"exam": {"exact": 2}, "s0": {}}
    left = {row["id"] for row in table(directory / "clean" / "pool.parquet")}
    assert left == {row["id"] for row in table(directory / "pool" / "pool.parquet")} - set(gone)
    assert len(np.load(directory / "embed" / "embeddings.npy")) == 28
    assert {row["id"] for row in table(directory / "quality" / "quality.parquet")} == left


def test_nothing_is_looked_for_unless_it_is_asked_for(raw: dict[str, Any], tmp_path: Path):
    without = {name: value for name, value in raw.items() if name != "clean"}
    config = load_config(without)
    assert "clean" not in stage_names(config)
    assert plans(config, raw) == plans(load_config(without | {"clean": None}), raw)
    run_pipeline(load_config(without, ["quality=null"]), tmp_path / "run")
    page = write_report(tmp_path / "run").read_text()
    assert "Nothing was looked for in this run" in page


def test_a_cleaned_run_is_used_again_and_goes_on_from_where_it_stopped(raw: dict[str, Any], tmp_path: Path):
    config, directory = load_config(raw), tmp_path / "run"
    assert run(config, directory, until="clean").computed == ["pool", "clean"]
    assert [s.state for s in read_status(directory).stages if s.name in ("pool", "clean")] == ["done", "done"]
    assert run(config, directory).reused == ["pool", "clean"]
    assert run(config, directory).reused == ALL


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("clean.duplicates.near=0.9", "clean.duplicates.near: was 0.8, now 0.9"),
        ("clean.duplicates=null", "clean.duplicates: was {"),
        ("clean.on_contamination=report", 'clean.on_contamination: was "remove", now "report"'),
    ],
)
def test_other_rules_are_drift(raw: dict[str, Any], tmp_path: Path, override: str, line: str):
    run(load_config(raw), tmp_path / "run", until="clean")
    with pytest.raises(DriftError) as refused:
        run(load_config(raw, [override]), tmp_path / "run", until="clean")
    assert line in str(refused.value) and "--redo clean" in str(refused.value)
    assert run(load_config(raw, [override]), tmp_path / "run", until="clean", redo=["clean"]).computed == ["clean"]


def test_another_evaluation_set_is_drift_and_the_same_one_elsewhere_is_not(
    raw: dict[str, Any], tmp_path: Path, evaluation: Path
):
    run(load_config(raw), tmp_path / "run", until="clean")
    moved = tmp_path / "elsewhere" / evaluation.name
    moved.parent.mkdir()
    moved.write_bytes(evaluation.read_bytes())
    raw["clean"]["against"] = str(moved)
    assert run(load_config(raw), tmp_path / "run", until="clean").computed == []
    write_rows(moved, rows(3, seed=3))
    with pytest.raises(DriftError, match=r"inputs\.against exam"):
        run(load_config(raw), tmp_path / "run", until="clean")


def test_contamination_can_be_reported_alone_or_stop_the_run(raw: dict[str, Any], tmp_path: Path):
    run(load_config(raw, ["clean.on_contamination=report"]), tmp_path / "report", until="clean")
    found = manifest(tmp_path / "report", "clean")
    assert found["rows"] == 30 and found["contamination"]["rows"] == 2
    with pytest.raises(InputError, match=r"2 of 34 rows of the pool hold problems(.|\n)*r4 = e0 of exam \(exact"):
        run(load_config(raw, ["clean.on_contamination=error"]), tmp_path / "stopped", until="clean")
    assert not (tmp_path / "stopped" / "clean").exists()


def test_anchors_of_the_user_are_looked_at_too(raw: dict[str, Any], tmp_path: Path):
    anchors = write_rows(tmp_path / "anchors.jsonl", [*rows(3, seed=5, prefix="a"), *rows(5)[4:]])
    raw["anchors"] = {"sources": str(anchors)}
    run(load_config(raw), tmp_path / "run", until="anchors")
    assert [row["id"] for row in table(tmp_path / "run" / "anchors" / "anchors.parquet")] == ["a0", "a1", "a2"]
    found = manifest(tmp_path / "run", "anchors")
    assert found["rows"] == 3 and found["contamination"]["rows"] == 1
    assert [row["id"] for row in table(tmp_path / "run" / "anchors" / "contaminated.parquet")] == ["r4"]
    with pytest.raises(InputError, match="of 4 anchors hold problems"):
        only = raw | {"pool": {"sources": str(write_rows(tmp_path / "clean.jsonl", rows(12, seed=8)))}}
        run(load_config(only, ["clean.on_contamination=error"]), tmp_path / "stopped", until="anchors")


def test_embeddings_made_to_clean_are_taken_over(raw: dict[str, Any], tmp_path: Path):
    config = load_config(raw, ["clean.duplicates.semantic=0.0001"])
    run(config, tmp_path / "run", until="embed")
    cleaned, embedded = manifest(tmp_path / "run", "clean"), manifest(tmp_path / "run", "embed")
    assert cleaned["tokens"] > 0 and embedded["tokens"] == 0 and embedded["taken_over"] == cleaned["rows"]
    run(load_config(raw), tmp_path / "plain", until="embed")
    ids = [[row["id"] for row in table(tmp_path / name / "clean" / "pool.parquet")] for name in ("run", "plain")]
    places = [ids[1].index(name) for name in ids[0]]
    vectors = [np.load(tmp_path / name / "embed" / "embeddings.npy") for name in ("run", "plain")]
    np.testing.assert_allclose(vectors[0], vectors[1][places], atol=1e-5)
    assert len(vectors[0]) == cleaned["rows"] <= len(vectors[1])


def test_a_dry_run_says_what_is_not_known_before_cleaning_and_is_exact_after_it(raw: dict[str, Any], tmp_path: Path):
    raw["anchors"] = {"sources": str(write_rows(tmp_path / "anchors.jsonl", rows(3, seed=5, prefix="a")))}
    config, directory = load_config(raw), tmp_path / "run"
    before = {stage.name: stage for stage in estimate_run(config, directory)}
    assert (before["clean"].rows, before["embed"].rows, before["influence"].basis) == (34, 34, "estimated")
    assert "not known yet" in (before["clean"].note or "")
    run(config, directory, until="clean")
    after = {stage.name: stage for stage in estimate_run(config, directory)}
    assert (after["clean"].status, after["embed"].rows, after["influence"].basis) == ("done", 28, "exact")
    spent = run_pipeline(config, directory, until="influence").manifests["influence"]
    assert after["influence"].tokens == spent["tokens"]


def test_rows_that_cleaning_dropped_may_be_excluded_and_are_refused_as_included(raw: dict[str, Any], tmp_path: Path):
    names = tmp_path / "names.txt"
    names.write_text("copy0\nr2\n")
    raw |= {"quality": None}
    run(load_config(raw | {"constraints": {"exclude": str(names)}}), tmp_path / "run", until="select")
    picked = {row["id"] for row in table(tmp_path / "run" / "select" / "selection.parquet")}
    assert picked.isdisjoint({"copy0", "r2"})
    with pytest.raises(InputError, match="1 samples are not in the pool"):
        run(load_config(raw | {"constraints": {"include": str(names)}}), tmp_path / "included", until="select")


@pytest.mark.parametrize(
    ("clean", "message"),
    [
        ({}, "clean: asks for nothing"),
        ({"duplicates": {"near": 1.5}}, "clean.duplicates: Deduplication: near is 1.5"),
        ({"duplicates": {"solutions": 0}}, "clean.duplicates.solutions: solutions is 0"),
        ({"duplicates": {"solutions": "some"}}, "solutions is 'some'; it must be keep, collapse, or how many"),
        ({"duplicates": {"keep": "quality"}}, "a run measures after cleaning only"),
        ({"duplicates": {"kep": "first"}}, "clean.duplicates.kep: unknown key; did you mean 'keep'?"),
        ({"duplicates": {"keep": "source"}}, "belong together"),
        ({"against": "-"}, "not from standard input"),
        ({"duplicates": {}, "on_contamination": "error"}, "against names none"),
    ],
)
def test_a_section_that_cannot_be_meant_is_refused(raw: dict[str, Any], clean: dict[str, Any], message: str):
    with pytest.raises(ConfigError) as refused:
        load_config(raw | {"clean": clean})
    assert message in str(refused.value)


def test_the_report_shows_what_went_and_why(raw: dict[str, Any], tmp_path: Path):
    run_pipeline(load_config(raw | {"quality": None}), tmp_path / "run")
    page = write_report(tmp_path / "run").read_text()
    assert "6 rows of 34 went before anything was chosen" in page
    assert "2 rows hold problems of the evaluation; they went" in page
    assert "<code><bdi>copy2</bdi></code>" in page and "near duplicate" in page
