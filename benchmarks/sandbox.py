"""Programs of real datasets in the sandbox: how many give the answer stored with them, and how many a second.

    python benchmarks/sandbox.py --data DIR --out benchmarks/results/sandbox.md

Speed is measured on blocks of the same programs in turn: the sandbox, and processes that start cold, as many at once.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from qads import ProgramResult, Sandbox, load_pool

SOURCES = ("svamp_train_pot_reft", "tabmwp_pot")
WORKERS = 2
SHOW = """
for _name in ("ans", "answer", "result"):
    if _name in globals():
        print(globals()[_name])
if "solution" in globals():
    print(solution())
"""
IMPORTS = "import mpmath, numpy, scipy, sympy\n"


def agree(found: str | None, stored: str) -> bool:
    """Equal as numbers (to 1e-4 of the larger), else as words."""
    if found is None:
        return False
    try:
        return math.isclose(float(found), float(stored.replace(",", "")), rel_tol=1e-4, abs_tol=1e-9)
    except ValueError:
        return found.strip().casefold() == stored.strip().casefold()


def measure_agreement(data: Path, sandbox: Sandbox) -> list[str]:
    """A line a source: programs, by status, and how many agree; then those that do not."""
    lines: list[str] = []
    for source in SOURCES:
        pool = load_pool(data / "pool" / f"{source}.jsonl.gz")
        rows = list(pool)
        results = sandbox([row.solution for row in rows])
        wrong = [(row, found) for row, found in zip(rows, results, strict=True) if not agree(found.answer, row.answer)]
        counts = ", ".join(f"{n:,} {status}" for status, n in Counter(found.status for found in results).most_common())
        lines.append(f"- {source}: {len(rows):,} programs ({counts}), {len(rows) - len(wrong):,} agree")
        lines += [f"  - {row.id}: {_short(found)}, stored {row.answer!r}" for row, found in wrong]
    return lines


def _short(found: ProgramResult) -> str:
    return f"{found.status} {found.answer!r}" if found.answer is not None else f"{found.status}: {found.message[:80]}"


def run_cold(programs: Sequence[str], before: str = "") -> None:
    """Each program in an interpreter of its own, without any wall."""

    def run(program: str) -> None:
        subprocess.run(
            [sys.executable, "-I", "-c", before + program + SHOW], capture_output=True, timeout=60, check=False
        )

    with ThreadPoolExecutor(WORKERS) as threads:
        list(threads.map(run, programs))


def measure_speed(programs: Sequence[str], sandbox: Sandbox, n_blocks: int) -> list[str]:
    """A line a way: programs a second over all blocks, and by block. The start of workers is counted in."""
    cold_imports = "cold `python -c` that imports all packages, no walls"
    ways: dict[str, Callable[[Sequence[str]], object]] = {
        "sandbox": lambda block: sandbox(block, workers=WORKERS),
        "sandbox, programs that import all packages": lambda block: sandbox(
            [IMPORTS + program for program in block], workers=WORKERS
        ),
        "cold `python -c`, no walls": run_cold,
        cold_imports: lambda block: run_cold(block, IMPORTS),
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    size = len(programs) // n_blocks
    for block in range(n_blocks):
        for way, run in ways.items():
            few = programs[block * size : block * size + (size if way != cold_imports else size // 8)]
            started = time.perf_counter()
            run(few)
            seconds[way].append((time.perf_counter() - started) / len(few))
    return [
        f"| {way} | {n_blocks / sum(each):.1f} | {1 / max(each):.1f}–{1 / min(each):.1f} |"
        for way, each in seconds.items()
    ]


def main() -> None:
    """Measure, and print or write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=600, help="programs for the speed")
    parser.add_argument("--blocks", type=int, default=3)
    parser.add_argument("--skip", choices=("speed", "agreement"))
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    sandbox = Sandbox()
    lines: list[str] = []
    if given.skip != "speed":
        pools = [load_pool(given.data / "pool" / f"{source}.jsonl.gz") for source in SOURCES]
        programs = [row.solution for pair in zip(*pools, strict=False) for row in pair][: given.rows]
        lines += ["| way | programs a second | by block |", "|---|---|---|"]
        lines += [*measure_speed(programs, sandbox, given.blocks), ""]
    if given.skip != "agreement":
        lines += measure_agreement(given.data, sandbox)
    print(text := "\n".join(lines))
    if given.out:
        given.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
