"""What the sources of a pool are like: size, texts, variety, and the quality that was measured on some rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import numpy.typing as npt
from jaxtyping import Bool, Float, Int

from qads.analyze.agreement import ModelAgreement, compare_models, reliability
from qads.analyze.diversity import Diversity, measure_diversity
from qads.analyze.quality import QualitySettings, SourceQuality, measure_quality
from qads.analyze.ranks import Ranking
from qads.analyze.scores import RowScores
from qads.analyze.texts import measure_texts
from qads.errors import AlignmentError, InputError
from qads.pool import Pool

__all__ = ["AnalysisSettings", "Example", "ModelFacts", "SourceAnalysis", "SourceFacts", "Spread", "analyze_sources"]


@dataclass(frozen=True, kw_only=True)
class AnalysisSettings:
    """How sources are compared."""

    top: float = 0.1
    """What counts as the top of the pool, as a share of its rows."""
    budget: float = 0.1
    """Budget of the marginal value, as a share of the pool's rows."""
    confidence: float = 0.95
    """Of every interval; of the ranks of all sources together."""
    draws: int = 2000
    """Bootstrap samples."""
    draw_anchors: bool = True
    """Count the anchors as a sample of the target skill; else as the whole of it."""
    fewest_scored: int = 8
    """Scored rows that a source needs for intervals and a rank."""
    diversity_rows: int = 500
    """Rows drawn from every source to measure how varied it is; fewer where a source has fewer."""
    diversity_draws: int = 10
    """How often they are drawn."""
    examples: int = 2
    """Rows of the top, the middle and the bottom of every source that are named."""
    seed: int = 0
    """Of all draws."""

    def __post_init__(self) -> None:
        for name in ("top", "budget", "confidence"):
            if not 0 < (value := getattr(self, name)) < 1:
                raise InputError(f"AnalysisSettings: {name} is {value}; it must lie between 0 and 1.")
        least = {"draws": 100, "fewest_scored": 2, "diversity_rows": 10, "diversity_draws": 1, "examples": 0, "seed": 0}
        for name, bound in least.items():
            if (value := getattr(self, name)) < bound:
                raise InputError(f"AnalysisSettings: {name} is {value}; it must be {bound} at least.")


@dataclass(frozen=True)
class Spread:
    """A measure over the rows of a source."""

    mean: float
    low: float
    """First quartile."""
    median: float
    high: float
    """Third quartile."""
    total: int


@dataclass(frozen=True)
class Example:
    """A row that shows what a part of a source is like."""

    place: str
    """``top``, ``middle`` or ``bottom`` of the scored rows of its source."""
    row: int
    """Position in the pool."""
    id: str
    quality: float


@dataclass(frozen=True)
class SourceFacts:
    """One source."""

    name: str
    n_rows: int
    flags: Mapping[str, int]
    """Rows of each flag."""
    kinds: Mapping[str, int]
    tokens: Spread | None
    """Of the whole row; None where they were not counted."""
    words: Spread
    """Of the solution."""
    steps: Spread
    """Of the solution."""
    equations: Spread
    """Of the solution."""
    diversity: Diversity | None
    """None without embeddings, or with fewer than 10 rows."""
    quality: tuple[SourceQuality | None, ...]
    """Under every model; None where no row of the source was scored."""
    examples: tuple[Example, ...]
    """By the first model."""


@dataclass(frozen=True)
class ModelFacts:
    """One model's scores as a whole."""

    name: str
    n_scored: int
    n_unscorable: int
    """Rows that no anchor could score."""
    n_anchors: int
    anchor_groups: Mapping[str, int]
    reliability: float | None
    """How well the order of rows inside sources is known; see `analyze/agreement.py`."""
    ranked: tuple[str, ...]
    """Sources that have a rank."""
    ranking: Ranking | None
    facts: Mapping[str, object]
    """What the scores say of themselves."""


@dataclass(frozen=True)
class SourceAnalysis:
    """All sources of a pool; those of the highest mean quality under the first model come first."""

    n_rows: int
    sources: tuple[SourceFacts, ...]
    models: tuple[ModelFacts, ...]
    agreements: tuple[ModelAgreement, ...]
    """Of every two models that share scored rows."""
    whole: Diversity | None
    """Of rows drawn from the pool as a whole, as many."""
    settings: AnalysisSettings = field(default_factory=AnalysisSettings)


