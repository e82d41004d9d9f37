"""What the likelihood kernels pass to each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import takewhile
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Bool

__all__ = ["AnswerStates", "Body", "TokenTarget", "common_start"]


@dataclass(frozen=True)
class TokenTarget:
    """A tokenised target; the tokens [answer_start, answer_end) are scored. `answer_start` is ≥ 1."""

    ids: tuple[int, ...]
    answer_start: int
    answer_end: int

    @property
    def n_answer(self) -> int:
        """Tokens that are scored."""
        return self.answer_end - self.answer_start


def common_start(texts: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """The tokens that all texts begin with.

    >>> common_start([(1, 2, 3), (1, 2, 4, 5)])
    (1, 2)
    """
    shared = takewhile(lambda tokens: len(set(tokens)) == 1, zip(*texts, strict=False))
    return tuple(tokens[0] for tokens in shared)


@dataclass(frozen=True)
class AnswerStates:
    """The last states of a model before the answer tokens of some pairs."""

    pairs: list[tuple[int, int]]
    """Prefix and target of every pair."""
    counts: list[int]
    """Answer tokens of every pair."""
    states: torch.Tensor
    """One row [h] for every answer token, pair by pair."""
    tokens: torch.Tensor
    """The answer tokens themselves."""


class Body(Protocol):
    """A model without its head, that runs targets after prefixes."""

    def installed(self) -> AbstractContextManager[None]:
        """Passes run inside this block."""
        ...

    def states(
        self,
        prefixes: Sequence[Sequence[int]],
        targets: Sequence[TokenTarget],
        wanted: Bool[np.ndarray, "n m"],
        max_tokens: int,
    ) -> Iterator[AnswerStates]:
        """The states before the answer tokens of all wanted pairs, pass by pass."""
        ...
