"""Are two workers twice as fast as one? `python benchmarks/workers.py`.

Embedding (MiniLM) and one-shot influence (SmolLM2-135M) of generated rows, by one worker and by two, as processes and
as actors of a local Ray cluster, each worker with one thread. Crews stay open and take turns, so that load from
elsewhere meets both; opening models is not counted. Under six minutes on a quiet machine with two cores.

    python benchmarks/workers.py --json workers.json
    python benchmarks/workers.py --embedded 64 --scored 2 --rounds 1 --ways processes      # a trial
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from influence_report import machine_facts

import qads
from qads.cluster import Crew, Execution, Grid, MemoryShards, Work, connected, map_shards, workers
from qads.demo import make_demo_rows
from qads.models import open_tokenizer
from qads.prompts import sample_text
from qads.quality.scoring import PreparedTexts, Scoring
from qads.quality.tokens import fit_texts


@dataclass(frozen=True)
class Task:
    """Work, and the shards of it."""

    name: str
    work: Work
    part: Callable[[range], Any]
    grid: Grid

    def seconds(self, crew: Crew) -> float:
        """How long a crew takes for all of it."""
        started = time.perf_counter()
        map_shards(crew, self.part, self.grid, store=MemoryShards())
        return time.perf_counter() - started


def embedding(pool: qads.Pool) -> Task:
    """Sentence vectors, 32 rows to a shard."""
    texts = [sample_text(row, "both") for row in pool]
    return Task(
        "embedding", qads.SentenceEmbedder(), lambda rows: texts[rows.start : rows.stop],
        Grid(n_rows=len(texts), rows_per_shard=32),
    )  # fmt: skip


def influence(candidates: qads.Pool, anchors: qads.Pool) -> Task:
    """One-shot scores, a candidate to a shard, so that few are enough for two workers."""
    method = qads.OneShotInfluence()
    tokenizer = open_tokenizer(method.model)
    renderer = method.template.renderer(tokenizer.render_chat)
    texts = fit_texts(tokenizer.tokenizer, renderer, candidates, anchors, tokenizer.max_length, "error")
    prepared = PreparedTexts.of(texts, method.identity(), candidates, anchors, ())
    columns = np.arange(len(anchors))
    return Task(
        "influence", Scoring(method.engine, method.model, None, method.dtype, texts.targets),
        lambda rows: prepared.one_shot(np.arange(rows.start, rows.stop), columns),
        Grid(n_rows=len(candidates), rows_per_shard=1),
    )  # fmt: skip


def compare(task: Task, way: str, rounds: int) -> dict[str, Any]:
    """Seconds of one worker and of two, in turn."""
    seconds: dict[int, list[float]] = {1: [], 2: []}
    with ExitStack() as stack:
        crews = {n: stack.enter_context(workers(lambda: task.work, execution(way, n))) for n in seconds}
        for n, crew in crews.items():  # Everybody opens the model.
            first = Grid(n_rows=n * task.grid.rows_per_shard, rows_per_shard=task.grid.rows_per_shard)
            map_shards(crew, task.part, first, store=MemoryShards())
        for _ in range(rounds):
            for n, crew in crews.items():
                seconds[n].append(task.seconds(crew))
    ratios = [one / two for one, two in zip(seconds[1], seconds[2], strict=True)]
    found = {"task": task.name, "way": way, "seconds": seconds, "times_as_fast": round(float(np.median(ratios)), 3)}
    print(json.dumps(found), flush=True)
    return found


def execution(way: str, n: int) -> Execution:
    """So many workers with a thread each; one process is this one."""
    if way == "ray":
        return Execution(kind="ray", workers=n, cpus_per_worker=1)
    return Execution(workers=n, cpus_per_worker=1, device="cpu")


def main() -> None:
    """Measure, and print a line for each comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embedded", type=int, default=512, help="rows to embed")
    parser.add_argument("--scored", type=int, default=12, help="candidates to score")
    parser.add_argument("--anchors", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--ways", nargs="+", choices=("processes", "ray"), default=["processes", "ray"])
    parser.add_argument("--json", type=Path, help="where to write what was found")
    options = parser.parse_args()
    torch.set_num_threads(1)
    n = max(options.embedded, options.scored + options.anchors)
    pool = qads.Pool.from_rows(qads.Row(**row) for row in make_demo_rows(n_rows=max(50, n)))
    tasks = [
        embedding(pool.take(range(options.embedded))),
        influence(pool.take(range(options.scored)), pool.take(range(n - options.anchors, n))),
    ]
    found: list[dict[str, Any]] = []
    for way in options.ways:
        with ExitStack() as stack:
            if way == "ray":
                import ray

                ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
                stack.callback(ray.shutdown)
                stack.enter_context(connected(execution(way, 2)))
            found += [compare(task, way, options.rounds) for task in tasks]
    if options.json:
        whole = {"machine": machine_facts(torch.device("cpu")), "found": found}
        options.json.write_text(json.dumps(whole, indent=2) + "\n")


if __name__ == "__main__":
    main()
