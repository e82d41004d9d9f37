"""The coverage of a finished run: computed when it is first asked for, kept in the run directory, used again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float, Int

from qads.datasets import atomic_path
from qads.errors import RunError
from qads.pool import Progress, Selection
from qads.run.context import floats
from qads.run.directory import RunDirectory, StageDirectory, StagePlan, pool_file
from qads.run.sealed import read_stage_record
from qads.selection import Coverage, coverage

__all__ = ["ensure_coverage", "read_coverage", "read_selection"]

_READ = ("embed", "quality", "tokens", "select")


def ensure_coverage(root: Path, progress: Progress | None = None) -> Coverage:
    """The coverage of the selection of a run; computed and written if the run directory does not hold it yet.

    The caller holds the directory's lock.

    Raises:
        RunError: the run has no finished selection, or files that are no run's lie in the folder ``coverage``.
    """
    stage = _stage(root)
    if (found := read_coverage(root)) is not None:
        stage.mend_plan()
        return found
    stage.check_owner()
    stage.remove()  # What was made from another selection, or is damaged.
    started = time.monotonic()
    stage.begin()
    found = _compute(root, stage.plan, progress)
    ids = pq.read_table(pool_file(root), columns=["id"])["id"]
    by_row = {
        "id": ids,
        "covered_by": ids.take(pa.array(found.rows)),
        "covering_row": pa.array(found.rows),
        "covering_step": pa.array(found.steps),
        "distance": pa.array(found.distances),
    }
    by_budget = {
        "budget": pa.array(found.budgets),
        "radius": pa.array(found.radius),
        "mean_distance": pa.array(found.mean_distance),
        "mean_quality": _column(found.mean_quality, len(found.budgets), pa.float64()),
        "tokens": _column(found.n_tokens, len(found.budgets), pa.int64()),
    }
    for name, columns in (("coverage.parquet", by_row), ("curves.parquet", by_budget)):
        with atomic_path(stage.path / name) as temporary:
            pq.write_table(pa.table(columns), temporary, compression="zstd")
    facts = {"rows": len(ids), "knee": found.knee}
    stage.finish(seconds=time.monotonic() - started, facts=facts)
    return found


def read_coverage(root: Path) -> Coverage | None:
    """The coverage that the run directory holds; None where it holds none, undamaged, of the selection that is there.

    Raises:
        RunError: the run has no finished selection.
    """
    stage = _stage(root)
    if not stage.is_whole():
        return None
    rows: Any = pq.read_table(stage.path / "coverage.parquet")
    curves: Any = pq.read_table(stage.path / "curves.parquet")
    given = {name: None if curves[name].null_count else curves[name].to_numpy() for name in ("mean_quality", "tokens")}
    return Coverage(
        steps=rows["covering_step"].to_numpy(),
        rows=rows["covering_row"].to_numpy(),
        distances=rows["distance"].to_numpy(),
        budgets=curves["budget"].to_numpy(),
        radius=curves["radius"].to_numpy(),
        mean_distance=curves["mean_distance"].to_numpy(),
        mean_quality=given["mean_quality"],
        n_tokens=given["tokens"],
        metric=stage.plan.settings["metric"],
    )


def read_selection(root: Path, n_rows: int) -> Selection:
    """The selection that a run has written; `nearest` holds steps, −1 where there is none among the picks."""
    table: Any = pq.read_table(root / "select" / "selection.parquet")
    steps = {name: step for step, name in enumerate(table["id"].to_pylist())}
    manifest = read_stage_record(root / "select" / "manifest.json") or {}
    return Selection(
        indices=table["row"].to_numpy(),
        gains=floats(table["gain"].to_pylist()),
        distances=floats(table["distance"].to_pylist()),
        nearest=np.array([steps.get(name, -1) for name in table["nearest"].to_pylist()], np.int64),
        quality=floats(table["quality"].to_pylist()),
        n_rows=n_rows,
        method=str(_settings(manifest).get("kind", "")),
    )


def _compute(root: Path, plan: StagePlan, progress: Progress | None) -> Coverage:
    embeddings = np.load(root / "embed" / "embeddings.npy", mmap_mode="r")
    return coverage(
        embeddings,
        read_selection(root, len(embeddings)),
        metric=plan.settings["metric"],
        quality=np.load(root / "quality" / "quality.npy") if "quality" in plan.inputs else None,
        tokens=np.load(root / "tokens" / "tokens.npy") if "tokens" in plan.inputs else None,
        progress=progress,
    )


def _stage(root: Path) -> StageDirectory:
    """The stage as the selection that is there now asks for it; equal to what `plan_stages` plans."""
    manifest = read_stage_record(root / "select" / "manifest.json")
    if manifest is None:
        raise RunError(
            f"{root}: the stage 'select' is missing or not complete, so there is nothing to explain. Run the "
            "configuration in this directory to its end first: qads run, qads select."
        )
    inputs = {name: manifest["inputs"][name] for name in _READ if name in manifest["inputs"]}
    plan = StagePlan(
        "coverage",
        {"metric": _settings(manifest).get("metric", "euclidean")},
        inputs | {"select": manifest["fingerprint"]},
    )
    return RunDirectory(root).stage(plan)


def _settings(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    return manifest.get("settings", {}).get("selection", {})


def _column(values: Float[np.ndarray, " b"] | Int[np.ndarray, " b"] | None, n: int, kind: pa.DataType) -> pa.Array:
    return pa.nulls(n, kind) if values is None else pa.array(values, kind)
