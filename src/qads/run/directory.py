"""The run directory: a folder a stage, its manifest written last.

A stage is complete when its `manifest.json` exists, and only then. Before it starts, `plan.json` says what it
is meant to be, so that shards left by a killed run are used again only for the very same computation. Every
file is written under a temporary name, flushed, and renamed. A folder that holds neither is not ours: nothing is
written to it or removed from it.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import shutil
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from qads.datasets.storage import local_path
from qads.errors import CorruptError, DriftError, RunError
from qads.run.lock import DirectoryLock
from qads.run.sealed import canonical, made_again, read_json, read_stage_record, write_json
from qads.run.shards import DiskShards, file_sha256
from qads.storage import flush, storing

__all__ = [
    "BEGUN", "KEEPS_CHECKPOINTS", "TOLD", "Manifest", "RunDirectory", "StageDirectory", "StagePlan", "labelled_file",
    "pool_file",
]  # fmt: skip

logger = logging.getLogger(__name__)

_FORMAT = 1
"""Changes when a stage's files change their meaning, so that old directories are not taken for new ones."""
_PACKAGES = ("numpy", "numba", "pyarrow", "scikit-learn", "sentence-transformers", "torch", "transformers")
_TRAINER = ("accelerate", "peft", "trl")
"""What the stage `train` needs beside them."""
KEEPS_CHECKPOINTS = "checkpoints_kept"
"""In a manifest: checkpoints are no longer needed, and stay as the user wants them to."""
_PARTS = ("shards", "checkpoints")
"""Folders of a stage that it would go on from."""
TOLD = ".progress"
"""File that says how far the process that is, or was, in the directory is with what it does."""
_PAGE_BEGUN = f".*.{'[0-9a-f]' * 12}.partial"
"""As `atomic_path` names what it has begun; other programs' files lie beside pages, too."""
BEGUN = ".shared.partial"
"""How the name of a stage ends, after a dot, while it is taken over from another run."""
_BOOKKEEPING = {".lock", ".owner", TOLD, f"{TOLD}.new", "config.json", "experiment.json", "input"}
"""What is in a run directory before a stage has left anything."""
Manifest = dict[str, Any]


@dataclass(frozen=True)
class StagePlan:
    """What a stage is meant to compute, known before anything runs."""

    name: str
    settings: Mapping[str, Any]
    """Everything that changes the result."""
    inputs: Mapping[str, str] = field(default_factory=dict[str, str])
    """Fingerprints of what it reads."""
    execution: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """How it is computed; written down, but no part of the fingerprint."""

    @cached_property
    def fingerprint(self) -> str:
        """Hash of stage, settings and inputs."""
        return hashlib.sha256(canonical(self._content()).encode()).hexdigest()

    def as_json(self) -> dict[str, Any]:
        """The plan with its fingerprint."""
        how = {"execution": dict(self.execution)} if self.execution else {}
        return {"fingerprint": self.fingerprint, **self._content(), **how}

    def differences(self, other: StagePlan) -> Iterator[str]:
        """Lines that say in what another plan differs, this one being what was."""
        return _differences(self.as_json(), other.as_json())

    def _content(self) -> dict[str, Any]:
        return {
            "format": _FORMAT,
            "stage": self.name,
            "settings": dict(self.settings),
            "inputs": dict(self.inputs),
        }


@dataclass(frozen=True)
class RunDirectory:
    """A directory that holds the stages of one run."""

    root: Path

    def __post_init__(self) -> None:
        local_path(self.root, "a run directory must be")

    def stage(self, plan: StagePlan) -> StageDirectory:
        """The folder of a stage."""
        return StageDirectory(self.root / plan.name, plan)

    @property
    def owner(self) -> str | None:
        """Process that uses the directory now; None where none does."""
        return DirectoryLock(self.root).owner

    @contextmanager
    def lock(self) -> Generator[Callable[[], None]]:
        """Keep every other run out of the directory while the block runs; a killed run leaves no lock behind.

        A block that fails before any stage has left something takes the directory, if it made it, with it.

        Yields:
            A check that raises `RunError` where the directory is no longer the one that is held.

        Raises:
            LockedError: another run is in it.
            RunError: the directory cannot be made or written to, or holds a link where a folder belongs.
        """
        made = not self.root.exists()
        _refuse_links(self.root, ["report", "input", "validation"])
        with DirectoryLock(self.root).held() as check_held:
            try:
                _remove_partial(self.root.glob(".config.json.*.partial"))
                _remove_partial(self.root.glob(".experiment.json.*.partial"))
                _remove_partial((self.root / "report").glob(_PAGE_BEGUN))
                _remove_partial((self.root / "input").glob(".stdin.*.partial"))
                _remove_partial(self.root.glob(f".*{BEGUN}"))
                yield check_held
                (self.root / TOLD).unlink(missing_ok=True)
            except BaseException:
                if made and self.root.is_dir():
                    left = (path.relative_to(self.root) for path in self.root.rglob("*") if not path.is_dir())
                    if {path.parts[0] for path in left} <= _BOOKKEEPING:
                        shutil.rmtree(self.root)
                raise


