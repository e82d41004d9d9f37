"""The parts of a run directory: shards that prove themselves whole, a lock that a dead process does not hold."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from qads.errors import CorruptError, LockedError, RunError
from qads.run import RunDirectory, StageDirectory, StagePlan, read_status
from qads.run.shards import DiskShards

PLAN = StagePlan("embed", {"embedding": {"model": "m"}}, {"pool": "abc"})


def shard(rows: int = 8, seed: int = 0) -> pa.Table:
    values = np.random.default_rng(seed).normal(size=(rows, 3))
    column = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), 3)
    return pa.table({"scores": column}).replace_schema_metadata({"n_tokens": "57"})


def test_a_shard_comes_back_as_it_was_put(tmp_path: Path):
    shards = DiskShards(tmp_path)
    assert shards.get(3) is None
    shards.put(3, shard())
    found = shards.get(3)
    assert found.equals(shard())
    assert found.schema.metadata[b"n_tokens"] == b"57"
    assert (shards.count(), (tmp_path / "shards" / "00003.parquet").exists()) == (1, True)


def test_a_shard_with_any_byte_flipped_is_computed_again(tmp_path: Path):
    shards = DiskShards(tmp_path)
    shards.put(0, shard(2))
    file = tmp_path / "shards" / "00000.parquet"
    whole = file.read_bytes()
    for position in range(len(whole)):
        file.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        assert shards.get(0) is None
        assert not file.exists()
    shards.put(0, shard(2))
    assert shards.get(0).equals(shard(2))


@pytest.mark.parametrize("keep", [0, 3, 100, -1])
def test_a_shard_that_is_cut_short_is_computed_again(tmp_path: Path, keep: int):
    DiskShards(tmp_path).put(0, shard())
    file = tmp_path / "shards" / "00000.parquet"
    file.write_bytes(file.read_bytes()[:keep])
    assert DiskShards(tmp_path).get(0) is None


def test_a_shard_whose_checksum_is_gone_is_computed_again(tmp_path: Path):
    DiskShards(tmp_path).put(0, shard())
    (tmp_path / "shards" / "00000.sha256").unlink()
    assert DiskShards(tmp_path).get(0) is None


def test_what_a_killed_run_began_to_write_is_thrown_away(tmp_path: Path):
    stage = StageDirectory(tmp_path / "embed", PLAN)
    stage.begin()
    stage.shards.put(0, shard())
    for half in (
        ".config.json.a.partial",
        "input/.stdin.new.a.partial",
        "embed/.x.a.partial",
        "embed/shards/.x.a.partial",
    ):
        (tmp_path / half).parent.mkdir(exist_ok=True)
        (tmp_path / half).write_text("half")
    with RunDirectory(tmp_path).lock():
        stage.begin()
        manifest = stage.finish(seconds=1.0, facts={"rows": 8})
    assert list(tmp_path.rglob("*.partial")) == []
    assert manifest["files"] == {}


def test_a_finished_stage_keeps_no_shards_and_lists_its_own_files_only(tmp_path: Path):
    stage = StageDirectory(tmp_path / "embed", PLAN)
    stage.begin()
    stage.shards.put(0, shard())
    (stage.path / "embeddings.npy").write_bytes(b"123")
    manifest = stage.finish(seconds=1.0, facts={"rows": 8})
    assert sorted(p.name for p in stage.path.iterdir()) == ["embeddings.npy", "manifest.json", "plan.json"]
    assert list(manifest["files"]) == ["embeddings.npy"]
    assert manifest["files"]["embeddings.npy"]["bytes"] == 3
    assert stage.manifest() == json.loads(json.dumps(manifest))


def test_removing_a_stage_takes_all_of_it_and_may_be_done_twice(tmp_path: Path):
    stage = StageDirectory(tmp_path / "embed", PLAN)
    stage.begin()
    stage.shards.put(0, shard())
    stage.remove()
    stage.remove()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "other",
    [
        StagePlan("select", PLAN.settings, PLAN.inputs),
        StagePlan("embed", {"embedding": {"model": "n"}}, PLAN.inputs),
        StagePlan("embed", {"embedding": {"model": "m", "dtype": "x"}}, PLAN.inputs),
        StagePlan("embed", PLAN.settings, {"pool": "abd"}),
        StagePlan("embed", PLAN.settings, {}),
    ],
)
def test_stage_settings_and_inputs_all_count_in_the_fingerprint(other: StagePlan):
    assert other.fingerprint != PLAN.fingerprint


def test_the_order_of_settings_does_not_count_in_the_fingerprint():
    one, two = StagePlan("embed", {"a": 1, "b": 2}), StagePlan("embed", {"b": 2, "a": 1})
    assert one.fingerprint == two.fingerprint


HOLD = """
import sys
from pathlib import Path
from qads.run.directory import RunDirectory
with RunDirectory(Path(sys.argv[1])).lock():
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_a_directory_belongs_to_one_process_until_it_ends_even_by_sigkill(tmp_path: Path):
    (tmp_path / "config.json").write_text("{}")
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        with (
            pytest.raises(LockedError, match=rf"another run is using this directory \(process {holder.pid}\)"),
            RunDirectory(tmp_path).lock(),
        ):
            pass
        assert read_status(tmp_path).running == str(holder.pid)
        holder.kill()
        holder.wait()
        assert read_status(tmp_path).running is None
        with RunDirectory(tmp_path).lock():
            assert read_status(tmp_path).running == str(os.getpid())
    assert read_status(tmp_path).running is None
    assert sorted(p.name for p in tmp_path.iterdir()) == [".lock", "config.json"]