def analyze_sources(
    pool: Pool,
    *,
    embeddings: Float[np.ndarray, "n d"] | None = None,
    scores: RowScores | Sequence[RowScores] = (),
    tokens: Int[np.ndarray, " n"] | None = None,
    flags: Mapping[str, Bool[np.ndarray, " n"]] | None = None,
    settings: AnalysisSettings | None = None,
) -> SourceAnalysis:
    """Compare the sources of a pool.

    Args:
        pool: of one source or more.
        embeddings: of every row; without them no diversity.
        scores: of some rows under one model, or under several; without them no quality.
        tokens: of every row.
        flags: name -> rows that have it, such as repeated or contaminated ones; they are counted by source.
        settings: how.

    Raises:
        AlignmentError: an array is of another number of rows.
        InputError: the pool is empty, or scores name a row that is not in it.

    >>> import qads
    >>> rows = [qads.Row(id=f"{i}", source="ab"[i % 2], problem=f"{i}?", solution="It is so.") for i in range(6)]
    >>> found = analyze_sources(qads.Pool.from_rows(rows))
    >>> [(source.name, source.n_rows, source.steps.median) for source in found.sources]
    [('a', 3, 1.0), ('b', 3, 1.0)]
    """
    settings, flags = settings or AnalysisSettings(), flags or {}
    given = (scores,) if isinstance(scores, RowScores) else tuple(scores)
    _check(pool, {"embeddings": embeddings, "tokens": tokens, **flags}, given)
    measured = [_measured(each, pool, settings) for each in given]
    groups = pool.rows_by_source()
    varied: dict[str | None, Diversity] = {}
    if embeddings is not None:
        # The pool as a whole goes by what no source is named.
        varied = measure_diversity(
            embeddings, {**groups, None: np.arange(len(pool))}, most_rows=settings.diversity_rows,
            n_draws=settings.diversity_draws, seed=settings.seed,
        )  # fmt: skip
    texts, kinds = measure_texts(pool), np.array(pool.strings("kind"))
    sources = [
        SourceFacts(
            name=name,
            n_rows=len(rows),
            flags={flag: int(has[rows].sum()) for flag, has in flags.items()},
            kinds=dict(Counter(kinds[rows].tolist()).most_common()),
            tokens=None if tokens is None else _spread(tokens[rows]),
            words=_spread(texts.words[rows]),
            steps=_spread(texts.steps[rows]),
            equations=_spread(texts.equations[rows]),
            diversity=varied.get(name),
            quality=tuple(qualities.get(code) for _, qualities, _ in measured),
            examples=_examples(measured[0][0], pool, code, settings.examples) if measured else (),
        )
        for code, (name, rows) in enumerate(groups.items())
    ]
    n_draws, seed = settings.draws, settings.seed
    compared = (
        compare_models(a, b, pool.source_codes, confidence=settings.confidence, n_draws=n_draws, seed=seed)
        for (a, _, _), (b, _, _) in combinations(measured, 2)
    )
    return SourceAnalysis(
        n_rows=len(pool),
        sources=tuple(sorted(sources, key=_best_first)),
        models=tuple(_model_facts(*each, pool, settings) for each in zip(given, measured, strict=True)),
        agreements=tuple(each for each in compared if each is not None),
        whole=varied.get(None),
        settings=settings,
    )


Measured = tuple[RowScores, dict[int, SourceQuality], Ranking | None]


def _measured(scores: RowScores, pool: Pool, settings: AnalysisSettings) -> Measured:
    scored = scores.scored()
    if not len(scored.rows):
        raise InputError(f"analyze_sources: no row has a quality under {scores.model}; score some, or leave it out.")
    how = QualitySettings(
        top=settings.top, budget=settings.budget, confidence=settings.confidence, n_draws=settings.draws,
        seed=settings.seed, fewest=settings.fewest_scored, anchors=settings.draw_anchors,
    )  # fmt: skip
    return scored, *measure_quality(scored, pool.source_codes, how)


def _check(pool: Pool, arrays: Mapping[str, npt.NDArray[np.generic] | None], scores: Sequence[RowScores]) -> None:
    if len(pool) == 0:
        raise InputError("analyze_sources: the pool is empty; give one row at least.")
    for model in scores:
        if len(model.rows) and not (0 <= model.rows.min() and model.rows.max() < len(pool)):
            raise InputError(
                f"analyze_sources: scores of {model.model} name the row {model.rows.max()} of a pool of {len(pool)} "
                "rows; give the pool that was scored."
            )
    wanted = {**arrays, **{f"predicted quality of {model.model}": model.predicted for model in scores}}
    for name, array in wanted.items():
        if array is not None and len(array) != len(pool):
            raise AlignmentError(
                f"analyze_sources: {name} has {len(array)} rows but the pool {len(pool)}; both must be the same rows."
            )


def _spread(values: Int[np.ndarray, " r"]) -> Spread:
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75]).tolist()
    return Spread(float(values.mean()), low, median, high, int(values.sum()))


def _examples(scores: RowScores, pool: Pool, code: int, n: int) -> tuple[Example, ...]:
    """The best, the most middling and the worst rows of a source, no row twice; first of all the top."""
    inside = np.flatnonzero(pool.source_codes[scores.rows] == code)
    order = inside[np.argsort(-scores.quality[inside], kind="stable")]
    middle = max(0, (len(order) - n) // 2)
    wanted = [("top", order[:n]), ("middle", order[middle : middle + n]), ("bottom", order[max(0, len(order) - n) :])]
    seen: set[int] = set()
    found: list[Example] = []
    for place, positions in wanted:
        for at in positions.tolist():
            if at not in seen:
                seen.add(at)
                row = int(scores.rows[at])
                found.append(Example(place, row, pool.table["id"][row].as_py(), float(scores.quality[at])))
    return tuple(found)


def _best_first(source: SourceFacts) -> tuple[float, int]:
    known = source.quality[0] if source.quality else None
    return (-known.mean.value if known else float("inf"), -source.n_rows)


def _model_facts(given: RowScores, measured: Measured, pool: Pool, settings: AnalysisSettings) -> ModelFacts:
    scored, qualities, ranking = measured
    ranked = [pool.sources[code] for code, quality in qualities.items() if quality.rank is not None]
    return ModelFacts(
        name=given.model,
        n_scored=len(scored.rows),
        n_unscorable=len(given.rows) - len(scored.rows),
        n_anchors=len(given.groups),
        anchor_groups=dict(Counter(given.groups)),
        reliability=reliability(scored, pool.source_codes, settings.seed),
        ranked=tuple(ranked),
        ranking=ranking,
        facts=given.facts,
    )
