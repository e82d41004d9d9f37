"""Boosted regression trees as arrays: what scikit-learn grew, kept and read without pickle.

A leaf is its own child, so that all rows can go down side by side, a level at a time. Inputs are checked by the caller.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from jaxtyping import Float, Int

__all__ = ["Trees"]

_ROWS_AT_A_TIME = 8192


@dataclass(frozen=True, eq=False)
class Trees:
    """Trees over nodes [t]; prediction is `base` and the leaf of every tree."""

    feature: Int[np.ndarray, " t"]
    threshold: Float[np.ndarray, " t"]
    """A row goes left if its feature, in float32, is at most this."""
    left: Int[np.ndarray, " t"]
    right: Int[np.ndarray, " t"]
    value: Float[np.ndarray, " t"]
    """Of a leaf, times the learning rate."""
    roots: Int[np.ndarray, " r"]
    depth: int
    base: float

    @classmethod
    def of(cls, boosted: Any) -> Self:
        """The trees of a fitted `sklearn.ensemble.GradientBoostingRegressor`."""
        grown = [tree.tree_ for tree in boosted.estimators_[:, 0]]
        roots = np.cumsum([0, *(tree.node_count for tree in grown)])
        nodes = np.arange(roots[-1])
        shift = np.repeat(roots[:-1], [tree.node_count for tree in grown])

        def children(side: str) -> Int[np.ndarray, " t"]:
            below = np.concatenate([getattr(tree, side) for tree in grown])
            return np.where(below < 0, nodes, below + shift).astype(np.int64)

        return cls(
            feature=np.maximum(0, np.concatenate([tree.feature for tree in grown])).astype(np.int64),
            threshold=np.concatenate([tree.threshold for tree in grown]).astype(np.float64),
            left=children("children_left"),
            right=children("children_right"),
            value=np.concatenate([tree.value[:, 0, 0] for tree in grown]) * boosted.learning_rate,
            roots=roots[:-1].astype(np.int64),
            depth=max(tree.max_depth for tree in grown),
            base=float(boosted.init_.constant_.reshape(-1)[0]),
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """What `load` needs beside the numbers."""
        return {name: getattr(self, name) for name in ("feature", "threshold", "left", "right", "value", "roots")}

    def numbers(self) -> dict[str, Any]:
        """What `load` needs beside the arrays."""
        return {"depth": self.depth, "base": self.base}

    @classmethod
    def load(cls, arrays: Mapping[str, np.ndarray], numbers: Mapping[str, Any]) -> Self:
        """What was kept as `arrays` and `numbers`."""
        return cls(**arrays, **numbers)

    def predict(self, x: Float[np.ndarray, "n p"]) -> Float[np.ndarray, " n"]:
        """What the trees say of every row, float64."""
        blocks = [
            self._predict(x[i : i + _ROWS_AT_A_TIME].astype(np.float32)) for i in range(0, len(x), _ROWS_AT_A_TIME)
        ]
        return np.concatenate(blocks) if blocks else np.zeros(0)

    def _predict(self, x: Float[np.ndarray, "b p"]) -> Float[np.ndarray, " b"]:
        rows, found = np.arange(len(x)), np.full(len(x), self.base)
        for root in self.roots:
            at = np.full(len(x), root)
            for _ in range(self.depth):
                at = np.where(x[rows, self.feature[at]] <= self.threshold[at], self.left[at], self.right[at])
            found += self.value[at]
        return found
