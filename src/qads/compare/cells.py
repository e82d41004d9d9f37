"""The stages of cells: which rows, and what came of training on them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int

from qads.amounts import Tokens
from qads.compare.choosing import choose
from qads.compare.experiment import Experiment
from qads.compare.grid import Cell, Setting, Size, chosen_as, folder_name
from qads.compare.shared import SharedRun
from qads.config import suffix_settings
from qads.errors import InputError
from qads.models import find_tokenizer, open_tokenizer, training_tokens
from qads.pool import Pool, Progress
from qads.prompts import Template
from qads.run import Manifest, Observer, RunDirectory, StageDirectory, StagePlan
from qads.run.completing import complete
from qads.run.context import nullable, write_array, write_table
from qads.run.plan import file_contents
from qads.selection import TokenBudget
from qads.selection.budget import resolve_budget

__all__ = ["Facts", "GridContext", "count_row_tokens", "finished"]

Facts = dict[str, Any]
"""What a stage says in its manifest."""


def finished(stage: StageDirectory) -> Manifest | None:
    """The manifest of a stage that is complete and what its plan says; None of one that other settings have left."""
    manifest = stage.manifest()
    return manifest if manifest is not None and manifest["fingerprint"] == stage.plan.fingerprint else None


def count_row_tokens(
    experiment: Experiment, model: str, pool: Pool, *, progress: Progress | None = None
) -> Int[np.ndarray, " n"]:
    """Tokens of every row as a base model is trained on it."""
    opened = open_tokenizer(model, trust_remote_code=experiment.execution.trust_remote_code)
    renderer = _template(experiment, model).renderer(opened.render_chat)
    asked = pool if experiment.train is None else experiment.train.asked(pool)
    return training_tokens(opened.tokenizer, renderer, asked, progress=progress)


def _template(experiment: Experiment, model: str) -> Template:
    """How a row is rendered for training; where nothing is trained, as it is scored."""
    if experiment.train is not None:
        return experiment.train.template
    return experiment.shared_config(experiment.scoring_model(model)).answer_likelihoods.template


@dataclass(frozen=True, eq=False)
class GridContext:
    """What the cells of one experiment share."""

    experiment: Experiment
    root: Path
    shared: dict[str, SharedRun]
    """Scoring model -> its run."""
    observer: Observer
    launcher: tuple[str, ...] = ()
    """What starts trainings in processes of their own; none trains here."""
    _tokens: dict[str, Int[np.ndarray, " n"]] = field(default_factory=dict[str, Any])

    def run_of(self, model: str) -> SharedRun:
        """What cells of a base model choose from."""
        return self.shared[self.experiment.scoring_model(model)]

    def rows(self, cell: Cell) -> Int[np.ndarray, " k"]:
        """The rows that a cell is trained on, in the order of the picks; selects them if that was not done yet."""
        if finished(self.select_stage(cell)) is None:
            self.select(cell)
        return pq.read_table(self.select_stage(cell).path / "selection.parquet")["row"].to_numpy()

    def rows_pool(self, cell: Cell) -> Pool:
        """These rows."""
        return self.run_of(cell.model).pool.take(self.rows(cell))

    def tokens(self, model: str) -> Int[np.ndarray, " n"]:
        """Tokens of every row as a base model is trained on it."""
        if model not in self._tokens:
            stage = self.tokens_stage(model)
            self.complete(stage, lambda: self._count_tokens(model, stage), f"{model}: tokens")
            self._tokens[model] = np.load(stage.path / "tokens.npy")
        return self._tokens[model]

    def mean_tokens(self, cell: Cell) -> float:
        """Tokens of a row: of those that the arm has which this cell is matched to, or of all there are."""
        tokens, other = self.tokens(cell.model), self._tokens_of(cell)
        return float((tokens if other is None else tokens[self.rows(other)]).mean())

    # Plans: what a stage would be, before anything runs.

    def tokens_stage(self, model: str) -> StageDirectory:
        """Where the tokens of a base model are."""
        code = self.experiment.execution.trust_remote_code
        settings = {
            "tokenizer": find_tokenizer(model).identity,
            "template": dataclasses.asdict(_template(self.experiment, model)),
            **suffix_settings(self.experiment.train),
            **({"trust_remote_code": True} if code else {}),
        }  # fmt: skip
        plan = StagePlan("tokens", settings, self._inputs(model, self._rows_stage(model)))
        return RunDirectory(self.root / "models" / folder_name(model)).stage(plan)

    def select_stage(self, cell: Cell) -> StageDirectory:
        """Where the selection of a cell is; cells whose seeds choose the same rows have one together."""
        cell = chosen_as(self.experiment, cell)
        arm, run = self.experiment.arms[cell.arm], self.run_of(cell.model)
        needed = [
            self._rows_stage(cell.model),
            *(["embed"] if getattr(arm.selection, "reads_embeddings", True) else []),
        ]
        needed += [name for name in getattr(arm.selection, "needs", ()) if name in run.fingerprints]
        inputs = self._inputs(cell.model, *needed, *(["quality"] if arm.needs_quality else []))
        if cell.size.counts_tokens:
            inputs["tokens"] = self.tokens_stage(cell.model).plan.fingerprint
        for role, other in (("tokens of", self._tokens_of(cell)), ("shares of", self._shares_of(cell))):
            if other is not None:
                inputs[f"{role} {other.arm}"] = self.select_stage(other).plan.fingerprint
        inputs |= {f"exclude {name}": content for name, content in self._excluded_contents.items()}
        settings = {
            "selection": dataclasses.asdict(arm.seeded(cell.seed)), "quality": arm.sees,
            "best_sources": arm.best_sources, "constraints": dataclasses.asdict(arm.constraints),
            "size": cell.size.name,
        }  # fmt: skip
        if arm.sees == "shuffled":
            settings["seed"] = cell.seed
        place = cell.folder if self.draws(cell) else cell.arm_folder
        return RunDirectory(self.root / place).stage(StagePlan("select", settings, inputs))

    def draws(self, cell: Cell) -> bool:
        """Whether another seed may choose other rows."""
        others = (self._tokens_of(cell), self._shares_of(cell))
        return self.experiment.arms[cell.arm].draws or any(other is not None and self.draws(other) for other in others)

    def select(self, cell: Cell) -> Manifest:
        """Choose the rows of a cell, and those that they hang on."""
        cell = chosen_as(self.experiment, cell)
        stage = self.select_stage(cell)
        return self.complete(stage, lambda: self._select(cell, stage), f"{cell}: select")

    def _select(self, cell: Cell, stage: StageDirectory) -> Facts:
        run, arm = self.run_of(cell.model), self.experiment.arms[cell.arm]
        like = self._shares_of(cell)
        try:
            found = choose(
                arm, run, self._budget(cell), seed=cell.seed, like=None if like is None else self.rows(like),
                progress=self.observer.progress,
            )  # fmt: skip
        except InputError as error:
            raise InputError(f"arm {cell.arm}, {cell.size.name}: {error}") from error
        chosen, tokens = found.selection, self.tokens(cell.model)[found.selection.indices]
        rows = run.pool.take(chosen.indices)
        columns = {
            "row": pa.array(chosen.indices), "id": rows.table["id"], "source": rows.table["source"],
            "gain": nullable(np.where(np.isfinite(chosen.gains), chosen.gains, np.nan)), "tokens": pa.array(tokens),
        }  # fmt: skip
        write_table(pa.table(columns), stage.path / "selection.parquet")
        sources = rows.rows_by_source()
        return {
            "rows": len(chosen),
            "training_tokens": int(tokens.sum()),
            "stopped": chosen.stopped,
            "sources": {name: len(each) for name, each in sources.items()},
            "source_tokens": {name: int(tokens[each].sum()) for name, each in sources.items()},
            "could_choose_from": list(found.sources),
            "excluded_without_quality": found.without_quality,
        }

    def _budget(self, cell: Cell) -> int | TokenBudget:
        amount, n_rows = cell.size.amount, len(self.run_of(cell.model).pool)
        if isinstance(amount, Tokens):
            return TokenBudget(max_tokens=amount.tokens, tokens=self.tokens(cell.model))
        if (other := self._tokens_of(cell)) is not None:
            tokens = self.tokens(cell.model)
            return TokenBudget(max_tokens=int(tokens[self.rows(other)].sum()), tokens=tokens)
        return resolve_budget(amount, n_rows, method=f"budget of {cell.arm}")

    def _tokens_of(self, cell: Cell) -> Cell | None:
        """The cell whose tokens this one is matched to."""
        if cell.size.match != "tokens" or self.experiment.tokens_of is None:
            return None
        return Cell(self.experiment.tokens_of, Size(cell.size.amount), cell.model, cell.seed)

    def _shares_of(self, cell: Cell) -> Cell | None:
        """The cell whose shares of the sources this one keeps to."""
        other = self.experiment.arms[cell.arm].source_shares_of
        return None if other is None else Setting(cell.size, cell.model).cell(self.experiment, other, cell.seed)

    def _count_tokens(self, model: str, stage: StageDirectory) -> Facts:
        tokens = count_row_tokens(self.experiment, model, self.run_of(model).pool, progress=self.observer.progress)
        write_array(tokens, stage.path / "tokens.npy")
        return {"rows": len(tokens), "training_tokens": int(tokens.sum()), "longest": int(tokens.max())}

    @cached_property
    def _excluded_contents(self) -> dict[str, str]:
        return file_contents(self.experiment.exclude)

    def _rows_stage(self, model: str) -> str:
        return "clean" if "clean" in self.run_of(model).fingerprints else "pool"

    def _inputs(self, model: str, *stages: str) -> dict[str, str]:
        return {stage: self.run_of(model).fingerprints[stage] for stage in stages}

    def complete(
        self, stage: StageDirectory, compute: Callable[[], Facts], name: str, *, number: int = 1, n_stages: int = 1
    ) -> Manifest:
        """The manifest of a stage, which is computed where it is not complete.

        Raises:
            DriftError: it was made with other settings or inputs.
        """
        stage.check_drift()
        return complete(stage, compute, number=number, n_stages=n_stages, observer=self.observer, name=name)
