"""The cells of an experiment: which there are, what they are called, and which arms are compared where."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from qads.amounts import Amount, Tokens
from qads.compare.experiment import Experiment, Match
from qads.errors import ConfigError

__all__ = ["Cell", "Setting", "Size", "all_cells", "all_settings", "chosen_as", "folder_name", "only_cells"]


@dataclass(frozen=True)
class Size:
    """How much is selected."""

    amount: Amount
    match: Match = "rows"
    """Whether that many, or as many tokens as an arm has in that many rows."""

    @property
    def counts_tokens(self) -> bool:
        """Whether tokens end the selection, and not rows."""
        return self.match == "tokens" or isinstance(self.amount, Tokens)

    @property
    def name(self) -> str:
        """What its folder is called."""
        if isinstance(self.amount, Tokens):
            return f"{self.amount.tokens}-tokens"
        of = f"{self.amount}-rows" if isinstance(self.amount, int) else f"{100 * self.amount:.12g}-percent"
        return of if self.match == "rows" else f"tokens-of-{of}"


@dataclass(frozen=True)
class Cell:
    """One training: an arm's rows, a base model, a seed."""

    arm: str
    size: Size
    model: str
    seed: int

    @property
    def folder(self) -> PurePosixPath:
        """Where its stages are, under the directory of the experiment."""
        return self.arm_folder / f"seed-{self.seed}"

    @property
    def arm_folder(self) -> PurePosixPath:
        """Where its selection is, if it is that of every seed."""
        return PurePosixPath("cells", folder_name(self.model), self.size.name, self.arm)

    @property
    def parts(self) -> dict[str, str]:
        """What tells it from others, by the names that `--only` knows."""
        return {"arm": self.arm, "size": self.size.name, "model": self.model, "seed": str(self.seed)}

    def __str__(self) -> str:
        return f"{self.arm}, {self.size.name}, {self.model}, seed {self.seed}"


@dataclass(frozen=True)
class Setting:
    """Where arms are compared with each other: with one size, on one base model."""

    size: Size
    model: str

    def cell(self, experiment: Experiment, arm: str, seed: int) -> Cell:
        """The cell of an arm here.

        An arm with a budget of its own has one cell for all sizes. The arm that tokens are matched to has the same
        rows in both; its cell is the same too, unless steps are made of tokens here and of rows there.
        """
        size, own = self.size, experiment.arms[arm].budget
        if own is not None:
            size = Size(own)
        elif size.match == "tokens" and arm == experiment.tokens_of and not experiment.steps_by_match:
            size = Size(size.amount)
        return Cell(arm, size, self.model, seed)


def chosen_as(experiment: Experiment, cell: Cell) -> Cell:
    """The cell that has its rows: the arm that tokens are matched to is its own measure, and chooses once."""
    if cell.size.match == "tokens" and cell.arm == experiment.tokens_of:
        return replace(cell, size=Size(cell.size.amount))
    return cell


def all_settings(experiment: Experiment) -> list[Setting]:
    """Every setting, in order."""
    sizes = [
        Size(amount, match)
        for amount in experiment.budgets
        for match in (("rows",) if isinstance(amount, Tokens) else experiment.match)
    ]
    return [Setting(size, model) for model in experiment.models for size in sizes]


def all_cells(experiment: Experiment) -> list[Cell]:
    """Every training that there is, each once: seed by seed, so that a part of the grid is a smaller experiment.

    Raises:
        ConfigError: two base models, or two that score, would have one folder.
    """
    for models in (experiment.models, experiment.scoring_models):
        folders = [folder_name(model) for model in models]
        if "" in folders or len(set(folders)) < len(folders):
            raise ConfigError(
                f"models: {', '.join(models)} need a folder each, but theirs would be called {', '.join(folders)}; "
                "rename one of them, or give it by another path."
            )
    return list(
        dict.fromkeys(
            setting.cell(experiment, arm, seed)
            for seed in experiment.all_seeds
            for setting in all_settings(experiment)
            for arm in experiment.arms
            if seed in experiment.seeds_of(arm)
        )
    )


def only_cells(cells: Sequence[Cell], only: Mapping[str, Sequence[str]]) -> list[Cell]:
    """The cells with one of the values that are named for each part.

    Args:
        cells: to choose from.
        only: part (``arm``, ``size``, ``model``, ``seed``) -> values.

    Raises:
        ConfigError: there is no such part, or no cell has such a value.
    """
    found = list(cells)
    for part, values in only.items():
        if part not in cells[0].parts:
            raise ConfigError(f"--only {part}=…: cells have {', '.join(cells[0].parts)}.")
        known = {cell.parts[part] for cell in cells}
        if unknown := [value for value in values if value not in known]:
            raise ConfigError(f"--only {part}={unknown[0]}: there are {', '.join(sorted(known))}.")
        found = [cell for cell in found if cell.parts[part] in values]
    return found


def folder_name(model: str) -> str:
    """A model's name as that of a folder."""
    return re.sub(r"[^\w.-]+", "--", model).strip("-.")
