"""Compare strategies: a grid of trainings, computed as far as it is not, what came of it as tables and as a page."""

from __future__ import annotations

import dataclasses
import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qads.amounts import duration
from qads.cli.evaluate import AllowCode
from qads.cli.options import Redo, Reuse, set_option
from qads.cli.running import make_terminal

if TYPE_CHECKING:
    from qads.cli.terminal import Terminal
    from qads.compare import Experiment, ExperimentEstimate, Outcome, SettingResult

__all__ = ["compare"]

# The command imports what it needs: `qads --help` has to answer at once.


def compare(
    experiment_file: Annotated[Path, typer.Argument(metavar="EXPERIMENT.yaml", help="Arms, budgets, models, seeds.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Directory of the experiment; a second start goes on there.")
    ],
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write all results as JSON; - for standard output.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="PART=VALUE", help="Cells of one arm, size, model or seed. Repeatable."),
    ] = None,
    max_cells: Annotated[
        int | None, typer.Option(min=0, help="Trainings in this start at most; the next start goes on.")
    ] = None,
    reuse: Reuse = None,
    redo: Redo = None,
    launch: Annotated[
        str | None,
        typer.Option(
            metavar="COMMAND",
            help="Starts every training, as on several GPUs: 'accelerate launch --config_file FILE'.",
        ),
    ] = None,
    settings: Annotated[list[str] | None, set_option("train.epochs=2")] = None,
    allow_code: AllowCode = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show cells, tokens, operations and time; compute nothing.")
    ] = False,
) -> None:
    """Train and evaluate every arm on every budget, model and seed, and say which differences are shown."""
    from qads.compare import load_experiment

    allowed = ["execution.allow_code_execution=true"] if allow_code else []
    experiment = load_experiment(experiment_file, [*(settings or ()), *allowed])
    wanted = _parts(only or ())
    terminal = make_terminal(as_json=json_file == Path("-"))
    if dry_run:
        _show_estimate(experiment, out, wanted, reuse or (), json_file, terminal)
        return
    _compute(experiment, out, _Start(wanted, max_cells, redo or (), reuse or (), _words(launch)), terminal)
    _report(experiment, out, json_file, terminal)


@dataclass(frozen=True)
class _Start:
    """What of an experiment one start computes."""

    only: Mapping[str, Sequence[str]]
    max_cells: int | None
    redo: Sequence[str]
    reuse: Sequence[str]
    launch: Sequence[str]


def _words(command: str | None) -> list[str]:
    """A command as a shell would split it; none is started."""
    try:
        return shlex.split(command or "")
    except ValueError as error:
        raise typer.BadParameter(f"--launch {command}: {error}") from None


def _compute(experiment: Experiment, out: Path, start: _Start, terminal: Terminal) -> None:
    from qads.compare import run_experiment

    with terminal.running() as display:
        run_experiment(
            experiment, out, only=start.only, max_cells=start.max_cells, redo=start.redo, reuse=start.reuse,
            launch=start.launch, observer=display,
        )  # fmt: skip


def _report(experiment: Experiment, out: Path, json_file: Path | None, terminal: Terminal) -> None:
    """Write the page and the tables, and say what they say."""
    from qads.compare import read_results
    from qads.report import experiment_as_json, experiment_findings, write_experiment

    results = read_results(out, experiment)
    page, *_ = write_experiment(experiment, results, out / "report")
    if terminal.as_json:
        terminal.emit(experiment_as_json(experiment, results))
        return
    if json_file is not None:
        _write_json(experiment_as_json(experiment, results), json_file)
    for found in results.settings:
        _show_setting(experiment, found, terminal)
    for sentence in experiment_findings(experiment, results):
        terminal.line(sentence)
    terminal.line(f"Page: {page}  (the same as JSON and CSV beside it)")
    if results.n_done == results.n_cells:
        terminal.line(f"All {results.n_cells} cells are done.")
        terminal.next_command("status", out)
    else:
        terminal.go_on("compare", out)


def _write_json(value: object, path: Path) -> None:
    from qads.datasets import atomic_path
    from qads.pool import to_json

    with atomic_path(path) as temporary:
        temporary.write_text(to_json(value) + "\n", encoding="utf-8")


