"""Select 10,000 of 2 million rows from a float16 memory map: `python benchmarks/selection_large.py`.

The map is made first (1.5 GB, clustered unit vectors; `--folder` says where, and a map that is there is used again).
Each selection runs in a process of its own. Anonymous memory is what the process itself holds; the pages of the map
belong to the page cache, and count in the resident memory only as long as there is room for them.

    python benchmarks/selection_large.py --folder /tmp --json large.json
    python benchmarks/selection_large.py --rows 100000 --picks 1000        # a trial
"""

from __future__ import annotations

import argparse
import datetime
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from selection_report import describe

import qads

_BLOCK = 20_000
_CLUSTER = 200
"""Rows of a cluster."""


def make_map(path: Path, n: int, d: int) -> None:
    """Clustered unit vectors in float16."""
    rng = np.random.default_rng(0)
    partial = path.with_suffix(".partial.npy")
    rows = np.lib.format.open_memmap(partial, "w+", np.float16, (n, d))
    centres = rng.standard_normal((max(1, n // _CLUSTER), d), dtype=np.float32)
    for start in range(0, n, _BLOCK):
        m = min(_BLOCK, n - start)
        block = rng.standard_normal((m, d), dtype=np.float32) * np.float32(0.7)
        block += centres[rng.integers(0, len(centres), m)]
        rows[start : start + m] = block / np.linalg.norm(block, axis=1, keepdims=True)
    rows.flush()
    del rows
    partial.rename(path)


def select(path: Path, k: int, *, is_weighted: bool) -> dict[str, Any]:
    """Select in this process."""
    x = np.load(path, mmap_mode="r")
    quality = np.random.default_rng(1).random(len(x)) if is_weighted else None
    peak, done = [0], threading.Event()
    watcher = threading.Thread(target=_watch, args=(peak, done), daemon=True)
    watcher.start()
    wall, cpu = time.perf_counter(), time.process_time()
    selection = qads.KCenterGreedy()(x, quality, budget=k)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    done.set()
    watcher.join()
    return {
        "pool": "weighted" if is_weighted else "unweighted",
        "rows": len(x), "dims": x.shape[1], "picks": len(set(selection.indices.tolist())),
        "seconds": wall, "cpu_seconds": cpu, "anonymous_gb": peak[0] / 1e9 if peak[0] else None,
        "resident_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
        "last_distance": float(selection.distances[-1]),
    }  # fmt: skip


def _watch(peak: list[int], done: threading.Event) -> None:
    """Keep the greatest anonymous memory in bytes, where the system tells it (Linux)."""
    status = Path("/proc/self/status")
    while status.exists() and not done.wait(0.1):
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        peak[0] = max(peak[0], int(fields["RssAnon"].split()[0]) * 1024)


def main() -> None:
    """Make the map, select without quality and with it, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--dims", type=int, default=384)
    parser.add_argument("--picks", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where the map is made")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    parser.add_argument("--only", choices=("unweighted", "weighted"), help=argparse.SUPPRESS)  # For the parent.
    options = parser.parse_args()
    path = options.folder / f"qads-{options.rows}x{options.dims}-float16.npy"
    if options.only:
        print(json.dumps(select(path, options.picks, is_weighted=options.only == "weighted")))
        return
    if not path.exists():
        make_map(path, options.rows, options.dims)
    found: list[dict[str, Any]] = []
    for which in ("unweighted", "weighted"):
        command = [sys.executable, __file__, *sys.argv[1:], "--only", which]
        found.append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout))
        part = found[-1]
        print(
            f"{part['pool']:<11} {part['rows']:,} × {part['dims']}, {part['picks']:,} picks: {part['seconds']:.1f} s "
            f"(CPU {part['cpu_seconds']:.1f}), anonymous {part['anonymous_gb'] or float('nan'):.2f} GB, resident with "
            f"pages of the map {part['resident_gb']:.2f} GB",
            flush=True,
        )
    if options.json:
        facts = {"benchmark": "selection_large", "date": datetime.date.today().isoformat(), **describe()}
        options.json.write_text(json.dumps(facts | {"sizes": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
