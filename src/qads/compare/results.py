"""What the finished cells of an experiment say: every arm in every setting, and every comparison.

Compared are all finished seeds of every arm: seeds are draws, and the comparison takes no pairs of them. Arms without
any are listed. Items that lack a value under any of these cells are left out for all.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float

from qads.compare.cells import GridContext, finished
from qads.compare.costs import StageCost, selection_cost, total
from qads.compare.experiment import UNTRAINED
from qads.compare.grid import Cell, Setting, all_settings
from qads.compare.statistics import Estimate, Outcome, PairedItems, compare_arms, estimate_arm
from qads.compare.trials import cell_items, is_done, train_manifest, untrained_items, untrained_manifest
from qads.evaluate import told_lacks
from qads.run import Manifest
from qads.selection.terms import is_short

__all__ = [
    "ArmResult", "Composition", "Measured", "Results", "SettingResult", "TrainingFacts", "Trial", "collect",
]  # fmt: skip


@dataclass(frozen=True)
class Composition:
    """What an arm chose, on average over seeds."""

    rows: float
    tokens: float
    shares: Mapping[str, float]
    """Source -> its share of the rows."""
    stopped: tuple[str, ...]
    """Why selections are shorter than asked for."""


@dataclass(frozen=True)
class TrainingFacts:
    """What a training came to, or trainings on average; None where there is none, or it is not known."""

    steps: float | None = None
    tokens: float | None = None
    """That were read in all epochs, those of the problems included."""
    answer_tokens: float | None = None
    """Of them those that the loss is of."""
    flops: float | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Trial:
    """One seed of an arm."""

    rows: int
    tokens: int
    """Of these rows."""
    training: TrainingFacts


@dataclass(frozen=True)
class ArmResult:
    """One arm in one setting."""

    arm: str
    kind: str
    """Of its selector."""
    composition: Composition
    ratio: float
    """Share of the pool's rows that it chose."""
    selection: tuple[StageCost, ...]
    """What choosing took, of the first seed."""
    training: TrainingFacts
    """Of one training, on average over seeds."""
    affected: Mapping[str, int]
    """What trainings did to rows that were too long (``dropped``, ``cut``) -> how many, of all seeds."""
    trials: Mapping[int, Trial]
    """Seed -> what it chose and what its training came to, of the seeds that are compared; of all that are selected
    where none is."""

    @property
    def selection_flops(self) -> float | None:
        """Of choosing; None where a part is not known."""
        return total(cost.flops for cost in self.selection)

    @property
    def selection_seconds(self) -> float | None:
        """Of choosing; None where a part was not spent here."""
        return total(cost.seconds for cost in self.selection)

    @property
    def total_flops(self) -> float | None:
        """Of choosing once and training once."""
        return total((self.selection_flops, self.training.flops))


@dataclass(frozen=True)
class Measured:
    """One measure in one setting."""

    measure: str
    arms: Mapping[str, Mapping[str, Estimate]]
    """Arm -> set (or their mean) -> value; the untrained model is one of them."""
    by_seed: Mapping[str, tuple[Mapping[str, Estimate], ...]]
    """Arm -> in each of its seeds set -> value; the interval is over items alone."""
    outcomes: tuple[Outcome, ...]
    n_items: Mapping[str, int]
    """Set -> items that were compared."""
    left_out: int
    """Items that lack a value somewhere."""


@dataclass(frozen=True, eq=False)
class SettingResult:
    """One size on one base model."""

    setting: Setting
    arms: tuple[ArmResult, ...]
    overlap: Float[np.ndarray, "a a"]
    """Share of the rows of an arm (down) that another (across) chose too, on average over seeds; NaN without both."""
    seeds: Mapping[str, tuple[int, ...]]
    """Arm -> seeds that are compared; arms without any are not in it."""
    measured: tuple[Measured, ...]
    unfinished: tuple[str, ...]
    """Arms that are not compared, since no seed of theirs is finished."""


@dataclass(frozen=True, eq=False)
class Results:
    """An experiment as far as it is done."""

    settings: tuple[SettingResult, ...]
    n_cells: int
    n_done: int
    """Of them: evaluated, or selected where nothing is evaluated."""
    notes: tuple[str, ...] = ()
    """What there is to say of the amounts that were asked for, and of what evaluation sets lack."""


def collect(context: GridContext, cells: Sequence[Cell], notes: tuple[str, ...]) -> Results:
    """Read what is finished.

    Args:
        context: of the experiment.
        cells: all of its cells.
        notes: what there is to say of its amounts.
    """
    found = tuple(_setting(context, setting) for setting in all_settings(context.experiment))
    told = (*notes, *_lacking(context))
    return Results(found, len(cells), sum(is_done(context, cell) for cell in cells), told)


def _lacking(context: GridContext) -> list[str]:
    """What is left out of all evaluations alike, for what the items of their sets lack."""
    evaluated = (untrained_manifest(context, model) for model in context.experiment.models)
    return next((told_lacks(manifest) for manifest in evaluated if manifest is not None), [])


def _setting(context: GridContext, setting: Setting) -> SettingResult:
    experiment = context.experiment
    cells = {arm: [setting.cell(experiment, arm, seed) for seed in experiment.seeds_of(arm)] for arm in experiment.arms}
    selected = {
        arm: [(cell, manifest) for cell in each if (manifest := finished(context.select_stage(cell))) is not None]
        for arm, each in cells.items()
    }
    evaluated = {
        arm: {cell.seed: items for cell in each if (items := cell_items(context, cell)) is not None}
        for arm, each in cells.items()
    }
    evaluated = {arm: each for arm, each in evaluated.items() if each}
    return SettingResult(
        setting,
        tuple(_arm(context, arm, each, evaluated.get(arm, {})) for arm, each in selected.items() if each),
        _overlap(context, cells, [arm for arm, each in selected.items() if each]),
        {arm: tuple(each) for arm, each in evaluated.items()},
        _measured(context, setting, evaluated) if evaluated else (),
        tuple(arm for arm in cells if arm not in evaluated) if evaluated else (),
    )


