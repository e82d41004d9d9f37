"""A probe: what the model that defines the influence makes of a row, in one forward pass, mapped to its quality.

The paper trains a scorer of its own (Ni et al. 2024, arXiv:2404.01067). A probe reads what the model knows already:
states of several layers, its likelihoods, beside the embedding, source and kind, and what shows on the surface
(`features.py`); regressors (`regressors.py`) are chosen by nested cross-validation (`validation.py`) and calibrated
(`calibration.py`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from threadpoolctl import threadpool_limits

from qads.choices import check_choices
from qads.cluster import Execution, ShardStore
from qads.errors import InputError
from qads.kernels.cost import Cost
from qads.kernels.trees import Trees
from qads.models import Dtype
from qads.pool import Pool, Progress
from qads.prompts import ChatTemplate, ExemplarTemplate
from qads.quality.engines import LocalEngine
from qads.quality.oneshot import OneShotInfluence
from qads.quality.scorers.base import (
    FEWEST,
    FittedScorer,
    Labelled,
    MadeFor,
    Prediction,
    check_labels,
    model_of_influence,
)
from qads.quality.scorers.calibration import Calibration, Scale
from qads.quality.scorers.choosing import choose
from qads.quality.scorers.features import (
    READS,
    Reads,
    Standard,
    blocks_of,
    group_names,
    needs_model,
    of_rows,
)
from qads.quality.scorers.leaving_out import Curve, leave_out
from qads.quality.scorers.reading import Readings, RowReader, read_rows
from qads.quality.scorers.regressors import Boosted, Candidate, Family, KernelMachine
from qads.quality.scorers.validation import OutOfFold, Said, grouped_folds

__all__ = ["FittedProbe", "ProbeScorer"]

_MANY_ROWS = 2000
"""Labels from which on a linear system is large enough for several threads."""


@dataclass(frozen=True, kw_only=True)
class ProbeScorer:
    """Regression on what one forward pass through the scoring model shows of a row."""

    kind: Literal["probe"] = "probe"
    """Name of the method in a configuration."""
    model: str | None = None
    """Model that reads the rows; None takes the one that defines the influence (alone: smollm2-135m)."""
    revision: str | None = None
    """Branch, tag or commit of a hub id."""
    dtype: Dtype = "auto"
    """Precision of the model."""
    template: ExemplarTemplate | ChatTemplate | None = None
    """How a row becomes text; None takes the template of the influence."""
    max_length: int | None = None
    """Context in tokens; None takes the model's."""
    reads: tuple[Reads, ...] = READS
    """What of a row is read; without ``likelihood`` and ``states`` no model runs."""
    depths: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)
    """Shares of the model's depth at which states are taken."""
    families: tuple[Family, ...] = ("ridge", "kernel", "boosting")
    """Regressors to choose from: linear ridge, kernel ridge, boosted trees."""
    folds: int = 5
    """Folds of the cross-validation."""
    seed: int = 0
    """Seed of the folds."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        check_choices(self)
        for name, least in (("reads", 1), ("families", 1), ("depths", 1 if "states" in self.reads else 0)):
            if len(found := getattr(self, name)) < least or len(set(found)) < len(found):
                raise InputError(f"ProbeScorer: {name} is {list(found)}; it must name one at least, each once.")
        if self.folds < 2:
            raise InputError(f"ProbeScorer: folds is {self.folds}; cross-validation needs 2 at least.")
        if self.seed < 0:
            raise InputError(f"ProbeScorer: seed is {self.seed}; a seed is 0 or more.")
        if not all(0 <= depth <= 1 for depth in self.depths):
            raise InputError(
                f"ProbeScorer: depths is {list(self.depths)}; each must lie between 0, the embedding, and 1, the last "
                "layer."
            )

    @property
    def reads_model(self) -> bool:
        """Whether a language model has to read the rows."""
        return needs_model(self.reads)

    def completed(self, influence: OneShotInfluence | None = None) -> ProbeScorer:
        """With the model, precision and template of `influence` where none were named."""
        taken = model_of_influence(
            influence or OneShotInfluence(), named=self.model, template=self.template, max_length=self.max_length
        )
        return dataclasses.replace(self, **taken)

    def fit(
        self,
        candidates: Pool,
        quality: Float[np.ndarray, " k"],
        *,
        embeddings: Float[np.ndarray, "k d"] | None = None,
        groups: Int[np.ndarray, " k"] | None = None,
        readings: Readings | None = None,
        judges: Bool[np.ndarray, " k"] | None = None,
        curve: bool = False,
        also: Float[np.ndarray, "h k"] | None = None,
        made_for: MadeFor | None = None,
        execution: Execution | None = None,
        shards: ShardStore | None = None,
        progress: Progress | None = None,
    ) -> FittedProbe:
        """Fit on rows that were really scored.

        Args:
            candidates: the rows.
            quality: their real quality; rows of NaN (which could not be scored) are left out.
            embeddings: their vectors.
            groups: near duplicates have one number, and never lie in two folds; by default rows of one problem do.
            readings: what `read` made of them, if that is known already.
            judges: rows drawn at random, which measure and calibrate the scorer; all of them by default.
            curve: measure a learning curve too, which takes as long again.
            also: other qualities of the same rows, such as what a part of the anchors says: how well each is predicted
                out of fold by the regressor that is chosen here.
            made_for: what is known of their origin beside the sources.
            execution: device, batch size, and who reads.
            shards: where finished shards of what is read are kept, so that a killed run goes on; memory by default.
            progress: called with (rows read, rows).

        Raises:
            AlignmentError: the lengths differ.
            InputError: fewer than 10 rows have a quality, or what is to be read is missing.
            ModelError: the model cannot be opened.
        """
        execution, method = execution or Execution(), self.completed()
        if "embedding" in self.reads and embeddings is None:
            raise InputError(
                "ProbeScorer: reads has 'embedding', but no embeddings were given. Give embeddings=…, or name in reads "
                "what is to be read without it."
            )
        labelled = check_labels("ProbeScorer", candidates, quality, embeddings=embeddings, groups=groups, judges=judges)
        if readings is not None:
            readings = readings.take(labelled.places)
        elif self.reads_model:
            readings = method.read(labelled.rows, execution, progress, shards=shards)
        names = group_names(labelled.rows)
        blocks = blocks_of(labelled.rows, self.reads, groups=names, embeddings=labelled.embeddings, readings=readings)
        if readings is not None and any(readings.reasons):
            read = _readable(readings)
            labelled, blocks = labelled.take(read), of_rows(blocks, read)
        made = dataclasses.replace(
            made_for or MadeFor(tuple(labelled.rows.sources)), reader=method.reader_identity(execution)
        )
        # Many small systems: threads would spend their time waiting for each other.
        with threadpool_limits(1 if len(labelled.rows) < _MANY_ROWS else None, user_api="blas"):
            return _Fitting(method, labelled, blocks, len(candidates)).fit(
                names, made, readings.cost if readings else Cost(), curve=curve, also=() if also is None else also
            )

    def open_reader(self, execution: Execution) -> RowReader:
        """The model, ready to read rows; of a completed scorer."""
        assert self.model is not None and self.template is not None
        return RowReader.open(
            self.model, self.template, revision=self.revision, dtype=self.dtype, depths=self.depths,
            max_length=self.max_length, execution=execution,
        )  # fmt: skip

    def read(
        self, rows: Pool, execution: Execution, progress: Progress | None = None, *, shards: ShardStore | None = None
    ) -> Readings:
        """What the model makes of rows, of a completed scorer; shards that are finished are not read again."""
        return read_rows(self.open_reader, rows, execution, shards=shards, progress=progress)

    def reader_identity(self, execution: Execution) -> dict[str, Any]:
        """What makes the readings: weights, precision and template; nothing where no model reads."""
        if not self.reads_model:
            return {}
        assert self.model is not None and self.template is not None
        found = LocalEngine().identity(self.model, revision=self.revision, dtype=self.dtype, execution=execution)
        return {"model": found["model"], "dtype": found["dtype"], "template": dataclasses.asdict(self.template)}


def _readable(readings: Readings) -> Int[np.ndarray, " r"]:
    """The rows that were read.

    Raises:
        InputError: they are too few to be fitted on.
    """
    read = np.flatnonzero([reason is None for reason in readings.reasons])
    if len(read) < FEWEST:
        reason = next(filter(None, readings.reasons))
        raise InputError(
            f"ProbeScorer: of {len(readings.reasons)} scored rows the model can read {len(read)} (of another: "
            f"{reason}); it needs {FEWEST} at least. Raise quality.sample, or name in reads what is read without the "
            "model."
        )
    return read


@dataclass(frozen=True, eq=False)
class _Fitting:
    """Rows and their features, ready for regressors."""

    method: ProbeScorer
    labelled: Labelled
    blocks: dict[str, Float[np.ndarray, "n _"]]
    n_given: int
    """Candidates, labelled or not."""

    def fit(
        self, groups: tuple[str, ...], made_for: MadeFor, reading: Cost, *, curve: bool,
        also: Iterable[Float[np.ndarray, " k"]],
    ) -> FittedProbe:  # fmt: skip
        real, method = self.labelled.quality, self.method
        out_of_fold, calibration, points = self.left_out(curve=curve)
        standard, machine, boosted, chosen = self._fitted(np.ones(len(real), np.bool_))
        others = [self.of(quality, chosen.family).left_out()[0] for quality in also]
        return FittedProbe(
            method=method, groups=groups, standard=standard, machine=machine, boosted=boosted, chosen=chosen,
            made_for=made_for, calibration=calibration, n_labels=len(real), out_of_fold=out_of_fold,
            curve=points,
            also=tuple(each for each in others if each is not None),
            reading=reading, n_read=len(real) if method.reads_model else 0,
        )  # fmt: skip

    def left_out(self, *, curve: bool = False) -> tuple[OutOfFold | None, Calibration, Curve]:
        """What is said of rows that were not fitted on."""
        return leave_out(
            self.labelled, self._fit_and_say, n_rows=self.n_given, n_folds=self.method.folds, seed=self.method.seed,
            curve=curve,
        )  # fmt: skip

    def of(self, quality: Float[np.ndarray, " k"], family: Family) -> _Fitting:
        """The same rows with another quality, for one kind of regressor."""
        labelled = dataclasses.replace(self.labelled, quality=quality[self.labelled.places])
        return dataclasses.replace(self, method=dataclasses.replace(self.method, families=(family,)), labelled=labelled)

    def _fitted(self, rows: Bool[np.ndarray, " n"]) -> tuple[Standard, KernelMachine, Boosted | None, Candidate]:
        """The regressor that is best inside these rows, fitted on them all."""
        own = of_rows(self.blocks, np.flatnonzero(rows))
        standard = Standard.of(own)
        x, y = standard.apply(own), Scale.of(self.labelled.quality).forward(self.labelled.quality[rows])
        inner = grouped_folds(self.labelled.groups[rows], self.method.folds, self.method.seed)
        best, best_kernel = choose(x, y, inner, self.method.families)
        boosted = Boosted.fit(x, y) if best.family == "boosting" else None
        return standard, KernelMachine.fit(x, y, best_kernel), boosted, best

    def _fit_and_say(self, fit: Bool[np.ndarray, " n"], on: Bool[np.ndarray, " n"]) -> Said:
        standard, machine, boosted, _ = self._fitted(fit)
        x = standard.apply(of_rows(self.blocks, np.flatnonzero(on)))
        return _said(x, machine, boosted)


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedProbe(FittedScorer):
    """A probe that was fitted."""

    method: ProbeScorer
    """Its settings, completed."""
    groups: tuple[str, ...]
    """Sources and kinds that were seen; a row of another is predicted by the rest."""
    standard: Standard
    machine: KernelMachine
    """Predicts where it was chosen; says always how far a row is from those that were labelled."""
    boosted: Boosted | None
    """Predicts where trees were chosen."""
    chosen: Candidate

    kind: ClassVar[str] = "probe"

    @property
    def reads_embeddings(self) -> bool:
        """Whether rows need their vectors."""
        return "embedding" in self.method.reads

    @property
    def described(self) -> dict[str, Any]:
        """Settings, and the regressor that was chosen."""
        method = self.method
        return {
            "kind": "probe", "chosen": str(self.chosen), "reads": list(method.reads),
            "model": method.model if method.reads_model else None, "labels": self.n_labels,
        }  # fmt: skip

    def reader_now(self, execution: Execution) -> dict[str, Any]:
        """The model that would read the rows here and now."""
        return self.method.reader_identity(execution)

    def opened(self, execution: Execution) -> Callable[[Pool, Float[np.ndarray, "n d"] | None], Prediction]:
        """Ready to predict rows, the model open."""
        reader = self.method.open_reader(execution) if self.method.reads_model else None

        def predict(pool: Pool, embeddings: Float[np.ndarray, "n d"] | None) -> Prediction:
            return self.predict_read(pool, embeddings, reader(pool) if reader else None)

        return predict

    @threadpool_limits.wrap(1, user_api="blas")  # Of several threads it would depend on how many there are.
    def predict_read(
        self, pool: Pool, embeddings: Float[np.ndarray, "n d"] | None, readings: Readings | None
    ) -> Prediction:
        """Predict rows of which it is known what the model makes of them."""
        blocks = blocks_of(pool, self.method.reads, groups=self.groups, embeddings=embeddings, readings=readings)
        unread = {i: reason for i, reason in enumerate(readings.reasons) if reason} if readings else {}
        read = np.array([i for i in range(len(pool)) if i not in unread], np.int64)
        quality, bounds = np.full(len(pool), np.nan, np.float32), np.full((len(pool), 2), np.nan, np.float32)
        if len(read):
            x = self.standard.apply(of_rows(blocks, read))
            said = _said(x, self.machine, self.boosted)
            found = self.calibration.real(said.value)
            sources = pool.take(read).strings("source")
            quality[read] = found
            bounds[read] = self.calibration.bounds(found, spread=said.spread, sources=sources)
        return Prediction(quality, bounds[:, 0], bounds[:, 1], unread, readings.cost if readings else Cost())

    def contents(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """What a folder keeps of it."""
        arrays = {"mean": self.standard.mean, "factor": self.standard.factor}
        arrays |= {f"machine_{name}": array for name, array in self.machine.arrays().items()}
        if self.boosted is not None:
            arrays |= {"boosted_mean": self.boosted.mean, "components": self.boosted.components}
            arrays |= {f"trees_{name}": array for name, array in self.boosted.trees.arrays().items()}
        numbers = {
            "method": dataclasses.asdict(self.method), "groups": list(self.groups), "machine": self.machine.numbers(),
            "chosen": dataclasses.asdict(self.chosen),
            "trees": None if self.boosted is None else self.boosted.trees.numbers(),
        }  # fmt: skip
        return numbers, arrays

    @classmethod
    def load(
        cls, method: ProbeScorer, numbers: Mapping[str, Any], arrays: Mapping[str, np.ndarray], *, folder: Path,
        **common: Any,
    ) -> FittedProbe:  # fmt: skip
        """What `contents` gave; nothing else lies in its folder."""
        boosted = None
        if numbers["trees"] is not None:
            trees = Trees.load(_named(arrays, "trees_"), numbers["trees"])
            boosted = Boosted(arrays["boosted_mean"], arrays["components"], trees)
        return cls(
            method=method, groups=tuple(numbers["groups"]), standard=Standard(arrays["mean"], arrays["factor"]),
            machine=KernelMachine.load(_named(arrays, "machine_"), numbers["machine"]), boosted=boosted,
            chosen=Candidate(**numbers["chosen"]), **common,
        )  # fmt: skip


def _said(x: Float[np.ndarray, "n p"], machine: KernelMachine, boosted: Boosted | None) -> Said:
    """What the regressor that was chosen says of rows, with the spread that their intervals take from the kernel."""
    if boosted is None:
        return Said(*machine.predict_with_spread(x))
    return Said(boosted.predict(x), machine.spread(x))


def _named(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """The arrays whose names begin so, without that beginning."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
