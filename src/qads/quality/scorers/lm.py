"""A language model fine-tuned to read a row and say its quality: the scorer of the paper (Ni et al. 2024).

    text      header · row · "Quality: " · level              trained on the level's token alone
    q(x)      Σ_l p(l | x) · v_l                              p among the levels' tokens, from one forward pass
    v_l       mean quality of the training rows of level l    levels are quantiles of their quality

What is held out is never trained on, and the model that was measured on it is the one that is kept.
"""

from __future__ import annotations

import dataclasses
import logging
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from pydantic import Field

from qads.choices import check_choices
from qads.cluster import Execution
from qads.errors import InputError
from qads.kernels.cost import Cost
from qads.models import ADAPTER, CausalLM, Dtype, Lora, check_extra, open_causal_lm, resolve_device, with_adapter
from qads.pool import Pool, Progress
from qads.prompts import QUALITY_QUESTION, Template
from qads.quality.engines import LocalEngine
from qads.quality.oneshot import OneShotInfluence
from qads.quality.scorers.base import FittedScorer, Labelled, MadeFor, Prediction, check_labels, model_of_influence
from qads.quality.scorers.calibration import Calibration, Scale
from qads.quality.scorers.levels import Levels
from qads.quality.scorers.rating import Ratings, RowRater, RowTexts, text_cost
from qads.quality.scorers.reading import ON_CUDA
from qads.quality.scorers.tuning import Tuning, read_files, write_files
from qads.quality.scorers.validation import (
    OutOfFold,
    Said,
    cross_calibrated,
    grouped_folds,
    held_out_part,
    source_means,
)

__all__ = ["FittedLM", "LMScorer"]

logger = logging.getLogger(__name__)

_FOLDS = 5
"""Parts of what was held out, each calibrated by the others."""
_FEWEST_HELD_OUT = 10


