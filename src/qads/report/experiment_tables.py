"""An experiment as JSON and as tables: a row for every arm, setting, measure and set, and one for every training."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv

from qads.compare import (
    UNTRAINED,
    ArmResult,
    Estimate,
    Experiment,
    Measured,
    Outcome,
    Results,
    SettingResult,
    TrainingFacts,
)
from qads.compare.costs import total
from qads.datasets import atomic_path
from qads.pool import to_json
from qads.report.tables import for_spreadsheets

__all__ = ["EXPERIMENT_TABLES", "experiment_as_json", "write_experiment_tables"]

EXPERIMENT_TABLES = ("results.json", "results.csv", "comparisons.csv", "seeds.csv", "chosen.csv")
"""What is written beside the page."""


def experiment_as_json(experiment: Experiment, results: Results) -> dict[str, Any]:
    """Everything that was found, as plain values; NaN is left for the encoder to make null."""
    return {
        "experiment": dataclasses.asdict(experiment),
        "cells": results.n_cells,
        "cells_done": results.n_done,
        "notes": list(results.notes),
        "results": list(_results(experiment, results)),
        "comparisons": list(_comparisons(results)),
        "seeds": list(_seeds(results)),
        "chosen": list(_chosen(results)),
        "settings": [_setting(found) for found in results.settings],
    }


def write_experiment_tables(experiment: Experiment, results: Results, directory: Path) -> list[Path]:
    """Write the tables of `EXPERIMENT_TABLES`; the same results, the same bytes."""
    directory.mkdir(parents=True, exist_ok=True)
    whole = experiment_as_json(experiment, results)
    paths = [directory / name for name in EXPERIMENT_TABLES]
    with atomic_path(paths[0]) as temporary:
        temporary.write_text(to_json(whole) + "\n", encoding="utf-8")
    for path in paths[1:]:
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            if rows := whole[path.stem]:
                pa_csv.write_csv(for_spreadsheets(_table(rows)), file)
    return paths


def _table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    names = list(dict.fromkeys(name for row in rows for name in row))
    flat = [{name: to_json(v) if isinstance(v := row.get(name), dict | list) else v for name in names} for row in rows]
    return pa.table({name: pa.array([row[name] for row in flat], from_pandas=True) for name in names})


def _results(experiment: Experiment, results: Results) -> Iterator[dict[str, Any]]:
    """A row for every arm, setting, measure and set, with its difference to the reference."""
    for found, measured, arm, scope, value in _each(results):
        against = {outcome.arm: outcome for outcome in measured.outcomes if outcome.other == experiment.reference
                   and outcome.scope == scope}  # fmt: skip
        base = measured.arms.get(UNTRAINED, {}).get(scope)
        yield (
            _where(found, arm)
            | {"seeds": list(found.seeds[arm.arm]), "metric": measured.measure, "set": scope}
            | _interval("value", value)
            | {"untrained": None if base is None else base.value, "reference": experiment.reference}
            | _difference(against.get(arm.arm))
            | _cost(arm, arm.training)
        )


def _comparisons(results: Results) -> Iterator[dict[str, Any]]:
    """A row for every comparison."""
    for found in results.settings:
        for measured in found.measured:
            for outcome in measured.outcomes:
                yield (
                    _place(found)
                    | {"arm": outcome.arm, "other": outcome.other, "metric": measured.measure, "set": outcome.scope}
                    | _difference(outcome)
                )


def _seeds(results: Results) -> Iterator[dict[str, Any]]:
    """A row for every training, measure and set; intervals are over items alone."""
    for found, measured, arm, scope, _ in _each(results):
        for seed, values in zip(found.seeds[arm.arm], measured.by_seed[arm.arm], strict=True):
            trial = arm.trials[seed]
            ratio = arm.ratio * trial.rows / arm.composition.rows
            yield (
                _where(found, arm) | {"ratio": ratio, "rows": trial.rows, "tokens": trial.tokens}
                | {"seed": seed, "metric": measured.measure, "set": scope}
                | _interval("value", values[scope]) | _cost(arm, trial.training)
            )  # fmt: skip


def _chosen(results: Results) -> Iterator[dict[str, Any]]:
    """A row for every arm, setting and source."""
    for found in results.settings:
        for arm in found.arms:
            for source, share in arm.composition.shares.items():
                yield _where(found, arm) | {"source": source, "share": share}


def _each(results: Results) -> Iterator[tuple[SettingResult, Measured, ArmResult, str, Estimate]]:
    for found in results.settings:
        for measured in found.measured:
            for arm in found.arms:
                for scope, value in measured.arms.get(arm.arm, {}).items():
                    yield found, measured, arm, scope, value


def _place(found: SettingResult) -> dict[str, Any]:
    size = found.setting.size
    return {"size": size.name, "matched_in": "tokens" if size.counts_tokens else "rows", "model": found.setting.model}


def _where(found: SettingResult, arm: ArmResult) -> dict[str, Any]:
    return _place(found) | {
        "arm": arm.arm, "strategy": arm.kind, "ratio": arm.ratio, "rows": arm.composition.rows,
        "tokens": arm.composition.tokens,
    }  # fmt: skip


def _interval(name: str, value: Estimate | None) -> dict[str, Any]:
    value = value or Estimate(float("nan"), float("nan"), float("nan"))
    return {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}


def _difference(outcome: Outcome | None) -> dict[str, Any]:
    """The interval that holds with all others of the family is the one that the verdict is made from."""
    if outcome is None:
        return _interval("difference", None) | dict.fromkeys(_OF_OUTCOME)
    return _interval("difference", outcome.difference) | {
        "together_low": outcome.low, "together_high": outcome.high,
    } | {name: getattr(outcome, name) for name in _OF_OUTCOME[2:]}  # fmt: skip


_OF_OUTCOME = ("together_low", "together_high", "family", "verdict", "wins", "ties", "losses", "seeds_ahead", "n_seeds")


def _cost(arm: ArmResult, training: TrainingFacts) -> dict[str, Any]:
    return {
        "steps": training.steps, "tokens_read": training.tokens, "answer_tokens_read": training.answer_tokens,
        "selection_flops": arm.selection_flops, "training_flops": training.flops,
        "total_flops": total((arm.selection_flops, training.flops)),
        "selection_seconds": arm.selection_seconds, "training_seconds": training.seconds,
    }  # fmt: skip


def _setting(found: SettingResult) -> dict[str, Any]:
    return _place(found) | {
        "seeds": {arm: list(seeds) for arm, seeds in found.seeds.items()},
        "unfinished": list(found.unfinished),
        "arms": [arm.arm for arm in found.arms],
        "overlap": found.overlap.tolist(),
        "stopped": {arm.arm: list(arm.composition.stopped) for arm in found.arms if arm.composition.stopped},
        "affected_rows": {arm.arm: dict(arm.affected) for arm in found.arms if arm.affected},
        "selection": {arm.arm: [dataclasses.asdict(cost) for cost in arm.selection] for arm in found.arms},
        "items": {measured.measure: dict(measured.n_items) for measured in found.measured},
        "items_left_out": {measured.measure: measured.left_out for measured in found.measured},
    }
