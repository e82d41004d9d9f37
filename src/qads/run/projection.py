"""The map of a finished run: its embeddings laid out once, kept in the run directory, used again."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float, Int

from qads.analyze import TSNEProjection
from qads.datasets import atomic_path
from qads.errors import RunError
from qads.run.directory import RunDirectory, StageDirectory, StagePlan
from qads.run.sealed import read_stage_record

__all__ = ["Plane", "ensure_projection", "has_projection"]


@dataclasses.dataclass(frozen=True, eq=False)
class Plane:
    """Where rows of the pool lie on the map."""

    rows: Int[np.ndarray, " m"]
    """Positions in the pool, rising."""
    places: Float[np.ndarray, "m 2"]
    """Where each lies."""


def ensure_projection(root: Path, method: TSNEProjection) -> Plane:
    """The map of a run; computed and written if the run directory does not hold it yet.

    The caller holds the directory's lock.

    Raises:
        RunError: the run has no embeddings, or files that are no run's lie in the folder ``projection``.
    """
    stage = _stage(root, method)
    if stage.is_whole():
        stage.mend_plan()
        return _read(stage)
    stage.check_owner()
    stage.remove()  # What was made from other embeddings or in another way, or is damaged.
    started = time.monotonic()
    stage.begin()
    embeddings = np.load(root / "embed" / "embeddings.npy", mmap_mode="r")
    rows = method.drawn(len(embeddings))
    plane = Plane(rows, method(embeddings[rows]))
    columns = {"row": rows, "x": plane.places[:, 0], "y": plane.places[:, 1]}
    with atomic_path(stage.path / "projection.parquet") as temporary:
        pq.write_table(pa.table(columns), temporary, compression="zstd")
    stage.finish(seconds=time.monotonic() - started, facts={"rows": len(rows), "rows_of_pool": len(embeddings)})
    return plane


def has_projection(root: Path, method: TSNEProjection) -> bool:
    """Whether the run directory holds the map that this method would make."""
    return _stage(root, method).is_whole()


def _read(stage: StageDirectory) -> Plane:
    table: Any = pq.read_table(stage.path / "projection.parquet")
    return Plane(table["row"].to_numpy(), np.column_stack([table["x"].to_numpy(), table["y"].to_numpy()]))


def _stage(root: Path, method: TSNEProjection) -> StageDirectory:
    """The stage as the embeddings that are there now ask for it; equal to what `plan_stages` plans."""
    if (manifest := read_stage_record(root / "embed" / "manifest.json")) is None:
        raise RunError(f"{root}: the stage 'embed' is missing or not complete, so there is nothing to lay out.")
    settings = {"projection": dataclasses.asdict(method)}
    return RunDirectory(root).stage(StagePlan("projection", settings, {"embed": manifest["fingerprint"]}))
