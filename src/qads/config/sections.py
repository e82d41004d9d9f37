"""The sections of a configuration: one dataclass each, their fields the keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from qads.amounts import Amount, Tokens, parse_budget
from qads.choices import check_choices
from qads.cluster import Execution
from qads.config.cleaning import CleanConfig, nothing_left
from qads.config.evaluating import EvaluateConfig
from qads.config.limits import ConstraintsConfig, Sources
from qads.config.reporting import ReportConfig
from qads.config.scoring import QualityConfig
from qads.datasets import check_columns
from qads.datasets.benchmarks import evaluation_locations
from qads.embed import Embedder, SentenceEmbedder
from qads.errors import ConfigError, InputError
from qads.pool import Kind
from qads.prompts import Template
from qads.quality import Aggregate, AnswerLikelihoods, OneShotInfluence
from qads.selection import Deita, KCenterGreedy, Selector, TopQuality
from qads.train import FineTuning

__all__ = ["AnchorsConfig", "OutputConfig", "PoolConfig", "RunConfig"]

_FORBID: Mapping[str, Any] = {"extra": "forbid"}


@dataclass(frozen=True, kw_only=True)
class PoolConfig:
    """The candidate samples."""

    sources: Sources
    """Files, globs, folders, ``-``, ``hf://owner/name``, or the same in object storage (``s3://``, ``gs://``)."""
    columns: dict[str, str] = field(default_factory=dict[str, str])
    """Field -> column, for shapes that are not recognised."""
    kind: Kind | None = None
    """Set for every row instead of detected."""
    on_bad_row: Literal["error", "skip"] = "error"
    """What a line that cannot be read does."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = _FORBID

    def __post_init__(self) -> None:
        check_choices(self)
        if not self.sources or not all(self.sources):
            raise InputError(
                f"pool.sources is {list(self.sources)}; it must name files, folders, - or hf://owner/name."
            )
        check_columns(self.columns, "pool.columns")


@dataclass(frozen=True, kw_only=True)
class AnchorsConfig:
    """The samples whose solutions should become likelier: the target skill."""

    sources: Sources = ()
    """Files of the user's own; empty means choosing from the pool."""
    columns: dict[str, str] = field(default_factory=dict[str, str])
    """Field -> column, for shapes that are not recognised."""
    n: int | None = None
    """How many are chosen from the pool, balanced over its sources of worked solutions; 16 unless said otherwise."""
    on_bad_row: Literal["error", "skip"] = "error"
    """What a line of the sources that cannot be read does."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = _FORBID

    def __post_init__(self) -> None:
        check_choices(self)
        check_columns(self.columns, "anchors.columns")
        if self.n is not None and self.n < 1:
            raise InputError(f"anchors.n is {self.n}; there must be one anchor at least.")
        if self.n is not None and self.sources:
            raise InputError("anchors.n chooses from the pool, which anchors.sources replaces; give one of them.")
        if self.columns and not self.sources:
            raise InputError(
                "anchors.columns is of files of your own, and anchors.sources names none; anchors that are chosen from "
                "the pool have its columns (pool.columns)."
            )

    @property
    def n_chosen(self) -> int:
        """Anchors to choose from the pool."""
        return 16 if self.n is None else self.n


@dataclass(frozen=True, kw_only=True)
class OutputConfig:
    """The file for the trainer."""

    format: Literal["jsonl", "parquet", "alpaca", "messages", "sharegpt"] = "jsonl"
    """Shape of a row."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = _FORBID

    def __post_init__(self) -> None:
        check_choices(self)


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything a run needs."""

    pool: PoolConfig
    """Candidates."""
    budget: Annotated[Amount | tuple[Amount, ...], BeforeValidator(parse_budget)]
    """What to select: a count of rows, a fraction of the pool (``10%``), or ``2M tokens``; a list for several."""
    clean: Annotated[CleanConfig | None, BeforeValidator(nothing_left)] = None
    """What is taken out of the pool first: repeated rows, problems of the evaluation; null looks for nothing."""
    embedding: Annotated[Embedder, Field(discriminator="kind")] = field(default_factory=SentenceEmbedder)
    """What "near" means."""
    anchors: AnchorsConfig = field(default_factory=AnchorsConfig)
    """The target skill."""
    quality: QualityConfig | None = field(default_factory=QualityConfig)
    """What a row is worth; null selects without quality."""
    selection: Annotated[Selector, Field(discriminator="kind")] = field(default_factory=KCenterGreedy)
    """Which rows to keep."""
    constraints: ConstraintsConfig = field(default_factory=ConstraintsConfig)
    """What the selection keeps to: quotas, rows that are out, in, or there already."""
    likelihoods: AnswerLikelihoods | None = None
    """How likely a model finds the solutions, for selections that rank by it; by default the model that scores, and
    where none does that which scores by default."""
    tokenizer: str | None = None
    """Model whose tokens a token budget counts: alias, folder or hub id; by default the one that scores, and where
    none does (no quality, or a scorer that was fitted before) that which scores by default."""
    output: OutputConfig = field(default_factory=OutputConfig)
    """The file for the trainer."""
    train: FineTuning | None = None
    """How a model is trained on the selection, that of the largest budget; null trains none."""
    evaluate: EvaluateConfig | None = None
    """How the model is measured in the end; null does not."""
    report: ReportConfig = field(default_factory=ReportConfig)
    """What the page of the run shows."""
    execution: Execution = field(default_factory=Execution)
    """How fast, never what."""
    seed: int = 0
    """Seed of the draw of the scored sample."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = _FORBID

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise InputError(f"seed is {self.seed}; it must be a whole number ≥ 0.")
        if "-" in self.pool.sources and "-" in self.anchors.sources:
            raise InputError("pool.sources and anchors.sources both read standard input; only one of them can.")
        if self.quality is None and isinstance(self.selection, TopQuality | Deita):
            raise ConfigError(
                f"selection.kind is {self.selection.kind!r}, but quality is null (--no-quality): there is none to rank "
                "by. Take another kind (kcenter, random), or let quality be measured."
            )
        if self.quality is not None and self.quality.style is not None:
            self._check_signs(self.quality.aggregate)
        if self.quality is not None and self.anchors.sources and not self.uses_anchors:
            raise ConfigError(
                "anchors.sources: quality.scorer was fitted before, on anchors of its own, so that these would change "
                "nothing. Leave them out, or fit a scorer for them (quality.scorer: {kind: probe})."
            )
        self._check_selection()
        if self.train and self.evaluate and self.evaluate.model is None:
            self._check_template(self.train.template, self.evaluate.template)

    @property
    def budgets(self) -> tuple[Amount, ...]:
        """The budget, or all of them."""
        return self.budget if isinstance(self.budget, tuple) else (self.budget,)

    @property
    def files(self) -> tuple[str, ...]:
        """Everything that is read."""
        against = () if self.clean is None else evaluation_locations(self.clean.against)
        measured = () if self.evaluate is None else self.evaluate.files
        return (*self.pool.sources, *self.anchors.sources, *self.constraints.files, *against, *measured)

    @property
    def counts_tokens(self) -> bool:
        """Whether the budget is one of tokens."""
        return isinstance(self.budgets[0], Tokens)

    @property
    def needs(self) -> tuple[str, ...]:
        """What the selector takes beside embeddings and quality."""
        return getattr(self.selection, "needs", ())

    @property
    def uses_anchors(self) -> bool:
        """Whether samples of the target skill play a part."""
        return self.scores or "targets" in self.needs

    @property
    def scores(self) -> bool:
        """Whether rows are really scored."""
        return self.quality is not None and self.quality.scores

    @property
    def answer_likelihoods(self) -> AnswerLikelihoods:
        """What says how likely a model finds the solutions."""
        if self.likelihoods is not None:
            return self.likelihoods
        scorer = self.quality.influence if self.quality else OneShotInfluence()
        return AnswerLikelihoods(
            model=scorer.model, revision=scorer.revision, dtype=scorer.dtype, engine=scorer.engine,
            template=scorer.template, max_length=scorer.max_length,
        )  # fmt: skip

    def _check_template(self, trained: Template, evaluated: Template) -> None:
        """A model that was trained on one form of text is not measured on another."""
        if trained != evaluated:
            raise ConfigError(
                f"evaluate.template is {evaluated}, but the model is trained on texts of {trained}; make them the same."
            )

    def _check_signs(self, aggregate: Aggregate) -> None:
        """Half of what is compared with its style is below 0."""
        if aggregate in ("mean_gain", "relative") and getattr(self.selection, "scale", None) == "none":
            raise ConfigError(
                "selection.scale is 'none', but with quality.style about half of the qualities are negative, which "
                "such a scale cannot take. Take scale: rank (the default) or minmax."
            )

    def _check_selection(self) -> None:
        """Refuse now what the selector would refuse after hours of embedding and scoring."""
        kind, limits = self.selection.kind, self.constraints
        if not getattr(self.selection, "takes_limits", True) and (limits != ConstraintsConfig() or self.counts_tokens):
            what = "the budget is in tokens" if self.counts_tokens else "there are constraints"
            raise ConfigError(
                f"{what}, but selection.kind {kind!r} picks rows as a whole, which would not keep to them. Give a "
                "count or a fraction and no constraints, or take a kind that picks one by one, such as kcenter."
            )
        if self.counts_tokens and not limits.prefix_closed:
            raise ConfigError(
                "constraints.quotas: how many rows a budget in tokens comes to is not known beforehand, so at_least, "
                "share and shares of the budget mean nothing then. Give at_most as a number of rows."
            )
        if limits.given and not isinstance(self.selection, KCenterGreedy):
            raise ConfigError(
                f"constraints.given: selection.kind is {kind!r}, which does not look at distances to what is there "
                "already. Keep those rows out with constraints.exclude, or take kind kcenter."
            )
        if limits.min_distance is not None and not getattr(self.selection, "knows_distances", False):
            raise ConfigError(
                f"constraints.min_distance: selection.kind is {kind!r}, which knows no distances. Leave it out, or "
                "take kind kcenter or deita."
            )
        if len(self.budgets) > 1:
            self._check_prefixes(kind)

    def _check_prefixes(self, kind: str) -> None:
        if not getattr(self.selection, "prefix_closed", True):
            raise ConfigError(
                f"budget: several were given, but with selection.kind {kind!r} a smaller budget is another selection. "
                "Make a run for each."
            )
        if not self.constraints.prefix_closed:
            raise ConfigError(
                "budget: several were given, but constraints.quotas with at_least, share or a share of the budget as "
                "at_most make a smaller budget another selection. Make a run for each, or limit by numbers of rows "
                "(at_most: 500)."
            )
