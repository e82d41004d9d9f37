"""A run that is killed goes on from where it was, and ends with the bytes of one that was not."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import qads
from qads.config import RunConfig, load_config
from qads.errors import ClusterError, LockedError
from qads.kernels.distance import GreedyPicks
from qads.run import read_status, run_pipeline
from qads.selection import keeping
from run.processes import started, wait_for, wait_until_stopped
from run.tiny import LongSelection, StopAt, rows, settings, write_rows, written

PROMISED = {
    "pool/pool.parquet", "embed/embeddings.npy", "anchors/anchors.parquet", "anchors/candidates.npy",
    "influence/influence.parquet", "scorer/scorer.safetensors", "quality/quality.npy", "select/selection.parquet", "mixture/train.jsonl",
}  # fmt: skip
N_ROWS = 1100  # Embeddings are computed in shards of 1024 rows.


@pytest.fixture(scope="module")
def config(model: Path, tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    pool = write_rows(tmp_path_factory.mktemp("pool") / "pool.jsonl", rows(N_ROWS))
    whole = settings(model, pool, budget=30)
    return load_config(whole, ["quality.sample=40"])


@pytest.fixture(scope="module")
def undisturbed(config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    directory = tmp_path_factory.mktemp("undisturbed") / "run"
    run_pipeline(config, directory)
    return results(directory)


def results(directory: Path) -> dict[str, bytes]:
    found = written(directory)
    assert set(found) >= PROMISED
    return found


def shards(directory: Path, stage: str) -> dict[str, tuple[int, int]]:
    """Finished shards, with inode and time of their writing."""
    found = (directory / stage / "shards").glob("*.parquet")
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in found}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "at", "left"),
    [
        ("pool", "started", {}),
        pytest.param("pool", "finished", {"pool": "done"}, marks=pytest.mark.long),
        ("embed", 1024, {"pool": "done", "embed": "partial"}),
        pytest.param("influence", "started", {"anchors": "done", "influence": "to do"}, marks=pytest.mark.long),
        ("influence", 24, {"anchors": "done", "influence": "partial"}),
        pytest.param("quality", "finished", {"quality": "done", "select": "to do"}, marks=pytest.mark.long),
        ("select", 12, {"quality": "done", "select": "partial"}),
        ("mixture", "finished", {"mixture": "done"}),
    ],
)
def test_a_run_killed_at_a_known_point_ends_as_if_it_had_not_been(
    config: RunConfig, undisturbed: dict[str, bytes], tmp_path: Path, stage: str, at: int | str, left: dict[str, str]
):
    directory = tmp_path / "run"
    with started(config, directory, StopAt(stage, at)) as process:
        wait_until_stopped(process)
        process.kill()
        process.join()
    states = {found.name: found.state for found in read_status(directory).stages}
    assert states.items() >= left.items()
    run_pipeline(config, directory)
    assert results(directory) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize(
    "sign",
    [
        "embed/plan.json",
        "embed/shards/00000.parquet",
        "embed/joined.npy.partial",
        "influence/shards/00000.sha256",
        pytest.param("influence/shards/00002.parquet", marks=pytest.mark.long),
        pytest.param("influence/manifest.json", marks=pytest.mark.long),
        pytest.param("select/plan.json", marks=pytest.mark.long),
        "select/manifest.json",
    ],
)
def test_a_run_killed_as_soon_as_a_file_appears_ends_as_if_it_had_not_been(
    config: RunConfig, undisturbed: dict[str, bytes], tmp_path: Path, sign: str
):
    directory = tmp_path / "run"
    stage_done = directory / sign.split("/")[0] / "manifest.json"  # Some signs are there for a moment only.
    with started(config, directory) as process:
        wait_for(lambda: (directory / sign).exists() or stage_done.exists(), process)
        process.kill()
        process.join()
    run_pipeline(config, directory)
    assert results(directory) == undisturbed
    assert list(directory.rglob("*.partial")) == []


class EndAt:
    """An observer that ends its run at a pick."""

    def __init__(self, pick: int, error: BaseException) -> None:
        self._pick, self._error, self._now = pick, error, ""

    def stage_started(self, name: str, number: int, n_stages: int) -> None:
        """Whose picks they are."""
        self._now = name

    def progress(self, done: int, total: int) -> None:
        """Ends it there."""
        if (self._now, done) == ("select", self._pick):
            raise self._error

    def stage_finished(self, name: str, manifest: dict[str, Any], *, reused: bool) -> None:
        """Nothing."""


@pytest.fixture
def long_selection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "_WORTH_KEEPING", 0)
    monkeypatch.setattr(keeping, "_EVERY", 50)


@pytest.mark.usefixtures("long_selection")
@pytest.mark.parametrize("how", ["killed", "an interrupt", "an error"])
def test_picks_before_the_end_are_not_made_again(
    model: Path, tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
):
    pool = write_rows(tmp_path / "pool.jsonl", rows(N_ROWS))
    config = load_config(settings(model, pool, budget=900), ["quality=null"])
    run_pipeline(config, tmp_path / "undisturbed")
    if how == "killed":
        with started(config, tmp_path / "run", LongSelection("select", 800)) as process:
            wait_until_stopped(process)
            process.kill()
            process.join()
    else:
        error = KeyboardInterrupt() if how == "an interrupt" else ClusterError("a shard is lost")
        with pytest.raises(type(error)):
            run_pipeline(config, tmp_path / "run", observer=EndAt(800, error))
    assert {stage.name: stage.state for stage in read_status(tmp_path / "run").stages}["select"] == "partial"
    kept = tmp_path / "run" / "select" / "shards" / "picks.npz"
    with np.load(kept) as file:
        columns = dict(file)
    assert 100 < len(columns["indices"]) < 800
    went_on: list[int] = []
    load = keeping.Checkpoint.load

    def counted(self: keeping.Checkpoint, k: int) -> GreedyPicks | None:
        found = load(self, k)
        went_on.append(0 if found is None else len(found.indices))
        return found

    monkeypatch.setattr(keeping.Checkpoint, "load", counted)
    run_pipeline(config, tmp_path / "run")
    assert went_on == [len(columns["indices"])]
    assert not kept.exists()
    assert written(tmp_path / "run") == written(tmp_path / "undisturbed")


@pytest.mark.usefixtures("long_selection")
@pytest.mark.parametrize("damage", ["cut", "of another selection"])
def test_picks_that_cannot_be_used_are_made_again_with_a_warning(
    model: Path, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
):
    pool = write_rows(tmp_path / "pool.jsonl", rows(300))
    config = load_config(settings(model, pool, budget=200), ["quality=null"])
    run_pipeline(config, tmp_path / "undisturbed")
    with pytest.raises(KeyboardInterrupt):
        run_pipeline(config, tmp_path / "run", observer=EndAt(150, KeyboardInterrupt()))
    kept = tmp_path / "run" / "select" / "shards" / "picks.npz"
    if damage == "cut":
        kept.write_bytes(kept.read_bytes()[:-100])
    else:
        qads.KCenterGreedy()(np.random.default_rng(0).normal(size=(300, 2)), budget=200, checkpoint=tmp_path / "o.npz")
        (tmp_path / "o.npz").replace(kept)
    run_pipeline(config, tmp_path / "run")
    assert "it is thrown away, and all rows are picked anew" in caplog.text
    assert written(tmp_path / "run") == written(tmp_path / "undisturbed")


@pytest.mark.parametrize(("stage", "at", "last", "n_shards"), [("embed", 1024, N_ROWS, 1), ("influence", 24, 40, 4)])
def test_shards_finished_before_the_kill_are_not_computed_again(
    config: RunConfig, tmp_path: Path, stage: str, at: int, last: int, n_shards: int
):
    directory = tmp_path / "run"
    with started(config, directory, StopAt(stage, at)) as process:
        wait_until_stopped(process)
        process.kill()
        process.join()
    before = shards(directory, stage)
    assert len(before) == n_shards
    # The second run is looked at where all shards are there and the stage has not thrown them away yet.
    with started(config, directory, StopAt(stage, last)) as process:
        wait_until_stopped(process)
        after = shards(directory, stage)
    assert len(after) > n_shards
    assert {name: found for name, found in after.items() if name in before} == before


def test_a_run_killed_again_and_again_ends_as_if_it_had_not_been_though_the_clock_went_back(
    config: RunConfig, undisturbed: dict[str, bytes], tmp_path: Path
):
    directory, day = tmp_path / "run", 86_400
    for stage, at in (("embed", 0), ("embed", 1024), ("influence", 8), ("influence", 16), ("select", 1)):
        with started(config, directory, StopAt(stage, at)) as process:
            wait_until_stopped(process)
            process.kill()
            process.join()
        for path in directory.rglob("*"):  # As they are where the clock was a day ahead, more so the earlier ones.
            os.utime(path, (path.stat().st_mtime + day,) * 2)
    run_pipeline(config, directory)
    assert results(directory) == undisturbed


def test_a_damaged_shard_of_a_killed_run_is_computed_again(
    config: RunConfig, undisturbed: dict[str, bytes], tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    directory = tmp_path / "run"
    with started(config, directory, StopAt("influence", 24)) as process:
        wait_until_stopped(process)
        process.kill()
        process.join()
    shard = directory / "influence" / "shards" / "00001.parquet"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    run_pipeline(config, directory)
    assert "00001.parquet is damaged and will be computed again" in caplog.text
    assert results(directory) == undisturbed


def test_the_directory_is_locked_while_a_run_lives_and_free_once_it_is_killed(config: RunConfig, tmp_path: Path):
    directory = tmp_path / "run"
    with started(config, directory, StopAt("pool", "finished")) as process:
        wait_until_stopped(process)
        with pytest.raises(LockedError, match=f"process {process.pid}"):
            run_pipeline(config, directory, until="pool")
        assert read_status(directory).running == str(process.pid)
        process.kill()
        process.join()
        assert read_status(directory).running is None
        run_pipeline(config, directory, until="pool")


@pytest.fixture(scope="module")
def long_run(model: Path, config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """A configuration that is at its influence for some seconds, as a file, and what comes of it."""
    folder = tmp_path_factory.mktemp("long")
    whole = settings(model, Path(config.pool.sources[0]), budget=30)
    whole["quality"]["sample"] = 1000
    (folder / "run.yaml").write_text(yaml.safe_dump(whole))
    run_pipeline(load_config(folder / "run.yaml"), folder / "run")
    return folder / "run.yaml", results(folder / "run")


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL])  # tests/test_stopping.py has the others.
def test_the_command_line_survives_signals_and_kill(
    long_run: tuple[Path, dict[str, bytes]], tmp_path: Path, how: signal.Signals
):
    file, undisturbed = long_run
    directory = tmp_path / "run"
    command = [sys.executable, "-m", "qads", "run", str(file), "--out", str(directory)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    # A shell's background job ignores SIGINT, and so would what it starts: the command has to start as on a terminal.
    heed = functools.partial(signal.signal, how if how != signal.SIGKILL else signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heed
    ) as process:
        wait_for((directory / "influence" / "shards" / "00001.parquet").exists, process)
        process.send_signal(how)
        out, said = process.communicate()
    assert out == b""
    assert b"Traceback" not in said
    if how is not signal.SIGKILL:
        assert process.returncode == 128 + how
        assert b"interrupted; what was finished is kept: the same command goes on from there." in said
        assert list(directory.rglob("*.partial")) == []
    else:
        assert process.returncode == -signal.SIGKILL
    status = read_status(directory)
    assert status.running is None
    assert {s.name: s.state for s in status.stages}["influence"] == "partial"
    run_pipeline(load_config(file), directory)
    assert results(directory) == undisturbed
