"""A finished run directory, opened for reading: every stage complete, whole, and made from the others."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import Float, Int

from qads.datasets.mapped import open_pool
from qads.errors import CorruptError, RunError
from qads.pool import Pool, RejectedRow
from qads.quality import AnchorGroups
from qads.run import (
    ON_DEMAND,
    STAGES,
    Manifest,
    RunDirectory,
    StagePlan,
    ensure_coverage,
    pool_file,
    stages_of_run,
)
from qads.run.context import floats
from qads.selection import Coverage

__all__ = ["FinishedRun", "RealQuality", "open_run"]


@dataclass(frozen=True, eq=False)
class RealQuality:
    """What influence measured; NaN where no anchor could score the row, or nothing is of its style."""

    sources: Sequence[str]
    """Of every candidate."""
    quality: Float[np.ndarray, " k"]


@dataclass(frozen=True)
class FinishedRun:
    """What the stages left; arrays and tables are read when they are first asked for."""

    root: Path
    config: Mapping[str, Any]
    """`config.json`."""
    manifests: Mapping[str, Manifest]
    """Of every stage, in order."""

    @property
    def has_quality(self) -> bool:
        """Whether rows have a quality, measured or predicted."""
        return "quality" in self.manifests

    @property
    def is_scored(self) -> bool:
        """Whether some were really scored."""
        return "influence" in self.manifests

    @cached_property
    def pool(self) -> Pool:
        """The candidates."""
        return open_pool(pool_file(self.root))

    @cached_property
    def embeddings(self) -> Float[np.ndarray, "n d"]:
        """Vectors of the pool, memory-mapped."""
        return np.load(self.root / "embed" / "embeddings.npy", mmap_mode="r")

    @cached_property
    def quality(self) -> Float[np.ndarray, " n"] | None:
        """Quality of every row of the pool; None where it was not measured."""
        return np.load(self.root / "quality" / "quality.npy") if self.has_quality else None

    @cached_property
    def origins(self) -> list[str] | None:
        """Of every row whether its quality is ``real`` or ``predicted``; None where quality was not measured."""
        if not self.has_quality:
            return None
        return pq.read_table(self.root / "quality" / "quality.parquet", columns=["origin"])["origin"].to_pylist()

    @cached_property
    def real(self) -> RealQuality | None:
        """Real quality of the sample; None where nothing was really scored."""
        if not self.is_scored:
            return None
        table: Any = pq.read_table(self.root / "quality" / "quality_real.parquet")
        return RealQuality(sources=table["source"].to_pylist(), quality=floats(table["quality"].to_pylist()))

    @cached_property
    def anchor_groups(self) -> AnchorGroups | None:
        """Gains of sources on groups of anchors; None where quality was not measured, or before there were any."""
        path = self.root / "quality" / "anchor_groups.json"
        return AnchorGroups.from_json(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None

    @cached_property
    def reasons(self) -> Mapping[str, Sequence[Any]]:
        """Columns of the selection, a value a pick, in order; None where nothing was measured."""
        table: Any = pq.read_table(self.root / "select" / "selection.parquet")
        return {name: table[name].to_pylist() for name in table.column_names}

    @cached_property
    def picks(self) -> Int[np.ndarray, " k"]:
        """Position in the pool of every pick, in order."""
        return np.array(self.reasons["row"], np.int64)

    @cached_property
    def coverage(self) -> Coverage:
        """Which pick covers every row; computed and kept in the run directory, which the caller has locked."""
        return ensure_coverage(self.root)

    def rejected(self, n_rows: int) -> list[RejectedRow]:
        """The first rows that were set aside."""
        with (self.root / "pool" / "rejected.jsonl").open(encoding="utf-8") as file:
            return [RejectedRow(**json.loads(line)) for line in islice(file, n_rows)]


def open_run(root: Path, *, until: str | None = None) -> FinishedRun:
    """Open a run directory.

    Args:
        root: the directory.
        until: the last stage that has to be there; all of the run by default.

    Raises:
        RunError: it is none, a stage is missing, or a stage was made from another than the one that is there.
        CorruptError: a file is not what its manifest says.
    """
    config = _read_config(root)
    names = [name for name in stages_of_run(root, config) if name not in ON_DEMAND]
    if until is not None:
        names = [name for name in names if STAGES.index(name) <= STAGES.index(until)]
    stages = {name: RunDirectory(root).stage(StagePlan(name, {})) for name in names}
    manifests = {name: found for name, stage in stages.items() if (found := stage.manifest()) is not None}
    if missing := [name for name in names if name not in manifests]:
        raise RunError(
            f"{root}: the stage {missing[0]!r} is missing or not complete (in all: {', '.join(missing)}); a "
            "report shows finished runs only. Compute the rest: run the same configuration in this directory "
            "again with qads run; what is finished is kept."
        )
    _check_lineage(root, manifests)
    for stage in stages.values():
        stage.check_files()
    return FinishedRun(root, config, manifests)


def _read_config(root: Path) -> dict[str, Any]:
    path = root / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(
            f"{root}: not a run directory: its config.json cannot be read ({error.strerror}). Give the "
            "directory that qads run wrote to."
        ) from error
    except ValueError as error:
        raise CorruptError(f"{path}: not valid JSON ({error}); the file was changed or damaged.") from error
    if not isinstance(config, dict):
        raise CorruptError(f"{path}: found a {type(config).__name__} where a mapping was expected.")
    return cast(dict[str, Any], config)


def _check_lineage(root: Path, manifests: Mapping[str, Manifest]) -> None:
    """Every stage must have read the very stages that are there now."""
    for name, manifest in manifests.items():
        for before, fingerprint in manifest["inputs"].items():
            if before not in STAGES:
                continue  # A file of the user's.
            found = manifests[before]["fingerprint"][:12] if before in manifests else "not part of config.json"
            if found != fingerprint[:12]:
                raise RunError(
                    f"{root}: the stage {name!r} was made from the stage {before!r} {fingerprint[:12]}, "
                    f"but the one there now is {found}. Compute it again: qads run … --redo {name}"
                )
