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
from qads.selection.budget import Budget
from qads.selection.constraints import Constraints
from qads.selection.inputs import check_seed, checked_quality, unread
from qads.selection.terms import Terms

__all__ = ["RandomSelection", "TopQuality", "by_order"]


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

    reads_embeddings: ClassVar[bool] = False  # They only say how many rows there are.
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
        constraints: Constraints | None = None,
    ) -> Selection:
        """Select rows; the embeddings only say how many there are, the quality is only passed on.

        Raises:
            InputError: an input is not what it must be; the message names the row.
        """
        n = len(unread(embeddings, method="RandomSelection"))
        given = checked_quality(quality, n, method="RandomSelection")
        terms = Terms.of(budget, constraints, n, method="RandomSelection")
        order = np.random.default_rng(self.seed).permutation(n)
        return by_order(order, np.full(n, np.nan), given, terms, method=self.kind, progress=progress)


@dataclass(frozen=True, kw_only=True)
class TopQuality:
    """The rows of highest quality; ties go to the lowest row.

    >>> import qads
    >>> qads.TopQuality()([[0.0], [1.0], [2.0]], quality=[0.1, 0.9, 0.5], budget=2).indices.tolist()
    [1, 2]
    """

    kind: Literal["top-quality"] = "top-quality"
    """Name of the method in a configuration."""

    reads_quality: ClassVar[bool] = True
    reads_embeddings: ClassVar[bool] = False  # They only say how many rows there are.
    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    def __call__(
        self,
        embeddings: npt.ArrayLike,
        quality: npt.ArrayLike | None = None,
        *,
        budget: Budget,
        progress: Progress | None = None,
        constraints: Constraints | None = None,
    ) -> Selection:
        """Select rows; the gain of a pick is its quality.

        Raises:
            InputError: an input is not what it must be, or there is no quality.
        """
        if quality is None:
            raise InputError("TopQuality: quality is None; without it there is no top. Give one number a row.")
        n = len(unread(embeddings, method="TopQuality"))
        given = checked_quality(quality, n, method="TopQuality")
        terms = Terms.of(budget, constraints, n, method="TopQuality")
        order = np.argsort(-given, kind="stable")
        return by_order(order, given, given, terms, method=self.kind, progress=progress)


def by_order(
    order: Int[np.ndarray, " r"],
    gains: Float[np.ndarray, " n"],
    quality: Float[np.ndarray, " n"],
    terms: Terms,
    *,
    method: str,
    progress: Progress | None,
) -> Selection:
    """The selection of the first rows of an order that the terms admit, included ones before them.

    Args:
        order: the rows that may be picked, the best first.
        gains: what put each row where it is; NaN for nothing.
        quality: of every row, as given.
        terms: budget and constraints.
        method: `kind` of the selector.
        progress: told when it is done.
    """
    if len(terms.first):
        order = np.concatenate([terms.first, order[~np.isin(order, terms.first)]])
    picks = terms.limits.walk(order, terms.k)
    k = len(picks)
    if progress:
        progress(k, k)
    return Selection(
        indices=picks,
        gains=gains[picks],
        distances=np.full(k, np.nan),
        nearest=np.full(k, -1, dtype=np.int64),
        quality=quality[picks],
        n_rows=len(quality),
        method=method,
        prefix_closed=terms.prefix_closed,
        stopped=terms.stopped(k),
        tokens=None if terms.tokens is None else terms.tokens[picks],
    )
