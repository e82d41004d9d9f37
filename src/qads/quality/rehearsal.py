"""Scoring without a model, to learn what it would cost: the same texts, the same calls, and no scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from qads.kernels.cost import Cost
from qads.kernels.target import TokenTarget
from qads.quality.influence import Aggregate, Influence
from qads.quality.opened import OpenEngine
from qads.quality.stopping import EveryAnchor, Stopping

__all__ = ["NobodyStops", "Rehearsal"]


class Rehearsal(OpenEngine):
    """An open engine that has a tokenizer and no model; its scores are zeros."""

    def _scores(
        self, prefixes: Sequence[Sequence[int]], targets: Sequence[TokenTarget], wanted: Bool[np.ndarray, "n m"]
    ) -> tuple[Float[np.ndarray, "n m"], Cost]:
        return np.where(wanted, 0.0, np.nan), Cost()


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
