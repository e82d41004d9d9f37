"""Scoring without a model, to learn what it would cost: the same texts, the same calls, and no scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from jaxtyping import Bool, Float, Int

from qads.kernels.cost import Cost, CostRule, call_cost
from qads.kernels.target import TokenTarget
from qads.models import Tokenizer
from qads.quality.influence import Aggregate, Influence
from qads.quality.stopping import EveryAnchor, Stopping

__all__ = ["NobodyStops", "Rehearsal"]


class Rehearsal:
    """An open engine that has a tokenizer and no model.

    Args:
        tokenizer: of the model.
        cost_rule: of the engine that it stands for.
    """

    def __init__(self, tokenizer: Tokenizer, cost_rule: CostRule) -> None:
        self.tokenizer: Any = tokenizer.tokenizer
        self.max_length = tokenizer.max_length
        self.render_chat = tokenizer.render_chat
        self._shape, self._cost_rule = tokenizer.shape, cost_rule

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def score(
        self,
        prefixes: Sequence[Sequence[int]],
        targets: Sequence[TokenTarget],
        wanted: Bool[np.ndarray, "n m"] | None = None,
    ) -> tuple[Float[np.ndarray, "n m"], Cost]:
        """Zeros where a score would be, and what it would cost."""
        if wanted is None:
            wanted = np.ones((len(prefixes), len(targets)), np.bool_)
        lengths = [len(prefix) for prefix in prefixes]
        return np.where(wanted, 0.0, np.nan), call_cost(self._shape, self._cost_rule, lengths, targets, wanted)

    def close(self) -> None:
        """Nothing is held."""


@dataclass(frozen=True, kw_only=True)
class NobodyStops(EveryAnchor):
    """The rounds of a rule by which no candidate stops: the most that it can cost."""

    rule: Stopping

    def order(self, groups: Sequence[str]) -> Int[np.ndarray, " m"]:
        """As the rule has it."""
        return self.rule.order(groups)

    def looks(self, n_anchors: int) -> list[int]:
        """As the rule has them."""
        return self.rule.looks(n_anchors)

    def goes_on(self, found: Influence, aggregate: Aggregate) -> Bool[np.ndarray, " n"]:
        """Everybody."""
        return np.ones(len(found.candidate_ids), bool)
