"""Scores of other runs, for this one to take over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from qads.config import RunConfig
from qads.errors import CorruptError, InputError, RunError
from qads.quality import Influence, check_known
from qads.run.sealed import read_json
from qads.run.shards import file_sha256

__all__ = ["ReusedRun", "read_reused"]


@dataclass(frozen=True, eq=False)
class ReusedRun:
    """The influence of a finished stage of another run."""

    directory: Path
    fingerprint: str
    sha256: str
    """Of its `influence.parquet`."""
    influence: Influence

    def as_json(self) -> Mapping[str, str]:
        """What a manifest says of it."""
        return {
            "directory": str(self.directory),
            "fingerprint": self.fingerprint,
            "influence.parquet sha256": self.sha256,
        }


def read_reused(directories: Sequence[str | Path], root: Path, config: RunConfig) -> tuple[ReusedRun, ...]:
    """Read the influence of other runs, and refuse what cannot be extended by this configuration.

    Raises:
        InputError: nothing is scored here, it is this very run, or its scores were made in another way.
        RunError: the directory holds no finished influence.
        CorruptError: its file is not what its manifest says.
    """
    if not directories:
        return ()
    if config.quality is None:
        raise InputError("--reuse takes scores over, but with quality null (--no-quality) nothing is scored.")
    runs = tuple(_read(Path(directory), root) for directory in directories)
    identity: dict[str, Any] = config.quality.influence.identity(config.execution)
    check_known([run.influence for run in runs], identity, [f"--reuse {run.directory}" for run in runs])
    return runs


def _read(directory: Path, root: Path) -> ReusedRun:
    if directory.resolve() == root.resolve():
        raise InputError(f"--reuse {directory}: is the directory of this run itself; it uses its own scores anyway.")
    file = directory / "influence" / "influence.parquet"
    manifest = read_json(file.with_name("manifest.json"))
    facts = ((manifest or {}).get("files") or {}).get(file.name)
    if manifest is None or not facts:
        within = sorted(str(path.parent) for path in directory.glob("shared/*/influence"))  # An experiment's.
        instead = (
            f"give one of the runs in it: {', '.join(within)}" if within else "give the directory of a run that has"
        )
        raise RunError(f"--reuse {directory}: has no finished stage influence; {instead}.")
    found = file_sha256(file) if file.exists() else "nothing"
    if found != facts["sha256"]:
        raise CorruptError(
            f"{file}: has SHA-256 {found}, but the manifest says {facts['sha256']}; the file was changed or damaged, "
            "so its scores are not taken over."
        )
    return ReusedRun(directory, manifest["fingerprint"], found, Influence.from_table(pq.read_table(file)))
