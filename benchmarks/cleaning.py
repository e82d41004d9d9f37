"""Duplicates of a million generated rows in bounded memory: `python benchmarks/cleaning.py`.

Rows have a problem of 40 words and a solution of 50, of 20,000 made-up words, with five numbers. Planted are, at random
places, exact copies (2%), near duplicates (2%: one word of the problem and one of the solution changed) and re-numbered
copies (2%: the same words, other numbers), each of an earlier row that is none of these. They are written to an Arrow
file, which is mapped into memory, so that what the process holds itself (anonymous memory) is what finding takes.

The reference is datasketch's own in-memory index over the same shingles of problem and solution together, on fewer
rows: it takes a row in, asks for its like, and has no second look.

    python benchmarks/cleaning.py --rows 1000000 --reference-rows 20000 --folder /tmp --json cleaning.json
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasketch import MinHash, MinHashLSH
from selection_report import describe

from qads import Deduplication, Pool
from qads.clean.shingles import shingles
from qads.pool import SCHEMA

_BLOCK = 20_000
_WORDS = 20_000
_PLANTED = ("exact", "near", "renumbered")
_SHARE = 0.02


def make_rows(path: Path, n: int) -> None:
    """The rows as an Arrow file; `planted` in the meta of a copy says what it is, `of` which row it is of."""
    rng = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    vocabulary = ["".join(word) for word in letters[rng.integers(0, 26, (_WORDS, 7))]]
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, SCHEMA) as writer:
        for start in range(0, n, _BLOCK):
            m = min(_BLOCK, n - start)
            words = rng.integers(0, _WORDS, (m, 90))
            numbers = rng.integers(2, 1000, (m, 5))
            kinds = rng.choice(4, m, p=[_SHARE, _SHARE, _SHARE, 1 - 3 * _SHARE])
            originals = np.flatnonzero(kinds == 3)
            of = np.full(m, -1)
            for row in np.flatnonzero(kinds < 3):
                before = originals[: np.searchsorted(originals, row)]
                if len(before):
                    of[row] = before[rng.integers(len(before))]
                    words[row] = words[of[row]]
                    numbers[row] = numbers[of[row]] if kinds[row] < 2 else numbers[row]
                    if kinds[row] == 1:
                        words[row, [rng.integers(40), 40 + rng.integers(50)]] = rng.integers(0, _WORDS, 2)
            texts = [
                _texts([vocabulary[w] for w in row], each) for row, each in zip(words, numbers.tolist(), strict=True)
            ]
            metas = [
                None if o < 0 else json.dumps({"planted": _PLANTED[k], "of": start + int(o)})
                for k, o in zip(kinds, of, strict=True)
            ]
            ids = [f"r{start + number}" for number in range(m)]
            columns = [ids, ["made"] * m, [None] * m, *zip(*texts, strict=True), [None] * m, ["general"] * m, metas]
            writer.write_batch(pa.record_batch([pa.array(c, pa.large_string()) for c in columns], schema=SCHEMA))


def _texts(words: list[str], numbers: list[int]) -> tuple[str, str]:
    a, b, c, d, e = numbers
    problem = f"{' '.join(words[:20])} {a} {' '.join(words[20:30])} {b} {' '.join(words[30:40])}?"
    return problem, f"{' '.join(words[40:60])} {c} + {d} {' '.join(words[60:90])} = {e}."


def read_rows(path: Path, n: int | None = None) -> Pool:
    """The file, mapped into memory."""
    table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    return Pool(table if n is None else table.slice(0, n))


def find(path: Path) -> dict[str, Any]:
    """Find the duplicates in this process."""
    pool = read_rows(path)
    peak, done = [0], threading.Event()
    before = _anonymous()
    watcher = threading.Thread(target=_watch, args=(peak, done), daemon=True)
    watcher.start()
    wall = time.perf_counter()
    found = Deduplication()(pool)
    wall = time.perf_counter() - wall
    done.set()
    watcher.join()
    return {
        "what": "qads.Deduplication()", "rows": len(pool), "seconds": wall, "rows_per_second": len(pool) / wall,
        "memory_mb": (peak[0] - before) / 1e6, "bytes_a_row": (peak[0] - before) / len(pool),
        **_judged(pool, dict(zip(found.rows.tolist(), found.kept.tolist(), strict=True))),
    }  # fmt: skip


def find_by_index(path: Path, n: int) -> dict[str, Any]:
    """The reference: one index that holds every row."""
    pool = read_rows(path, n)
    before, wall = _anonymous(), time.perf_counter()
    index, gone = MinHashLSH(threshold=0.8, num_perm=128), dict[int, int]()
    texts = (f"{row.problem}\n{row.solution}" for row in pool)
    sets = ([shingle.encode() for shingle in shingles(text, 3)] for text in texts)
    for row, sketch in enumerate(MinHash.generator(sets, num_perm=128)):
        if like := index.query(sketch):
            gone[row] = min(like)
        else:
            index.insert(row, sketch)
    wall = time.perf_counter() - wall
    memory = _anonymous() - before
    return {
        "what": "datasketch MinHashLSH(0.8), 128 permutations", "rows": n, "seconds": wall,
        "rows_per_second": n / wall, "memory_mb": memory / 1e6, "bytes_a_row": memory / n, **_judged(pool, gone),
    }  # fmt: skip


def _judged(pool: Pool, gone: dict[int, int]) -> dict[str, Any]:
    """Of every kind of planted row how many went, and for the right row; and how many others went."""
    planted = {row: json.loads(meta) for row, meta in enumerate(pool.table["meta"].to_pylist()) if meta}
    said: dict[str, Any] = {}
    for kind in _PLANTED:
        rows = {row: facts["of"] for row, facts in planted.items() if facts["planted"] == kind}
        said[f"{kind} planted"] = len(rows)
        said[f"{kind} gone"] = sum(row in gone for row in rows)
        said[f"{kind} gone for it"] = sum(gone.get(row) == of for row, of in rows.items())
    return said | {"others gone": sum(row not in planted for row in gone)}


def _anonymous() -> int:
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    return int(fields["RssAnon"].split()[0]) * 1024


def _watch(peak: list[int], done: threading.Event) -> None:
    while not done.wait(0.05):
        peak[0] = max(peak[0], _anonymous())


def main() -> None:
    """Make the rows, measure each in a process of its own, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--reference-rows", type=int, default=20_000)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--only", choices=("qads", "reference"), default=None, help="measure in this process")
    options = parser.parse_args()
    path = options.folder / f"qads-cleaning-{options.rows}.arrow"
    if options.only:
        print(json.dumps(find(path) if options.only == "qads" else find_by_index(path, options.reference_rows)))
        return
    if not path.exists():
        make_rows(path.with_suffix(".partial"), options.rows)
        path.with_suffix(".partial").rename(path)
    command = [sys.executable, __file__, "--rows", str(options.rows), "--folder", str(options.folder)]
    command += ["--reference-rows", str(options.reference_rows), "--only"]
    found = [
        json.loads(subprocess.run([*command, which], check=True, capture_output=True, text=True).stdout)
        for which in ("qads", "reference")
    ]
    for each in found:
        print("\n".join(f"{name:24} {value}" for name, value in each.items()), end="\n\n")
    if options.json:
        options.json.write_text(json.dumps({"machine": describe(), "found": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
