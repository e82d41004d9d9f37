"""What a probe's regression costs as its labels grow: to predict a shard of rows, to choose, to be fitted.

    python benchmarks/scorer.py --labels 500 1000 2000 4000 8000 20000 --columns 1024

Invented features. A shard is predicted with its intervals; beside it, in turns, as it would be with a general solver on
the factors (`numpy.linalg.solve`, which factorises a triangle anew). Processor seconds of one thread, medians.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
from threadpoolctl import threadpool_limits

from qads.quality.scorers.choosing import choose
from qads.quality.scorers.regressors import Candidate, KernelMachine, kernel_matrix

SHARD = 512


def seconds(call: Callable[[], object]) -> float:
    """Processor seconds of a call."""
    started = time.process_time()
    call()
    return time.process_time() - started


def by_general_solver(machine: KernelMachine, x: np.ndarray) -> np.ndarray:
    """The spread of rows, its factor taken for any matrix."""
    kernel = kernel_matrix(x, machine.support, machine.candidate, machine.scale)
    phi = np.linalg.solve(machine.factor, kernel.T)
    found = 1 + np.maximum(1 - (phi * phi).sum(axis=0), 0) / machine.penalty
    if machine.inner is not None:
        found += (np.linalg.solve(machine.inner, phi) ** 2).sum(axis=0)
    return np.sqrt(found)


def measured(n_labels: int, n_columns: int, rounds: int, *, choosing: bool) -> str:
    """One line of the table."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n_labels + SHARD, n_columns)).astype(np.float32) / np.float32(n_columns**0.5)
    y = x @ rng.standard_normal(n_columns) + rng.standard_normal(len(x))
    x, new, y = x[:n_labels], x[n_labels:], y[:n_labels]
    machines: list[KernelMachine] = []
    fitting = seconds(lambda: machines.append(KernelMachine.fit(x, y, Candidate("kernel", 0.1, 0.3))))
    machine, now, before = machines[0], list[float](), list[float]()
    for _ in range(rounds):
        now.append(seconds(lambda: machine.predict_with_spread(new)))
        before.append(seconds(lambda: (machine.predict(new), by_general_solver(machine, new))))
    np.testing.assert_allclose(machine.spread(new), by_general_solver(machine, new), rtol=1e-9)
    chosen = "-"
    if choosing:
        fold = np.arange(n_labels) % 5
        chosen = f"{seconds(lambda: choose(x, y, fold, ('ridge', 'kernel', 'boosting'))):.1f}"
    size = sum(array.nbytes for array in machine.arrays().values()) / 1e6
    at, reference = statistics.median(now), statistics.median(before)
    times = f"{at:.3f} | {reference:.3f} | {reference / at:.1f} | {fitting:.1f} | {chosen}"
    return f"| {n_labels:,} | {len(machine.support):,} | {times} | {size:,.0f} MB |"


def main() -> None:
    """Measure, and print a line for every number of labels."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--labels", type=int, nargs="+", default=[500, 1000, 2000, 4000, 8000, 20000])
    parser.add_argument("--columns", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--choosing", action="store_true", help="time one choice of a regressor too, which takes long")
    asked = parser.parse_args()
    print(f"{asked.columns} columns, {SHARD} rows a shard, processor seconds")
    print("| labels | of them in the kernel | a shard | by a general solver | ratio | fit | choose | kept |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|")
    with threadpool_limits(1, user_api="blas"):
        for n_labels in asked.labels:
            print(measured(n_labels, asked.columns, asked.rounds, choosing=asked.choosing), flush=True)


if __name__ == "__main__":
    main()
