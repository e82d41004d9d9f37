"""Which rows to keep: one file a family. `Selector` is the union of them and the registry of the config."""

from __future__ import annotations

from qads.selection.baselines import RandomSelection, TopQuality
from qads.selection.budget import TokenBudget
from qads.selection.constraints import Constraints, Grouping, Quota
from qads.selection.coverage import Coverage, coverage, find_knee
from qads.selection.dedup import D4, SemDeDup
from qads.selection.deita import Deita
from qads.selection.facility import FacilityLocation
from qads.selection.gist import Gist
from qads.selection.kcenter import KCenterGreedy
from qads.selection.nearest import NearestToAnchors
from qads.selection.prototypes import KMeansPrototypes, PrototypeDistance
from qads.selection.rankings import IFDRanking, LongestResponse, PerplexityRanking
from qads.selection.stratified import StratifiedRandom

__all__ = [
    "D4",
    "Constraints",
    "Coverage",
    "Deita",
    "FacilityLocation",
    "Gist",
    "Grouping",
    "IFDRanking",
    "KCenterGreedy",
    "KMeansPrototypes",
    "LongestResponse",
    "NearestToAnchors",
    "PerplexityRanking",
    "PrototypeDistance",
    "Quota",
    "RandomSelection",
    "Selector",
    "SemDeDup",
    "StratifiedRandom",
    "TokenBudget",
    "TopQuality",
    "coverage",
    "find_knee",
]

Selector = (
    KCenterGreedy
    | RandomSelection
    | TopQuality
    | StratifiedRandom
    | Deita
    | FacilityLocation
    | KMeansPrototypes
    | PrototypeDistance
    | Gist
    | SemDeDup
    | D4
    | LongestResponse
    | PerplexityRanking
    | IFDRanking
    | NearestToAnchors
)
"""Every selector: `selector(embeddings, quality, budget=k) -> Selection`; some need more, which their `needs` name."""
