"""The reference of every public name of `qads`, in the order in which one meets them.

Every name of `qads.__all__` stands in exactly one group; the build and a test fail where one does not.
"""

from __future__ import annotations

from collections.abc import Iterator

import qads

__all__ = ["GROUPS", "names_pages"]

GROUPS: dict[str, tuple[str, tuple[str, ...]]] = {
    "pools": (
        "Pools: reading, writing, rows",
        ("load_pool", "write_pool", "Pool", "Row", "Selection", "QadsError"),
    ),
    "cleaning": (
        "Cleaning: duplicates and contamination",
        ("Deduplication", "Duplicates", "Decontamination", "ContaminationReport", "check_pool", "PoolFindings"),
    ),
    "embedding": ("Embedding: what is near", ("SentenceEmbedder", "LMEmbedder", "Embeddings")),
    "quality": (
        "Quality: what a row is worth",
        (
            "OneShotInfluence", "Influence", "EveryAnchor", "UntilStandardError", "UntilRankStable", "StyleControl",
            "AnchorGroups", "choose_anchors", "stratified_sample", "AnswerLikelihoods", "ExemplarTemplate",
            "ChatTemplate", "LocalEngine", "CompletionsEngine", "SGLangEngine",
        ),
    ),
    "scorers": (
        "Scorers: quality of what was not scored",
        ("ProbeScorer", "LMScorer", "RetrievalScorer", "LabellingPlan", "FittedScorer", "Prediction", "load_scorer"),
    ),
    "selection": (
        "Selection: which rows to keep",
        (
            "KCenterGreedy", "Constraints", "Grouping", "Quota", "TokenBudget", "coverage", "Coverage",
            "RandomSelection", "StratifiedRandom", "TopQuality", "Deita", "FacilityLocation", "Gist",
            "KMeansPrototypes", "PrototypeDistance", "SemDeDup", "D4", "LongestResponse", "PerplexityRanking",
            "IFDRanking", "NearestToAnchors",
        ),
    ),
    "mixtures": ("Mixtures", ("load_recipe", "Recipe", "Part", "compose", "Mixture", "write_mixture")),
    "analysis": (
        "Analysis: sources and selections compared",
        ("analyze_sources", "AnalysisSettings", "SourceAnalysis", "RowScores", "summarize_selection", "TSNEProjection"),
    ),
    "training": ("Training", ("FineTuning", "Lora", "Checkpointing", "Trained", "StepLog")),
    "evaluation": (
        "Evaluation, answers, programs",
        (
            "Evaluation", "EvaluationResult", "find_answer", "same_answer", "Sandbox", "ProgramResult", "SandboxError",
        ),
    ),
    "comparisons": ("Comparisons", ("load_experiment", "Experiment", "Arm", "run_experiment", "Results")),
    "runs": (
        "Runs, models, execution",
        ("load_config", "RunConfig", "run_pipeline", "RunResult", "Execution", "open_causal_lm", "open_encoder"),
    ),
}  # fmt: skip
"""Page -> its title and its names."""


def names_pages() -> Iterator[tuple[str, str]]:
    """Path under the reference -> page in Markdown.

    Raises:
        ValueError: a public name has no docstring, is in no group or in two, or a group has one that is not public.
    """
    placed = [name for _, names in GROUPS.values() for name in names]
    wrong = {f"{name} is in no group" for name in set(qads.__all__) - set(placed)}
    wrong |= {f"{name} is not in qads.__all__" for name in set(placed) - set(qads.__all__)}
    wrong |= {f"{name} is in two groups" for name in placed if placed.count(name) > 1}
    wrong |= {f"{name} has no docstring" for name in qads.__all__ if not _is_documented(name)}
    if wrong:
        raise ValueError(f"docs/_generate/names_page.py: {'; '.join(sorted(wrong))}.")
    for page, (title, names) in GROUPS.items():
        yield f"{page}.md", "\n".join([f"# {title}", "", *(f"::: {_place(name)}\n" for name in names)])


def _is_documented(name: str) -> bool:
    """Whether a name has a docstring of its own; a dataclass without one gets its signature."""
    about = (getattr(qads, name).__doc__ or "").strip()
    return bool(about) and not about.startswith(f"{name}(")


def _place(name: str) -> str:
    """Where a name is defined; a function may be called as its module is."""
    value = getattr(qads, name)
    return f"{value.__module__}.{value.__qualname__}"
