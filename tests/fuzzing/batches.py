"""Files that went bad, written out and read by a child process that may be lost over any of them."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from fuzzing.corpus import Case, Records, cases
from fuzzing.mutations import MUTATIONS

__all__ = ["attempt", "damaged_configs", "damaged_files", "damaged_runs"]

LIMIT_SECONDS = 400
"""For one file, in a process that others may keep from running, and that loads its libraries with the first."""


def attempt(what: str, paths: Sequence[Path], *, seconds: int = LIMIT_SECONDS) -> list[str]:
    """Every fault of the files; a child that a file ends, by a hang or a crash, is replaced for those after it."""
    faults, left = [], list(paths)
    while left:
        found = subprocess.run(
            [sys.executable, "-m", "fuzzing.attempts", what, str(seconds)],
            input="\n".join(map(str, left)), capture_output=True, text=True, check=False, cwd=left[0].parent, env=_environment(),
        )  # fmt: skip
        lines = [json.loads(line) for line in found.stdout.splitlines()]
        faults += [f"{line['file']}: {line['what']}" for line in lines if "what" in line]
        if lines and "finished" in lines[-1]:
            break
        n_started = sum("starts" in line for line in lines)
        faults.append(f"{left[n_started - 1].name}: ended the process with {found.returncode}: {found.stderr[-2000:]}")
        left = left[max(n_started, 1) :]
    return faults


def damaged_files(donors: Sequence[Records], folder: Path, n: int, *, seed: int = 0) -> list[Path]:
    """`n` files of a pool."""
    return _written(cases(donors, n, seed), folder)


def damaged_configs(texts: Sequence[bytes], folder: Path, n: int, *, seed: int = 0) -> list[Path]:
    """`n` configurations."""
    return _written((Case(f"{name}.yaml", content) for name, content in _damaged(texts, n, seed)), folder)


def damaged_runs(run: Path, folder: Path, n: int, *, seed: int = 0) -> list[Path]:
    """`n` copies of a run directory, each with one file of it gone bad, gone, or a link to another."""
    files = sorted(path.relative_to(run) for path in run.rglob("*") if path.is_file() and path.name != ".lock")
    found = []
    for number in range(n):
        dice = random.Random(f"{seed}-{number}")
        name = dice.choice(files)
        copy = folder / f"{number:05d}-{'-'.join(name.parts)}"
        shutil.copytree(run, copy)
        content = (run / name).read_bytes() or b" "
        way = dice.choice([*MUTATIONS, "remove", "folder", "link", "empty"])
        (copy / name).unlink()
        if way == "folder":
            (copy / name).mkdir()
        elif way == "link":
            (copy / name).symlink_to(run / dice.choice(files))
        elif way != "remove":
            (copy / name).write_bytes(b"" if way == "empty" else MUTATIONS[way](content, dice))
        found.append(copy.rename(copy.with_name(f"{copy.name}-{way}")))
    return found


def _damaged(texts: Sequence[bytes], n: int, seed: int) -> Iterator[tuple[str, bytes]]:
    names = list(MUTATIONS)
    for number in range(n):
        dice = random.Random(f"{seed}-{number}")
        content = dice.choice(texts)
        how = [names[number % len(names)], *dice.choices(names, k=dice.choice([0, 0, 1]))]
        for name in how:
            content = MUTATIONS[name](content, dice) if content else content
        yield f"{number:05d}-{'-'.join(how)}", content


def _written(found: Iterable[Case], folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for case in found:
        paths.append(folder / case.name)
        paths[-1].write_bytes(case.content)
    return paths


def _environment() -> dict[str, str]:
    tests = str(Path(__file__).parents[1])
    paths = [tests, *(path for path in sys.path if path.endswith("src"))]
    return os.environ | {
        "PYTHONPATH": os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")]),
        "OMP_NUM_THREADS": "1",
    }
