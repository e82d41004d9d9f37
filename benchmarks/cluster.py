"""Selection from shards beside one machine: `python benchmarks/cluster.py`.

For every pool and number of shards: exchanges, bytes moved and whether the picks are those of one machine, for the
exact rounds with shards in this process (what they cost besides the network) and, with `--ray`, with shards as Ray
actors; and what the one-exchange coreset gives up: its covering radius over the exact one, and the share of its picks
that the exact selection has too. Actors on one machine share its processors, so their seconds show what Ray costs, and
not what more machines gain.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np

from qads.cluster.actors import RayShards
from qads.cluster.connection import cluster
from qads.kernels.bounds import fast_product
from qads.kernels.coreset import greedy_coreset
from qads.kernels.distance import GreedyPicks, nearest_distances
from qads.kernels.field import Threads
from qads.kernels.lazy import greedy_lazy
from qads.kernels.rounds import ShardedGreedy, Shards
from qads.kernels.sharded import Offer, Request, Shard, borders


@dataclass(frozen=True)
class Task:
    """One selection to make: q · d, from the row of highest weight."""

    name: str
    x: np.ndarray
    weight: np.ndarray
    k: int


class LocalShards:
    """Shards in this process, asked one after another."""

    def __init__(self, shards: list[Shard]) -> None:
        self.shards = shards

    def __len__(self) -> int:
        return len(self.shards)

    def ask(self, request: Request, shards: Sequence[int]) -> list[Offer]:
        """Ask some of them."""
        return [self.shards[shard](request) for shard in shards]


def tasks(sizes: list[tuple[int, int, int]], embeddings: Path | None) -> Iterator[Task]:
    """Every pool with equal weights and with ranks: isotropic unit vectors, and real ones where a file is given."""
    pools = [(f"isotropic {n:,} × {d}", unit_rows(n, d), k) for n, d, k in sizes]
    if embeddings:
        x = np.load(embeddings)
        pools.append((f"{embeddings.stem} {len(x):,} × {x.shape[1]}", x, len(x) // 10))
    for name, x, k in pools:
        yield Task(name, x, np.ones(len(x)), k)
        yield Task(f"{name}, weighted", x, (np.random.default_rng(1).permutation(len(x)) + 1) / len(x), k)


def unit_rows(n: int, d: int) -> np.ndarray:
    """Unit vectors in every direction."""
    x = np.random.default_rng(0).standard_normal((n, d), dtype=np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def exact(task: Task, shards: Shards, threads: Threads) -> tuple[GreedyPicks, str]:
    """The picks of the exact rounds, and what they took."""
    product = fast_product(float(task.x.size) * task.k)
    search = ShardedGreedy(shards, cosine=False, distance_share=None, product=product, threads=threads)
    started = time.perf_counter()
    picks = search.run([int(np.argmax(task.weight))], k=task.k)
    seconds, traffic = time.perf_counter() - started, search.traffic
    return picks, (
        f"{seconds:>7.2f} s {traffic.n_requests:>6} exchanges {traffic.sent / 1e6:>7.1f} MB sent "
        f"{traffic.received / 1e6:>7.1f} MB received"
    )


def same(picks: GreedyPicks, expected: GreedyPicks) -> bool:
    """Whether two selections are the same to the bit."""
    return all(np.array_equal(a, b, equal_nan=True) for a, b in zip(picks, expected, strict=True))


def measure(task: Task, n_shards: Sequence[int], *, with_ray: bool) -> None:
    """Print everything of one task."""
    start, product = [int(np.argmax(task.weight))], fast_product(float(task.x.size) * task.k)
    started = time.perf_counter()
    expected = greedy_lazy(task.x, task.weight, start=start, k=task.k, cosine=False, distance_share=None)
    print(f"{task.name}, k = {task.k}: one machine {time.perf_counter() - started:.2f} s", flush=True)
    radius = float(nearest_distances(task.x, expected.indices).max())
    for n in n_shards:
        parts = borders(len(task.x), n)
        with Threads(None, product) as threads:
            shards = LocalShards([
                Shard(
                    task.x[part.start : part.stop], task.weight[part.start : part.stop], first_row=part.start,
                    cosine=False, product=product, threads=threads,
                )
                for part in parts
            ])  # fmt: skip
            picks, took = exact(task, shards, threads)
        print(f"  {n} shards, in process  {took}  identical: {same(picks, expected)}", flush=True)
        if with_ray:
            print(f"  {n} shards, Ray actors  {on_ray(task, parts, expected)}", flush=True)
        core = greedy_coreset(task.x, task.weight, parts, start=start, k=task.k, cosine=False, distance_share=None)
        wider = float(nearest_distances(task.x, core.indices).max()) / radius
        shared = len(np.intersect1d(core.indices, expected.indices)) / task.k
        print(f"  {n} shards, coreset     radius × {wider:.3f}, {shared:.0%} of the picks in common", flush=True)


def on_ray(task: Task, parts: Sequence[range], expected: GreedyPicks) -> str:
    """What the exact rounds take with actors that are up and have their rows."""
    product = fast_product(float(task.x.size) * task.k)
    with cluster(None), Threads(1, product) as threads:
        shards = RayShards(
            [task.x[part.start : part.stop] for part in parts],
            [task.weight[part.start : part.stop] for part in parts],
            cosine=False, cpus=1, restarts=1, k=task.k,
        )  # fmt: skip
        shards.processes()  # Waits until they are up.
        picks, took = exact(task, shards, threads)
        shards.close()
    return f"{took}  identical: {same(picks, expected)}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="20000x384x2000,100000x384x2000", help="n × d × k, comma-separated")
    parser.add_argument("--shards", default="2,7", help="numbers of shards, comma-separated")
    parser.add_argument("--embeddings", type=Path, help="a .npy file of real embeddings, selected with k = n/10")
    parser.add_argument("--ray", action="store_true", help="also with Ray actors, where there are processors for them")
    options = parser.parse_args()
    sizes = [tuple(map(int, size.split("x"))) for size in options.sizes.split(",") if size]
    n_shards = list(map(int, options.shards.split(",")))
    measure(Task("warm-up", unit_rows(3000, 64), np.ones(3000), 40), [2], with_ray=False)
    for task in tasks(sizes, options.embeddings):
        measure(task, n_shards, with_ray=options.ray)


if __name__ == "__main__":
    main()
