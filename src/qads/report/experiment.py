"""An experiment as one page: which differences are shown, what the arms chose, and what it all cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from qads.compare import (
    ALL_SETS,
    UNTRAINED,
    Estimate,
    Experiment,
    Measured,
    Outcome,
    Results,
    SettingResult,
    Verdict,
)
from qads.config import SavedScorer
from qads.datasets import atomic_path
from qads.report.curves import Axis, axis_over
from qads.report.experiment_tables import EXPERIMENT_TABLES, write_experiment_tables
from qads.report.page import digits_for, number, render_page
from qads.report.passages import line

__all__ = ["EXPERIMENT_FILES", "experiment_findings", "render_experiment", "write_experiment"]

EXPERIMENT_FILES = ("experiment.html", *EXPERIMENT_TABLES)
"""What the report of an experiment leaves."""
UNITS = {
    "accuracy": "share of the items answered rightly",
    "choice_likelihood": "share of the items whose right option is the likeliest",
    "answer_log_likelihood": "mean log-likelihood of the reference solutions, nats a token",
}
"""Of every measure."""
_FEW_SEEDS = 5
_ALIKE = 1.1
"""How many times as many steps are about as many."""


@dataclass(frozen=True)
class MeasureView:
    """One measure in one setting, as it is drawn."""

    found: Measured
    unit: str
    digits: int
    scope: str
    """What the claims are made of first: the mean of the sets, or the only one."""
    against: Mapping[str, Outcome]
    """Arm -> its outcome against the reference on that."""
    contrasts: tuple[Outcome, ...]
    """All others on that."""
    span: tuple[float, float]
    """That every interval of a difference lies in."""
    plane: CostPlane | None


@dataclass(frozen=True)
class CostPoint:
    """An arm in the plane of cost and value; in percent from the top left."""

    arm: str
    look: int
    x: float
    y: float
    text: str
    on_front: bool
    """Whether no arm gives as much for less."""


@dataclass(frozen=True)
class CostPlane:
    """Value against operations of choosing and training."""

    across: Axis
    """Decimal logarithm of the operations."""
    up: Axis
    points: tuple[CostPoint, ...]


@dataclass(frozen=True)
class SettingView:
    """One setting, as it is drawn."""

    found: SettingResult
    title: str
    sources: tuple[str, ...]
    """The largest share of any arm first."""
    measures: tuple[MeasureView, ...]
    steps: tuple[float, float] | None
    """Fewest and most steps of a training, where they are far apart."""


def write_experiment(experiment: Experiment, results: Results, directory: Path) -> list[Path]:
    """Write the page and its tables; the same results, the same bytes."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / EXPERIMENT_FILES[0]
    with atomic_path(path) as temporary:
        temporary.write_text(render_experiment(experiment, results), encoding="utf-8", newline="\n")
    return [path, *write_experiment_tables(experiment, results, directory)]


def render_experiment(experiment: Experiment, results: Results) -> str:
    """The page."""
    views = tuple(_view(experiment, found) for found in results.settings if found.arms)
    return render_page(
        "experiment.html",
        experiment=experiment,
        results=results,
        views=views,
        findings=experiment_findings(experiment, results),
        looks={arm: place for place, arm in enumerate(experiment.arms)},
        untrained=UNTRAINED,
        few_seeds=_FEW_SEEDS,
        fewest_seeds=min((len(each) for found in results.settings for each in found.seeds.values()), default=0),
        n_tables=_n_tables(results),
        names={name: line(name) for view in views for name in view.sources},
    )


def experiment_findings(experiment: Experiment, results: Results) -> list[str]:
    """What is shown and what is not, in sentences."""
    found = [f"{results.n_done} of {results.n_cells} cells are done."] if results.n_done < results.n_cells else []
    found += [f"{note}." for note in results.notes]
    for setting in results.settings:
        for measured in setting.measured:
            view = _measure_view(experiment, setting, measured)
            where = f"{_title(setting)}, {measured.measure.replace('_', ' ')}"
            if view.against:
                found.append(f"{where}, against {experiment.reference}: {_verdicts(view)}.")
            found += [f"{where}: {_contrast(each, view.digits)}." for each in view.contrasts]
        if setting.unfinished:
            found.append(f"{_title(setting)}: not evaluated yet: {', '.join(setting.unfinished)}.")
    if alone := _uncontrolled(experiment, results):
        found.append(
            f"No arm draws random rows of the sources of {', '.join(alone)} (source_shares_of): whether rows were "
            "chosen well there, or their sources, cannot be told."
        )
    if experiment.quality and isinstance(experiment.quality.scorer, SavedScorer):
        found.append(
            "The cost of choosing is without that of the scorer, which was fitted before (quality.scorer: saved)."
        )
    if (n_tables := _n_tables(results)) > 1:
        found.append(
            f"Claims are made of {n_tables} tables, and intervals hold together within a table: the more tables, the "
            "likelier that one of them errs."
        )
    return found


