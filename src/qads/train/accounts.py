"""What a training comes to, before and after it: rows, tokens, steps, operations, losses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from qads.kernels.cost import CostRule, ModelShape, call_cost
from qads.kernels.target import TokenTarget
from qads.train.schedule import Schedule
from qads.train.texts import Affected, FittedRows

__all__ = ["Done", "OnStep", "StepLog", "Trained", "TrainingPlan"]


@dataclass(frozen=True)
class StepLog:
    """One step of the optimiser."""

    step: int
    """From 1 on."""
    loss: float
    """Mean over the step's answer tokens, nats, before the update."""
    learning_rate: float
    grad_norm: float
    """Before it was shortened."""
    tokens: int
    """Trained on so far, prompts included."""


OnStep = Callable[[StepLog], None]


@dataclass(frozen=True)
class Done:
    """What the loop left."""

    losses: tuple[StepLog, ...]
    seconds: float
    """Of training, those before a kill included up to its last checkpoint."""


@dataclass(frozen=True)
class Trained:
    """A training that has ended."""

    folder: Path
    """Opens as any model: `open_causal_lm(folder)`."""
    losses: tuple[StepLog, ...]
    n_rows: int
    """Rows, those that come again counted again."""
    n_tokens: int
    """Tokens trained on, prompts included, of all epochs."""
    n_answer_tokens: int
    """Those that the loss was taken of."""
    n_steps: int
    """Of the optimiser."""
    seconds: float
    flops: int | None
    """Operations that the model's definition asks for, counted; None where its shape is not known."""
    n_parameters: int
    """Weights of the model, without those of an adapter."""
    train_sha256: str
    """Of the texts as they were trained on, in the order of the rows."""
    affected: tuple[Affected, ...] = ()
    """Rows that were left out or cut."""

    @property
    def facts(self) -> dict[str, Any]:
        """As a manifest says it."""
        final = self.losses[-1] if self.losses else None
        kinds = defaultdict[str, int](int)
        for row in self.affected:
            kinds[row.what] += 1
        return {
            "rows": self.n_rows, "tokens": self.n_tokens, "answer_tokens": self.n_answer_tokens,
            "steps": self.n_steps, "flops": self.flops,
            "parameters": self.n_parameters, "train_seconds": round(self.seconds, 3),
            "losses": [step.loss for step in self.losses], "final_loss": None if final is None else final.loss,
            "texts_sha256": self.train_sha256, "affected_rows": dict(kinds), "model": self.folder.name,
        }  # fmt: skip


@dataclass(frozen=True, eq=False)
class TrainingPlan:
    """What will be trained on, and in which order."""

    texts: FittedRows
    schedule: Schedule
    shape: ModelShape | None
    """Of the model; None where its files do not tell."""
    trains_adapter: bool

    @cached_property
    def times(self) -> Mapping[int, int]:
        """How often each row is trained on."""
        return self.schedule.times

    @property
    def n_steps(self) -> int:
        """Steps of the optimiser."""
        return len(self.schedule.steps)

    @property
    def n_rows(self) -> int:
        """Rows, those that come again counted again."""
        return sum(self.times.values())

    @property
    def n_tokens(self) -> int:
        """Tokens, prompts included."""
        return sum(len(self.texts.texts[row].ids) * times for row, times in self.times.items())

    @property
    def n_answer_tokens(self) -> int:
        """Tokens that the loss is taken of."""
        return sum(self.texts.texts[row].n_answer * times for row, times in self.times.items())

    @property
    def flops(self) -> int | None:
        """Operations: of the way forth, once more for the states on the way back, and once more for the weights.

        Under an adapter the weights are not trained, and its own operations are not counted. What gradient
        checkpointing computes again is not either.
        """
        by_times: dict[int, list[TokenTarget]] = defaultdict(list)
        for row, times in self.times.items():
            text = self.texts.texts[row]
            by_times[times].append(TokenTarget(text.ids, text.answer_start, len(text.ids)))
        total = 0
        for times, targets in by_times.items():
            wanted = np.ones((1, len(targets)), np.bool_)
            forth = call_cost(self.shape, CostRule(shares_prefix=True), [0], targets, wanted).flops
            if forth is None:
                return None
            total += times * forth
        return total * (2 if self.trains_adapter else 3)

    def trained(self, folder: Path, done: Done, n_parameters: int) -> Trained:
        """The plan, carried out."""
        return Trained(
            folder, done.losses, self.n_rows, self.n_tokens, self.n_answer_tokens, self.n_steps, done.seconds,
            self.flops, n_parameters, self.texts.sha256, self.texts.affected,
        )  # fmt: skip
