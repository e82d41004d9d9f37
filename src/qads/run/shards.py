"""Finished shards of a stage, kept on disk with their hashes."""

from __future__ import annotations

import hashlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float

from qads.datasets import atomic_path
from qads.storage import storing

__all__ = ["DiskShards", "file_sha256"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DiskShards:
    """Finished shards as Parquet files in `shards/`, each beside its SHA-256.

    Parquet's own checksums do not cover its headers, and a damaged one can read as other rows.
    """

    path: Path

    def get(self, index: int) -> pa.Table | None:
        """Shard `index` if it is finished and whole; a damaged one is thrown away, to be computed again."""
        file, digest = self._file(index), self._file(index).with_suffix(".sha256")
        if not file.exists():
            return None
        content = file.read_bytes()
        if not digest.exists() or digest.read_bytes() != hashlib.sha256(content).hexdigest().encode():
            logger.warning("%s is damaged and will be computed again", file)
            file.unlink()
            return None
        return pq.read_table(pa.BufferReader(content))

    def put(self, index: int, table: pa.Table) -> None:
        """Keep shard `index`."""
        with atomic_path(self._file(index)) as temporary:
            pq.write_table(table, temporary, compression="none")
            # Before the shard itself gets its name: where that is, the shard is finished.
            with atomic_path(self._file(index).with_suffix(".sha256")) as digest:
                digest.write_text(file_sha256(temporary))

    def array(self, shape: tuple[int, int]) -> Float[np.ndarray, "n d"]:
        """A float32 array on disk, `joined.npy.partial`, for the caller to rename.

        Raises:
            StorageError: the disk has no room for it.
        """
        self.drop_array()  # Of a run that was killed, or a link.
        try:
            with storing(self._joined):
                array = np.lib.format.open_memmap(self._joined, mode="w+", dtype=np.float32, shape=shape)
                _reserve(self._joined)
        except BaseException:
            self.drop_array()  # It takes room that may be what is missing.
            raise
        return array

    def drop_array(self) -> None:
        """Throw the array away, where it has not been renamed."""
        self._joined.unlink(missing_ok=True)

    def count(self) -> int:
        """How many shards are finished."""
        return len(list((self.path / "shards").rglob("*.parquet")))

    @property
    def _joined(self) -> Path:
        return self.path / "joined.npy.partial"

    def _file(self, index: int) -> Path:
        return self.path / "shards" / f"{index:05d}.parquet"


def _reserve(file: Path) -> None:
    """Take the room that a file will fill, now: a disk that is full later ends a process that writes through memory."""
    if hasattr(os, "posix_fallocate"):  # Not on macOS.
        with file.open("r+b") as opened:
            os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
