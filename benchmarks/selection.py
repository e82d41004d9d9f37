"""Time K-center Greedy × quality beside what it is usually written as: `python benchmarks/selection.py`.

All contenders run interleaved in one process; medians of `--repeats` rounds, and ratios rather than seconds, since
machines differ and are noisy. Contenders that do the same work at every pick are timed on their first `--steps` picks
and extrapolated (marked *); `--steps 0` runs them whole. Whether a contender's picks are those of the plain float64
scan is checked in the same run, on the picks it made.

A contender is a function (Task) -> picks in CONTENDERS; it makes `task.k` picks, whatever that is. Packages of others
(`selection_rivals.py`) take part where they are installed: `pip install -e .[bench]`.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # Before torch loads, for its own loop.

import numpy as np
import threadpoolctl
import torch
from selection_report import describe, write_report
from selection_rivals import installed

from qads.kernels.bounds import BFloat16Product, BoundProduct, Float32Product
from qads.kernels.distance import greedy_scan
from qads.kernels.lazy import greedy_lazy


@dataclass(frozen=True)
class Task:
    """One selection to make: q · d, from the row of highest weight."""

    name: str
    x: np.ndarray
    weight: np.ndarray
    k: int
    first: int | None = None
    """The first pick; None for the row of highest weight."""

    @property
    def start(self) -> int:
        """The first pick."""
        return int(np.argmax(self.weight)) if self.first is None else self.first

    @property
    def is_weighted(self) -> bool:
        """Whether rows differ in weight."""
        return bool(np.ptp(self.weight))


def naive_float32(task: Task) -> np.ndarray:
    """One matrix-vector product a pick: what most implementations do."""
    x = task.x
    norms = (x**2).sum(1)
    return loop(task, lambda row: np.maximum(norms - 2 * (x @ x[row]) + norms[row], 0), np.float32)


def naive_float64(task: Task) -> np.ndarray:
    """Direct differences in float64, a block of rows at a time."""
    squared = np.empty(len(task.x))

    def distances(row: int) -> np.ndarray:
        centre = task.x[row].astype(np.float64)
        for first in range(0, len(squared), 1024):
            difference = task.x[first : first + 1024] - centre
            squared[first : first + 1024] = np.einsum("nd,nd->n", difference, difference)
        return squared

    return loop(task, distances, np.float64)


def loop(task: Task, squared_distances: Callable[[int], np.ndarray], dtype: type) -> np.ndarray:
    """Greedy picks, every row looked at every time."""
    weight, nearest = task.weight.astype(dtype), np.full(len(task.x), np.inf, dtype)
    picks = [task.start]
    for _ in range(task.k - 1):
        np.minimum(nearest, squared_distances(picks[-1]), out=nearest)
        score = weight * np.sqrt(nearest)
        score[picks] = -np.inf
        picks.append(int(np.argmax(score)))
    return np.array(picks)


def torch_loop(task: Task) -> np.ndarray:
    """The naive loop in torch, on one thread."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    x, weight = torch.from_numpy(task.x), torch.from_numpy(task.weight.astype(np.float32))
    norms = (x * x).sum(1)
    nearest, taken = torch.full((len(x),), float("inf")), torch.zeros(len(x), dtype=torch.bool)
    picks = [task.start]
    for _ in range(task.k - 1):
        row = picks[-1]
        taken[row] = True
        nearest = torch.minimum(nearest, (norms - 2 * torch.mv(x, x[row]) + norms[row]).clamp_min(0))
        picks.append(int((weight * nearest.sqrt()).masked_fill(taken, -torch.inf).argmax()))
    torch.set_num_threads(n_threads)
    return np.array(picks)


def scan(task: Task) -> np.ndarray:
    """The plain scan of qads."""
    return greedy_scan(
        task.x, task.weight, start=[task.start], k=task.k, cosine=False, distance_share=None
    ).indices  # fmt: skip


def lazy(product: BoundProduct, n_threads: int) -> Callable[[Task], np.ndarray]:
    """The lazy search of qads."""

    def run(task: Task) -> np.ndarray:
        return greedy_lazy(
            task.x, task.weight, start=[task.start], k=task.k, cosine=False, distance_share=None,
            product=product, n_threads=n_threads,
        ).indices  # fmt: skip

    return run