@dataclass(frozen=True)
class StageDirectory:
    """The folder of one stage."""

    path: Path
    plan: StagePlan

    def manifest(self) -> Manifest | None:
        """The manifest if the stage is complete."""
        return read_stage_record(self.path / "manifest.json", self.plan.name)

    def begun(self) -> dict[str, Any] | None:
        """The plan of what is in the folder: from the manifest, or of a stage that is not complete."""
        return self.manifest() or read_stage_record(self.path / "plan.json", self.plan.name)

    def check_owner(self) -> None:
        """Refuse a folder with files that no run has put there.

        Raises:
            RunError: names the folder.
        """
        _refuse_links(self.path.parent, [self.path.name])
        for part in _PARTS:
            _refuse_links(self.path, [part, *(str(p.relative_to(self.path)) for p in (self.path / part).rglob("*"))])
        if not self._is_ours() and any(self._strangers()):
            raise RunError(
                f"{self.path}: holds files, but no plan.json or manifest.json of a run's stage {self.plan.name!r} that "
                "is whole, so it is not touched. Give another run directory, or move the folder away."
            )

    def check_drift(self) -> None:
        """Refuse to mix this plan with what was computed for another.

        Raises:
            DriftError: names the settings and inputs that are different now.
        """
        before = self.begun()
        if before is None or before.get("fingerprint") == self.plan.fingerprint:
            return
        changed = list(_differences(before, self.plan.as_json()))
        raise DriftError(
            f"stage {self.plan.name!r} in {self.path.parent} was made with other settings or inputs:\n"
            + "\n".join(f"  {line}" for line in changed[:12])
            + f"\nTo compute it and all that follows again: --redo {self.plan.name}; to keep it, give another "
            "directory (--out)."
        )

    def check_files(self) -> None:
        """Refuse files that are not what the manifest says.

        Raises:
            CorruptError: one is missing or has other bytes.
        """
        manifest = self.manifest() or {"files": {}}
        for name, facts in manifest["files"].items():
            path = self.path / name
            found = file_sha256(path) if path.exists() else "nothing"
            if found != facts["sha256"]:
                raise CorruptError(
                    f"{path}: has SHA-256 {found}, but the manifest says {facts['sha256']}; the file was "
                    f"changed or damaged after it was written. {made_again(self.path)}"
                )

    def is_whole(self) -> bool:
        """Whether the stage is complete, of this plan and undamaged; for those that are made again where not."""
        try:
            if (self.manifest() or {}).get("fingerprint") != self.plan.fingerprint:
                return False
            self.check_files()
        except CorruptError:
            logger.warning("%s is damaged and will be made again", self.path)
            return False
        return True

    def mend_plan(self) -> None:
        """Write the plan of a complete stage anew where it is damaged or gone: its manifest holds the same."""
        manifest = self.manifest() or {}
        plan = {name: manifest[name] for name in self.plan.as_json() | {"execution": {}} if name in manifest}
        with suppress(CorruptError):
            if read_json(self.path / "plan.json") == json.loads(canonical(plan)):
                return
        write_json(self.path / "plan.json", plan, sealed=True)

    def begin(self) -> None:
        """Make ready for work; shards of the same plan stay.

        Raises:
            RunError: the folder is not ours.
            StorageError: it cannot be made.
        """
        self.check_owner()
        with storing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        _remove_partial(self.path.rglob(".*.partial"))
        before = read_json(self.path / "plan.json") or {}
        if before.get("fingerprint") != self.plan.fingerprint:
            self.remove_parts()
        elif self.shards.count() and before.get("execution", {}) != dict(self.plan.execution):
            logger.warning(
                "%s goes on from shards that were made with %s, now with %s; in bfloat16 this moves single results",
                self.path, _short(before.get("execution")), _short(dict(self.plan.execution)),
            )  # fmt: skip
        write_json(self.path / "plan.json", self.plan.as_json(), sealed=True)

    def finish(self, *, seconds: float, facts: Mapping[str, Any]) -> Manifest:
        """Write the manifest: from now on the stage is complete, and what it would go on from is needed no more.

        Raises:
            RunError: the folder is not the one that was begun.
        """
        if (read_json(self.path / "plan.json") or {}).get("fingerprint") != self.plan.fingerprint:
            raise RunError(
                f"{self.path}: was moved, removed or begun anew by somebody else while its stage was computed, so that "
                "what is there now is not used. Remove what is left of it, and start the same command again."
            )
        for path in (*self._files(), *_folders_in(self.path)):
            flush(path)
        manifest = self.plan.as_json() | {
            "code": _version("qads"),
            "packages": {
                name: _version(name) for name in (*_PACKAGES, *(_TRAINER if self.plan.name == "train" else ()))
            },
            "seconds": round(seconds, 3),
            **facts,
            "files": {
                str(path.relative_to(self.path)): {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
                for path in self._files()
            },
        }
        write_json(self.path / "manifest.json", manifest, sealed=True)
        self.remove_parts()
        return manifest

    @property
    def n_parts(self) -> int:
        """Finished shards, checkpoints or kept picks that the stage would go on from."""
        below = self.path / "checkpoints"  # A training in a process of its own has its directory in there.
        checkpoints = [*below.rglob("step-*"), *below.rglob("manifest.json")]
        return self.shards.count() + len(checkpoints) + self.picks.exists()

    @property
    def picks(self) -> Path:
        """Where a selection keeps its picks until the stage is complete."""
        return self.path / "shards" / "picks.npz"

    def remove_parts(self) -> None:
        """Throw away what the stage would go on from; checkpoints stay where the manifest says that they are kept."""
        shutil.rmtree(self.path / "shards", ignore_errors=True)
        if not (self.manifest() or {}).get(KEEPS_CHECKPOINTS):
            shutil.rmtree(self.path / "checkpoints", ignore_errors=True)
        self.shards.drop_array()

    def remove(self) -> None:
        """Throw the stage away, if the folder is ours; of `report`, which has no plan, its pages alone.

        The manifest goes first, so that a kill leaves no complete-looking rest, and the plan last: it says whose the
        rest is, and what its shards are for.
        """
        if self.plan.name == "report":
            for page in ("report.html", "fidelity.html"):
                (self.path / page).unlink(missing_ok=True)
        elif self._is_ours():
            (self.path / "manifest.json").unlink(missing_ok=True)
            self.remove_parts()
            for path in self.path.iterdir():
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                elif path.name != "plan.json":
                    path.unlink()
            (self.path / "plan.json").unlink(missing_ok=True)
        with suppress(OSError):  # Files of another are in it, or it is not there.
            self.path.rmdir()

    def _is_ours(self) -> bool:
        """Whether a plan or manifest of this stage is in the folder."""
        for name in ("plan.json", "manifest.json"):
            with suppress(RunError):
                found = read_stage_record(self.path / name)
                if found is not None and found["stage"] == self.plan.name:
                    return True
        return False

    def _strangers(self) -> Iterator[Path]:
        """What is in the folder but for what a run leaves that is killed while it writes its first file."""
        if self.path.is_dir():
            yield from (path for path in self.path.iterdir() if not path.match(".plan.json.*.partial"))

    def _files(self) -> list[Path]:
        """What the stage has made, without what it would go on from."""
        own = {self.path / "plan.json", self.path / "manifest.json"}
        files = [path for path in self.path.rglob("*") if path.is_file() and path not in own]
        return sorted(path for path in files if path.relative_to(self.path).parts[0] not in _PARTS)

    @property
    def shards(self) -> DiskShards:
        """Where the stage keeps the shards it has finished."""
        return DiskShards(self.path)


def pool_file(root: Path) -> Path:
    """The candidates that the stages of a run have read: as they were, or cleaned."""
    embedded = read_stage_record(root / "embed" / "manifest.json") or {"inputs": {}}
    return root / ("clean" if "clean" in embedded["inputs"] else "pool") / "pool.parquet"


def labelled_file(root: Path) -> Path:
    """Positions in the pool of the rows that were really scored: those drawn, or of them those chosen in rounds."""
    chosen = root / "influence" / "labelled.npy"
    return chosen if chosen.exists() else root / "anchors" / "candidates.npy"


def _folders_in(folder: Path) -> list[Path]:
    """Every folder in a folder, and it itself."""
    return [path for path in (folder, *folder.rglob("*")) if path.is_dir() and not path.is_symlink()]


def _refuse_links(folder: Path, names: Iterable[str]) -> None:
    """Refuse links in the place of folders and parts: what they lead to would be written to, and cleared.

    Raises:
        RunError: names the link.
    """
    for path in (folder / name for name in names):
        if path.is_symlink():
            raise RunError(f"{path}: is a link, where a run makes a folder or a file of its own. Remove it.")


@cache
def _version(package: str) -> str:
    return importlib.metadata.version(package)


def _remove_partial(paths: Iterable[Path]) -> None:
    """Throw away what a killed run had begun to write."""
    for path in list(paths):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)  # It lay in one of the folders.


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Lines `path: was …, now …` for what differs between two plans."""
    before, now = json.loads(canonical(before)), json.loads(canonical(now))  # Tuples as the lists they became.
    for key in dict.fromkeys([*before, *now]):
        here = f"{path}.{key}".removeprefix(".settings.").removeprefix(".")
        old, new = before.get(key), now.get(key)
        if (path == "" and key not in ("format", "settings", "inputs")) or old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differences(old, new, f"{path}.{key}")
        else:
            yield f"{here}: was {_short(old)}, now {_short(new)}"


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else text[:77] + "…"
