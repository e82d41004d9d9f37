"""Bring what a command has made to where the user wants it: a place on the disk, or object storage."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from qads.config import RunConfig
from qads.datasets import atomic_path, refuse_own_output
from qads.datasets.publishing import MANIFEST, publish, upload
from qads.errors import InputError
from qads.pool import Progress
from qads.run import RunResult
from qads.run.sealed import read_json, write_json
from qads.run.shards import file_sha256

__all__ = ["copy_files", "publish_folder", "refuse_foreign"]

_RECORD = "copies.json"
"""Of a run directory: the files outside it that were written from it, each with the SHA-256 of what was written."""


def refuse_foreign(out: str, directory: Path) -> None:
    """Refuse to write over a file on the disk that this run has not written.

    Raises:
        InputError: names it.
    """
    if "://" not in out and os.path.lexists(out) and _key(out, directory) not in _copies(directory):
        raise InputError(
            f"--out {out}: a file of that name is there that was not written from {directory}. Name another file, or "
            "move that one away."
        )


def copy_files(result: RunResult, config: RunConfig, out: str) -> dict[str, int]:
    """Copy what is for a trainer: the largest budget to `out`, the others beside it; returns the rows of each.

    Copies of an earlier start that is gone, such as of a budget that is asked for no more, are removed, unless somebody
    has changed them.

    Raises:
        InputError: there is a file in the place of one of them that was not written from this run.
    """
    (name, n_rows), *smaller = result.manifests["mixture"]["train_files"].items()
    place, slash, last = out.rpartition("/")
    first = Path(last)
    copies = {name: (out, n_rows)}
    for name, n_rows in smaller:
        beside = first.stem + Path(name).stem.removeprefix("train") + first.suffix
        copies[name] = (f"{place}{slash}{beside}", n_rows)
    files = {target: n_rows for target, n_rows in copies.values()}
    remote = "://" in out
    before, keys = _copies(result.directory), dict[str, Path]()
    if not remote:
        refuse_own_output(config.files, map(Path, files))  # Shares of the pool have their names only now.
        for target in files:
            refuse_foreign(target, result.directory)
        keys = {_key(target, result.directory): Path(target) for target in files}
        write_json(result.directory / _RECORD, before | {key: before.get(key) for key in keys})
    for name, (target, _) in copies.items():
        source = result.directory / "mixture" / name
        if remote:
            _made_aside(lambda aside, source=source: _copy_rows(source, aside), target)
        else:
            _copy_rows(source, Path(target))
    if not remote:
        for gone in before.keys() - keys.keys():
            path = Path(out).with_name(Path(gone).name)  # Beside the others or nowhere, whatever the record says.
            if _key(str(path), result.directory) == gone and path.is_file() and file_sha256(path) == before[gone]:
                path.unlink()
        write_json(result.directory / _RECORD, {key: file_sha256(path) for key, path in keys.items()})
    return files


def _copies(directory: Path) -> dict[str, str | None]:
    return read_json(directory / _RECORD) or {}


def _key(target: str, directory: Path) -> str:
    """A file as it lies to the run directory: both may be moved together."""
    return os.path.relpath(os.path.abspath(target), directory.absolute().parent)


def _made_aside(write: Callable[[Path], None], location: str) -> None:
    """Write a file on the disk, then put it into object storage."""
    with tempfile.TemporaryDirectory() as folder:
        aside = Path(folder, location.rpartition("/")[2])
        write(aside)
        upload(aside, location)


def _copy_rows(source: Path, target: Path) -> None:
    """Copy the selected rows, whole or not at all; JSON Lines become one array in a file named .json."""
    with atomic_path(target) as temporary:
        if target.suffix != ".json":
            shutil.copyfile(source, temporary)
            return
        with (
            source.open(encoding="utf-8", newline="\n") as rows,
            temporary.open("w", encoding="utf-8") as file,
        ):
            file.write("[\n")
            for number, row in enumerate(rows):
                file.write((",\n" if number else "") + row.rstrip("\n"))
            file.write("\n]\n")


def publish_folder(write: Callable[[Path], object], location: str, progress: Progress | None = None) -> None:
    """Have a folder with a manifest written on the disk, then put it into object storage."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "folder")
        write(folder)
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        publish({name: folder / name for name in manifest["files"]}, location, manifest, progress=progress)
