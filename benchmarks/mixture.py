"""What composing and writing a mixture costs: seconds by step, and memory at most.

    python benchmarks/mixture.py --rows 1000000

Two generated pools as Parquet, a tenth of the rows in the second. The recipe draws half of the first, gives the second
a share of 20% with repetition, shuffles, and writes messages as JSON Lines.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from qads import compose, write_mixture


def make_pool(path: Path, name: str, n: int) -> Path:
    """`n` rows of some 400 characters."""
    numbers = range(n)
    table = pa.table(
        {
            "id": [f"{name}-{i}" for i in numbers],
            "source": [f"{name}-{i % 7}" for i in numbers],
            "problem": [f"{name} {i}: what is {i} plus {i}? " + "Take your time. " * 5 for i in numbers],
            "solution": [f"{i} + {i} = {2 * i}. " + "So it is. " * 25 for i in numbers],
            "answer": [str(2 * i) for i in numbers],
            "kind": ["cot"] * n,
        }
    )
    pq.write_table(table, path)
    return path


def main() -> None:
    """Measure, and print one line a step."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    n = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        first = make_pool(Path(folder, "first.parquet"), "first", n)
        second = make_pool(Path(folder, "second.parquet"), "second", n // 10)
        print(f"before: {_peak_gb():.2f} GB at most")
        started = time.perf_counter()
        parts = {
            "first": {"pool": str(first), "take": "50%"},
            "second": {"pool": str(second), "take": {"share": "20%"}, "max_repeat": 2},
        }
        mixture = compose({"parts": parts})
        print(f"compose: {time.perf_counter() - started:.1f} s, {_peak_gb():.2f} GB at most, {len(mixture):,} rows")
        started = time.perf_counter()
        out = write_mixture(mixture, Path(folder, "out"))
        size = (out / "data" / "train.jsonl").stat().st_size / 1e9
        print(f"write: {time.perf_counter() - started:.1f} s, {_peak_gb():.2f} GB at most, {size:.2f} GB written")


def _peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
