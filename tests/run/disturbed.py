"""A whole run around a tiny model, every stage of it: what it leaves, and what may differ after a disturbance."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from qads.cli.running import write_run_report
from qads.config import RunConfig, load_config
from qads.run import RunDirectory, read_json, run_pipeline
from qads.run.sealed import write_json
from run.tiny import make_model, rows, settings, write_rows

MEASURED = {"seconds", "model_seconds", "train_seconds", "seconds_a_row", "matmul_peak", "utilisation"}
"""Entries of a manifest that a clock has made; all others, and every file, are the same bytes in every run."""
N_ROWS = 1100
"""Two shards of embeddings, three of predictions."""


def whole_config(folder: Path, *, train: bool = True) -> RunConfig:
    """A configuration with every stage that a run can have; its model and files lie in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    model = make_model(folder / "model")
    made = rows(N_ROWS)
    made += [row | {"id": f"copy of {row['id']}", "problem": row["problem"].upper()} for row in made[:20]]
    pool = write_rows(folder / "pool.jsonl", made)
    exam = write_rows(folder / "exam.jsonl", [row | {"source": "exam"} for row in made[100:110]])
    given = write_rows(folder / "given.jsonl", rows(4, seed=5, prefix="given"))
    last = {
        "train": {
            "model": str(model), "dtype": "float32", "steps": 12, "batch_size": 2, "learning_rate": 1e-3,
            "checkpoints": {"minutes": None, "steps": 3},
        },
        "evaluate": {"sets": f"exam={exam}", "generate": False},
    }  # fmt: skip
    return load_config(
        settings(
            model, pool, budget="2000 tokens", clean={"duplicates": {"semantic": 0.001}, "against": str(exam)},
            constraints={"given": str(given)}, **(last if train else {}),
        ),
        ["quality.sample=40"],
    )  # fmt: skip


def run_whole(config: RunConfig, directory: Path, observer: Any = None) -> None:
    """What `qads run` does: every stage, and the pages."""
    run_pipeline(config, directory, observer=observer)
    write_run_report(directory)


def run_whole_in_process(config: RunConfig, directory: Path, watch: Path | None = None) -> None:
    """The same in a process of its own, on one thread; what was computed is written to `watch`."""
    torch.set_num_threads(1)
    watcher = Watcher(str(directory))
    run_whole(config, directory, watcher)
    if watch is not None:
        watch.write_text(json.dumps(dataclasses.asdict(watcher)), encoding="utf-8")


@dataclass
class Watcher:
    """Which stages and shards a run computed, and which it found."""

    directory: str
    computed: list[str] = field(default_factory=list)
    reused: list[str] = field(default_factory=list)
    again: list[str] = field(default_factory=list)
    """Shards that were there when a stage started and were written once more."""
    kept: int = 0
    """Shards that were there and served."""
    _now: str = ""
    _before: dict[str, int] = field(default_factory=dict)
    _last: dict[str, int] = field(default_factory=dict)

    def stage_started(self, name: str, number: int, n_stages: int) -> None:
        """Remembers the shards that are there."""
        self._now = name  # First: it says whose shards are looked at.
        self._before = self._shards()

    def progress(self, done: int, total: int) -> None:
        """Looks at all shards when the last of a kind is there, before the stage throws them away."""
        if done == total and self._before:
            self._last = self._shards()

    def stage_finished(self, name: str, manifest: Mapping[str, Any], *, reused: bool) -> None:
        """Remembers which it was, and which of its shards served."""
        (self.reused if reused else self.computed).append(name)
        same = {shard for shard, inode in self._before.items() if self._last.get(shard) == inode}
        self.kept += len(same)
        self.again += sorted(f"{self._now}/{shard}" for shard in self._before.keys() - same)
        self._before, self._last = {}, {}

    def _shards(self) -> dict[str, int]:
        folder = Path(self.directory) / self._now / "shards"
        return {str(path.relative_to(folder)): path.stat().st_ino for path in folder.rglob("*.parquet")}


def outcome(directory: Path, *, pages: bool = True) -> dict[str, bytes]:
    """Every file of a run, manifests and pages as they are without what a clock has made. The run is changed by it."""
    if pages:
        write_run_report(directory)  # Makes what is made when it is first asked for, with seconds of its own.
    for path in directory.glob("*/manifest.json"):
        write_json(path, _still(read_json(path)), sealed=True)
    if pages:
        write_run_report(directory)
    assert RunDirectory(directory).owner is None
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name != ".lock" and (pages or path.parent.name != "report")
    }


def _still(value: Any, *, measured: bool = False) -> Any:
    """Values with 1 for every number that a clock has made."""
    if isinstance(value, dict):
        return {key: _still(each, measured=measured or key in MEASURED) for key, each in value.items()}
    if isinstance(value, list):
        return [_still(each, measured=measured) for each in value]
    return 1.0 if measured and isinstance(value, int | float) else value


def differing(found: Mapping[str, bytes], expected: Mapping[str, bytes]) -> list[str]:
    """Names of the files that differ or are missing."""
    return sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))


Damage = Callable[[Path, random.Random], None]


def _flip(path: Path, draw: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


def _truncate(path: Path, draw: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: draw.randrange(len(content))])


DAMAGES: dict[str, Damage] = {
    "flip": _flip,
    "truncate": _truncate,
    "empty": lambda path, draw: path.write_bytes(b""),
    "delete": lambda path, draw: path.unlink(),
}


def damages(directory: Path) -> Iterator[tuple[str, str]]:
    """Every file of a finished run with everything that can be done to it."""
    for path in sorted(directory.rglob("*")):
        if path.is_file() and path.name != ".lock":
            size = path.stat().st_size
            for kind in DAMAGES:
                if size or kind == "delete":
                    yield str(path.relative_to(directory)), kind