def _parts(only: Sequence[str]) -> dict[str, list[str]]:
    """`--only arm=qads` as part -> values."""
    found = defaultdict[str, list[str]](list)
    for each in only:
        part, equals, value = each.partition("=")
        if not (equals and value):
            raise typer.BadParameter(f"--only {each}: expected PART=VALUE, as in --only arm=qads")
        found[part].append(value)
    return dict(found)


def _show_setting(experiment: Experiment, found: SettingResult, terminal: Terminal) -> None:
    where = f"{found.setting.size.name}, {found.setting.model}"
    terminal.table(
        f"What they chose: {where} (means over seeds; TFLOP of choosing, and of one training)",
        ("arm", "seeds", "selector", "rows", "tokens", "steps", "most of", "%", "TFLOP choosing", "training"),
        [
            (
                arm.arm, len(arm.trials), arm.kind, round(arm.composition.rows), round(arm.composition.tokens),
                None if arm.training.steps is None else round(arm.training.steps),
                (most := max(arm.composition.shares, key=lambda name: arm.composition.shares[name])),
                round(100 * arm.composition.shares[most], 1), _tera(arm.selection_flops), _tera(arm.training.flops),
            )
            for arm in found.arms
        ],
    )  # fmt: skip
    for measured in found.measured:
        terminal.table(
            f"{measured.measure}: {where}",
            ("arm", *next(iter(measured.arms.values()), {})),
            [(arm, *(f"{v.value:.4f}" for v in values.values())) for arm, values in measured.arms.items()],
        )
        terminal.table(
            f"Differences (intervals hold together, {measured.outcomes[0].family} of them)"
            if measured.outcomes else
            "No differences: two arms that are to be compared are not done, or have no item in common",
            ("arm", "against", "on", "difference", "interval", "won", "tied", "lost", "verdict"),
            [
                (o.arm, o.other, o.scope, f"{o.difference.value:+.4f}", _ends(o), o.wins, o.ties, o.losses, o.verdict)
                for o in measured.outcomes
            ],
        )  # fmt: skip


def _ends(outcome: Outcome) -> str:
    return "–" if outcome.low != outcome.low else f"{outcome.low:+.4f} to {outcome.high:+.4f}"


def _tera(flops: float | None) -> float | None:
    return None if flops is None else flops / 1e12


def _show_estimate(
    experiment: Experiment, out: Path, only: Mapping[str, Sequence[str]], reuse: Sequence[str],
    json_file: Path | None, terminal: Terminal,
) -> None:  # fmt: skip
    from qads.compare import estimate_experiment

    found: ExperimentEstimate = estimate_experiment(experiment, out, only=only, reuse=reuse)
    if terminal.as_json:
        terminal.emit(dataclasses.asdict(found))
        return
    if json_file is not None:
        _write_json(dataclasses.asdict(found), json_file)
    for model, stages in found.shared.items():
        terminal.table(
            f"Shared stages, scored by {model}", ("stage", "status", "rows", "tokens read", "TFLOP", "seconds"),
            [(s.name, s.status, s.rows, s.tokens, _tera(s.flops), s.seconds) for s in stages],
        )  # fmt: skip
        for stage in stages:
            if stage.note:
                terminal.line(f"{stage.name}: {stage.note}.")
    terminal.table(
        f"{len(found.cells)} cells (tokens through the base model in training, of all epochs, and operations of that)",
        ("arm", "size", "model", "seed", "status", "rows", "tokens trained", "TFLOP", "these are", "seconds"),
        [
            (
                *c.cell.parts.values(), c.status, c.rows, c.tokens, _tera(c.flops),
                "exact" if c.is_exact else "estimated", c.seconds,
            )
            for c in found.cells
        ],
    )  # fmt: skip
    for note in found.notes:
        terminal.line(f"{note}.")
    unknown = [c for c in found.cells if c.seconds is None]
    left = "an unknown time" if found.seconds is None else f"about {duration(found.seconds)}"
    terminal.line(f"Dry run: nothing is computed. Left to do: {left}; times by {found.basis}.")
    if unknown:
        terminal.line(f"Of {len(unknown)} cells the time is unknown, which is in this for nothing.")
    terminal.line("Next: the same command without --dry-run")
