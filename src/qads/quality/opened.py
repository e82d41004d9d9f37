"""What every open engine is: a tokenizer, a context and a way to score; a new one adds `_scores`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Self

import numpy as np
from jaxtyping import Bool, Float

from qads.kernels.cost import Cost, CostRule, call_cost
from qads.kernels.target import TokenTarget
from qads.models import CausalLM, Tokenizer

__all__ = ["OpenEngine"]


class OpenEngine(ABC):
    """A model ready to score; a context manager, closed after use.

    Args:
        model: the model, or its tokenizer where it runs elsewhere.
        cost_rule: how a prefix and its targets are gone about.
    """

    def __init__(self, model: CausalLM | Tokenizer, cost_rule: CostRule) -> None:
        self.tokenizer: Any = model.tokenizer
        """The fast tokenizer of the model."""
        self.render_chat = model.render_chat
        """Renders a conversation with the model's chat template; None where it has none."""
        self.max_length = model.max_length
        """Tokens that can be seen at once."""
        self._shape, self._cost_rule = model.shape, cost_rule

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:  # noqa: B027 - most hold nothing.
        """Let go of what it holds."""

    def precisely(self) -> AbstractContextManager[None]:
        """Scores inside this block are computed in float32 arithmetic where the engine can do that."""
        return nullcontext()

    def score(
        self,
        prefixes: Sequence[Sequence[int]],
        targets: Sequence[TokenTarget],
        wanted: Bool[np.ndarray, "n m"] | None = None,
    ) -> tuple[Float[np.ndarray, "n m"], Cost]:
        """Mean log-probability, in nats a token, of every target's answer after every prefix; NaN where not wanted.

        Args:
            prefixes: token ids that the targets follow.
            targets: token ids and which of them are scored.
            wanted: the pairs to score; all of them by default.

        Returns:
            The scores, and what they cost by `cost_rule`.

        Raises:
            ModelError: a model here cannot score them.
            EngineError: a server did not.
        """
        if wanted is None:
            wanted = np.ones((len(prefixes), len(targets)), np.bool_)
        scores, spent = self._scores(prefixes, targets, wanted)
        lengths = [len(prefix) for prefix in prefixes]
        return scores, spent + call_cost(self._shape, self._cost_rule, lengths, targets, wanted)

    @abstractmethod
    def _scores(
        self, prefixes: Sequence[Sequence[int]], targets: Sequence[TokenTarget], wanted: Bool[np.ndarray, "n m"]
    ) -> tuple[Float[np.ndarray, "n m"], Cost]:
        """The scores, and what they took beside what the cost rule counts."""
