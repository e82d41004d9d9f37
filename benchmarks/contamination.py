"""Time the contamination gate on a whole pool, beside a search in plain Python for one shared 13-gram.

    python benchmarks/contamination.py --data DATA

Each runs in a process of its own, which reads the files, and reports the seconds of the search alone, of all, and the
peak of its memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import string
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from qads import Decontamination, Deduplication, Pool, load_pool

N = 13


def gate(pool: Pool, evaluation: Pool) -> dict[str, Any]:
    """The gate as it is by default."""
    report = Decontamination()(pool, evaluation)
    return {"rows": len(report.rows), "pairs": len(report.matches)}


def one_ngram(pool: Pool, evaluation: Pool) -> dict[str, Any]:
    """Sets of tuples of words, as they are commonly written: problems alone, numbers kept."""

    def ngrams(text: str) -> set[tuple[str, ...]]:
        words = [word for part in text.lower().split() if (word := part.strip(string.punctuation))]
        return {tuple(words[i : i + N]) for i in range(len(words) - N + 1)}

    asked = set[tuple[str, ...]]().union(*map(ngrams, evaluation.strings("problem")))
    return {"rows": sum(not asked.isdisjoint(ngrams(text)) for text in pool.strings("problem"))}


def duplicates(pool: Pool, evaluation: Pool) -> dict[str, Any]:
    """What `qads check` does besides."""
    del evaluation
    return Deduplication()(pool).n_by_reason


WAYS = {"gate": gate, "one 13-gram, plain Python": one_ngram, "near duplicates": duplicates}


def run_one(name: str, data: Path, times: int) -> dict[str, Any]:
    """One way, in this process."""
    started = time.perf_counter()
    evaluation = load_pool(data / "eval", require_solution=False, on_bad_row="skip")
    pool = load_pool(data / "pool", on_bad_row="skip")
    if times > 1:
        pool = repeated(pool, times)
    read, processor = time.perf_counter(), time.process_time()
    found = WAYS[name](pool, evaluation)
    end, used = time.perf_counter(), time.process_time() - processor
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    sizes = {"pool": len(pool), "evaluation": len(evaluation)}
    return {
        **sizes,
        "search s": end - read,
        "processor s": used,
        "all s": end - started,
        "peak GB": peak,
        "found": found,
    }


def repeated(pool: Pool, times: int) -> Pool:
    """The pool several times over, under other ids; for memory and time as it grows."""
    tables = [
        pool.table.set_column(0, "id", pc.call_function("binary_join_element_wise", [pool.table["id"], str(k), "#"]))
        for k in range(times)
    ]
    return Pool(pa.concat_tables(tables))


def main() -> None:
    """Every way in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with pool/ and eval/")
    parser.add_argument("--times", type=int, default=1, help="the pool so many times over")
    parser.add_argument("--only", choices=list(WAYS))
    args = parser.parse_args()
    if args.only:
        print(json.dumps(run_one(args.only, args.data, args.times)))
        return
    for name in WAYS:
        command = [sys.executable, __file__, "--data", str(args.data), "--times", str(args.times), "--only", name]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        line = f"{found['search s']:7.1f} s ({found['processor s']:.1f} s of processor)"
        line += f", {found['all s']:6.1f} s with reading, peak {found['peak GB']:.2f} GB"
        print(f"{name:<28}{found['pool']:>9} rows against {found['evaluation']}: {line}  {found['found']}", flush=True)


if __name__ == "__main__":
    main()
