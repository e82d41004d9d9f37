"""Which rows to keep: one file a family. `Selector` is the union of them and the registry of the config."""

from __future__ import annotations

from qads.selection.baselines import RandomSelection, TopQuality
from qads.selection.budget import TokenBudget
from qads.selection.constraints import Constraints, Grouping, Quota
from qads.selection.kcenter import KCenterGreedy

__all__ = [
    "Constraints",
    "Grouping",
    "KCenterGreedy",
    "Quota",
    "RandomSelection",
    "Selector",
    "TokenBudget",
    "TopQuality",
]

Selector = KCenterGreedy | RandomSelection | TopQuality
"""Every selector: `selector(embeddings, quality, budget=k) -> Selection`."""
