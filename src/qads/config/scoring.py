"""The section that says what a row is worth: real influence of a sample, and what predicts the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from qads.errors import ConfigError, InputError
from qads.quality import (
    Aggregate,
    Difference,
    LabellingPlan,
    LMScorer,
    LocalEngine,
    OneShotInfluence,
    ProbeScorer,
    RetrievalScorer,
    Scorer,
    StyleControl,
)

__all__ = ["QualityConfig", "SavedScorer"]

_FORBID: Mapping[str, Any] = {"extra": "forbid"}


@dataclass(frozen=True, kw_only=True)
class SavedScorer:
    """A scorer that was fitted before: nothing is scored for real then."""

    kind: Literal["saved"] = "saved"
    """Name in a configuration."""
    path: str
    """The run that fitted it, or a folder that holds it."""
    allow: tuple[Difference, ...] = ()
    """What may differ from what it was fitted for: pool, model, template, anchors, embedding."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = _FORBID

    @property
    def folder(self) -> Path:
        """Where its files are."""
        path = Path(self.path).expanduser()
        return path / "scorer" if (path / "scorer" / "scorer.json").is_file() else path


@dataclass(frozen=True, kw_only=True)
class QualityConfig:
    """Real influence of a sample of the pool, and a scorer that predicts the rest."""

    sample: int = 256
    """Rows that are really scored, drawn evenly over the sources; the whole pool if it is not larger."""
    labelling: LabellingPlan | None = None
    """Score them in rounds, each where the scorer is least sure, and `sample` at most; null scores all at once."""
    influence: OneShotInfluence = field(default_factory=OneShotInfluence)
    """How they are scored."""
    style: StyleControl | None = None
    """What a row gives beyond others of its style; null counts what its style gives as its own."""
    scorer: Annotated[ProbeScorer | RetrievalScorer | LMScorer | SavedScorer, Field(discriminator="kind")] = field(
        default_factory=ProbeScorer
    )
    """What predicts the others."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = _FORBID

    def __post_init__(self) -> None:
        if self.sample < 10:
            raise InputError(f"quality.sample is {self.sample}; the scorer needs 10 scored rows at least.")
        scorer = self.scorer
        if self.labelling is not None and not isinstance(scorer, ProbeScorer | RetrievalScorer):
            raise ConfigError(
                f"quality.labelling: in rounds the scorer is fitted again and again, which a scorer of kind "
                f"{scorer.kind!r} is not made for. Take probe or retrieval, or leave labelling out."
            )
        if isinstance(scorer, SavedScorer):
            self._check_unscored()
        served = not isinstance(self.influence.engine, LocalEngine)
        if served and isinstance(scorer, ProbeScorer | LMScorer) and scorer.reads_model and scorer.model is None:
            raise ConfigError(
                f"quality.scorer: a {scorer.kind} scorer runs the scoring model here, which a server "
                f"({self.influence.engine.kind}) does not give. Name a model that can be opened here "
                "(--set quality.scorer.model=smollm2-135m), or let it read without one "
                "(--set quality.scorer.reads=[source,embedding,surface])."
            )

    def _check_unscored(self) -> None:
        """Refuse what says how many rows and anchors are scored; the rest of `influence` is what is compared."""
        given = {
            "sample": self.sample != QualityConfig.sample,
            "influence.stopping": self.influence.stopping != OneShotInfluence().stopping,
        }
        if clash := [f"quality.{name}" for name, is_given in given.items() if is_given]:
            raise ConfigError(
                f"{' and '.join(clash)}: quality.scorer was fitted before, so that nothing is scored for real. Leave "
                "it out, or fit a scorer here (quality.scorer: {kind: probe})."
            )

    @property
    def aggregate(self) -> Aggregate:
        """What quality is made of gains by."""
        return self.influence.aggregate if self.style is None else self.style.aggregate

    @property
    def n_watched(self) -> int:
        """Rows that may be labelled."""
        return self.sample * (1 if self.labelling is None else self.labelling.watched)

    @property
    def scores(self) -> bool:
        """Whether rows are really scored."""
        return not isinstance(self.scorer, SavedScorer)

    @property
    def scorer_method(self) -> Scorer:
        """The scorer to fit, its model that of the influence where none was named."""
        assert not isinstance(self.scorer, SavedScorer), "a saved scorer is not fitted"
        return self.scorer if isinstance(self.scorer, RetrievalScorer) else self.scorer.completed(self.influence)
