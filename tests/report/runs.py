"""Runs to be set side by side: over the hostile rows, over a part of them, over others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from qads.config import load_config
from qads.demo import make_demo_rows
from qads.run import run_pipeline
from report.conftest import HOSTILE, hostile_rows

ALL = tuple(range(40))


def other_run(directory: Path, *, rows: tuple[int, ...] = ALL, name: str = "run", **settings: Any) -> Path:
    """A finished run without quality over some of the hostile rows; its name would like to act as well."""
    pool = directory / f"{len(rows)}.jsonl"
    directory.mkdir(exist_ok=True, parents=True)
    made = hostile_rows()
    pool.write_text("\n".join(json.dumps(made[row]) for row in rows))
    config = {"pool": {"sources": str(pool)}, "budget": "30%", "quality": None} | settings
    return run_pipeline(load_config(config), directory / name).directory


def foreign_run(directory: Path) -> Path:
    """A run whose pool shares no row with the others."""
    pool = directory / "foreign.jsonl"
    directory.mkdir(exist_ok=True, parents=True)
    pool.write_text(
        "\n".join(
            json.dumps(row | {"problem": f"Elsewhere: {row['problem']}"}) for row in make_demo_rows(n_rows=20, seed=9)
        )
    )
    return run_pipeline(
        load_config({"pool": {"sources": str(pool)}, "budget": 5, "quality": None}), directory / "run"
    ).directory


RANDOM: dict[str, Any] = {"selection": {"kind": "random"}}
EVIL_NAME = HOSTILE.replace("/", "\\").replace("\x07", "")[:90]