def _uncontrolled(experiment: Experiment, results: Results) -> list[str]:
    """Arms that choose by measured quality among several sources, and beside which no random rows of theirs stand."""
    if not any(len(arm.composition.shares) > 1 for setting in results.settings for arm in setting.arms):
        return []
    held = {arm.source_shares_of for arm in experiment.arms.values() if arm.selection.kind == "random"}
    return [
        name
        for name, arm in experiment.arms.items()
        if arm.sees == "measured" and arm.source_shares_of is None and name not in held
    ]  # fmt: skip


def _n_tables(results: Results) -> int:
    """Families of comparisons."""
    return sum(bool(measured.outcomes) for setting in results.settings for measured in setting.measured)


def _verdicts(view: MeasureView) -> str:
    parts: list[str] = []
    for verdict in get_args(Verdict):
        arms = [
            f"{arm} ({_signed(outcome, view.digits)})"
            for arm, outcome in view.against.items()
            if outcome.verdict == verdict
        ]
        parts += [f"{verdict}: {', '.join(arms)}"] if arms else []
    return "; ".join(parts)


def _contrast(outcome: Outcome, digits: int) -> str:
    return f"{outcome.arm} against {outcome.other}, {_signed(outcome, digits)}: {outcome.verdict}"


def _signed(outcome: Outcome, digits: int) -> str:
    value = number(outcome.difference.value, digits)
    sign = "+" if outcome.difference.value > 0 else ""
    return f"{sign}{value} [{number(outcome.low, digits)}, {number(outcome.high, digits)}]"


def _view(experiment: Experiment, found: SettingResult) -> SettingView:
    shares = [arm.composition.shares for arm in found.arms]
    sources = sorted(shares[0], key=lambda name: -max(each[name] for each in shares))
    measures = tuple(_measure_view(experiment, found, measured) for measured in found.measured)
    steps = [arm.training.steps for arm in found.arms if arm.training.steps]
    apart = (min(steps), max(steps)) if steps and max(steps) > _ALIKE * min(steps) else None
    return SettingView(found, _title(found), tuple(sources), measures, apart)


def _title(found: SettingResult) -> str:
    size = found.setting.size.name.replace("-", " ")
    return f"{size}, {found.setting.model}"


def _measure_view(experiment: Experiment, found: SettingResult, measured: Measured) -> MeasureView:
    scope = ALL_SETS if len(measured.n_items) > 1 else next(iter(measured.n_items), "")
    outcomes = [outcome for outcome in measured.outcomes if outcome.scope == scope]
    ends = [0.0, *(v for o in measured.outcomes for v in (o.difference.value, o.low, o.high) if math.isfinite(v))]
    differences = [o.difference.value for o in measured.outcomes]
    return MeasureView(
        found=measured,
        unit=UNITS.get(measured.measure, measured.measure),
        digits=min(5, digits_for(differences) + 1 if differences else 3),
        scope=scope,
        against={o.arm: o for o in outcomes if o.other == experiment.reference},
        contrasts=tuple(o for o in outcomes if o.other != experiment.reference),
        span=(min(ends), max(ends) if max(ends) > min(ends) else min(ends) + 1.0),
        plane=_plane(experiment, found, measured, scope),
    )


def _plane(experiment: Experiment, found: SettingResult, measured: Measured, scope: str) -> CostPlane | None:
    """None where fewer than two arms have a known cost."""
    known = {
        arm.arm: (arm.total_flops, measured.arms[arm.arm][scope])
        for arm in found.arms
        if arm.arm in measured.arms and arm.total_flops
    }
    if len(known) < 2:
        return None
    across = axis_over([math.log10(flops) for flops, _ in known.values() if flops])
    up = axis_over([estimate.value for _, estimate in known.values()])
    looks = list(experiment.arms)
    return CostPlane(
        across, up,
        tuple(
            CostPoint(
                arm, looks.index(arm), across.place(math.log10(flops or 1)), 100 - up.place(estimate.value),
                f"{flops:.3g} FLOP, {number(estimate.value, 3)}", _on_front(flops, estimate, list(known.values())),
            )
            for arm, (flops, estimate) in known.items()
        ),
    )  # fmt: skip


def _on_front(flops: float | None, estimate: Estimate, others: Sequence[tuple[float | None, Estimate]]) -> bool:
    return not any(
        (cost or 0) <= (flops or 0) and other.value >= estimate.value and (cost, other.value) != (flops, estimate.value)
        for cost, other in others
    )
