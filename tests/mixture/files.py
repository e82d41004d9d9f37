"""Small files and runs for recipes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from qads.pool import Pool, Row


def write_sums(path: Path, n: int, *, source: str | None = None, start: int = 0, **fields: Any) -> Path:
    """`n` problems of addition as JSON Lines; the source is the name of the file unless given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    name = source or path.stem
    rows = (
        {
            "id": f"{name}-{i}",
            "source": name,
            "problem": f"{name}: {i} + 1?",
            "solution": f"It is {i + 1}.",
            "kind": "cot",
        }
        | fields
        for i in range(start, start + n)
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def make_run(directory: Path, n_pool: int, picks: list[int], *, cleaned: bool = False) -> Path:
    """What of a finished run a mixture reads: a pool, and a selection of it."""
    pool = Pool.from_rows(
        Row(id=f"p{i}", source=f"s{i % 2}", problem=f"{i} + 2?", solution=f"It is {i + 2}.", kind="cot")
        for i in range(n_pool)
    )
    table = pa.table(
        {
            "step": pa.array(range(len(picks)), pa.int64()),
            "row": pa.array(picks, pa.int64()),
            "id": pool.table["id"].take(pa.array(picks)),
            "quality": pa.array(np.linspace(1, 0.5, len(picks))),
        }
    )
    stage = "clean" if cleaned else "pool"
    (directory / "embed").mkdir(parents=True)
    (directory / "embed" / "manifest.json").write_text(json.dumps({"inputs": {stage: ""}}))
    for folder, name, content in ((stage, "pool.parquet", pool.table), ("select", "selection.parquet", table)):
        (directory / folder).mkdir(parents=True)
        pq.write_table(content, directory / folder / name)
        manifest = {"files": {name: {"sha256": sha256(directory / folder / name)}}}
        (directory / folder / "manifest.json").write_text(json.dumps(manifest))
    return directory


def records(path: Path) -> list[dict[str, Any]]:
    """The rows of a file for trainers, with `qads` decoded."""
    if path.suffix == ".parquet":
        rows = pq.read_table(path).to_pylist()
    else:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [row | {"qads": json.loads(row["qads"])} for row in rows]


def tree(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a folder."""
    return {p.relative_to(folder).as_posix(): sha256(p) for p in sorted(folder.rglob("*")) if p.is_file()}
