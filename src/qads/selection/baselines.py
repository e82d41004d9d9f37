"""The selections that QaDS is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Int

from qads.errors import InputError
from qads.pool import Progress, Selection
from qads.selection.inputs import Budget, check_seed, checked_embeddings, checked_quality, resolve_budget

__all__ = ["RandomSelection", "TopQuality"]


@dataclass(frozen=True, kw_only=True)
class RandomSelection:
    """Rows drawn without replacement; the first k of a seed's order, so smaller budgets are prefixes.

    >>> import qads
    >>> len(qads.RandomSelection(seed=1)([[0.0], [1.0], [2.0], [3.0]], budget=0.5))
    2
    """

    kind: Literal["random"] = "random"
    """Name of the method in a configuration."""
    seed: int = 0
    """Seed of the order."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        check_seed(self.seed, method="RandomSelection")

    def __call__(
        self,
        embeddings: npt.ArrayLike,
        quality: npt.ArrayLike | None = None,
        *,
        budget: Budget,
        progress: Progress | None = None,
    ) -> Selection:
        """Select rows; the embeddings only say how many there are, the quality is only passed on.

        Raises:
            InputError: an input is not what it must be; the message names the row.
        """
        x = checked_embeddings(embeddings, method="RandomSelection")
        given = checked_quality(quality, len(x), method="RandomSelection")
        k = resolve_budget(budget, len(x), method="RandomSelection")
        order = np.random.default_rng(self.seed).permutation(len(x))[:k]
        if progress:
            progress(k, k)
        return _without_distance(order, np.full(k, np.nan), given, method=self.kind)


@dataclass(frozen=True, kw_only=True)
class TopQuality:
    """The rows of highest quality; ties go to the lowest row.

    >>> import qads
    >>> qads.TopQuality()([[0.0], [1.0], [2.0]], quality=[0.1, 0.9, 0.5], budget=2).indices.tolist()
    [1, 2]
    """

    kind: Literal["top-quality"] = "top-quality"
    """Name of the method in a configuration."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    def __call__(
        self,
        embeddings: npt.ArrayLike,
        quality: npt.ArrayLike | None = None,
        *,
        budget: Budget,
        progress: Progress | None = None,
    ) -> Selection:
        """Select rows; the gain of a pick is its quality.

        Raises:
            InputError: an input is not what it must be, or there is no quality.
        """
        if quality is None:
            raise InputError("TopQuality: quality is None; without it there is no top. Give one number a row.")
        x = checked_embeddings(embeddings, method="TopQuality")
        given = checked_quality(quality, len(x), method="TopQuality")
        k = resolve_budget(budget, len(x), method="TopQuality")
        order = np.argsort(-given, kind="stable")[:k]
        if progress:
            progress(k, k)
        return _without_distance(order, given[order], given, method=self.kind)


def _without_distance(
    order: Int[np.ndarray, " k"],
    gains: Float[np.ndarray, " k"],
    given: Float[np.ndarray, " n"],
    *,
    method: str,
) -> Selection:
    k = len(order)
    return Selection(
        indices=order,
        gains=gains,
        distances=np.full(k, np.nan),
        nearest=np.full(k, -1, dtype=np.int64),
        quality=given[order],
        n_rows=len(given),
        method=method,
    )