RIVALS = installed()
BY_THE_STEP: dict[str, Callable[[Task], np.ndarray]] = {
    "naive NumPy float32": naive_float32,
    "naive NumPy float64": naive_float64,
    "torch loop": torch_loop,
    "qads scan": scan,
    **{name: rival.run for name, rival in RIVALS.items() if rival.by_the_step},
}
CONTENDERS: dict[str, Callable[[Task], np.ndarray]] = BY_THE_STEP | {
    **{name: rival.run for name, rival in RIVALS.items() if not rival.by_the_step},
    "qads bfloat16, 1 thread": lazy(BFloat16Product(), 1),
    "qads bfloat16, 2 threads": lazy(BFloat16Product(), 2),
    "qads NumPy, 1 thread": lazy(Float32Product(), 1),
    "qads NumPy, 2 threads": lazy(Float32Product(), 2),
}
NAIVE = "naive NumPy float32"
_QUICK = [(20_000, 384, 2_000)]
_FULL = [*_QUICK, (50_000, 384, 5_000), (200_000, 384, 2_000), (100_000, 768, 10_000)]
"""Rows, dimensions, picks."""
_GROWTH_FROM = {"n": 50_000, "d": 384, "k": 2_000}
_GROWTH = {
    "n": (12_500, 25_000, 50_000, 100_000, 200_000),
    "k": (250, 500, 1000, 2000, 4000, 8000),
    "d": (48, 96, 192, 384, 768),
}
_GROWING = (NAIVE, "qads bfloat16, 1 thread", "qads NumPy, 1 thread")


