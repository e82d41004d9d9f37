"""QaDS: quality-aware diverse selection of fine-tuning data.

    pool = qads.load_pool("data/*.jsonl")                        # candidates
    emb  = qads.SentenceEmbedder()(pool)                         # what "near" means
    infl = qads.OneShotInfluence()(candidates, anchors)          # what a row is worth
    sel  = qads.KCenterGreedy()(emb, quality, budget=0.1)        # which rows to keep

Names are imported when they are first used, so that `import qads` loads neither torch nor transformers.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qads.analyze import AnalysisSettings, RowScores, SourceAnalysis, analyze_sources, summarize_selection
    from qads.answers import find_answer, same_answer
    from qads.clean import (
        ContaminationReport,
        Decontamination,
        Deduplication,
        Duplicates,
        PoolFindings,
        check_pool,
    )
    from qads.cluster import Execution
    from qads.compare import Arm, Experiment, Results, load_experiment, run_experiment
    from qads.config import RunConfig, load_config
    from qads.datasets import load_pool, write_pool
    from qads.embed import Embeddings, LMEmbedder, SentenceEmbedder
    from qads.errors import QadsError, SandboxError
    from qads.evaluate import Evaluation, EvaluationResult
    from qads.mixture import Mixture, Part, Recipe, compose, load_recipe, write_mixture
    from qads.models import Lora, open_causal_lm, open_encoder
    from qads.pool import Pool, Row, Selection
    from qads.prompts import ChatTemplate, ExemplarTemplate
    from qads.quality import (
        AnchorGroups,
        AnswerLikelihoods,
        CompletionsEngine,
        EveryAnchor,
        FittedScorer,
        Influence,
        LabellingPlan,
        LMScorer,
        LocalEngine,
        OneShotInfluence,
        Prediction,
        ProbeScorer,
        RetrievalScorer,
        SGLangEngine,
        StyleControl,
        UntilRankStable,
        UntilStandardError,
        choose_anchors,
        load_scorer,
        stratified_sample,
    )
    from qads.run import RunResult, run_pipeline
    from qads.sandbox import ProgramResult, Sandbox
    from qads.selection import (
        D4,
        Constraints,
        Coverage,
        Deita,
        FacilityLocation,
        Gist,
        Grouping,
        IFDRanking,
        KCenterGreedy,
        KMeansPrototypes,
        LongestResponse,
        NearestToAnchors,
        PerplexityRanking,
        PrototypeDistance,
        Quota,
        RandomSelection,
        SemDeDup,
        StratifiedRandom,
        TokenBudget,
        TopQuality,
        coverage,
    )
    from qads.train import Checkpointing, FineTuning, StepLog, Trained

_HOMES = {
    "qads.analyze": ("AnalysisSettings", "RowScores", "SourceAnalysis", "analyze_sources", "summarize_selection"),
    "qads.answers": ("find_answer", "same_answer"),
    "qads.clean": (
        "ContaminationReport",
        "Decontamination",
        "Deduplication",
        "Duplicates",
        "PoolFindings",
        "check_pool",
    ),
    "qads.cluster": ("Execution",),
    "qads.compare": ("Arm", "Experiment", "Results", "load_experiment", "run_experiment"),
    "qads.config": ("RunConfig", "load_config"),
    "qads.datasets": ("load_pool", "write_pool"),
    "qads.embed": ("Embeddings", "LMEmbedder", "SentenceEmbedder"),
    "qads.errors": ("QadsError", "SandboxError"),
    "qads.evaluate": ("Evaluation", "EvaluationResult"),
    "qads.mixture": ("Mixture", "Part", "Recipe", "compose", "load_recipe", "write_mixture"),
    "qads.models": ("Lora", "open_causal_lm", "open_encoder"),
    "qads.pool": ("Pool", "Row", "Selection"),
    "qads.prompts": ("ChatTemplate", "ExemplarTemplate"),
    "qads.quality": (
        "AnchorGroups",
        "AnswerLikelihoods",
        "CompletionsEngine",
        "EveryAnchor",
        "FittedScorer",
        "Influence",
        "LocalEngine",
        "OneShotInfluence",
        "Prediction",
        "ProbeScorer",
        "LMScorer",
        "LabellingPlan",
        "RetrievalScorer",
        "load_scorer",
        "SGLangEngine",
        "StyleControl",
        "UntilRankStable",
        "UntilStandardError",
        "choose_anchors",
        "stratified_sample",
    ),
    "qads.run": ("RunResult", "run_pipeline"),
    "qads.sandbox": ("ProgramResult", "Sandbox"),
    "qads.selection": (
        "Constraints",
        "Coverage",
        "D4",
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
        "SemDeDup",
        "StratifiedRandom",
        "TokenBudget",
        "TopQuality",
        "coverage",
    ),
    "qads.train": ("Checkpointing", "FineTuning", "StepLog", "Trained"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "D4",
    "AnalysisSettings",
    "AnchorGroups",
    "AnswerLikelihoods",
    "Arm",
    "ChatTemplate",
    "Checkpointing",
    "CompletionsEngine",
    "Constraints",
    "ContaminationReport",
    "Coverage",
    "Decontamination",
    "Deduplication",
    "Deita",
    "Duplicates",
    "Embeddings",
    "Evaluation",
    "EvaluationResult",
    "EveryAnchor",
    "Execution",
    "ExemplarTemplate",
    "Experiment",
    "FacilityLocation",
    "FineTuning",
    "FittedScorer",
    "Gist",
    "Grouping",
    "IFDRanking",
    "Influence",
    "KCenterGreedy",
    "KMeansPrototypes",
    "LMEmbedder",
    "LMScorer",
    "LabellingPlan",
    "LocalEngine",
    "LongestResponse",
    "Lora",
    "Mixture",
    "NearestToAnchors",
    "OneShotInfluence",
    "Part",
    "PerplexityRanking",
    "Pool",
    "PoolFindings",
    "Prediction",
    "ProbeScorer",
    "ProgramResult",
    "PrototypeDistance",
    "QadsError",
    "Quota",
    "RandomSelection",
    "Recipe",
    "Results",
    "RetrievalScorer",
    "Row",
    "RowScores",
    "RunConfig",
    "RunResult",
    "SGLangEngine",
    "Sandbox",
    "SandboxError",
    "Selection",
    "SemDeDup",
    "SentenceEmbedder",
    "SourceAnalysis",
    "StepLog",
    "StratifiedRandom",
    "StyleControl",
    "TokenBudget",
    "TopQuality",
    "Trained",
    "UntilRankStable",
    "UntilStandardError",
    "analyze_sources",
    "check_pool",
    "choose_anchors",
    "compose",
    "coverage",
    "find_answer",
    "load_config",
    "load_experiment",
    "load_pool",
    "load_recipe",
    "load_scorer",
    "open_causal_lm",
    "open_encoder",
    "run_experiment",
    "run_pipeline",
    "same_answer",
    "stratified_sample",
    "summarize_selection",
    "write_mixture",
    "write_pool",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'qads' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
