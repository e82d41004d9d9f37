"""What an experiment asks for against what its pool holds: told before anything is embedded, scored or trained.

Some of it only the selection shows, such as how many rows have a quality; everything that the rows and their tokens
say by themselves is said here, in a dry run as well.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Int

from qads.amounts import Amount, Tokens
from qads.compare.experiment import Arm, Experiment
from qads.compare.grid import Size, all_settings
from qads.compare.shared import SharedRun, rows_stage, shared_folder
from qads.datasets import load_pool
from qads.errors import InputError
from qads.pool import Pool
from qads.run.limits import NamedFiles, make_constraints
from qads.selection import Constraints, KCenterGreedy, TokenBudget
from qads.selection.budget import resolve_budget
from qads.selection.terms import Terms

__all__ = ["RowTokens", "check_amounts", "counted_models", "has_pool", "merge_budgets", "pool_so_far"]

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


def merge_budgets(experiment: Experiment, n_rows: int, out: Path) -> tuple[Experiment, tuple[str, ...]]:
    """The experiment with every number of rows once, and what there is to say of its amounts.

    Of two budgets that mean the same rows that one stays which the directory has cells of, else the first.

    Args:
        experiment: what was asked for.
        n_rows: of the pool.
        out: directory of the experiment.

    Returns:
        The experiment to compute, and sentences.
    """
    groups: dict[Amount, list[Amount]] = {}
    for amount in experiment.budgets:
        means = amount if isinstance(amount, Tokens) else resolve_budget(amount, n_rows, method="budgets")
        groups.setdefault(means, []).append(amount)
    kept, notes = list[Amount](), list[str]()
    for means, amounts in groups.items():
        stays = min(amounts, key=lambda amount: not any(out.glob(f"cells/*/{Size(amount).name}")))
        kept.append(stays)
        if len(amounts) > 1:
            named = " and ".join(f"{amount:g}" if isinstance(amount, float) else str(amount) for amount in amounts)
            notes.append(
                f"Budgets {named} are the same {means:,} of {n_rows:,} rows: computed once, as {Size(stays).name}"
            )
    return dataclasses.replace(experiment, budgets=tuple(kept)), (*notes, *_short_trainings(experiment, groups))


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
