"""An experiment, as YAML: the shared part of a run, the arms that select from it, and the grid.

What a run's configuration says of pool, cleaning, embedding, anchors and quality stands here under the same names; in
the place of one selection and one budget there are arms and budgets.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from qads.amounts import Amount, Tokens, parse_amount, parse_budget
from qads.choices import check_choices
from qads.cluster import Execution
from qads.config import (
    PROGRAMS_BY_HAND,
    AnchorsConfig,
    CleanConfig,
    ConstraintsConfig,
    EvaluateConfig,
    PoolConfig,
    QualityConfig,
    RunConfig,
)
from qads.config.limits import Sources
from qads.embed import Embedder, SentenceEmbedder
from qads.errors import ConfigError
from qads.quality import AnswerLikelihoods, OneShotInfluence
from qads.selection import KCenterGreedy, RandomSelection, Selector
from qads.settings import read_settings
from qads.train import FineTuning

__all__ = ["UNTRAINED", "Arm", "Experiment", "JudgingConfig", "load_experiment"]

UNTRAINED = "untrained"
"""What the base model as it is stands under beside the arms."""

_FORBID: Mapping[str, Any] = {"extra": "forbid"}
_NAME = re.compile(r"[\w][\w.+-]*")
Seen = Literal["measured", "within-source", "shuffled", "none"]
Match = Literal["rows", "tokens"]
Amounts = Annotated[
    tuple[Amount, ...], BeforeValidator(lambda v: found if isinstance(found := parse_budget(v), tuple) else (found,))
]
Seeds = Annotated[tuple[int, ...], BeforeValidator(lambda v: (v,) if isinstance(v, int) else v)]


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One way of choosing rows: a selector, the quality it sees, and what is fixed about the sources beforehand."""

    selection: Annotated[Selector, Field(discriminator="kind")] = field(default_factory=KCenterGreedy)
    """Which rows to keep."""
    quality: Seen | None = None
    """What the selector sees: quality as it was ``measured``; its rank ``within-source``, so that the source says
    nothing; ``shuffled`` over the rows by the seed, scores that say nothing; or ``none``, for which the arm does not
    pay either. By default measured, where the selector reads it."""
    constraints: ConstraintsConfig = field(default_factory=ConstraintsConfig)
    """As in a run, but for files of rows: quotas of a column, such as a share of general data; a least distance."""
    source_shares_of: str | None = None
    """Another arm: of every source exactly as many rows as that one took in the same cell."""
    best_sources: int | None = None
    """Only rows of so many sources, those of the highest mean quality; more where these have too few rows."""
    budget: Annotated[Amount | None, BeforeValidator(lambda v: None if v is None else parse_amount(v, "budget: "))] = (
        None
    )
    """In the place of the experiment's budgets, to which the arm is then not matched: ``100%`` for the whole pool."""
    seeds: Seeds = ()
    """In the place of the experiment's. Rows drawn at random move an arm further than another order of the same rows,
    and the reference is in every comparison: it is worth more seeds than the rest. ``--set seeds=``
    leaves these as they are; ``--only seed=0`` takes one of all."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = _FORBID

    def __post_init__(self) -> None:
        check_choices(self)
        fixed = [name for name in ("source_shares_of", "best_sources", "budget") if getattr(self, name) is not None]
        if "source_shares_of" in fixed and len(fixed) > 1:
            raise ConfigError(
                f"{' and '.join(fixed)} exclude each other: the other arm says how many rows of a source."
            )
        if self.constraints.files:
            raise ConfigError(
                "constraints: exclude, include and given name files, which would make the pool of this arm another "
                "one than that of the rest. Rows that no arm may choose are named by the experiment: exclude: FILES"
            )
        if self.constraints.quotas and self.source_shares_of is not None:
            raise ConfigError("constraints.quotas and source_shares_of both say how many rows of what; give one.")
        limits = [*fixed, *(["constraints"] if self.constraints != ConstraintsConfig() else [])]
        if limits not in ([], ["budget"]) and not getattr(self.selection, "takes_limits", True):
            raise ConfigError(
                f"{limits[-1]}: selection.kind {self.selection.kind!r} picks rows as a whole, which would not keep to "
                "sources. Take a kind that picks one by one, such as random, top-quality or kcenter."
            )
        if self.best_sources is not None and self.best_sources < 1:
            raise ConfigError(f"best_sources is {self.best_sources}; it must be 1 at least.")
        if self.quality == "none" and self.selection.kind in ("top-quality", "deita"):
            raise ConfigError(f"quality is none, but selection.kind {self.selection.kind!r} ranks by nothing else.")

    @property
    def sees(self) -> Seen:
        """The quality that the selector is given."""
        if self.quality is not None:
            return self.quality
        return "measured" if getattr(self.selection, "reads_quality", False) else "none"

    @property
    def needs_quality(self) -> bool:
        """Whether anything of it hangs on quality."""
        return self.sees != "none" or self.best_sources is not None

    @property
    def draws(self) -> bool:
        """Whether another seed may choose other rows, even if no other arm does."""
        if self.sees == "shuffled":
            return True
        if isinstance(self.selection, KCenterGreedy) and self.selection.start != "random":
            return False
        return any(each.name == "seed" for each in dataclasses.fields(self.selection))

    def seeded(self, seed: int) -> Selector:
        """The selector with the seed of a cell, where it has one that matters."""
        has_seed = any(each.name == "seed" for each in dataclasses.fields(self.selection))
        return dataclasses.replace(self.selection, seed=seed) if self.draws and has_seed else self.selection


@dataclass(frozen=True, kw_only=True)
class JudgingConfig:
    """How differences are judged."""

    confidence: float = 0.95
    """Of every interval by itself, and of all of a family together."""
    tie: float = 0.0
    """Difference up to which an item counts as a tie, in the unit of the measure."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = _FORBID

    def __post_init__(self) -> None:
        if not 0 < self.confidence < 1:
            raise ConfigError(f"confidence is {self.confidence}; it must lie between 0 and 1.")
        if not self.tie >= 0:
            raise ConfigError(f"tie is {self.tie}; it must be 0 or more.")


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Arms × budgets × ways of matching × base models × seeds, over one pool."""

    pool: PoolConfig
    """Candidates."""
    arms: dict[str, Arm]
    """Name -> what chooses."""
    budgets: Amounts
    """What every arm selects: rows, shares of the pool, or ``2M tokens``."""
    match: tuple[Match, ...] = ("rows",)
    """What is the same for all arms of a comparison: the number of rows; the number of tokens that `tokens_of` has in
    so many rows; or first one, then the other."""
    tokens_of: str | None = None
    """The arm whose tokens the others are matched to."""
    models: Sources = ("smollm2-135m",)
    """Base models that are trained."""
    scored_by: str = "each"
    """Model by which rows are scored: ``each`` base model for itself, or one that is named, for all."""
    seeds: Seeds = (0, 1, 2)
    """Of the draws of arms that draw, and of every training. What is shared (scored sample, scorer) has `seed`."""
    reference: str = "random"
    """The arm that every other is compared with."""
    contrasts: dict[str, Sources] = field(default_factory=dict[str, Sources])
    """Arm -> arms that it is compared with as well. An arm whose source shares another takes is compared with that one
    anyway: what is between them is what choosing rows is worth."""
    train: FineTuning | None = None
    """How every cell is trained; its model and seed are the cell's. Null selects only."""
    evaluate: EvaluateConfig | None = None
    """How trained models are evaluated, and the untrained ones; null leaves the models to others."""
    judging: JudgingConfig = field(default_factory=JudgingConfig)
    """How differences are judged."""
    keep_models: bool = False
    """Keep trained weights after their evaluation, and not only until then."""
    exclude: Sources = ()
    """Files that name rows which no arm chooses, as `constraints.exclude` of a run: what was trained on before, or
    problems of the evaluation where the pool is not cleaned."""
    clean: CleanConfig | None = None
    """As in a run."""
    embedding: Annotated[Embedder, Field(discriminator="kind")] = field(default_factory=SentenceEmbedder)
    """As in a run."""
    anchors: AnchorsConfig = field(default_factory=AnchorsConfig)
    """As in a run."""
    quality: QualityConfig | None = field(default_factory=QualityConfig)
    """As in a run; the model of the influence follows `scored_by`."""
    likelihoods: AnswerLikelihoods | None = None
    """As in a run."""
    execution: Execution = field(default_factory=Execution)
    """As in a run."""
    seed: int = 0
    """As in a run."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = _FORBID

    def __post_init__(self) -> None:
        check_choices(self)
        if not self.seeds:
            raise ConfigError("seeds: there must be one at least.")
        if not self.arms:
            raise ConfigError(
                "arms: there is none; name what is compared, such as arms: {random: {selection: {kind: random}}, "
                "qads: {selection: {kind: kcenter}}}."
            )
        self._check_names()
        self._check_arms()
        for name in ("models", "match"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise ConfigError(f"{name}: {list(values)}: there must be one at least, and none twice.")
        given: dict[str, tuple[int, ...]] = {"seeds": self.seeds}
        for where, seeds in (given | {f"arms.{name}.seeds": arm.seeds for name, arm in self.arms.items()}).items():
            if len(set(seeds)) < len(seeds) or any(not 0 <= seed < 2**32 for seed in seeds):
                raise ConfigError(f"{where}: {list(seeds)}: each must be 0 at least and below 2³², and none twice.")
        counted = any(not isinstance(amount, Tokens) for amount in self.budgets)
        if "tokens" in self.match and counted and self.tokens_of is None:
            raise ConfigError(f"tokens_of: match has tokens; name the arm that is matched to ({', '.join(self.arms)}).")
        if "-" in (*self.pool.sources, *self.anchors.sources):
            raise ConfigError("pool and anchors of an experiment are read from files, since it goes on in many starts.")
        self._check_training()
        if self.quality is not None:
            model = self.quality.influence.model
            if model not in (OneShotInfluence().model, *self.models, self.scored_by):
                raise ConfigError(
                    f"quality.influence.model is {model!r}; in an experiment say it as scored_by: {model}"
                )

    def _check_names(self) -> None:
        for name in self.arms:
            if not _NAME.fullmatch(name):
                raise ConfigError(
                    f"arms: {name!r} is no name for a folder; use letters, digits, '.', '_', '+' and '-'."
                )
            if name == UNTRAINED:
                raise ConfigError(f"arms: {name!r} is what results call the base model as it is; take another name.")
        asked = {"reference": self.reference, "tokens_of": self.tokens_of}
        asked |= {f"arms.{name}.source_shares_of": arm.source_shares_of for name, arm in self.arms.items()}
        asked |= {f"contrasts ({name})": name for name in self.contrasts}
        asked |= {f"contrasts.{name}": other for name, others in self.contrasts.items() for other in others}
        for where, name in asked.items():
            if name is not None and name not in self.arms:
                raise ConfigError(f"{where}: {name!r} is no arm; there are {', '.join(self.arms)}.")

    def _check_arms(self) -> None:
        for name, arm in self.arms.items():
            other = self.arms.get(arm.source_shares_of or "")
            if other is not None and (other is arm or other.source_shares_of or other.budget is not None):
                raise ConfigError(
                    f"arms.{name}.source_shares_of: {arm.source_shares_of} has no shares of its own there."
                )
            if getattr(arm.selection, "seed", 0) != 0:
                raise ConfigError(
                    f"arms.{name}.selection.seed: the seeds of an arm are those of its cells; say seeds: of the "
                    f"experiment, or arms.{name}.seeds."
                )
            if arm.needs_quality and self.quality is None:
                raise ConfigError(f"arms.{name}: needs quality, but quality is null; let it be measured.")
            self.run_config(arm.selection, arm.budget or self.budgets[0], self.models[0])
        own = self.arms[self.tokens_of] if self.tokens_of else None
        if own is not None and (own.budget is not None or own.source_shares_of):
            raise ConfigError(f"tokens_of: {self.tokens_of} has no number of tokens of its own; name another arm.")

    def _check_training(self) -> None:
        if self.train is None:
            if self.evaluate is not None:
                raise ConfigError("evaluate: there is nothing to evaluate, since train is null; say how to train.")
            return
        if self.train.model not in (FineTuning().model, *self.models):
            raise ConfigError(
                f"train.model is {self.train.model!r}; in an experiment say it as models: {self.train.model}"
            )
        if self.train.revision is not None:
            raise ConfigError(
                "train.revision: the models of an experiment are folders or hub ids as they are; leave it."
            )
        if self.train.seed != 0:
            raise ConfigError(
                "train.seed: the seeds of trainings are those of the cells; say seeds: of the experiment."
            )
        if self.evaluate is not None and self.evaluate.revision is not None:
            raise ConfigError(
                "evaluate.revision: the models of an experiment are folders or hub ids as they are; leave it."
            )
        if self.evaluate is not None and self.evaluate.model is not None:
            raise ConfigError("evaluate.model: the models are those of the experiment; leave it out.")
        if self.evaluate is not None and self.evaluate.template != self.train.template:
            raise ConfigError(
                "evaluate.template is not train.template: models would be evaluated on texts that look otherwise than "
                "those they were trained on. Say the same in both."
            )

    @property
    def steps_by_match(self) -> bool:
        """Whether a step is so many rows where rows are matched, and so many tokens where tokens are."""
        return self.train is not None and self.train.batch_tokens is None

    def seeds_of(self, arm: str) -> tuple[int, ...]:
        """The seeds of an arm."""
        return self.arms[arm].seeds or self.seeds

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """The seeds of all arms, those of the experiment first."""
        return tuple(dict.fromkeys((*self.seeds, *(seed for arm in self.arms.values() for seed in arm.seeds))))

    def scoring_model(self, model: str) -> str:
        """What scores rows for a base model."""
        return model if self.scored_by == "each" else self.scored_by

    @property
    def scoring_models(self) -> tuple[str, ...]:
        """Every model that scores."""
        return tuple(dict.fromkeys(map(self.scoring_model, self.models)))

    def run_config(self, selection: Selector, budget: Amount, scoring_model: str) -> RunConfig:
        """The configuration of the shared run, as one of a run with this selection."""
        quality = self.quality and dataclasses.replace(
            self.quality, influence=dataclasses.replace(self.quality.influence, model=scoring_model)
        )
        if not getattr(selection, "takes_limits", True) and isinstance(budget, Tokens):
            budget = 1  # Such a selector is asked for rows until they come to the tokens.
        in_use = quality is None or quality.scores or "targets" in getattr(selection, "needs", ())
        return RunConfig(
            pool=self.pool, budget=budget, clean=self.clean, embedding=self.embedding,
            anchors=self.anchors if in_use else AnchorsConfig(),
            quality=quality, selection=selection, likelihoods=self.likelihoods, execution=self.execution,
            seed=self.seed, constraints=ConstraintsConfig(exclude=self.exclude),
        )  # fmt: skip

    def shared_config(self, scoring_model: str) -> RunConfig:
        """The same before any selection."""
        return self.run_config(RandomSelection(), 1, scoring_model)

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """(arm, other) of every comparison: all with the reference, then the contrasts."""
        found = [(name, self.reference) for name in self.arms if name != self.reference]
        found += [(arm.source_shares_of, name) for name, arm in self.arms.items() if arm.source_shares_of is not None]
        found += [(name, other) for name, others in self.contrasts.items() for other in others]
        return tuple(dict.fromkeys(pair for pair in found if pair[0] != pair[1]))


def load_experiment(source: Path | str | Mapping[str, Any], overrides: Sequence[str] = ()) -> Experiment:
    """Read an experiment.

    Args:
        source: a YAML file, or what one would hold.
        overrides: ``a.b=c`` settings on top, values in YAML.

    Raises:
        ConfigError: a key or value is wrong; names it by its dotted path, and the nearest known key. Also where
            a file gives programs that a model wrote leave to run, or to run without walls: that is said by hand.
    """
    return read_settings(Experiment, source, overrides, by_hand=PROGRAMS_BY_HAND)
