"""The demonstration: a generated pool with planted flaws, and what QaDS makes of it against random rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from qads.analyze import SelectionSummary, summarize_selection
from qads.cli.terminal import Terminal
from qads.config import RunConfig, load_config
from qads.datasets import write_pool
from qads.demo import make_demo_anchors, make_demo_rows
from qads.pool import Pool, Row
from qads.run import RunResult
from qads.selection import RandomSelection

__all__ = ["prepare_demo", "show_demo"]

_SAMPLE = 96
_RANDOM_SEEDS = 5


def prepare_demo(out: Path, *, n_rows: int, budget: str, seed: int) -> RunConfig:
    """Write the generated pool and anchors as files that a user's own would look like; the run reads them."""
    pool = Pool.from_rows(Row(**row) for row in make_demo_rows(n_rows=n_rows, seed=seed))  # pyright: ignore[reportArgumentType]
    anchors = Pool.from_rows(Row(**row) for row in make_demo_anchors(seed=seed))  # pyright: ignore[reportArgumentType]
    write_pool(pool, out / "pool.jsonl")
    write_pool(anchors, out / "anchors.jsonl")
    return load_config(
        {
            "pool": {"sources": str(out / "pool.jsonl")},
            "anchors": {"sources": str(out / "anchors.jsonl")},
            "quality": {"sample": min(_SAMPLE, n_rows)},
            "budget": budget,
        }
    )


def show_demo(result: RunResult, terminal: Terminal) -> None:
    """What was kept and dropped, against random rows at the same budget."""
    pool = Pool(pq.read_table(result.directory / "pool" / "pool.parquet"))
    embeddings = np.load(result.directory / "embed" / "embeddings.npy", mmap_mode="r")
    quality = np.load(result.directory / "quality" / "quality.npy")
    picked = pq.read_table(result.directory / "select" / "selection.parquet")["row"].to_numpy()
    flaws = [str(row.meta["flaw"] or "clean") for row in pool]

    def summary(name: str, rows: np.ndarray, labels: list[str]) -> SelectionSummary:
        return summarize_selection(name, rows, embeddings=embeddings, quality=quality, labels=labels)

    random = [
        RandomSelection(seed=seed)(embeddings, budget=len(picked)).indices for seed in range(_RANDOM_SEEDS)
    ]
    qads_summary = summary("QaDS", picked, flaws)
    random_summaries = [summary("random", rows, flaws) for rows in random]
    if terminal.as_json:
        terminal.emit({"qads": vars(qads_summary), "random": [vars(s) for s in random_summaries],
                       "stages": result.manifests})  # fmt: skip
        return
    terminal.run_finished(result)
    columns = ("", "pool", "QaDS", f"random (mean of {_RANDOM_SEEDS})")
    for title, labels in (("Chosen by source", pool.strings("source")), ("Chosen by planted flaw", flaws)):
        kept = summary("QaDS", picked, labels).counts
        by_chance = [summary("random", rows, labels).counts for rows in random]
        rows = [
            (name, labels.count(name), kept[name], round(float(np.mean([c[name] for c in by_chance])), 1))
            for name in kept
        ]
        terminal.table(title, columns, rows)
    mean = {
        name: float(np.mean([getattr(s, name) for s in random_summaries]))
        for name in ("coverage_radius", "mean_quality")
    }
    terminal.table(
        "Measured on the selection",
        ("", "QaDS", f"random (mean of {_RANDOM_SEEDS})"),
        [
            ("coverage radius (smaller covers more)", qads_summary.coverage_radius, mean["coverage_radius"]),
            (
                "mean quality (nats a token, mostly predicted)",
                qads_summary.mean_quality,
                mean["mean_quality"],
            ),
        ],
    )
