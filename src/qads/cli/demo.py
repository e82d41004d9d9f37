"""The demonstration: a generated pool with planted flaws, and what QaDS makes of it against random rows."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from qads.analyze import SelectionSummary, summarize_selection
from qads.cli.terminal import Terminal
from qads.config import RunConfig, load_config
from qads.datasets import write_pool
from qads.demo import make_demo_anchors, make_demo_rows
from qads.errors import RunError
from qads.pool import Pool, Row
from qads.run import RunResult, pool_file
from qads.selection import RandomSelection

__all__ = ["prepare_demo", "show_demo"]

_SAMPLE = 96
_RANDOM_SEEDS = 5
_RANDOM = f"random (mean of {_RANDOM_SEEDS})"


def prepare_demo(out: Path, *, n_rows: int, budget: str, seed: int, settings: list[str]) -> RunConfig:
    """Write the generated pool and anchors as files that a user's own would look like; the run reads them."""
    config = load_config(
        {
            "pool": {"sources": str(out / "input" / "pool.jsonl")},
            "anchors": {"sources": str(out / "input" / "anchors.jsonl")},
            "quality": {"sample": min(_SAMPLE, n_rows)},
            "budget": budget,
        },
        settings,
    )
    pool = Pool.from_rows(Row(**row) for row in make_demo_rows(n_rows=n_rows, seed=seed))  # pyright: ignore[reportArgumentType]
    anchors = Pool.from_rows(Row(**row) for row in make_demo_anchors(seed=seed))  # pyright: ignore[reportArgumentType]
    _write_new(pool, out / "input" / "pool.jsonl")
    _write_new(anchors, out / "input" / "anchors.jsonl")
    return config


def _write_new(rows: Pool, path: Path) -> None:
    """Write rows where no other ones are.

    Raises:
        RunError: the file is there with other rows.
    """
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / path.name
        write_pool(rows, made)
        if path.exists() and path.read_bytes() != made.read_bytes():
            raise RunError(f"{path}: is there with other rows than the demo's. Give another directory: --out DIR")
    if not path.exists():
        write_pool(rows, path)


def show_demo(result: RunResult, terminal: Terminal) -> None:
    """What was kept and dropped, against random rows at the same budget."""
    pool = Pool(pq.read_table(pool_file(result.directory)))
    embeddings = np.load(result.directory / "embed" / "embeddings.npy", mmap_mode="r")
    quality = np.load(result.directory / "quality" / "quality.npy") if "quality" in result.manifests else None
    picked = pq.read_table(result.directory / "select" / "selection.parquet")["row"].to_numpy()
    drawn = [RandomSelection(seed=seed)(embeddings, budget=len(picked)).indices for seed in range(_RANDOM_SEEDS)]

    def summaries(labels: list[str]) -> tuple[SelectionSummary, list[SelectionSummary]]:
        """QaDS, and the random selections."""
        kept, *by_chance = (
            summarize_selection(name, rows, embeddings=embeddings, quality=quality, labels=labels)
            for name, rows in [("QaDS", picked), *(("random", rows) for rows in drawn)]
        )
        return kept, by_chance

    flaws = [str(row.meta["flaw"] or "clean") for row in pool]
    kept, by_chance = summaries(flaws)
    if terminal.as_json:
        terminal.emit({"qads": vars(kept), "random": [vars(s) for s in by_chance], "stages": result.manifests})
        return
    terminal.run_finished(result)
    sources = pool.strings("source")
    _show_counts("Chosen by source", sources, *summaries(sources), terminal)
    _show_counts("Chosen by planted flaw", flaws, kept, by_chance, terminal)
    rows = [
        ("coverage radius (smaller covers more)", kept.coverage_radius, _mean(s.coverage_radius for s in by_chance))
    ]
    if kept.mean_quality is not None:
        chance = _mean(s.mean_quality or 0.0 for s in by_chance)
        rows.append(("mean quality (nats a token, mostly predicted)", kept.mean_quality, chance))
    terminal.table("Measured on the selection", ("", "QaDS", _RANDOM), rows)


def _show_counts(
    title: str, labels: list[str], kept: SelectionSummary, by_chance: list[SelectionSummary], terminal: Terminal
) -> None:
    rows = [
        (name, labels.count(name), count, round(_mean(s.counts[name] for s in by_chance), 1))
        for name, count in kept.counts.items()
    ]
    terminal.table(title, ("", "pool", "QaDS", _RANDOM), rows)


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
