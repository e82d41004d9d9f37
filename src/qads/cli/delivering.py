"""Bring what a command has made to where the user wants it: a place on the disk, or object storage."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from qads.config import RunConfig
from qads.datasets import atomic_path, refuse_own_output
from qads.datasets.publishing import MANIFEST, publish, upload
from qads.pool import Progress
from qads.run import RunResult

__all__ = ["copy_files", "publish_folder"]


def copy_files(result: RunResult, config: RunConfig, out: str) -> dict[str, int]:
    """Copy what is for a trainer: the largest budget to `out`, the others beside it; returns the rows of each."""
    (name, n_rows), *smaller = result.manifests["mixture"]["train_files"].items()
    place, slash, last = out.rpartition("/")
    first = Path(last)
    copies = {name: (out, n_rows)}
    for name, n_rows in smaller:
        beside = first.stem + Path(name).stem.removeprefix("train") + first.suffix
        copies[name] = (f"{place}{slash}{beside}", n_rows)
    files = {target: n_rows for target, n_rows in copies.values()}
    remote = "://" in out
    if not remote:
        refuse_own_output(config.files, map(Path, files))  # Shares of the pool have their names only now.
    for name, (target, _) in copies.items():
        source = result.directory / "mixture" / name
        if remote:
            _made_aside(lambda aside, source=source: _copy_rows(source, aside), target)
        else:
            _copy_rows(source, Path(target))
    return files


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
