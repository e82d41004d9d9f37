"""A run writes over and removes what a run has made, and nothing else."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from qads.config import RunConfig, load_config
from qads.datasets import refuse_own_output
from qads.errors import CorruptError, InputError, PoolError, RunError
from qads.run import StageDirectory, StagePlan, estimate_run
from qads.run.kinds import kinds_in
from run.tiny import rows, run, settings, write_rows

PLAN = StagePlan("embed", {"embedding": {"model": "m"}}, {"pool": "abc"})
OTHER = StagePlan("embed", {"embedding": {"model": "n"}}, {"pool": "abc"})
SHARD = pa.table({"vector": [1.0]})


@pytest.fixture
def config(model: Path, tmp_path: Path) -> RunConfig:
    (tmp_path / "data").mkdir()
    return load_config(settings(model, write_rows(tmp_path / "data" / "rows.jsonl", rows(30)), quality=None))


@pytest.mark.parametrize("stage", ["pool", "embed", "mixture"])
@pytest.mark.parametrize("options", [{}, {"redo": ["pool"]}])
def test_a_folder_of_the_user_stops_the_run_before_it_starts_and_stays(
    config: RunConfig, tmp_path: Path, stage: str, options: dict[str, Any]
):
    theirs = tmp_path / "here" / stage / "notes.txt"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("mine")
    with pytest.raises(RunError, match=rf"here/{stage}: holds files, but no plan.json .* Give another run directory"):
        run(config, tmp_path / "here", **options)
    assert theirs.read_text() == "mine"
    assert {path.name for path in (tmp_path / "here").iterdir()} <= {stage, ".lock"}


@pytest.mark.parametrize("name", ["plan.json", "manifest.json"])
@pytest.mark.parametrize("text", ["{}", "[]", "{", '{"stage": "select", "fingerprint": "x"}', '{"stage": "embed"}'])
def test_a_plan_or_manifest_of_another_program_makes_no_folder_ours(tmp_path: Path, name: str, text: str):
    stage = StageDirectory(tmp_path / "embed", PLAN)
    stage.path.mkdir()
    (stage.path / name).write_text(text)
    with pytest.raises(RunError, match="is not touched"):
        stage.begin()
    stage.remove()
    assert (stage.path / name).read_text() == text


def test_a_stage_that_fails_removes_its_own_folder_only(model: Path, tmp_path: Path):
    pool = tmp_path / "mine" / "rows.jsonl"
    pool.parent.mkdir()
    pool.write_text(json.dumps(rows(1)[0]) + "\n{broken\n")
    with pytest.raises(PoolError):
        run(load_config(settings(model, pool)), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "config.json", "mine"]


def test_a_source_in_a_folder_that_the_run_fills_is_refused(model: Path, tmp_path: Path):
    (tmp_path / "pool").mkdir()
    pool = write_rows(tmp_path / "pool" / "a.jsonl", rows(5))
    (tmp_path / "link.jsonl").symlink_to(pool)
    for source in (pool, tmp_path / "link.jsonl"):
        with pytest.raises(InputError, match=r"this source lies in .*/pool, which is written as a whole"):
            run(load_config(settings(model, source)), tmp_path)
    assert [path.name for path in (tmp_path / "pool").iterdir()] == ["a.jsonl"]


def test_redo_takes_the_page_out_of_a_report_folder_and_leaves_the_rest(config: RunConfig, tmp_path: Path):
    run(config, tmp_path / "run")
    report = tmp_path / "run" / "report"
    report.mkdir()
    for name in ("report.html", "thesis.tex"):
        (report / name).write_text("x")
    run(config, tmp_path / "run", redo=["select"])
    assert [path.name for path in report.iterdir()] == ["thesis.tex"]


def test_a_configuration_of_another_program_is_not_written_over(config: RunConfig, tmp_path: Path):
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(RunError, match=r"config\.json: is no configuration of a run"):
        run(config, tmp_path)
    assert (tmp_path / "config.json").read_text() == '{"model_type": "llama"}'


def test_partial_files_of_other_programs_stay(config: RunConfig, tmp_path: Path):
    (tmp_path / ".film.mp4.partial").write_text("half")
    run(config, tmp_path, until="pool")
    assert (tmp_path / ".film.mp4.partial").exists()


def test_pages_that_a_killed_run_began_go_and_nothing_else(config: RunConfig, tmp_path: Path):
    (tmp_path / "report").mkdir()
    for name in (".fidelity.html.0123456789ab.partial", ".film.mp4.partial", "thesis.tex"):
        (tmp_path / "report" / name).write_text("half")
    run(config, tmp_path, until="pool")
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == [".film.mp4.partial", "thesis.tex"]


@pytest.mark.parametrize("damage", ["cut short", "emptied", "deleted"])
def test_a_run_that_trains_is_one_still_when_its_configuration_is_damaged(
    config: RunConfig, tmp_path: Path, damage: str
):
    run(config, tmp_path, until="pool")
    StageDirectory(tmp_path / "train", StagePlan("train", {})).begin()
    path = tmp_path / "config.json"
    whole = path.read_bytes()
    if damage == "deleted":
        path.unlink()
        run(config, tmp_path, until="pool")
        assert path.read_bytes() == whole
    else:
        path.write_bytes(whole[: len(whole) // 2] if damage == "cut short" else b"")
        with pytest.raises(RunError, match=r"config\.json: is no configuration of a run"):
            run(config, tmp_path, until="pool")
    assert kinds_in(tmp_path) == ("run",)


@pytest.mark.parametrize("name", ["candidates.npy", "anchors.parquet"])
def test_a_dry_run_reads_no_damaged_file_either(model: Path, tmp_path: Path, name: str):
    config = load_config(settings(model, write_rows(tmp_path / "rows.jsonl", rows(30)), anchors={"n": 3}))
    run(config, tmp_path / "run", until="anchors")
    (tmp_path / "run" / "anchors" / name).write_bytes(b"half")
    with pytest.raises(CorruptError, match=rf"anchors/{name}: .* --redo anchors"):
        estimate_run(config, tmp_path / "run")


def test_a_folder_of_a_run_that_was_killed_while_it_wrote_the_plan_is_used(tmp_path: Path):
    stage = StageDirectory(tmp_path / "embed", PLAN)
    stage.path.mkdir()
    (stage.path / ".plan.json.abc.partial").write_text("{")
    stage.begin()
    assert [path.name for path in stage.path.iterdir()] == ["plan.json"]


def begun(folder: Path, plan: StagePlan = PLAN) -> StageDirectory:
    """A stage with a shard, a half-joined array, and files of its own."""
    stage = StageDirectory(folder, plan)
    stage.begin()
    for index in range(2):
        stage.shards.put(index, SHARD)
    (folder / "joined.npy.partial").write_bytes(b"1")
    (folder / "embeddings.npy").write_bytes(b"1")
    return stage


def test_shards_of_another_plan_are_thrown_away_and_those_of_the_same_stay(tmp_path: Path):
    begun(tmp_path / "embed").begin()
    assert StageDirectory(tmp_path / "embed", PLAN).shards.count() == 2
    StageDirectory(tmp_path / "embed", OTHER).begin()
    assert sorted(path.name for path in (tmp_path / "embed").iterdir()) == ["embeddings.npy", "plan.json"]


@pytest.mark.parametrize("at", range(12))
def test_a_removal_that_is_killed_leaves_no_shards_for_another_plan(
    tmp_path: Path, at: int, monkeypatch: pytest.MonkeyPatch
):
    stage = begun(tmp_path / "embed")
    stage.finish(seconds=1.0, facts={})
    for index in range(2):  # As a run leaves them that is killed between manifest and clean-up.
        stage.shards.put(index, SHARD)
    left = at

    def dying(delete: Callable[..., None]) -> Callable[..., None]:
        def die_or_delete(*args: Any, **options: Any) -> None:
            nonlocal left
            if left == 0:
                raise KeyboardInterrupt
            left -= 1
            delete(*args, **options)

        return die_or_delete

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", dying(os.unlink))
        patch.setattr(os, "rmdir", dying(os.rmdir))
        with pytest.raises(KeyboardInterrupt):
            stage.remove()
            raise KeyboardInterrupt
    assert stage.manifest() is None or at == 0
    assert (stage.path / "plan.json").exists() or not stage.path.exists() or not any(stage.path.iterdir())
    stage.remove()
    StageDirectory(tmp_path / "embed", OTHER).begin()
    assert [path.name for path in stage.path.iterdir()] == ["plan.json"]


def test_going_on_from_shards_of_another_batch_size_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    how = [StagePlan("embed", PLAN.settings, PLAN.inputs, {"max_tokens_per_batch": n}) for n in (64, 64, 128)]
    assert len({plan.fingerprint for plan in (PLAN, *how)}) == 1
    begun(tmp_path / "embed", how[0])
    StageDirectory(tmp_path / "embed", how[1]).begin()
    assert caplog.text == ""
    StageDirectory(tmp_path / "embed", how[2]).begin()
    assert 'made with {"max_tokens_per_batch": 64}, now with {"max_tokens_per_batch": 128}' in caplog.text
    assert json.loads((tmp_path / "embed" / "plan.json").read_text())["execution"] == {"max_tokens_per_batch": 128}


@pytest.mark.parametrize(
    ("source", "output"),
    [
        ("to-pool.jsonl", "data/pool.jsonl"),
        ("data/pool.jsonl", "to-pool.jsonl"),
        ("twin.jsonl", "data/pool.jsonl"),
        ("to-data/pool.jsonl", "data/pool.jsonl"),
        ("to-data", "data/pool.jsonl"),
        ("to-data", "data/new.jsonl"),
        ("data", "to-data/new.jsonl"),
        ("to-data/*.jsonl", "data/new.jsonl"),
        ("data/*.jsonl", "to-data/new.jsonl"),
        ("data/**/*.jsonl", "data/new.jsonl"),
        ("to-data/**/*.jsonl", "data/deep/er/new.jsonl"),
        ("links", "data/pool.jsonl"),
        ("*.jsonl", "data/pool.jsonl"),
    ],
)
def test_an_output_that_is_a_source_through_a_link_is_refused(tmp_path: Path, source: str, output: str):
    (tmp_path / "data").mkdir()
    pool = write_rows(tmp_path / "data" / "pool.jsonl", rows(2))
    (tmp_path / "to-pool.jsonl").symlink_to(pool)
    (tmp_path / "to-data").symlink_to(tmp_path / "data")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "a.jsonl").symlink_to(pool)
    os.link(pool, tmp_path / "twin.jsonl")
    with pytest.raises(InputError, match="Write to another place"):
        refuse_own_output([str(tmp_path / source)], [tmp_path / output])
    refuse_own_output([str(tmp_path / source)], [tmp_path / "elsewhere" / "new.jsonl"])
