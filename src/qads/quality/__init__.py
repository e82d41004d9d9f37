"""What a row is worth: real influence, and a scorer that predicts it."""

from __future__ import annotations

from qads.kernels.cost import Cost
from qads.quality.anchor_groups import AnchorGroups, Cell, Worth
from qads.quality.engines import CompletionsEngine, Engine, LocalEngine, OpenEngine, SGLangEngine
from qads.quality.influence import AGGREGATES, Aggregate, Influence
from qads.quality.known import check_known
from qads.quality.labelling import LabellingPlan
from qads.quality.likelihoods import AnswerLikelihoods
from qads.quality.oneshot import OneShotInfluence
from qads.quality.plan import choose_anchors, stratified_sample
from qads.quality.rounds import stopping_outcomes
from qads.quality.scorers import (
    FittedScorer,
    LMScorer,
    MadeFor,
    Prediction,
    ProbeScorer,
    RetrievalScorer,
    Scorer,
    load_scorer,
)
from qads.quality.scorers.base import Difference
from qads.quality.stopping import EveryAnchor, Stopping, UntilRankStable, UntilStandardError
from qads.quality.style import StyleControl

__all__ = [
    "AGGREGATES",
    "Aggregate",
    "AnchorGroups",
    "AnswerLikelihoods",
    "Cell",
    "CompletionsEngine",
    "Cost",
    "Difference",
    "Engine",
    "EveryAnchor",
    "FittedScorer",
    "Influence",
    "LMScorer",
    "LabellingPlan",
    "LocalEngine",
    "MadeFor",
    "OneShotInfluence",
    "OpenEngine",
    "Prediction",
    "ProbeScorer",
    "RetrievalScorer",
    "SGLangEngine",
    "Scorer",
    "Stopping",
    "StyleControl",
    "UntilRankStable",
    "UntilStandardError",
    "Worth",
    "check_known",
    "choose_anchors",
    "load_scorer",
    "stopping_outcomes",
    "stratified_sample",
]
