"""A finished run directory, opened for reading: every stage complete, whole, and made from the others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float, Int

from qads.errors import CorruptError, RunError
from qads.pool import Pool, RejectedRow
from qads.run import STAGES, Manifest, RunDirectory, StagePlan

__all__ = ["FinishedRun", "open_run"]

_QUALITY_STAGES = ("anchors", "influence", "quality")


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
        """Whether quality was measured."""
        return "quality" in self.manifests

    @cached_property
    def pool(self) -> Pool:
        """The candidates."""
        return Pool(pq.read_table(self.root / "pool" / "pool.parquet"))

    @cached_property
    def embeddings(self) -> Float[np.ndarray, "n d"]:
        """Vectors of the pool, memory-mapped."""
        return np.load(self.root / "embed" / "embeddings.npy", mmap_mode="r")

    @cached_property
    def quality(self) -> Float[np.ndarray, " n"] | None:
        """Quality of every row of the pool; None where it was not measured."""
        return np.load(self.root / "quality" / "quality.npy") if self.has_quality else None

    @cached_property
    def real(self) -> pa.Table | None:
        """Real quality of the sample, a row a candidate."""
        return pq.read_table(self.root / "influence" / "quality_real.parquet") if self.has_quality else None

    @cached_property
    def selection(self) -> pa.Table:
        """A row a pick, in order."""
        return pq.read_table(self.root / "select" / "selection.parquet")

    @cached_property
    def picks(self) -> Int[np.ndarray, " k"]:
        """Position in the pool of every pick, in order."""
        return self.selection["row"].to_numpy().astype(np.int64)

    def rejected(self, n_rows: int) -> list[RejectedRow]:
        """The first rows that were set aside."""
        with (self.root / "pool" / "rejected.jsonl").open(encoding="utf-8") as file:
            return [RejectedRow(**json.loads(line)) for line in islice(file, n_rows)]


def open_run(root: Path) -> FinishedRun:
    """Open a run directory.

    Raises:
        RunError: it is none, a stage is missing, or a stage was made from another one than the one that is there.
        CorruptError: a file is not what its manifest says.
    """
    config = _read_config(root)
    names = [name for name in STAGES if name != "report"]
    if config.get("quality") is None:
        names = [name for name in names if name not in _QUALITY_STAGES]
    stages = {name: RunDirectory(root).stage(StagePlan(name, {})) for name in names}
    manifests = {name: found for name, stage in stages.items() if (found := stage.manifest()) is not None}
    if missing := [name for name in names if name not in manifests]:
        raise RunError(
            f"{root}: the stage {missing[0]!r} is missing or not complete (all that are: {', '.join(missing)}), and a "
            "report shows finished runs only. Compute the rest: run the same configuration in this directory again with "
            "qads run; what is finished is kept."
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
            f"{root}: not a run directory: its config.json cannot be read ({error.strerror}). Give the directory that "
            "qads run wrote to."
        ) from error
    except ValueError as error:
        raise CorruptError(f"{path}: not valid JSON ({error}); the file was changed or damaged.") from error
    if not isinstance(config, dict):
        raise CorruptError(f"{path}: a mapping was expected, found {type(config).__name__}; the file was changed.")
    return cast(dict[str, Any], config)


def _check_lineage(root: Path, manifests: Mapping[str, Manifest]) -> None:
    """Every stage must have read the very stages that are there now."""
    for name, manifest in manifests.items():
        for before, fingerprint in manifest["inputs"].items():
            if before not in STAGES:
                continue  # A file of the user's.
            found = manifests[before]["fingerprint"] if before in manifests else "not part of config.json"
            if found != fingerprint:
                raise RunError(
                    f"{root}: the stage {name!r} was made from the stage {before!r} {fingerprint[:12]}, but the one there "
                    f"now is {found[:12] if before in manifests else found}. Compute it again: qads run … --redo {name}"
                )