def test_a_failed_run_takes_away_the_directory_that_it_made_and_no_other(tmp_path: Path):
    for made in (True, False):
        root = tmp_path / f"run-{made}"
        if not made:
            root.mkdir()
        with pytest.raises(KeyError), RunDirectory(root).lock():
            raise KeyError
        assert root.exists() is not made


def test_a_failed_run_keeps_what_a_stage_has_left(tmp_path: Path):
    with pytest.raises(KeyError), RunDirectory(tmp_path / "run").lock():
        StageDirectory(tmp_path / "run" / "embed", PLAN).begin()
        raise KeyError
    assert (tmp_path / "run" / "embed" / "plan.json").exists()


@pytest.mark.parametrize("owner", ["", "no number", "-1", "99999999999999999999", "../../etc"])
def test_an_owner_file_that_names_no_process_means_nobody(tmp_path: Path, owner: str):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / ".owner").write_text(owner)
    assert read_status(tmp_path).running is None


def test_status_of_what_is_no_run_directory_is_an_error_of_ours(tmp_path: Path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path, tmp_path / "file", tmp_path / "nothing"):
        with pytest.raises(RunError, match=r"is not a run directory \(it has no config.json\)"):
            read_status(place)


def test_status_of_a_damaged_configuration_is_an_error_of_ours(tmp_path: Path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CorruptError, match=r"config\.json: not valid JSON"):
        read_status(tmp_path)


def test_status_tells_done_from_begun_and_counts_shards(tmp_path: Path):
    (tmp_path / "config.json").write_text('{"quality": null}')
    for name in ("pool", "embed"):
        StageDirectory(tmp_path / name, StagePlan(name, {})).begin()
    StageDirectory(tmp_path / "pool", StagePlan("pool", {})).finish(seconds=2.0, facts={"rows": 5})
    for index in range(3):
        DiskShards(tmp_path / "embed").put(index, shard())
    found = [(s.name, s.state, s.rows, s.seconds, s.shards) for s in read_status(tmp_path).stages]
    assert found == [
        ("pool", "done", 5, 2.0, 0),
        ("embed", "partial", None, None, 3),
        ("select", "to do", None, None, 0),
        ("mixture", "to do", None, None, 0),
        ("coverage", "to do", None, None, 0),
        ("projection", "to do", None, None, 0),
        ("report", "to do", None, None, 0),
    ]
