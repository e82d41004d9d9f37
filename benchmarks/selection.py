"""Time the selector beside the obvious NumPy loop, interleaved in one process: `python benchmarks/selection.py`.

Quotes ratios, not seconds: machines differ and are noisy. Whether both pick the same rows is checked in the run.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from pathlib import Path

import numpy as np

import qads


def naive_kcenter(x: np.ndarray, quality: np.ndarray, k: int) -> list[int]:
    """One matrix-vector product a pick, in float32: what most implementations do."""
    norms = (x**2).sum(1)
    picks = [int(np.argmax(quality))]
    squared = np.full(len(x), np.inf, np.float32)
    for _ in range(k - 1):
        centre = x[picks[-1]]
        np.minimum(squared, np.maximum(norms - 2 * (x @ centre) + centre @ centre, 0), out=squared)
        score = quality * np.sqrt(squared)
        score[picks] = -np.inf
        picks.append(int(np.argmax(score)))
    return picks


def measure(n: int, d: int, k: int, repeats: int) -> dict[str, object]:
    """Seconds of both, interleaved, and how many of the picks agree in order."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, d)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    quality = rng.random(n)
    rank = (np.argsort(np.argsort(quality)) + 1) / n
    selector = qads.KCenterGreedy()
    selector(x[:64], quality[:64], budget=4)  # Compiled before the clock starts.
    ours: list[float] = []
    naive: list[float] = []
    same = 0
    for _ in range(repeats):
        started = time.perf_counter()
        selection = selector(x, quality, budget=k)
        ours.append(time.perf_counter() - started)
        started = time.perf_counter()
        picks = naive_kcenter(x, rank, k)
        naive.append(time.perf_counter() - started)
        different = np.flatnonzero(selection.indices != np.array(picks))
        same = int(different[0]) if len(different) else k
    return {
        "n": n, "d": d, "k": k, "seconds_qads": statistics.median(ours), "seconds_naive": statistics.median(naive),
        "ratio": statistics.median(a / b for a, b in zip(ours, naive, strict=True)), "same_order_until": same,
    }  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes only")
    parser.add_argument("--json", type=Path, help="write the results here as well")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    sizes = [(5_000, 384, 200)] if options.quick else [(5_000, 384, 200), (20_000, 384, 500), (50_000, 384, 500)]
    rows = [measure(*size, options.repeats) for size in sizes]
    print(f"{'n':>8} {'d':>5} {'k':>6} {'qads s':>9} {'naive s':>9} {'qads/naive':>11} {'same order until':>17}")
    for row in rows:
        print(f"{row['n']:>8} {row['d']:>5} {row['k']:>6} {row['seconds_qads']:>9.3f} {row['seconds_naive']:>9.3f} "
              f"{row['ratio']:>11.2f} {row['same_order_until']:>17}")  # fmt: skip
    if options.json:
        machine = platform.processor() or platform.machine()
        facts = {"machine": machine, "numpy": np.__version__, "repeats": options.repeats}
        options.json.write_text(json.dumps({**facts, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
