"""A pool's Parquet file as a table that lies on the disk: memory does not grow with the pool."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from qads.pool import Pool
from qads.storage import FULL, storing

__all__ = ["open_pool"]

logger = logging.getLogger(__name__)

_IN_MEMORY = 128 << 20
"""Bytes of columns, decoded, that are simply read."""
_BATCH_ROWS = 8192


def open_pool(path: Path) -> Pool:
    """The pool that `write_pool` or a run has written as Parquet.

    A large one is decoded batch by batch into a file beside it that has no name, so that a killed process leaves none,
    and that is mapped into memory: the system keeps of it what is used and there is room for. Where no file may be
    made beside it, it is read as a whole.

    Raises:
        StorageError: the disk is full; memory may not hold what it does not.
    """
    with pq.ParquetFile(path) as file:
        groups = (file.metadata.row_group(i) for i in range(file.metadata.num_row_groups))
        if sum(group.total_byte_size for group in groups) <= _IN_MEMORY:
            return Pool(file.read())
        try:
            with storing(path.parent):
                return Pool(_mapped(file, path.parent))
        except OSError as error:
            if error.errno in FULL:
                raise
            logger.warning("%s is read into memory as a whole, since none can be made beside it: %s", path, error)
            return Pool(file.read())


def _mapped(file: pq.ParquetFile, folder: Path) -> pa.Table:
    with tempfile.TemporaryFile(dir=folder) as target:
        with pa.ipc.new_file(target, file.schema_arrow) as writer:
            for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                writer.write_batch(batch)
        target.flush()
        return pa.ipc.open_file(pa.memory_map(f"/dev/fd/{target.fileno()}")).read_all()
