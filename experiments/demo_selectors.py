"""What a finished demo run's quality finds, and what other selectors would make of it.

`python experiments/demo_selectors.py demo-run`
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

import qads
from qads.analyze import summarize_selection

SELECTORS = {
    "alpha = 0 (plain K-center)": qads.KCenterGreedy(alpha=0.0),
    "alpha = 0.25": qads.KCenterGreedy(alpha=0.25),
    "alpha = 0.5": qads.KCenterGreedy(alpha=0.5),
    "alpha = 1 (default)": qads.KCenterGreedy(),
    "sum, w = 0.5": qads.KCenterGreedy(combine="sum"),
    "alpha = 1, scale minmax": qads.KCenterGreedy(scale="minmax"),
    "top quality": qads.TopQuality(),
    "random": qads.RandomSelection(),
}


def main() -> None:
    """Print one line of a Markdown table a selector."""
    run = Path(sys.argv[1])
    pool = qads.Pool(pq.read_table(run / "pool" / "pool.parquet"))
    x = np.load(run / "embed" / "embeddings.npy")
    quality = np.load(run / "quality" / "quality.npy")
    flaws = [str(row.meta["flaw"] or "clean") for row in pool]
    print("| selector | radius | mean quality | sources | " + " | ".join(dict.fromkeys(flaws)) + " |")
    print("|---|" + "---|" * (3 + len(set(flaws))))
    for name, selector in SELECTORS.items():
        rows = selector(x, quality, budget=0.1).indices
        found = summarize_selection(name, rows, embeddings=x, quality=quality, labels=flaws)
        n_sources = len({pool.strings("source")[i] for i in rows})
        counts = " | ".join(str(n) for n in found.counts.values())
        print(f"| {name} | {found.coverage_radius:.3f} | {found.mean_quality:.4f} | {n_sources} | {counts} |")
    print("\n| source | planted flaw | rows scored | mean real quality |\n|---|---|---|---|")
    real = pq.read_table(run / "quality" / "quality_real.parquet").to_pydict()
    position = {name: i for i, name in enumerate(pool.strings("id"))}
    groups: dict[tuple[str, str], list[float]] = {}
    for name, source, value in zip(real["candidate"], real["source"], real["quality"], strict=True):
        groups.setdefault((source, flaws[position[name]]), []).append(value)
    for (source, flaw), values in sorted(groups.items()):
        print(f"| {source} | {flaw} | {len(values)} | {np.mean(values):.4f} |")


if __name__ == "__main__":
    main()
