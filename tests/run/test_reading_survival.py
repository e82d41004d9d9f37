"""A run that is killed while its scorer reads goes on with the shards that were read, and ends with the same bytes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from qads.config import RunConfig, load_config
from qads.quality.scorers import reading
from qads.run import read_status, run_pipeline
from run.processes import started, wait_until_stopped
from run.tiny import ShortReadings, rows, settings, write_rows, written

N_LABELS, N_WATCHED = 14, 28
SHARDS = {"scorer": "scorer/shards", "influence": "influence/shards/reading/shards"}
N_ROWS = {"scorer": N_LABELS, "influence": N_WATCHED}


@pytest.fixture(autouse=True)
def short_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that few rows have several."""
    monkeypatch.setattr(reading, "_ROWS_PER_SHARD", 4)


@pytest.fixture
def config(model: Path, tmp_path: Path) -> RunConfig:
    raw = settings(model, write_rows(tmp_path / "pool.jsonl", rows(40)))
    plan = {"first": 0.5, "step": 4, "watched": N_WATCHED // N_LABELS, "tolerance": 0.0, "patience": 9}
    scorer = {"kind": "probe", "families": ["ridge"]}
    return load_config(raw | {"quality": raw["quality"] | {"sample": N_LABELS, "labelling": plan, "scorer": scorer}})


def finished(directory: Path, stage: str) -> dict[str, tuple[int, int]]:
    """Shards that were read, with inode and time of their writing."""
    found = (directory / SHARDS[stage]).glob("*.parquet")
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in found}


@pytest.mark.parametrize("stage", ["scorer", "influence"])
def test_what_was_read_before_a_kill_is_not_read_again(config: RunConfig, tmp_path: Path, stage: str):
    run_pipeline(config, tmp_path / "undisturbed", until="quality")
    directory = tmp_path / "run"
    with started(config, directory, ShortReadings(stage, 8, n_rows=N_ROWS[stage])) as process:
        wait_until_stopped(process)
        process.kill()
        process.join()
    before = finished(directory, stage)
    assert len(before) == 2
    assert {found.name: found.state for found in read_status(directory).stages}[stage] == "partial"
    damaged = directory / SHARDS[stage] / "00001.parquet"
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    os.utime(damaged, ns=(0, 0))
    with started(config, directory, ShortReadings(stage, N_ROWS[stage], n_rows=N_ROWS[stage])) as process:
        wait_until_stopped(process)
        after = finished(directory, stage)
    assert len(after) == -(-N_ROWS[stage] // 4)
    assert after["00000.parquet"] == before["00000.parquet"] and after["00001.parquet"][1] > 0
    run_pipeline(config, directory, until="quality")
    assert written(directory) == written(tmp_path / "undisturbed")
    assert not (directory / stage / "shards").exists()
