"""The rows that the pools of several runs share, by what is in them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from qads.errors import InputError
from qads.mixture.drawing import text_keys
from qads.pool import Pool
from qads.report.evidence import FinishedRun

__all__ = ["SharedRows", "share_rows"]


@dataclass(frozen=True)
class SharedRows:
    """Rows that every run could choose, in the order of the first run's pool."""

    positions: tuple[Int[np.ndarray, " s"], ...]
    """Of every run where in its pool they are."""
    is_one_pool: bool
    """Whether the pools are the same, row for row; then all rows are shared."""

    def __len__(self) -> int:
        return len(self.positions[0])


def share_rows(runs: Sequence[FinishedRun]) -> SharedRows:
    """Match the rows of the runs' pools by problem, solution and earlier turns, word for word.

    Of rows that are there more than once the first is matched to the first, the second to the second.

    Raises:
        InputError: there is no row that all of them have.
    """
    pools = [run.pool for run in runs]
    if len({pool.fingerprint for pool in pools}) == 1:
        every = np.arange(len(pools[0]))
        return SharedRows(tuple(every for _ in pools), is_one_pool=True)
    places = [_places(pool) for pool in pools]
    common = [key for key in places[0] if all(key in others for others in places[1:])]
    if not common:
        sizes = ", ".join(f"{run.root} {len(pool):,} rows" for run, pool in zip(runs, pools, strict=True))
        raise InputError(
            f"the pools of these runs ({sizes}) have no row in common, word for word, so that nothing of what they chose can "
            "be set side by side. Give runs of one pool, or of pools that overlap."
        )
    return SharedRows(tuple(np.array([found[key] for key in common], np.int64) for found in places), is_one_pool=False)


def _places(pool: Pool) -> dict[tuple[bytes, int], int]:
    """(text, how often it was there before) -> position."""
    seen: dict[bytes, int] = defaultdict(int)
    found: dict[tuple[bytes, int], int] = {}
    for place, key in enumerate(text_keys(pool.table).tolist()):
        found[key, seen[key]] = place
        seen[key] += 1
    return found
