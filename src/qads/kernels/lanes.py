"""Independent streams of passes side by side on the cores of a CPU.

A small model keeps few cores busy: its norms, activations and small products are shared out among threads that wait
for each other at the end of every one. Whole passes on a thread each wait for nothing (`benchmarks/influence.py` shows
the gain). What a stream computes depends neither on the lane that it runs on nor on how many there are: a pass has one
thread, also where it is the last one left and others are idle, since with several sums round otherwise. So results are
those of any number of cores up to `MOST_LANES`, and of any number of processes that share them; beyond, lanes have
several threads each.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Int

__all__ = ["MOST_LANES", "cut_streams", "run_lanes"]

MOST_LANES = 8
"""Python prepares the passes of all lanes on one core; with more of them, cores go to the products of each."""


def cut_streams(n_tokens: Int[np.ndarray, " n"], max_tokens: int) -> list[list[int]]:
    """Group neighbouring prefixes so that each group fills a pass at least, the longest groups first.

    Args:
        n_tokens: tokens of every prefix with its targets; 0 where nothing is asked for.
        max_tokens: tokens of a pass.

    Returns:
        Positions of the prefixes of every stream.
    """
    streams: list[list[int]] = []
    room = 0
    for i in np.flatnonzero(n_tokens).tolist():
        if room <= 0:
            streams.append([])
            room = max_tokens
        streams[-1].append(i)
        room -= int(n_tokens[i])
    return sorted(streams, key=lambda rows: (-int(n_tokens[rows].sum()), rows))


@contextmanager
def _threads(n: int, before: int) -> Generator[None]:
    """So many threads in this one's passes."""
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def run_lanes(jobs: Sequence[Callable[[], Iterator[object]]], *, most: int = MOST_LANES) -> None:
    """Run jobs to their end, side by side on as many lanes as torch has threads.

    Args:
        jobs: each gives an iterator that does one pass a step.
        most: lanes at most.

    Raises:
        Exception: the first that a job raises; the others stop after the pass that they are at.
    """
    n_threads = torch.get_num_threads()
    n_lanes, n_each = min(n_threads, len(jobs), most), n_threads // min(n_threads, most)
    if n_lanes < 2:
        with _threads(n_each, n_threads):
            for job in jobs:
                for _ in job():
                    pass
        return
    stopped = threading.Event()

    def run(job: Callable[[], Iterator[object]]) -> None:
        torch.set_num_threads(n_each)  # Of this thread, but for a trace that the last line takes away.
        try:
            for _ in job() if not stopped.is_set() else ():
                if stopped.is_set():
                    return
        except BaseException:
            stopped.set()
            raise

    lanes = ThreadPoolExecutor(n_lanes, thread_name_prefix="qads-lane")
    under_way: deque[Future[None]] = deque()
    try:
        under_way.extend(lanes.submit(run, job) for job in jobs)
        while under_way:
            under_way.popleft().result()
    finally:
        stopped.set()
        under_way.clear()  # A future that this frame holds would keep its error, which keeps this frame and the pass.
        lanes.shutdown(cancel_futures=True)
        torch.set_num_threads(n_threads)
