"""Greedy selection whose picks are kept on disk, so that one that was broken off goes on where it was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from qads.cluster.checkpoint import Checkpoint, identity
from qads.kernels.distance import Given, GreedyPicks, Rows
from qads.kernels.lazy import greedy, greedy_lazy
from qads.kernels.limits import Limits

__all__ = ["KeptGreedy"]

_EVERY = 1000  # Picks after which the file is written again.
_WORTH_KEEPING = 1e12  # Rows × dimensions × picks; ten seconds or more. Checking the file reads all rows.


@dataclass(frozen=True)
class KeptGreedy:
    """`kernels/lazy.py: greedy` with a file of the picks so far; selections of some seconds have none."""

    checkpoint: Path
    """The file (.npz). A selection of the same inputs goes on from it; one of others is refused."""
    method: str
    """For messages."""

    def __call__(
        self,
        x: Rows,
        weight: Float[np.ndarray, " n"],
        *,
        start: Sequence[int],
        k: int,
        cosine: bool,
        distance_share: float | None,
        given: Given | None = None,
        limits: Limits | None = None,
        on_pick: Callable[[int], None] | None = None,
    ) -> GreedyPicks:
        """Pick k rows as `greedy_scan` does; everything is as there.

        Raises:
            UnusableCheckpointError: the file is of another selection, or no such file.
        """
        if k <= _EVERY or float(x.size) * k < _WORTH_KEEPING:
            return greedy(
                x, weight, start=start, k=k, cosine=cosine, distance_share=distance_share, given=given, limits=limits,
                on_pick=on_pick,
            )  # fmt: skip
        of = identity(
            x, weight, start=start, cosine=cosine, distance_share=distance_share, given=given, limits=limits
        )  # fmt: skip
        kept = Checkpoint(self.checkpoint, of, every=_EVERY, method=self.method)
        last = GreedyPicks.empty(0), 0

        def on_burst(picks: GreedyPicks, n_picked: int) -> None:
            nonlocal last
            last = picks, n_picked
            kept.keep(picks, n_picked)

        with kept.at_the_end(lambda: last):
            return greedy_lazy(
                x, weight, start=start, k=k, cosine=cosine, distance_share=distance_share, given=given, limits=limits,
                on_pick=on_pick, done=kept.load(k), on_burst=on_burst,
            )  # fmt: skip
