"""How well a scorer predicts: statistics with intervals, the most that can be reached, and a verdict."""

from __future__ import annotations

from qads.quality.fidelity.ceiling import noise_ceiling
from qads.quality.fidelity.estimates import Estimate
from qads.quality.fidelity.held_out import HeldOut
from qads.quality.fidelity.measuring import Advantage, compare_predictions, fidelity
from qads.quality.fidelity.other_anchors import (
    OtherAnchors,
    half_qualities,
    halves_of_anchors,
    on_other_anchors,
)
from qads.quality.fidelity.report import CurvePoint, FidelityReport, ScoringCost
from qads.quality.fidelity.verdicts import Bin, Fidelity, LengthBand, SourceFidelity

__all__ = [
    "Advantage",
    "Bin",
    "CurvePoint",
    "Estimate",
    "Fidelity",
    "FidelityReport",
    "HeldOut",
    "LengthBand",
    "OtherAnchors",
    "ScoringCost",
    "SourceFidelity",
    "compare_predictions",
    "fidelity",
    "half_qualities",
    "halves_of_anchors",
    "noise_ceiling",
    "on_other_anchors",
]
