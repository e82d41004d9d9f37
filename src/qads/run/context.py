"""What the stages of one run share, and how they leave their files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float, Int

from qads.config import RunConfig
from qads.datasets import atomic_path, load_pool
from qads.datasets.mapped import open_pool
from qads.errors import AlignmentError
from qads.pool import Pool, Progress, to_json
from qads.run.decontamination import OwnAnchors, read_evaluation
from qads.run.directory import StageDirectory, labelled_file
from qads.run.limits import NamedFiles
from qads.run.plan import method_identity
from qads.run.reuse import ReusedRun

__all__ = [
    "Facts", "StageContext", "floats", "nullable", "read_pool", "write_array", "write_array_parts", "write_rows",
    "write_table",
]  # fmt: skip

_GROUP_ROWS = 1 << 16
"""Rows that a reader of a table has in memory at once, as they are compressed."""
Facts = dict[str, Any]
"""What a stage says in its manifest."""


@dataclass
class StageContext:
    """What stages share: configuration, folders, and arrays that an earlier stage left, read when needed."""

    config: RunConfig
    stages: Mapping[str, StageDirectory]
    progress: Progress
    sources: tuple[str, ...]
    anchor_sources: tuple[str, ...]
    reused: tuple[ReusedRun, ...] = ()
    """Other runs whose scores are taken over."""

    @cached_property
    def pool(self) -> Pool:
        """The candidates, cleaned where that is asked for."""
        return read_pool(self.stages["clean" if "clean" in self.stages else "pool"].path / "pool.parquet")

    @property
    def uncleaned(self) -> Pool:
        """The candidates as they were read."""
        return read_pool(self.stages["pool"].path / "pool.parquet")

    @cached_property
    def evaluation(self) -> Pool | None:
        """The evaluation sets that nothing may be in; None where there are none."""
        return read_evaluation(self.config.clean)

    @cached_property
    def own_anchors(self) -> OwnAnchors | None:
        """The target skill as the user's files give it; None where it is chosen from the pool."""
        settings = self.config.anchors
        if not self.anchor_sources:
            return None
        anchors = load_pool(self.anchor_sources, columns=settings.columns, on_bad_row=settings.on_bad_row)
        return OwnAnchors.checked(anchors, self.config.clean, self.evaluation)

    @cached_property
    def embeddings(self) -> np.ndarray:
        """Vectors of the pool, memory-mapped."""
        vectors = np.load(self.stages["embed"].path / "embeddings.npy", mmap_mode="r")
        if len(vectors) != len(self.pool):
            raise AlignmentError(f"embeddings have {len(vectors)} rows but the pool {len(self.pool)}: --redo embed")
        return vectors

    @property
    def embedding_identity(self) -> dict[str, Any]:
        """What made them."""
        return json.loads(to_json(method_identity(self.config.embedding, self.config)))

    @cached_property
    def anchors(self) -> Pool:
        """The target skill."""
        return read_pool(self.stages["anchors"].path / "anchors.parquet")

    @cached_property
    def candidates(self) -> np.ndarray:
        """Positions in the pool of the rows that may be scored: all of them are, unless labels come in rounds."""
        return np.load(self.stages["anchors"].path / "candidates.npy")

    @cached_property
    def labelled(self) -> np.ndarray:
        """Positions in the pool of the rows that were scored."""
        return np.load(labelled_file(self.stages["influence"].path.parent))

    @cached_property
    def named(self) -> NamedFiles:
        """The rows that the files of `constraints` name."""
        uncleaned = (lambda: self.uncleaned) if "clean" in self.stages else None
        return NamedFiles.read(self.pool, self.config.constraints, reading=self.config.pool, uncleaned=uncleaned)

    def array(self, stage: str, name: str) -> np.ndarray | None:
        """An array that a stage left, memory-mapped; None where this run has no such stage."""
        if stage not in self.stages:
            return None
        return np.load(self.stages[stage].path / name, mmap_mode="r")


def read_pool(path: Path) -> Pool:
    """The rows that a stage left."""
    return open_pool(path)


def write_table(table: pa.Table, path: Path) -> None:
    """Write a table, whole or not at all."""
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", row_group_size=_GROUP_ROWS)


def write_rows(pool: Pool, rows: Int[np.ndarray, " k"], path: Path) -> Pool:
    """Write rows of a pool, and open what was written; a part at a time, so that they are never all in memory twice."""
    schema = pool.table.schema
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for start in range(0, max(1, len(rows)), _GROUP_ROWS):
            writer.write_table(pool.take(rows[start : start + _GROUP_ROWS]).table, row_group_size=_GROUP_ROWS)
    return read_pool(path)


def write_array(array: np.ndarray, path: Path) -> None:
    """Write an array, whole or not at all."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, array)


def write_array_parts(parts: Iterable[Float[np.ndarray, "m d"]], n_rows: int, path: Path) -> None:
    """Write an array whose rows come in parts, whole or not at all; the bytes of `write_array`."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        for number, part in enumerate(parts):
            if number == 0:
                shape = {"descr": np.lib.format.dtype_to_descr(part.dtype), "shape": (n_rows, *part.shape[1:])}
                np.lib.format.write_array_header_1_0(file, shape | {"fortran_order": False})
            file.write(np.ascontiguousarray(part).data)


def nullable(values: np.ndarray) -> pa.Array:
    """A column in which NaN is null."""
    return pa.array(values, mask=np.isnan(values))


def floats(values: Sequence[float | None]) -> Float[np.ndarray, " k"]:
    """Numbers with what is null as NaN."""
    return np.array([np.nan if value is None else value for value in values], np.float64)