def tasks(sizes: list[tuple[int, int, int]], embeddings: Path | None) -> Iterator[Task]:
    """Every pool, without weights and with: isotropic, clustered, and real where a file is given."""
    for n, d, k in sizes:
        for kind in ("isotropic", "clustered"):
            yield from weighted(f"{kind} {n:,} × {d}", unit_rows(kind, n, d), k)
    if embeddings:
        x = np.ascontiguousarray(np.load(embeddings), np.float32)
        yield from weighted(f"{embeddings.stem} {len(x):,} × {x.shape[1]}", x, len(x) // 10)


def weighted(name: str, x: np.ndarray, k: int) -> Iterator[Task]:
    """A pool with equal weights, and with ranks."""
    yield Task(name, x, np.ones(len(x)), k)
    rank = (np.random.default_rng(1).permutation(len(x)) + 1) / len(x)
    yield Task(f"{name}, weighted", x, rank, k)


def unit_rows(kind: str, n: int, d: int) -> np.ndarray:
    """Unit vectors in every direction, or in clusters of 200."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, d), dtype=np.float32)
    if kind == "clustered":
        x *= np.float32(0.7)
        x += rng.standard_normal((n // 200, d), dtype=np.float32)[rng.integers(0, n // 200, size=n)]
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def measure(
    task: Task, names: list[str], repeats: int, steps: int, compare: int, *, say: Callable[[dict[str, Any]], None]
) -> list[dict[str, Any]]:
    """Seconds of every contender, and whether its picks are the scan's."""
    names = [name for name in names if can_do(name, task)]
    seconds: dict[str, list[float]] = {name: [] for name in names}
    picks: dict[str, np.ndarray] = {}
    for repeat in range(repeats):
        for name in names:
            if repeat and name not in BY_THE_STEP and name in RIVALS:
                continue  # Minutes each.
            part = steps if steps and name in BY_THE_STEP else task.k
            picks[name], took = timed(name, replace(task, k=min(part, task.k)))
            if part < task.k:  # The first pick costs the preparation, every other one the same.
                first = timed(name, replace(task, k=1))[1]
                took = first + (task.k - 1) * (took - first) / (part - 1)
            seconds[name].append(took)
    expected = scan(replace(task, k=min(compare or task.k, task.k)))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    rows: list[dict[str, Any]] = []
    for name in names:
        n_compared = min(len(expected), len(picks[name]))
        order = expected
        if name in RIVALS and picks[name][0] != task.start:  # It draws its first pick itself.
            order = scan(replace(task, k=n_compared, first=int(picks[name][0])))
        rows.append({
            "pool": task.name, "n": len(task.x), "d": task.x.shape[1], "k": task.k, "contender": name,
            "seconds": medians[name], "all_seconds": seconds[name], "extrapolated": len(picks[name]) < task.k,
            "ratio_to_naive": medians[name] / medians[NAIVE] if NAIVE in medians else None,
            "identical": bool((picks[name][:n_compared] == order[:n_compared]).all()), "compared_picks": n_compared,
        })  # fmt: skip
        say(rows[-1])
    return rows


def can_do(name: str, task: Task) -> bool:
    """Whether a contender knows weights if there are any, and takes no hour."""
    rival = RIVALS.get(name)
    return rival is None or ((rival.weighted or not task.is_weighted) and len(task.x) * task.k <= rival.most_work)


def timed(name: str, task: Task) -> tuple[np.ndarray, float]:
    """The picks of a contender and its seconds, NumPy on one thread."""
    with threadpoolctl.threadpool_limits(1, "blas"):
        started = time.perf_counter()
        picks = CONTENDERS[name](task)
        return picks, time.perf_counter() - started


def growth(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Seconds of the naive loop and of ours on isotropic rows, one of n, d and k at a time."""
    found: list[dict[str, Any]] = []
    for axis, values in _GROWTH.items():
        for value in values:
            size = _GROWTH_FROM | {axis: value}
            x = unit_rows("isotropic", size["n"], size["d"])
            task = Task(f"isotropic {size['n']:,} × {size['d']}, k {size['k']:,}", x, np.ones(len(x)), size["k"])
            for row in measure(task, list(_GROWING), options.repeats, options.steps, options.compare, say=print_line):
                found.append(row | {"axis": axis})
    return found


def print_line(row: dict[str, Any]) -> None:
    """A row of the printed table."""
    ratio, mark = row["ratio_to_naive"] or float("nan"), "*" if row["extrapolated"] else " "
    print(
        f"{row['pool']:<36} {row['contender']:<26} {row['seconds']:>8.3f}{mark} {ratio:>8.4f} {1 / ratio:>9.1f}"
        f"  {row['identical']} ({row['compared_picks']})",
        flush=True,
    )


def warm_up(names: list[str]) -> None:
    """Compile, load and page in everything outside the clock."""
    for name in names:
        CONTENDERS[name](Task("warm-up", unit_rows("isotropic", 3000, 64), np.ones(3000), 40))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the smallest size only")
    parser.add_argument("--json", type=Path, help="write the results here as well")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--steps", type=int, default=100, help="picks timed of contenders that work by the step; 0: all"
    )
    parser.add_argument("--compare", type=int, default=0, help="picks that are compared with the scan's; 0: all")
    parser.add_argument("--embeddings", type=Path, help="a .npy file of real embeddings, selected with k = n/10")
    parser.add_argument("--sizes", help="for example 200000x384x2000,50000x384x5000 (n × d × k)")
    parser.add_argument("--only", action="append", help="contenders to run, by name; may be repeated")
    parser.add_argument("--growth", action="store_true", help="curves over rows, picks and dimensions as well")
    options = parser.parse_args()
    sizes = _QUICK if options.quick else _FULL
    if options.sizes is not None:
        sizes = [tuple(map(int, size.split("x"))) for size in options.sizes.split(",") if size]
    names = [name for name in CONTENDERS if not options.only or name in options.only]
    warm_up(names)
    rows: list[dict[str, Any]] = []
    print(f"{'pool':<36} {'contender':<26} {'seconds':>9} {'÷ naive':>8} {'× faster':>9}  identical")
    for task in tasks(sizes, options.embeddings):
        rows += measure(task, names, options.repeats, options.steps, options.compare, say=print_line)
    print("* extrapolated from its first picks")
    is_full = not (options.quick or options.sizes is not None or options.only)
    found = {
        "benchmark": "selection", "date": datetime.date.today().isoformat(), "scope": "full" if is_full else "trial",
        **describe(), "repeats": options.repeats, "steps": options.steps, "rows": rows,
        "growth": growth(options) if options.growth else [],
    }  # fmt: skip
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    if is_full:
        for path in write_report(found, Path(__file__).parent / "results"):
            print(f"written to {path}")


if __name__ == "__main__":
    main()
