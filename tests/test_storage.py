"""What the system refuses to write is told with place, reason, room and remedy, and leaves nothing half-written."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

import qads
from qads.datasets import atomic_path
from qads.errors import RunError, StorageError
from qads.run import RunDirectory
from qads.run.context import write_array, write_table
from qads.run.sealed import write_json
from qads.run.shards import DiskShards
from qads.storage import storing
from run.trials import small_disk_or_skip

NOBODY = 65534
NOISE = np.random.default_rng(0).integers(0, 256, 400_000, dtype=np.uint8)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for 100 kB."""
    with small_disk_or_skip(tmp_path / "disk", 100_000) as folder:
        yield folder


@contextmanager
def as_nobody() -> Iterator[None]:
    """A user without rights, for the time of the block."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def rows() -> qads.Pool:
    text = NOISE[:200_000].tobytes().hex()
    return qads.Pool.from_rows([qads.Row(id="1", source="s", problem="p", solution=text)])


def tensors(folder: Path) -> None:
    with atomic_path(folder / "file") as temporary:
        save_file({"noise": NOISE}, temporary)


WRITERS: dict[str, Callable[[Path], object]] = {
    "table": lambda folder: write_table(pa.table({"noise": NOISE}), folder / "file"),
    "array": lambda folder: write_array(NOISE, folder / "file"),
    "json": lambda folder: write_json(folder / "file", {"noise": NOISE.tobytes().hex()}),
    "jsonl of a pool": lambda folder: qads.write_pool(rows(), folder / "file.jsonl"),
    "parquet of a pool": lambda folder: qads.write_pool(rows(), folder / "file.parquet"),
    "shard": lambda folder: DiskShards(folder).put(0, pa.table({"noise": NOISE})),
    "array in memory and on disk": lambda folder: DiskShards(folder).array((1000, 100)),
    "tensors": tensors,
}


@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk_is_told_and_leaves_nothing(disk: Path, writer: str):
    with pytest.raises(
        StorageError, match=rf"{disk}.*cannot be written: No space left on device. Of .* are free. Make"
    ):
        WRITERS[writer](disk)
    assert [path for path in disk.rglob("*") if path.is_file()] == []


def test_what_was_there_before_a_failed_writing_is_still_there(disk: Path):
    (disk / "file").write_text("before")
    with pytest.raises(StorageError):
        write_array(NOISE, disk / "file")
    assert (disk / "file").read_text() == "before"


def test_a_disk_that_may_only_be_read_is_told(disk: Path):
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(StorageError, match=r"cannot be written: Read-only file system\. The file system is mounted"):
        write_array(NOISE, disk / "file")
    with (
        pytest.raises(RunError, match="cannot be used as a run directory: Read-only file system"),
        RunDirectory(disk).lock(),
    ):
        pass


def test_a_folder_of_another_user_is_told_with_both_users(tmp_path: Path):
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(0o755)
    with as_nobody():
        with pytest.raises(StorageError, match=rf"Permission denied\. You are user {NOBODY}, and .* belongs to user 0"):
            write_array(NOISE, tmp_path / "file")
        with (
            pytest.raises(RunError, match="cannot be used as a run directory: Permission denied"),
            RunDirectory(tmp_path).lock(),
        ):
            pass


def test_a_file_in_the_place_of_a_folder_is_told(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(RunError, match="cannot be used as a run directory: File exists"),
        RunDirectory(tmp_path / "file").lock(),
    ):
        pass
    with pytest.raises(StorageError, match="cannot be written"):
        write_array(NOISE, tmp_path / "file" / "array.npy")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="There is a folder of that name"):
        write_array(NOISE, tmp_path / "folder")


def test_errors_of_what_is_read_meanwhile_are_not_taken_for_those_of_writing(tmp_path: Path):
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "file"):
        (tmp_path / "nowhere" / "source").read_text()
    with pytest.raises(FileNotFoundError, match=r"source\.parquet"), atomic_path(tmp_path / "file"):
        pq.ParquetFile(tmp_path / "nowhere" / "source.parquet")
    assert list(tmp_path.iterdir()) == []


def test_errors_of_what_is_written_are_told_by_whichever_library_they_come(tmp_path: Path):
    def fail() -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))  # As write and fsync raise it: no file is named.

    for write in (lambda: pq.write_table(pa.table({"a": [1]}), tmp_path / "no" / "file"), fail):
        with pytest.raises(StorageError, match="file: cannot be written: "), storing(tmp_path / "no" / "file"):
            write()
