"""What an experiment asks for against what its pool holds: told before anything is embedded, scored or trained.

Some of it only the selection shows, such as how many rows have a quality; everything that the rows and their tokens
say by themselves is said here, in a dry run as well.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int

from qads.amounts import Amount, Tokens
from qads.compare.experiment import Arm, Experiment
from qads.compare.grid import Cell, Size, all_cells, all_settings, only_cells
from qads.compare.shared import SharedRun, rows_stage, shared_folder
from qads.datasets import load_pool
from qads.errors import InputError
from qads.pool import Pool
from qads.run.limits import NamedFiles, make_constraints
from qads.selection import Constraints, KCenterGreedy, TokenBudget
from qads.selection.budget import resolve_budget
from qads.selection.terms import Terms

__all__ = ["Merged", "RowTokens", "check_amounts", "counted_models", "has_pool", "merge_budgets", "pool_so_far"]

RowTokens = Mapping[str, Int[np.ndarray, " n"]]
"""Base model -> tokens of every row of the pool."""


def has_pool(experiment: Experiment, out: Path) -> bool:
    """Whether the candidates are in the directory already."""
    folder = shared_folder(out, experiment.scoring_models[0])
    return (folder / rows_stage(experiment) / "manifest.json").is_file()


def pool_so_far(experiment: Experiment, out: Path) -> tuple[Pool, Int[np.ndarray, " r"]]:
    """The candidates, and which of them no arm chooses.

    What the directory holds of them, else as they are in their files, not cleaned yet.
    """
    model = experiment.scoring_models[0]
    config = experiment.shared_config(model)
    if has_pool(experiment, out):
        run = SharedRun(shared_folder(out, model), config)
        return run.pool, run.excluded
    settings = experiment.pool
    pool = load_pool(settings.sources, columns=settings.columns, kind=settings.kind, on_bad_row=settings.on_bad_row)
    return pool, NamedFiles.read(pool, config.constraints, reading=settings).out


def counted_models(experiment: Experiment) -> tuple[str, ...]:
    """The base models whose tokens say whether the budgets can be met; none where all are in rows."""
    amounts = (*experiment.budgets, *(arm.budget for arm in experiment.arms.values()))
    return experiment.models if any(isinstance(amount, Tokens) for amount in amounts) else ()


def check_amounts(experiment: Experiment, pool: Pool, excluded: Int[np.ndarray, " r"], tokens: RowTokens) -> None:
    """Refuse what an arm could not select, whatever the scores will be.

    Args:
        experiment: has the arms and what they are to select.
        pool: the candidates.
        excluded: rows of it that no arm chooses.
        tokens: of `counted_models`; budgets in tokens of a model that lacks here are left for later.

    Raises:
        InputError: names the arm and the size, and says what there is.
    """
    for name, arm in experiment.arms.items():
        if arm.best_sources is not None and arm.best_sources > len(pool.sources):
            raise InputError(
                f"arms.{name}.best_sources is {arm.best_sources}, but the pool has {len(pool.sources)} sources: "
                f"{', '.join(pool.sources)}."
            )
        for size, model in _sizes(experiment, name):
            try:
                _check_arm(arm, size, pool, excluded, tokens.get(model))
            except InputError as error:
                raise InputError(f"arm {name}, {size.name}: {error}") from error


def _sizes(experiment: Experiment, arm: str) -> Iterator[tuple[Size, str]]:
    """(size, base model) of every cell of an arm; one that is matched in tokens has what the other arm comes to."""
    found = ((setting.cell(experiment, arm, 0).size, setting.model) for setting in all_settings(experiment))
    return iter(dict.fromkeys((size, model) for size, model in found if size.match == "rows"))


def _check_arm(
    arm: Arm, size: Size, pool: Pool, excluded: Int[np.ndarray, " r"], tokens: Int[np.ndarray, " n"] | None
) -> None:
    asked = make_constraints(pool, arm.constraints, NamedFiles.read(pool, arm.constraints)) or Constraints()
    limits, method = dataclasses.replace(asked, exclude=excluded), "budget"
    if isinstance(size.amount, Tokens):
        if tokens is None:
            return
        if size.amount.tokens > (total := int(np.delete(tokens, excluded).sum())):
            which = "that may be chosen" if len(excluded) else "of the pool"
            raise InputError(
                f"budget is {size.amount.tokens:,} tokens, but all {len(pool) - len(excluded):,} rows {which} have "
                f"{total:,}, so that every arm would take all of them. Give fewer, or a larger pool."
            )
        Terms.of(
            TokenBudget(max_tokens=size.amount.tokens, tokens=tokens), limits, len(pool), method=method,
            knows_distances=True,
        )  # fmt: skip
        return
    rows = resolve_budget(size.amount, len(pool), method=method)
    Terms.of(rows, limits, len(pool), method=method, knows_distances=True)
    if isinstance(arm.selection, KCenterGreedy) and arm.selection.n_start > rows:
        raise InputError(
            f"selection.n_start is {arm.selection.n_start}, but the budget comes to {rows} rows, of which the first "
            "rows are a part. Lower n_start."
        )


@dataclass(frozen=True)
class Merged:
    """An experiment in which every number of rows stands once."""

    experiment: Experiment
    notes: tuple[str, ...]
    """What there is to say of its amounts."""
    sizes: Mapping[str, str]
    """Name of a size that was merged -> that of the one computed for it."""

    def cells(self, only: Mapping[str, Sequence[str]] | None) -> list[Cell]:
        """The cells with one of the values that are named for each part; a merged size is known by its name, too."""
        asked = dict(only or {})
        if "size" in asked:
            asked["size"] = [self.sizes.get(name, name) for name in asked["size"]]
        return only_cells(all_cells(self.experiment), asked)


def merge_budgets(experiment: Experiment, n_rows: int, out: Path) -> Merged:
    """The experiment with every number of rows once, and what there is to say of its amounts.

    Of two budgets that mean the same rows that one stays which the directory has cells of, else the first.

    Args:
        experiment: what was asked for.
        n_rows: of the pool.
        out: directory of the experiment.
    """
    groups: dict[Amount, list[Amount]] = {}
    for amount in experiment.budgets:
        means = amount if isinstance(amount, Tokens) else resolve_budget(amount, n_rows, method="budgets")
        groups.setdefault(means, []).append(amount)
    kept, notes, sizes = list[Amount](), list[str](), dict[str, str]()
    for means, amounts in groups.items():
        stays = min(amounts, key=lambda amount: not any(out.glob(f"cells/*/{Size(amount).name}")))
        kept.append(stays)
        sizes |= {Size(amount, match).name: Size(stays, match).name for amount in amounts for match in experiment.match}
        if len(amounts) > 1:
            named = " and ".join(f"{amount:g}" if isinstance(amount, float) else str(amount) for amount in amounts)
            notes.append(
                f"Budgets {named} are the same {means:,} of {n_rows:,} rows: computed once, as {Size(stays).name}"
            )
    notes += _short_trainings(experiment, groups)
    return Merged(dataclasses.replace(experiment, budgets=tuple(kept)), tuple(notes), sizes)


def _short_trainings(experiment: Experiment, budgets: Mapping[Amount, list[Amount]]) -> Iterator[str]:
    """Where a training ends before it has seen all of its rows."""
    if (method := experiment.train) is None:
        return
    for amount in budgets:
        if isinstance(amount, Tokens):
            if method.tokens is not None and method.tokens < amount.tokens:
                yield (
                    f"train.tokens is {method.tokens:,}, fewer than the {amount.tokens:,} that are selected: the rest "
                    "is never trained on"
                )
        elif method.steps is not None and not method.batch_tokens and method.steps * method.batch_size < amount:
            seen = method.steps * method.batch_size
            yield (
                f"train.steps {method.steps:,} of {method.batch_size:,} rows are {seen:,} rows: of {amount:,} that are "
                f"selected {amount - seen:,} are never trained on"
            )
