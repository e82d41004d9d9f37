"""JSON files of a run: whole or not at all, and plans and manifests with a seal that tells when a value was changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from qads.datasets import atomic_path
from qads.errors import CorruptError, RunError

__all__ = ["ON_DEMAND", "canonical", "made_again", "read_json", "read_stage_record", "write_json"]

ON_DEMAND = ("coverage", "projection", "report")
"""Stages that no run computes: whoever explains or shows it makes them when they are first asked for."""

_SEAL = "seal"
"""Key of the SHA-256 of all other values of the file."""

_OF_EVERY_STAGE: Mapping[str, type] = {"stage": str, "fingerprint": str, "inputs": dict}


def write_json(path: Path, value: Mapping[str, Any] | Sequence[Any], *, sealed: bool = False) -> None:
    """Write JSON, whole or not at all; with a seal, a change of any value is found when it is read."""
    if sealed:
        value = {**cast(Mapping[str, Any], value), _SEAL: _seal(value)}
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file, without its seal; None where there is no file.

    Raises:
        CorruptError: the file holds something else, or other values than were sealed.
        RunError: it cannot be read.
    """
    redo = f" {made_again(path.parent)}" if path.name in ("plan.json", "manifest.json") else ""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:  # No JSON, no UTF-8, or absurdly nested.
        raise CorruptError(f"{path}: not valid JSON ({error}); the file was changed or damaged.{redo}") from error
    if not isinstance(found, dict):
        raise CorruptError(f"{path}: holds no JSON object; the file was changed or damaged.{redo}")
    told = cast(dict[str, Any], found)
    seal = told.pop(_SEAL, None)  # What an earlier version has written has none.
    if seal is not None and seal != _seal(told):
        raise CorruptError(f"{path}: has other values than it was written with; it was changed or damaged.{redo}")
    return told


def read_stage_record(path: Path, stage: str | None = None) -> dict[str, Any] | None:
    """A stage's plan or manifest; None where there is none.

    Args:
        path: the file.
        stage: whose it must be; None for any stage's.

    Raises:
        CorruptError: the file holds something else, or is that of another stage; one of an earlier version, which has
            no seal, lacks what all have.
        RunError: it cannot be read.
    """
    if (found := read_json(path)) is None:
        return None
    for name, kind in _OF_EVERY_STAGE.items():
        if not isinstance(found.get(name), kind):
            raise CorruptError(
                f"{path}: has no {name!r} as every stage's has; it was changed or damaged. {made_again(path.parent)}"
            )
    if stage is not None and found["stage"] != stage:
        raise CorruptError(
            f"{path}: is that of the stage {found['stage']!r}; it was changed or damaged. {made_again(path.parent)}"
        )
    return found


def made_again(stage: Path) -> str:
    """How what is in the folder of a stage comes to be computed again."""
    if stage.name in ON_DEMAND:
        return f"It is made again by: qads report {stage.parent}"
    if stage.parent.name == "validation":
        return f"Remove {stage}, and test the scorer again: qads validate-scorer {stage.parent.parent}"
    return f"Compute it again: --redo {stage.name}"


def _seal(value: object) -> str:
    """SHA-256 of values as they come back from JSON."""
    return hashlib.sha256(canonical(json.loads(json.dumps(value, default=str))).encode()).hexdigest()


def canonical(value: object) -> str:
    """JSON that is the same for equal values, to be hashed and compared."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
