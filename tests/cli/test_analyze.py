"""`qads analyze` as it is called: from files, with two models, and over runs that are there already."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from cli.conftest import Call
from run.tiny import make_model, rows, write_rows

FEW = ["--draws", "100"]
PAGE = {"analysis.html", "analysis.json", "sources.csv", "sources.parquet"}


@pytest.fixture(scope="module")
def other_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("other") / "second")


@pytest.fixture
def flags(tiny: list[str]) -> list[str]:
    """Without the model that scores, which `--model` gives, and with enough rows for ranks."""
    pairs = list(zip(tiny[::2], tiny[1::2], strict=True))
    left_out = ("quality.influence.model=", "quality.sample=")
    return [word for pair in pairs if not pair[1].startswith(left_out) for word in pair] + ["--sample", "24", *FEW]


def test_two_models_are_compared_and_share_what_does_not_hang_on_them(
    qads: Call, pool: Path, flags: list[str], model: Path, other_model: Path, tmp_path: Path
):
    out = tmp_path / "out"
    words = ["analyze", pool, "--model", model, "--model", other_model, "--out", out, *flags]
    found = qads(*words)
    assert found.code == 0, found.err
    assert PAGE <= {path.name for path in out.iterdir()}
    assert "has the highest mean quality" in found.out and "within sources" in found.out
    runs = sorted((out / "runs").iterdir())
    assert len(runs) == 2
    a, b = (run / "embed" / "embeddings.npy" for run in runs)
    assert os.path.samefile(a, b)
    again = qads(*words, "--json")
    assert again.code == 0, again.err
    said = json.loads(again.out)
    assert [m["name"] for m in said["models"]] == [str(model), str(other_model)]
    assert said["rows"] == 30 and len(said["agreements"]) == 1
    assert {Path(name).name for name in said["files"]} == PAGE
    over_runs = qads("analyze", "--run", runs[0], "--run", runs[1], "--out", tmp_path / "over", "--json", *FEW)
    assert over_runs.code == 0, over_runs.err
    assert {s["name"]: s["n_rows"] for s in json.loads(over_runs.out)["sources"]} == {"s0": 10, "s1": 10, "s2": 10}


def test_without_quality_rows_and_texts_are_compared(qads: Call, pool: Path, tiny: list[str], tmp_path: Path):
    found = qads("analyze", pool, "--no-quality", "--out", tmp_path / "out", *tiny[:6], "--json")
    assert found.code == 0, found.err
    said = json.loads(found.out)
    assert said["models"] == [] and said["whole_pool_diversity"]["n_rows"] == 10
    assert not (tmp_path / "out" / "runs" / "pool" / "influence").exists()


def test_duplicates_and_contaminated_rows_are_counted(qads: Call, tiny: list[str], tmp_path: Path):
    made = rows(12)
    for number in (3, 4):  # s0 and s1 again
        made[number] |= {"problem": made[0]["problem"], "solution": made[0]["solution"]}
    made[7] |= {"problem": made[6]["problem"]}  # s1 solves a problem of s0 in its own way
    pool = write_rows(tmp_path / "pool.jsonl", made)
    evaluation = write_rows(tmp_path / "eval.jsonl", [made[5]])
    found = qads(
        "analyze", pool, "--no-quality", "--against", evaluation, "--out", tmp_path / "out", *tiny[:6], "--json"
    )
    assert found.code == 0, found.err
    flags = {s["name"]: s["flags"] for s in json.loads(found.out)["sources"]}
    assert flags["s0"] == {"duplicates": 1, "problem in other sources": 3, "contaminated": 0}
    assert flags["s1"] == {"duplicates": 1, "problem in other sources": 2, "contaminated": 0}
    assert flags["s2"]["contaminated"] >= 1


def test_every_row_whose_problem_another_source_has_is_counted(qads: Call, tiny: list[str], tmp_path: Path):
    made = rows(6)
    for number in (3, 1):  # s0 has it twice; s1 solves it in its own way
        made[number] |= {"problem": made[0]["problem"]}
    made[3] |= {"solution": made[0]["solution"]}
    pool = write_rows(tmp_path / "pool.jsonl", made)
    found = qads("analyze", pool, "--no-quality", "--out", tmp_path / "out", *tiny[:6], "--json")
    assert found.code == 0, found.err
    shared = {s["name"]: s["flags"]["problem in other sources"] for s in json.loads(found.out)["sources"]}
    assert shared == {"s0": 2, "s1": 1, "s2": 0}


@pytest.fixture
def scored(qads: Call, pool: Path, tiny: list[str], tmp_path: Path) -> Path:
    assert qads("score", pool, "--out", tmp_path / "run", *tiny).code == 0
    return tmp_path / "run"


def test_two_runs_of_one_model_are_told_by_their_directories(qads: Call, scored: Path, tmp_path: Path):
    shutil.copytree(scored, tmp_path / "copy")
    found = qads("analyze", "--run", scored, "--run", tmp_path / "copy", "--out", tmp_path / "out", "--json", *FEW)
    assert found.code == 0, found.err
    names = [m["name"] for m in json.loads(found.out)["models"]]
    assert len(set(names)) == 2 and str(scored) in names[0]


def test_fixed_anchors_give_intervals_that_are_no_wider(qads: Call, scored: Path, tmp_path: Path):
    widths = []
    for words in ([], ["--fixed-anchors"]):
        found = qads("analyze", "--run", scored, "--out", tmp_path / "out", "--json", *FEW, *words)
        said = json.loads(found.out)
        assert said["settings"]["draw_anchors"] == (not words)
        (model,) = said["models"]
        means = [s["quality"][model["name"]]["mean"] for s in said["sources"]]
        widths.append(sum((m["high"] or 0) - (m["low"] or 0) for m in means))
    assert widths[1] <= widths[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["analyze"], "give either POOL or --run RUN"),
        (["analyze", "POOL", "--run", "x"], "give either POOL or --run RUN"),
        (["analyze", "--run", "x", "--model", "m"], "options of scoring go with POOL"),
        (["analyze", "--run", "x", "--on-bad-row", "skip"], "--on-bad-row goes with POOL"),
        (["analyze", "POOL", "--model", "m", "--model", "m"], "is given twice"),
        (["analyze", "POOL", "--model", "m", "--no-quality"], "--no-quality excludes"),
        (["analyze", "--run", "nowhere"], "not a run directory"),
    ],
)
def test_what_cannot_be_meant_is_refused(qads: Call, pool: Path, words: list[str], said: str, tmp_path: Path):
    os.chdir(tmp_path)
    found = qads(*[pool if word == "POOL" else word for word in words])
    assert found.code == 2
    assert said in " ".join(found.err.replace("│", " ").split())
    assert not (tmp_path / "analysis").exists()


def test_runs_over_other_rows_are_not_compared(qads: Call, scored: Path, tiny: list[str], tmp_path: Path):
    other = write_rows(tmp_path / "other.jsonl", rows(24, seed=3))
    assert qads("score", other, "--out", tmp_path / "run2", *tiny).code == 0
    found = qads("analyze", "--run", scored, "--run", tmp_path / "run2", "--out", tmp_path / "out")
    assert found.code == 2 and "models can be compared on one pool only" in found.err


def test_a_source_that_the_output_would_join_is_refused(qads: Call, tiny: list[str], tmp_path: Path):
    folder = tmp_path / "data"
    folder.mkdir()
    write_rows(folder / "pool.jsonl", rows(12))
    found = qads("analyze", folder, "--no-quality", "--out", folder / "out", *tiny[:6])
    assert found.code == 2 and "a second start would read it" in found.err
