"""Time every strategy once: `python benchmarks/strategies.py [--embeddings FILE.npy]`, or synthetic rows.

Each runs in a process of its own, so that the memory it takes beyond the embeddings is its own too. One run each: for
the order of magnitude, not for comparing implementations; `selection.py` does that for K-center Greedy.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, get_args

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
from platformdirs import user_cache_path

from qads.errors import InputError
from qads.selection import Selector


def synthetic(n_rows: int, n_dims: int, seed: int = 0) -> np.ndarray:
    """Unit vectors in clumps of about fifty."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(max(1, n_rows // 50), n_dims)).astype(np.float32)
    x = np.empty((n_rows, n_dims), np.float32)
    for start in range(0, n_rows, 65536):
        part = x[start : start + 65536]
        part[:] = centres[rng.integers(len(centres), size=len(part))]
        part += 0.7 * rng.standard_normal(part.shape, np.float32)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return x


def run_one(kind: str, settings: dict[str, Any], path: Path, budget: int) -> dict[str, Any]:
    """Select once; seconds, and the peak of memory above what the embeddings take."""
    x = np.load(path)
    rng = np.random.default_rng(1)
    n = len(x)
    needs = {
        "groups": rng.choice([f"source {i}" for i in range(12)], n),
        "lengths": rng.integers(10, 4000, n),
        "targets": x[rng.choice(n, 300, replace=False)],
        "likelihoods": -rng.random((n, 2)) - [0.5, 1.0],
    }
    quality = rng.random(n)
    selector = next(c for c in get_args(Selector) if c().kind == kind)
    needed = {name: needs[name] for name in getattr(selector, "needs", ())}
    method = selector(**settings)
    method(
        x[:64], quality[:64], budget=8, **{m: v if m == "targets" else v[:64] for m, v in needed.items()}
    )  # Compiles.
    before, started, spent = peak_memory(), time.perf_counter(), time.process_time()
    selection = method(x, quality, budget=budget, **needed)
    return {
        "picks": len(selection),
        "seconds": round(time.perf_counter() - started, 1),
        "cpu_seconds": round(time.process_time() - spent, 1),
        "extra_mb": round((peak_memory() - before) / 1024),
    }


def peak_memory() -> int:
    """Kilobytes that this process has held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


RUNS: list[tuple[str, dict[str, Any]]] = [
    ("random", {}), ("top-quality", {}), ("kcenter", {}), ("stratified-random", {}), ("deita", {}),
    ("facility-location", {}), ("facility-location", {"n_witnesses": 5000}), ("kmeans", {}),
    ("kmeans", {"solver": "lloyd"}), ("prototype-distance", {}), ("gist", {}), ("gist", {"diameter": "approx"}),
    ("semdedup", {}), ("d4", {}), ("longest", {}), ("perplexity", {}), ("ifd", {}), ("nearest-to-anchors", {}),
]  # fmt: skip


def main() -> None:
    """Run the strategies that are asked for, one process each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--embeddings", type=Path)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--dims", type=int, default=384)
    parser.add_argument("--budget", type=int, default=5000)
    parser.add_argument("--only", action="append", help="kind of a strategy; repeatable")
    parser.add_argument("--one", nargs=2, metavar=("KIND", "SETTINGS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        kind, settings = options.one[0], json.loads(options.one[1])
        print(json.dumps(run_one(kind, settings, options.embeddings, options.budget)))
        return
    path = (
        options.embeddings
        or user_cache_path("qads-benchmarks", ensure_exists=True) / f"strategies_{options.rows}_{options.dims}.npy"
    )
    if not path.exists():
        np.save(path, synthetic(options.rows, options.dims))
    print(f"{np.load(path, mmap_mode='r').shape} rows × dims, budget {options.budget}")
    print("| strategy | picks | CPU seconds | seconds | MB above the embeddings |\n|---|---|---|---|---|", flush=True)
    for kind, settings in RUNS:
        if options.only and kind not in options.only:
            continue
        command = [sys.executable, __file__, "--embeddings", str(path), "--budget", str(options.budget), "--one"]
        found = subprocess.run([*command, kind, json.dumps(settings)], capture_output=True, text=True)
        if found.returncode:
            reason = found.stderr.strip().splitlines()[-1]
            print(f"| {kind} | {reason if InputError.__name__ in reason else 'failed: ' + reason} | | | |", flush=True)
            continue
        row = json.loads(found.stdout)
        what = ", ".join([kind, *(f"{name}={value}" for name, value in settings.items())])
        print(f"| {what} | {row['picks']} | {row['cpu_seconds']} | {row['seconds']} | {row['extra_mb']} |", flush=True)


if __name__ == "__main__":
    main()
