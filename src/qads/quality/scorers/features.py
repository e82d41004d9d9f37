"""Features of rows for a probe: blocks of numbers, each brought to one scale.

Every column is standardised over the rows fitted on, and every block divided by √(its columns), so that a block counts
as much as another whatever its width; source and kind, which carry most of the variance, count for more (measured:
docs/experiments.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int

from qads.pool import KINDS, Pool
from qads.quality.scorers.reading import Readings
from qads.quality.surface import surface_features

__all__ = ["READS", "Blocks", "Reads", "Standard", "blocks_of", "group_names", "needs_model", "of_rows"]

Reads = Literal["source", "embedding", "surface", "likelihood", "states"]
"""Source and kind of the row; its embedding; what its text shows; how likely the model finds it; the model's states."""
READS: tuple[Reads, ...] = get_args(Reads)
_WEIGHT = {"source": 2.0}
_OF_MODEL: tuple[Reads, ...] = ("likelihood", "states")
Blocks = Mapping[str, Float[np.ndarray, "n _"]]


def needs_model(reads: tuple[Reads, ...]) -> bool:
    """Whether a language model has to read the rows."""
    return not set(reads).isdisjoint(_OF_MODEL)


def group_names(pool: Pool) -> tuple[str, ...]:
    """The sources of a pool and all kinds, as `blocks_of` takes them."""
    return tuple(dict.fromkeys([*(f"source {name}" for name in pool.sources), *(f"kind {kind}" for kind in KINDS)]))


def blocks_of(
    pool: Pool,
    reads: tuple[Reads, ...],
    *,
    groups: tuple[str, ...],
    embeddings: Float[np.ndarray, "n d"] | None,
    readings: Readings | None,
) -> dict[str, Float[np.ndarray, "n _"]]:
    """The blocks that are asked for, of every row.

    Args:
        pool: the rows.
        reads: which blocks.
        groups: sources and kinds that have an indicator; a row of another source has none.
        embeddings: vectors of the rows, for ``embedding``.
        readings: what the model made of them, for ``likelihood`` and ``states``.
    """
    blocks: dict[str, Float[np.ndarray, "n _"]] = {}
    if "source" in reads:
        blocks["source"] = _indicators(pool, groups)
    if "embedding" in reads:
        assert embeddings is not None
        blocks["embedding"] = np.asarray(embeddings)
    if "surface" in reads:
        blocks["surface"] = surface_features(pool).astype(np.float64)
    if readings is not None and "likelihood" in reads:
        blocks["likelihood"] = readings.likelihoods
    if readings is not None and "states" in reads:
        for layer in range(readings.states.shape[1]):
            blocks[f"states {layer}"] = readings.states[:, layer]
    return blocks


def of_rows(blocks: Blocks, rows: Int[np.ndarray, " k"]) -> dict[str, Float[np.ndarray, "k _"]]:
    """The blocks of some rows."""
    return {name: block[rows] for name, block in blocks.items()}


def _indicators(pool: Pool, groups: tuple[str, ...]) -> Float[np.ndarray, "n g"]:
    position = {name: column for column, name in enumerate(groups)}
    found = np.zeros((len(pool), len(groups)))
    for column in ("source", "kind"):
        places = np.array([position.get(f"{column} {value}", -1) for value in pool.strings(column)], np.int64)
        known = np.flatnonzero(places >= 0)
        found[known, places[known]] = 1.0
    return found


@dataclass(frozen=True, eq=False)
class Standard:
    """The scale of every column, of the rows it was measured on."""

    mean: Float[np.ndarray, " p"]
    factor: Float[np.ndarray, " p"]
    """1 / (standard deviation · √columns of the block), times the weight of the block; 0 for a constant column."""

    @classmethod
    def of(cls, blocks: Blocks) -> Standard:
        """Measured on these rows."""
        means, factors = [], []
        for name, block in blocks.items():
            block = block.astype(np.float64)  # One at a time: all of them would be twice what was read.
            spread = block.std(axis=0)
            varies = spread > 1e-9 * np.maximum(1.0, np.abs(block).max(axis=0, initial=0.0))
            scale = _WEIGHT.get(name, 1.0) / np.sqrt(block.shape[1])
            means.append(block.mean(axis=0))
            factors.append(np.divide(scale, spread, out=np.zeros_like(spread), where=varies))
        return cls(np.concatenate(means), np.concatenate(factors))

    def apply(self, blocks: Blocks) -> Float[np.ndarray, "n p"]:
        """All blocks side by side, on the scale, float32."""
        found, end = np.empty((len(next(iter(blocks.values()))), len(self.mean)), np.float32), 0
        for block in blocks.values():
            at = slice(end, end := end + block.shape[1])
            found[:, at] = (block.astype(np.float64) - self.mean[at]) * self.factor[at]
        return found
