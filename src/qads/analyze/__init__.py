"""What selections and sources are like, as numbers that compare."""

from __future__ import annotations

from qads.analyze.agreement import ModelAgreement
from qads.analyze.diversity import Diversity
from qads.analyze.projection import TSNEProjection
from qads.analyze.quality import SourceQuality
from qads.analyze.ranks import Ranking, rank_with_bounds
from qads.analyze.resampling import Interval
from qads.analyze.scores import RowScores
from qads.analyze.selection import SelectionSummary, summarize_selection
from qads.analyze.sources import (
    AnalysisSettings,
    Example,
    ModelFacts,
    SourceAnalysis,
    SourceFacts,
    Spread,
    analyze_sources,
)
from qads.analyze.texts import split_steps

__all__ = [
    "AnalysisSettings",
    "Diversity",
    "Example",
    "Interval",
    "ModelAgreement",
    "ModelFacts",
    "Ranking",
    "RowScores",
    "SelectionSummary",
    "SourceAnalysis",
    "SourceFacts",
    "SourceQuality",
    "Spread",
    "TSNEProjection",
    "analyze_sources",
    "rank_with_bounds",
    "split_steps",
    "summarize_selection",
]
