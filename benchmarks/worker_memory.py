"""What a worker holds at most, in pools of several sizes: `python benchmarks/worker_memory.py --folder DIR`.

Pools of invented texts and the tiny Llama of `million_run.py`; cleaning, embedding, scoring of 256 rows on 16 anchors
and the probe that reads all rows go to two processes. The greatest resident memory (VmHWM) of every process that works
is read again and again until it ends; the driver's is beside it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import psutil
from million_run import configuration, make_model, write_pool

from qads.cluster import Execution
from qads.run import run_pipeline

_SIZES = (3_000, 30_000, 100_000)
_SECONDS = 0.2


def peak_bytes(process: int) -> int:
    """The greatest resident memory of a process so far; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)


def watch(peaks: dict[int, int], ended: threading.Event) -> None:
    """Keep the peak of every process that this one has started."""
    me = psutil.Process()
    while not ended.wait(_SECONDS):
        for each in me.children(recursive=True):
            peaks[each.pid] = max(peaks.get(each.pid, 0), peak_bytes(each.pid))


def measure(folder: Path, n_rows: int, n_workers: int) -> dict[str, float]:
    """One run, here."""
    pool, model = folder / f"{n_rows}.jsonl", folder / "model"
    if not pool.exists():
        write_pool(pool, n_rows)
    if not model.exists():
        make_model(model, hidden=64)
    config = replace(configuration(model, pool, "10%"), execution=Execution(device="cpu", workers=n_workers))
    peaks, ended = dict[int, int](), threading.Event()
    watcher = threading.Thread(target=watch, args=(peaks, ended))
    watcher.start()
    try:
        run_pipeline(config, folder / f"{n_rows}.run", until="quality")
    finally:
        ended.set()
        watcher.join()
    return {"rows": n_rows, "worker": max(peaks.values()), "driver": peak_bytes(psutil.Process().pid)}


def main() -> None:
    """Every size in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--rows", type=int, nargs="+", default=_SIZES)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    if options.here:
        sys.stdout.write(json.dumps(measure(options.folder, options.rows[0], options.workers)) + "\n")
        return
    sys.stdout.write("| rows | greatest worker, MB | driver, MB |\n|---|---|---|\n")
    for n_rows in options.rows:
        command = [sys.executable, __file__, "--folder", str(options.folder), "--rows", str(n_rows), "--here"]
        command += ["--workers", str(options.workers)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        sys.stdout.write(f"| {n_rows:,} | {found['worker'] / 1e6:,.0f} | {found['driver'] / 1e6:,.0f} |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
