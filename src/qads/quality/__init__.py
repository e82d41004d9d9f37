"""What a row is worth: real influence, and a scorer that predicts it."""

from __future__ import annotations

from qads.quality.engines import CompletionsEngine, Engine, LocalEngine, OpenEngine, SGLangEngine
from qads.quality.influence import AGGREGATES, Aggregate, Influence
from qads.quality.oneshot import OneShotInfluence
from qads.quality.plan import choose_anchors, stratified_sample
from qads.quality.scorer import FittedScorer, RidgeScorer

__all__ = [
    "AGGREGATES",
    "Aggregate",
    "CompletionsEngine",
    "Engine",
    "FittedScorer",
    "Influence",
    "LocalEngine",
    "OneShotInfluence",
    "OpenEngine",
    "RidgeScorer",
    "SGLangEngine",
    "choose_anchors",
    "stratified_sample",
]
