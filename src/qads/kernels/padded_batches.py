"""Texts of near lengths in padded batches: side by side on a CPU, smaller where memory runs out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Int

from qads.kernels.lanes import run_lanes
from qads.kernels.memory import PassLimits

__all__ = ["PaddedBatches", "batches_by_length", "padded"]


class PaddedBatches:
    """Runs texts through one model, a batch after the other, or one on every lane.

    Args:
        model: a model of transformers, in evaluation mode.
        max_tokens: padded tokens in one forward pass; a longer text goes alone.
        notify: is told when memory ran out.
    """

    def __init__(self, model: Any, *, max_tokens: int, notify: Callable[[str], None] | None = None) -> None:
        self._limits = PassLimits(model, max_tokens=max_tokens, notify=notify)

    def __call__(self, lengths: Sequence[int], run: Callable[[list[int]], None]) -> None:
        """Run every text once.

        Args:
            lengths: tokens of every text.
            run: does one forward pass for the texts at the positions that it is given, and keeps what came of it. It
                is called again, for fewer of them, where memory ran out; on several threads at once on a CPU.

        Raises:
            ModelError: memory does not suffice for a text alone.
        """
        left = set(range(len(lengths)))

        def job(batch: list[int]) -> Iterator[None]:
            with torch.inference_mode():  # It is the thread's own.
                run(batch)
            left.difference_update(batch)
            yield

        while left:
            rows = sorted(left)
            batches = batches_by_length([lengths[i] for i in rows], self._limits.max_tokens)
            jobs = [partial(job, [rows[i] for i in batch]) for batch in batches]
            try:
                run_lanes(jobs, most=self._limits.most_lanes)
                continue
            except (RuntimeError, MemoryError) as error:
                self._limits.lower(error)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()  # Only now that the error is gone is the memory of its pass free.


def batches_by_length(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Positions in batches of near lengths, longest first, each at most `max_tokens` when padded (one row at least)."""
    batches: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if not batches or (len(batches[-1]) + 1) * lengths[batches[-1][0]] > max_tokens:
            batches.append([])
        batches[-1].append(i)
    return batches


def padded(texts: Sequence[Sequence[int]]) -> tuple[Int[torch.Tensor, "b t"], Int[torch.Tensor, "b t"]]:
    """Token ids and mask, padded on the right."""
    length = max(map(len, texts))
    ids = torch.zeros((len(texts), length), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, text in enumerate(texts):
        ids[row, : len(text)] = torch.tensor(text)
        mask[row, : len(text)] = 1
    return ids, mask