@dataclass(frozen=True, kw_only=True)
class LMScorer:
    """A causal language model, fine-tuned to say the quality of a row in levels.

    Fitting trains for minutes or hours and cannot be resumed; predicting can. It needs ``pip install 'qads[train]'``.
    """

    kind: Literal["lm"] = "lm"
    """Name of the method in a configuration."""
    model: str | None = None
    """Model that is fine-tuned; None takes the one that defines the influence (alone: smollm2-135m)."""
    revision: str | None = None
    """Branch, tag or commit of a hub id."""
    dtype: Dtype = "auto"
    """Precision of the model."""
    template: Annotated[Template, Field(discriminator="kind")] | None = None
    """How a row becomes text, before the question for its quality; None takes the template of the influence."""
    max_length: int | None = None
    """Context in tokens; None takes the model's. A longer row is neither trained on nor predicted."""
    levels: int = 5
    """Levels of quality, as many rows in each."""
    lora: Lora | None = dataclasses.field(default_factory=Lora)
    """Adapter that is trained; None (``null``) trains all weights."""
    epochs: int = 2
    """How often every row is trained on."""
    learning_rate: float = 5e-4
    """After the warm-up; training all weights needs a lower one."""
    batch_size: int = 8
    """Rows in a step of the optimiser."""
    held_out: float = 0.2
    """Share of the labelled rows that is not trained on: it measures the scorer, and calibrates it."""
    seed: int = 0
    """Seed of what is held out, of the adapter's first weights and of the order of the rows."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        check_choices(self)
        for name, least in (("levels", 2), ("epochs", 1), ("batch_size", 1), ("seed", 0)):
            if (found := getattr(self, name)) < least:
                raise InputError(f"LMScorer: {name} is {found}; it must be {least} at least.")
        if not self.learning_rate > 0:
            raise InputError(f"LMScorer: learning_rate is {self.learning_rate:g}; it must be above 0.")
        if not 0 < self.held_out < 1:
            raise InputError(f"LMScorer: held_out is {self.held_out:g}; it must lie between 0 and 1.")

    @property
    def reads_model(self) -> bool:
        """A language model has to read the rows."""
        return True

    def completed(self, influence: OneShotInfluence | None = None) -> LMScorer:
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
        made_for: MadeFor | None = None,
        execution: Execution | None = None,
        progress: Progress | None = None,
    ) -> FittedLM:
        """Fit on rows that were really scored.

        Args:
            candidates: the rows.
            quality: their real quality; rows of NaN (which could not be scored) are left out.
            embeddings: not read.
            groups: near duplicates have one number, and are held out together; by default rows of one problem are.
            made_for: what is known of their origin beside the sources.
            execution: device and batch size of predictions.
            progress: called with (rows trained on, rows in all epochs).

        Raises:
            AlignmentError: the lengths differ.
            InputError: too few rows have a quality, or all the same; or the extra is not installed.
            ModelError: the model cannot be opened, or a level is not one of its tokens.
        """
        execution, method = execution or Execution(), self.completed()
        self.check(execution)
        labelled = check_labels("LMScorer", candidates, quality, embeddings=None, groups=groups)
        made = dataclasses.replace(
            made_for or MadeFor(tuple(labelled.rows.sources)), reader=method.reader_identity(execution)
        )
        trained = _trained(method, labelled, execution, progress)
        fitted = FittedLM(
            method=method, levels=trained.levels, files=trained.files, n_labels=int((~trained.held).sum()),
            made_for=made, calibration=Calibration(Scale.of(trained.of.quality)),
        )  # fmt: skip
        ratings = fitted.rater(execution)(trained.of.rows.take(np.flatnonzero(trained.held)))
        held_out, calibration = _measured(trained, fitted.said(ratings), fitted.calibration.scale, method.seed)
        return dataclasses.replace(
            fitted, calibration=calibration, out_of_fold=held_out.spread_out(trained.of.places, len(candidates)),
            reading=ratings.cost, n_read=int(trained.held.sum()), fitting=trained.cost,
        )  # fmt: skip

    def check(self, execution: Execution) -> None:
        """Find now what would stop the fine-tuning once it begins, in this process.

        Raises:
            InputError: the extra is not installed.
            ModelError: the device is not here.
        """
        check_extra("LMScorer", "trl", "peft")
        resolve_device(execution.device)

    def open_model(self, execution: Execution, *, dtype: Dtype | None = None) -> CausalLM:
        """The model before it is fine-tuned; of a completed scorer."""
        assert self.model is not None
        return open_causal_lm(
            self.model, device=execution.device, dtype=execution.precision(dtype or self.dtype), revision=self.revision,
            trust_remote_code=execution.trust_remote_code,
        )  # fmt: skip

    def texts(self, lm: CausalLM) -> RowTexts:
        """Makes the texts that a model reads; of a completed scorer."""
        assert self.template is not None
        return RowTexts(lm, self.template, n_levels=self.levels, max_length=self.max_length)

    @property
    def tuning(self) -> Tuning:
        """How the model is fine-tuned."""
        return Tuning(
            lora=self.lora, epochs=self.epochs, learning_rate=self.learning_rate, batch_size=self.batch_size,
            seed=self.seed,
        )  # fmt: skip

    def reader_identity(self, execution: Execution) -> dict[str, Any]:
        """What makes the ratings beside what was learnt: weights, precision and texts; of a completed scorer."""
        assert self.model is not None and self.template is not None
        found = LocalEngine().identity(self.model, revision=self.revision, dtype=self.dtype, execution=execution)
        template = dataclasses.asdict(self.template) | {"ends": QUALITY_QUESTION}
        return {"model": found["model"], "dtype": found["dtype"], "template": template}


@dataclass(frozen=True, eq=False)
class _Trained:
    """A model that was trained, and on what."""

    of: Labelled
    """The rows that it can read."""
    held: Bool[np.ndarray, " n"]
    """Which of them it was not trained on."""
    levels: Levels
    files: dict[str, bytes]
    cost: Cost


def _trained(method: LMScorer, labelled: Labelled, execution: Execution, progress: Progress | None) -> _Trained:
    """Train on the rows that can be read, but for those that are held out."""
    assert method.model is not None
    started = time.perf_counter()
    lm = method.open_model(execution, dtype="float32" if method.lora is None else None)
    make, shape = method.texts(lm), lm.shape
    texts, reasons = make(labelled.rows)
    if reasons:
        logger.warning(
            "LMScorer: %d of %d scored rows do not fit and are left out (the first, %s: %s)",
            len(reasons), len(labelled.places), labelled.rows[min(reasons)].id, reasons[min(reasons)],
        )  # fmt: skip
        labelled = labelled.take(np.array(list(texts), np.int64))
    held = _held_out(method, labelled)
    levels, level = Levels.of(labelled.quality[~held], method.levels)
    if len(levels) < method.levels:
        logger.warning(
            "LMScorer: so many of %d qualities are equal that they make %d levels, not %d",
            len(level), len(levels), method.levels,
        )  # fmt: skip
    rows = [text for text, is_held in zip(texts.values(), held, strict=True) if not is_held]
    rated = [(*text, make.tokens.levels[at]) for text, at in zip(rows, level, strict=True)]
    files = method.tuning(lm, rated, name=method.model, dtype=execution.precision(method.dtype), progress=progress)
    cost = _training_cost(text_cost(shape, rows), method, time.perf_counter() - started)
    return _Trained(labelled, held, levels, files, cost)


def _held_out(method: LMScorer, of: Labelled) -> Bool[np.ndarray, " n"]:
    """The rows that are not trained on."""
    held = held_out_part(of.groups, of.rows.strings("source"), of.quality, share=method.held_out, seed=method.seed)
    if min(held.sum(), (~held).sum()) < _FEWEST_HELD_OUT or len(np.unique(of.groups[held])) < 2:
        raise InputError(
            f"LMScorer: held_out {method.held_out:g} of {len(held)} scored rows leaves {(~held).sum()} to train on and "
            f"{held.sum()} to measure it by; each part needs {_FEWEST_HELD_OUT}, which are no duplicates. Raise "
            "quality.sample, or set held_out between."
        )
    return held


def _measured(
    trained: _Trained, said: Float[np.ndarray, " h"], scale: Scale, seed: int
) -> tuple[OutOfFold, Calibration]:
    """What the scorer says of the rows held out, each calibrated by others of them; NaN for the other rows."""
    of, rows = trained.of, np.flatnonzero(trained.held)
    names = np.array(of.rows.strings("source"))
    held_out, calibration = cross_calibrated(
        of.quality[rows], Said(said, np.ones(len(rows))), fold=grouped_folds(of.groups[rows], _FOLDS, seed),
        sources=names[rows].tolist(), scale=scale,
    )  # fmt: skip
    by_mean = source_means(of.quality, names, trained.held.astype(np.int64))
    held_out = dataclasses.replace(held_out, source_mean=by_mean[rows])
    return held_out.spread_out(rows, len(trained.held)), calibration


def _training_cost(forward: Cost, method: LMScorer, seconds: float) -> Cost:
    """Of all epochs: the way back takes one pass more for the states, and another for weights that are trained."""
    passes = method.epochs * (2 if method.lora else 3)
    flops = None if forward.flops is None else forward.flops * passes
    return Cost(forward.tokens * method.epochs, forward.answer_tokens * method.epochs, flops, seconds=seconds)


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedLM(FittedScorer):
    """A language model that was fine-tuned to say the quality of rows."""

    method: LMScorer
    """Its settings, completed."""
    levels: Levels
    files: Mapping[str, bytes]
    """What was learnt, as files of safetensors and JSON: an adapter as PEFT reads it, or a model with its tokenizer."""

    kind: ClassVar[str] = "lm"

    @property
    def reads_embeddings(self) -> bool:
        """It reads texts."""
        return False

    @property
    def described(self) -> dict[str, Any]:
        """Settings, and what became of them."""
        method = self.method
        held = 0 if self.out_of_fold is None else int((self.out_of_fold.fold >= 0).sum())
        return {
            "kind": "lm", "model": method.model, "chosen": f"{len(self.levels)} levels", "labels": self.n_labels,
            "held_out": held, "epochs": method.epochs, "learning_rate": method.learning_rate,
            "lora": None if method.lora is None else dataclasses.asdict(method.lora),
        }  # fmt: skip

    def reader_now(self, execution: Execution) -> dict[str, Any]:
        """The model that would be fine-tuned here and now."""
        return self.method.reader_identity(execution)

    def opened(self, execution: Execution) -> Callable[[Pool, Float[np.ndarray, "n d"] | None], Prediction]:
        """Ready to predict rows, the model open."""
        rate = self.rater(execution)

        def predict(pool: Pool, embeddings: Float[np.ndarray, "n d"] | None) -> Prediction:
            ratings = rate(pool)
            quality = self.calibration.real(self.said(ratings))
            bounds = self.calibration.bounds(quality, spread=np.ones(len(pool)), sources=pool.strings("source"))
            quality, low, high = (part.astype(np.float32) for part in (quality, bounds[:, 0], bounds[:, 1]))
            return Prediction(quality, low, high, ratings.reasons, ratings.cost)

        return predict

    def rater(self, execution: Execution) -> RowRater:
        """The fine-tuned model, open."""
        if self.method.lora is None:
            with tempfile.TemporaryDirectory() as folder:
                where = write_files(Path(folder), None, self.files)
                lm = open_causal_lm(str(where), device=execution.device, dtype=execution.precision(self.method.dtype))
        else:
            lm = with_adapter(
                self.method.open_model(execution), self.method.lora.config, self.files[ADAPTER], who="LMScorer"
            )
        size = execution.pass_size(lm.device.type) or ON_CUDA
        return RowRater(lm, self.method.texts(lm), n_levels=len(self.levels), max_tokens_per_batch=size)

    def said(self, ratings: Ratings) -> Float[np.ndarray, " n"]:
        """The expected quality, on the scale of the calibration; NaN where there is no rating."""
        return self.calibration.scale.forward(self.levels.expectation(ratings.probabilities))

    def contents(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """What a folder keeps of it, beside the files of the model."""
        return {"method": dataclasses.asdict(self.method)}, self.levels.arrays()

    def save(self, folder: str | Path) -> None:
        """Keep it in a folder: scorer.json, scorer.safetensors, and the adapter in `adapter` (else `model`)."""
        super().save(folder)
        write_files(Path(folder), self.method.lora, self.files)

    @classmethod
    def load(
        cls, method: LMScorer, numbers: Mapping[str, Any], arrays: Mapping[str, np.ndarray], *, folder: Path,
        **common: Any,
    ) -> FittedLM:  # fmt: skip
        """What `save` kept."""
        files = read_files(folder, method.lora)
        return cls(method=method, levels=Levels.load(arrays), files=files, **common)