def _arm(
    context: GridContext, arm: str, selected: Sequence[tuple[Cell, Manifest]], compared: Collection[int]
) -> ArmResult:
    used = [(cell, manifest) for cell, manifest in selected if cell.seed in compared or not compared]
    manifests = [manifest for _, manifest in used]
    trained = [train_manifest(context, cell) or {} for cell, _ in used]
    pool, counts_tokens = context.run_of(used[0][0].model).pool, used[0][0].size.counts_tokens
    composition = Composition(
        rows=float(np.mean([m["rows"] for m in manifests])),
        tokens=float(np.mean([m["training_tokens"] for m in manifests])),
        shares={
            name: float(np.mean([m["sources"].get(name, 0) / m["rows"] for m in manifests])) for name in pool.sources
        },
        # That a budget in tokens ends within a row's length of them is no shortage.
        stopped=tuple(
            dict.fromkeys(
                m["stopped"] for m in manifests if m["stopped"] and (not counts_tokens or is_short(m["stopped"]))
            )
        ),
    )
    facts, ended = [_training(each) for each in trained], [_training(each) for each in trained if each]
    trials = {
        cell.seed: Trial(manifest["rows"], manifest["training_tokens"], each)
        for (cell, manifest), each in zip(used, facts, strict=True)
    }
    names = [each.name for each in dataclasses.fields(TrainingFacts)]
    return ArmResult(
        arm, context.experiment.arms[arm].selection.kind, composition, composition.rows / len(pool),
        selection_cost(context, used[0][0]),
        TrainingFacts(**{name: _mean([getattr(each, name) for each in ended]) for name in names}),
        dict(sum((Counter(m.get("affected_rows", {})) for m in trained), Counter[str]())), trials,
    )  # fmt: skip


def _training(manifest: Mapping[str, Any]) -> TrainingFacts:
    return TrainingFacts(
        manifest.get("steps"), manifest.get("tokens"), manifest.get("answer_tokens"), manifest.get("flops"),
        manifest.get("train_seconds"),
    )  # fmt: skip


def _mean(values: Sequence[float | None]) -> float | None:
    summed = total(values) if values else None
    return None if summed is None else summed / len(values)


def _overlap(context: GridContext, cells: Mapping[str, Sequence[Cell]], selected: Sequence[str]) -> np.ndarray:
    """Only of finished selections; nothing is chosen here."""
    rows = {
        (arm, cell.seed): set(context.rows(cell).tolist())
        for arm in selected
        for cell in cells[arm]
        if finished(context.select_stage(cell)) is not None
    }
    found = np.full((len(selected), len(selected)), np.nan)
    for i, arm in enumerate(selected):
        for j, other in enumerate(selected):
            seeds = [seed for seed in context.experiment.all_seeds if {(arm, seed), (other, seed)} <= rows.keys()]
            if seeds:
                shares = [len(rows[arm, s] & rows[other, s]) / len(rows[arm, s]) for s in seeds]
                found[i, j] = float(np.mean(shares))
    return found


def _measured(
    context: GridContext, setting: Setting, evaluated: Mapping[str, Mapping[int, pa.Table]]
) -> tuple[Measured, ...]:
    untrained = untrained_items(context, setting.model)
    tables = {arm: list(each.values()) for arm, each in evaluated.items()}
    tables |= {} if untrained is None else {UNTRAINED: [untrained]}
    measures: list[str] = next(iter(tables.values()))[0]["measure"].unique().to_pylist()
    pairs = [pair for pair in context.experiment.pairs if set(pair) <= evaluated.keys()]
    return tuple(_measure(name, tables, pairs, context) for name in measures)


def _measure(
    measure: str, tables: Mapping[str, Sequence[pa.Table]], pairs: Sequence[tuple[str, str]], context: GridContext
) -> Measured:
    values = {arm: [_values(table, measure) for table in each] for arm, each in tables.items()}
    of_seeds = [seed for each in values.values() for seed in each]
    every = dict.fromkeys(item for each in of_seeds for item in each)
    common = [item for item in every if all(item in each for each in of_seeds)]
    if not common:
        return Measured(measure, {}, {}, (), {}, len(every))
    sets = tuple(dict.fromkeys(name for name, _ in common))
    items = PairedItems(
        tuple(values),
        tuple(np.array([[seed[item] for item in common] for seed in each]) for each in values.values()),
        sets,
        np.array([sets.index(name) for name, _ in common], np.int64),
    )
    judging = context.experiment.judging
    return Measured(
        measure,
        {arm: estimate_arm(items, arm, confidence=judging.confidence) for arm in values},
        {
            arm: tuple(estimate_arm(items, arm, seed=s, confidence=judging.confidence) for s in range(len(each)))
            for arm, each in values.items()
        },
        tuple(compare_arms(items, pairs, confidence=judging.confidence, tie=judging.tie)),
        {name: int((items.codes == g).sum()) for g, name in enumerate(sets)},
        len(every) - len(common),
    )


def _values(table: pa.Table, measure: str) -> dict[tuple[str, str], float]:
    """(set, id) -> value, where there is a finite one."""
    rows = table.filter(pc.call_function("equal", [table["measure"], measure]))
    keys = zip(rows["set"].to_pylist(), rows["id"].to_pylist(), strict=True)
    return {
        key: float(value)
        for key, value in zip(keys, rows["value"].to_pylist(), strict=True)
        if value is not None and np.isfinite(value)
    }
