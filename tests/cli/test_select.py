"""From files to a selected file: the rows, their reasons, and the same bytes every time."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from cli.conftest import Call
from qads import load_pool
from qads.run import read_status
from run.tiny import rows, write_rows

REASONS = {"step", "gain", "distance", "nearest", "quality", "quality_origin"}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize(("budget", "n"), [("7", 7), ("10%", 3), ("0.5", 15), ("100%", 30)])
def test_select_gives_exactly_the_budget_each_row_with_its_reason(
    qads: Call, pool: Path, tiny: list[str], tmp_path: Path, budget: str, n: int
):
    found = qads("select", pool, "--budget", budget, "-o", tmp_path / "out.jsonl", *tiny)
    assert found.code == 0, found.err
    picked = lines(tmp_path / "out.jsonl")
    by_id = {row["id"]: row for row in lines(pool)}
    assert len({row["id"] for row in picked}) == len(picked) == n
    for step, row in enumerate(picked):
        reason = row.pop("qads")
        assert row == by_id[row["id"]]
        assert set(reason) == REASONS
        assert reason["step"] == step
        assert reason["quality_origin"] in ("real", "predicted")
        assert isinstance(reason["quality"], float)
        first = step == 0
        assert (reason["distance"] is None) is first
        assert (reason["nearest"] is None) is first
        assert first or reason["nearest"] in {earlier["id"] for earlier in picked[:step]}
    gains = [row["gain"] for row in pq.read_table(tmp_path / "out.jsonl.qads/select/selection.parquet").to_pylist()]
    assert gains[1:] == sorted(gains[1:], reverse=True)


def test_select_without_quality_says_so_in_the_reasons(qads: Call, pool: Path, tiny: list[str], tmp_path: Path):
    embedding = tiny[:6]
    found = qads("select", pool, "-b", "5", "-o", tmp_path / "out.jsonl", "--no-quality", *embedding)
    assert found.code == 0, found.err
    assert all(row["qads"]["quality"] is row["qads"]["quality_origin"] is None for row in lines(tmp_path / "out.jsonl"))
    assert lines(tmp_path / "out.jsonl")[0]["id"] == "r0"


def test_select_gives_the_same_bytes_from_anywhere(
    qads: Call, pool: Path, tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    there = tmp_path / "there"
    there.mkdir()
    shutil.copy(pool, there / "pool.jsonl")
    assert qads("select", pool, "-b", "6", "-o", tmp_path / "one.jsonl", *tiny).code == 0
    monkeypatch.chdir(there)
    assert qads("select", "pool.jsonl", "-b", "6", "-o", "two.jsonl", *tiny).code == 0
    assert (there / "two.jsonl").read_bytes() == (tmp_path / "one.jsonl").read_bytes()


def test_select_again_uses_what_is_done_and_a_change_is_an_error_that_offers_redo(
    qads: Call, pool: Path, tiny: list[str], tmp_path: Path
):
    command = ["select", pool, "-o", tmp_path / "out.jsonl", *tiny]
    assert qads(*command, "-b", "6").code == 0
    again = qads(*command, "-b", "6")
    assert again.code == 0
    assert again.err.count("done before") == 8
    changed = qads(*command, "-b", "8")
    assert changed.code == 2
    assert "budget: was 6, now 8" in changed.err
    assert "--redo select" in changed.err
    assert len(lines(tmp_path / "out.jsonl")) == 6
    assert qads(*command, "-b", "8", "--redo", "select").code == 0
    assert len(lines(tmp_path / "out.jsonl")) == 8


@pytest.mark.parametrize("shape", ["jsonl", "alpaca", "messages", "sharegpt", "parquet"])
@pytest.mark.parametrize("ending", [".jsonl", ".json", ".parquet"])
def test_a_selected_file_reads_back_as_the_rows_it_was_made_of(
    qads: Call, pool: Path, tiny: list[str], tmp_path: Path, shape: str, ending: str
):
    out = tmp_path / f"out{ending}"
    found = qads("select", pool, "-b", "5", "-o", out, "--format", shape, "--no-quality", *tiny[:6])
    if (shape == "parquet") != (ending == ".parquet"):
        assert found.code == 2
        assert "must end in" in found.err
        assert [path.name for path in tmp_path.iterdir()] == ["pool.jsonl"]
        return
    assert found.code == 0, found.err
    if ending == ".json":
        assert len(json.loads(out.read_text())) == 5
    selected, whole = load_pool(out), load_pool(pool)
    for row in selected:
        original = next(other for other in whole if other.id == row.id)
        assert (row.problem, row.solution, row.answer, row.kind, row.source) == (
            original.problem, original.solution, original.answer, original.kind, original.source,
        )  # fmt: skip


def test_the_ending_gives_the_format_and_a_setting_goes_over_it(
    qads: Call, pool: Path, tiny: list[str], tmp_path: Path
):
    embedding = ["--no-quality", *tiny[:6]]
    assert qads("select", pool, "-b", "5", "-o", tmp_path / "a.parquet", *embedding).code == 0
    assert pq.read_table(tmp_path / "a.parquet").num_rows == 5
    assert (
        qads("select", pool, "-b", "5", "-o", tmp_path / "b.jsonl", *embedding, "--set", "output.format=alpaca").code
        == 0
    )
    assert "instruction" in lines(tmp_path / "b.jsonl")[0]


def test_an_output_that_is_a_source_or_in_one_is_refused(qads: Call, pool: Path, tiny: list[str], tmp_path: Path):
    before = pool.read_bytes()
    for source in (pool, tmp_path, tmp_path / "*.jsonl"):
        found = qads("select", source, "-b", "5", "-o", pool, *tiny)
        assert found.code == 2
        assert re.search("lies in the source|is the source .* would be overwritten", found.err)
    assert pool.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["pool.jsonl"]


def test_an_output_that_is_a_source_through_a_link_is_refused(qads: Call, pool: Path, tiny: list[str], tmp_path: Path):
    before = pool.read_bytes()
    (tmp_path / "link.jsonl").symlink_to(pool)
    (tmp_path / "out.jsonl.qads").mkdir()
    (tmp_path / "out.jsonl.qads" / "pool").symlink_to(tmp_path)
    for source, out in (("link.jsonl", "pool.jsonl"), ("pool.jsonl", "link.jsonl"), ("pool.jsonl", "out.jsonl")):
        found = qads("select", tmp_path / source, "-b", "5", "-o", tmp_path / out, *tiny)
        assert found.code == 2, found.out
    assert pool.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.jsonl", "out.jsonl.qads", "pool.jsonl"]


def test_a_file_that_the_run_has_not_written_is_not_written_over(
    qads: Call, pool: Path, plain: list[str], tmp_path: Path
):
    mine = tmp_path / "mine.jsonl"
    mine.write_text("precious")
    for target in (mine, tmp_path / "link.jsonl"):
        if not target.exists():
            target.symlink_to(mine)
        found = qads("select", pool, "-b", "5", "-o", target, *plain)
        assert found.code == 2 and "a file of that name is there that was not written from" in found.err
    assert mine.read_text() == "precious" and not (tmp_path / "mine.jsonl.qads").exists()
    beside = tmp_path / "picked-3.jsonl"
    beside.write_text("precious")
    found = qads("select", pool, "-b", "5", "-b", "3", "-o", tmp_path / "picked.jsonl", *plain)
    assert found.code == 2 and "picked-3.jsonl: a file of that name" in found.err and beside.read_text() == "precious"
    beside.unlink()
    assert qads("select", pool, "-b", "5", "-b", "3", "-o", tmp_path / "picked.jsonl", *plain).code == 0
    (tmp_path / "moved").mkdir()
    for name in ("picked.jsonl", "picked-3.jsonl", "picked.jsonl.qads"):
        (tmp_path / name).rename(tmp_path / "moved" / name)
    found = qads("select", pool, "-b", "5", "-b", "3", "-o", tmp_path / "moved" / "picked.jsonl", *plain)
    assert found.code == 0, found.err


def test_files_of_budgets_that_are_asked_for_no_more_go_unless_they_were_changed(
    qads: Call, pool: Path, plain: list[str], tmp_path: Path
):
    out = tmp_path / "picked.jsonl"
    assert qads("select", pool, "-b", "9", "-b", "5", "-b", "3", "-o", out, *plain).code == 0
    (tmp_path / "picked-5.jsonl").write_text("changed")
    found = qads("select", pool, "-b", "8", "-o", out, *plain, "--redo", "select")
    assert found.code == 0, found.err
    assert sorted(p.name for p in tmp_path.glob("picked*.jsonl")) == ["picked-5.jsonl", "picked.jsonl"]
    assert len(lines(out)) == 8


def test_an_output_that_cannot_be_written_is_refused_before_the_work(
    qads: Call, pool: Path, tiny: list[str], tmp_path: Path
):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.jsonl").mkdir()
    for out in (tmp_path / "file" / "out.jsonl", tmp_path / "folder.jsonl"):
        found = qads("select", pool, "-b", "5", "-o", out, *tiny)
        assert found.code == 2
        assert "no file can be written there" in found.err
    assert not list(tmp_path.rglob("*.qads"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-b", "ten"], "budget: 'ten' is neither a count (1000) nor a fraction (0.1, 10%) nor tokens (2M tokens)."),
        (["-b", "150%"], "budget: '150%' is no share of a pool"),
        (["-b", "31"], "budget is 31 rows but the pool has 30"),
        (["-b", "5", "--set", "selection.alpa=1"], "selection.alpa: unknown key; did you mean 'alpha'?"),
        (["-b", "5", "--set", "quality.sample=9"], "quality.sample is 9"),
        (["-b", "5", "--column", "problem"], "expected FIELD=COLUMN"),
        (["-b", "5", "--column", "problem=nothing"], "no row has a column 'nothing'"),
        (["-b", "5", "--no-quality", "--sample", "20"], "--no-quality excludes"),
        (["-b", "5", "--anchors", "²"], "²: no such file or folder"),
        (["-b", "5", "--no-quality"], "--no-quality excludes --set quality…"),
        (["-b", "5", "--set", "quality=null", "--set", "selection.kind=top-quality"], "there is none to rank by"),
        (["-b", "5", "--device", "quantum"], "device 'quantum' cannot be used here"),
        (["-b", "5", "--redo", "train"], "unknown stage 'train'"),
    ],
)
def test_a_wrong_word_is_one_readable_block_and_leaves_nothing(
    qads: Call, pool: Path, tiny: list[str], tmp_path: Path, words: list[str], message: str
):
    flags = [] if "--device" in words else tiny[:-4] if "--anchors" in words else tiny
    found = qads("select", pool, "-o", tmp_path / "out.jsonl", *flags, *words)
    assert found.code == 2
    assert found.out == ""
    assert message in " ".join(found.err.replace("│", " ").split())
    assert "Traceback" not in found.err
    assert not (tmp_path / "out.jsonl").exists()


def test_anchors_take_several_files_or_a_number(qads: Call, pool: Path, tiny: list[str], tmp_path: Path):
    targets = [write_rows(tmp_path / f"t{n}.jsonl", rows(2, seed=n, prefix=f"t{n}-")) for n in (7, 8)]
    command = ["select", pool, "-b", "5", *tiny[:-4]]
    found = qads(*command, "--anchors", *targets, "-o", tmp_path / "out.jsonl")
    assert found.code == 0, found.err
    anchors = pq.read_table(tmp_path / "out.jsonl.qads" / "anchors" / "anchors.parquet")["id"].to_pylist()
    assert anchors == ["t7-0", "t7-1", "t8-0", "t8-1"]
    assert pq.read_table(tmp_path / "out.jsonl.qads" / "pool" / "pool.parquet").num_rows == 30
    found = qads("select", pool, "-b", "5", *tiny[:-4], "-a", "4", "-o", tmp_path / "four.jsonl")
    assert found.code == 0, found.err
    assert pq.read_table(tmp_path / "four.jsonl.qads" / "anchors" / "anchors.parquet").num_rows == 4


def test_a_row_that_cannot_be_read_stops_or_is_set_aside_and_told(
    qads: Call, pool: Path, tiny: list[str], tmp_path: Path
):
    pool.write_text(pool.read_text() + "{broken\n")
    command = ["select", pool, "-b", "5", "-o", tmp_path / "out.jsonl", "--no-quality", *tiny[:6]]
    stopped = qads(*command)
    assert stopped.code == 2
    assert "pool.jsonl:31" in stopped.err
    assert "--on-bad-row skip" in stopped.err
    went_on = qads(*command, "--on-bad-row", "skip")
    assert went_on.code == 0
    assert "Set aside: 1 rows" in went_on.out
    assert len(lines(tmp_path / "out.jsonl.qads" / "pool" / "rejected.jsonl")) == 1


def test_rows_of_the_anchors_that_were_set_aside_are_told(qads: Call, pool: Path, tiny: list[str], tmp_path: Path):
    target = write_rows(tmp_path / "target.jsonl", rows(2, seed=7, prefix="t"))
    target.write_text(target.read_text() + "{broken\n")
    command = ["select", pool, "-b", "5", "-o", tmp_path / "out.jsonl", *tiny[:-4], "--anchors", target]
    stopped = qads(*command)
    assert stopped.code == 2
    assert "target.jsonl:3" in stopped.err
    went_on = qads(*command, "--on-bad-row", "skip", "--redo", "pool")
    assert went_on.code == 0, went_on.err
    assert "Set aside: 1 rows of the anchors (" in went_on.out
    assert len(lines(tmp_path / "out.jsonl.qads" / "anchors" / "rejected.jsonl")) == 1


def test_embed_and_score_are_parts_of_the_same_run(qads: Call, pool: Path, tiny: list[str], tmp_path: Path):
    run = tmp_path / "run"
    assert qads("embed", pool, "--out", run, *tiny).code == 0
    assert {s.name for s in read_status(run).stages if s.state == "done"} == {"pool", "embed"}
    scored = qads("score", pool, "--out", run, *tiny)
    assert scored.code == 0
    assert scored.err.count("done before") == 2
    assert "Prediction against real, on rows that it did not see: r =" in scored.out
    assert {s.name for s in read_status(run).stages if s.state == "done"} == {
        "pool",
        "embed",
        "anchors",
        "influence",
        "scorer",
        "quality",
    }
    picked = qads("select", pool, "-b", "5", "--run-dir", run, "-o", tmp_path / "out.jsonl", *tiny)
    assert picked.code == 0
    assert picked.err.count("done before") == 6


def test_a_pool_that_is_scored_whole_needs_no_scorer(qads: Call, tiny: list[str], tmp_path: Path):
    pool = write_rows(tmp_path / "nine.jsonl", rows(9))
    anchors = write_rows(tmp_path / "anchors.jsonl", rows(3, seed=1, prefix="a"))
    settings = [f"--set={word}" for word in tiny if word != "--set" and not word.startswith("anchors.n")]
    out = tmp_path / "picked.jsonl"
    called = qads("select", pool, "--budget", 3, "-o", out, "--anchors", anchors, *settings)
    assert called.code == 0, called.err
    assert "all 9 rows really scored" in called.out
    assert {row.meta["qads"]["quality_origin"] for row in load_pool(out)} == {"real"}
    page = (tmp_path / "picked.jsonl.qads" / "report" / "report.html").read_text()
    assert "Every row was really scored" in page
