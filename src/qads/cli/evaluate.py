"""Measure a model on evaluation sets, and show what came out, each number with its interval."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from qads.cli.options import AsJson, Device, Ray, Redo, Workers

if TYPE_CHECKING:
    from qads.cli.terminal import Terminal
    from qads.evaluate import EvaluationResult
    from qads.run import Evaluated

__all__ = ["AllowCode", "evaluate", "evaluation_rows"]

# The command imports what it needs: `qads --help` has to answer at once.

AllowCode = Annotated[
    bool,
    typer.Option(
        "--allow-code-execution",
        help="Run programs that the model writes, in a sandbox. No file of settings gives this leave.",
    ),
]


_EXECUTION = "execution."


def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Alias, folder, GGUF file or hub id.")],
    sets: Annotated[
        list[str],
        typer.Option("--sets", "-s", metavar="SET...", help="Benchmarks by name (gsm8k), NAME=FILE, or files."),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Directory for what is found; a second start goes on there.")
    ],
    limit: Annotated[int | None, typer.Option(min=1, help="Items of each set at most, drawn by a hash.")] = None,
    method: Annotated[
        Literal["cot", "pot", "pot-cot"],
        typer.Option(help="In words, by programs, or by programs and, where one gives no answer, in words."),
    ] = "cot",
    choice: Annotated[
        Literal["generation", "likelihood", "both"], typer.Option(help="How multiple choice is answered.")
    ] = "generation",
    generate: Annotated[bool, typer.Option("--generate/--no-generate", help="Whether answers are generated.")] = True,
    likelihood: Annotated[
        bool, typer.Option("--likelihood/--no-likelihood", help="Mean log-likelihood of the reference solutions.")
    ] = True,
    allow_code: AllowCode = False,
    template: Annotated[
        Literal["exemplar", "chat"], typer.Option(help="How a problem becomes text, as the model was trained.")
    ] = "exemplar",
    max_new_tokens: Annotated[int | None, typer.Option(min=1, help="Tokens that a solution may have (512).")] = None,
    shots: Annotated[int, typer.Option(min=0, help="Worked examples before every problem.")] = 0,
    shots_from: Annotated[str | None, typer.Option(metavar="FILE", help="Where they are taken from.")] = None,
    device: Device = None,
    workers: Workers = None,
    ray: Ray = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Any setting of the section evaluate, or of execution: dtype=float32. Repeatable.",
        ),
    ] = None,
    redo: Redo = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show items and tokens; measure nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure a model on evaluation sets: accuracy, and how likely it finds the right answers."""
    from qads.cli.terminal import Terminal
    from qads.cluster import Execution
    from qads.config import EvaluateConfig
    from qads.run import estimate_evaluation, evaluate_model
    from qads.settings import read_settings

    raw: dict[str, Any] = {
        "model": model, "sets": tuple(sets), "limit": limit, "method": method, "choice": choice, "generate": generate,
        "likelihood": likelihood, "template": {"kind": template}, "shots": shots, "shots_from": shots_from,
    }  # fmt: skip
    if max_new_tokens is not None:
        raw["max_new_tokens"] = max_new_tokens
    of_execution = [each.removeprefix(_EXECUTION) for each in settings or () if each.startswith(_EXECUTION)]
    config = read_settings(EvaluateConfig, raw, [each for each in settings or () if not each.startswith(_EXECUTION)])
    terminal = Terminal(as_json=as_json)
    where = {"kind": "local" if ray is None else "ray", "address": ray, "workers": workers, "device": device}
    where = {name: value for name, value in where.items() if value is not None}
    execution = read_settings(Execution, where | {"allow_code_execution": allow_code}, of_execution)
    if dry_run:
        terminal.estimate([estimate_evaluation(config, out, execution)], where=execution.described)
        return
    if others := set(redo or ()) - {"evaluate"}:
        raise typer.BadParameter(f"--redo {' '.join(others)}: there is one stage here: --redo evaluate")
    with terminal.running() as display:
        found = evaluate_model(config, out, execution=execution, observer=display, redo=bool(redo))
    _show(found, model, terminal)


def _show(found: Evaluated, model: str, terminal: Terminal) -> None:
    from qads.run import summary_json

    if terminal.as_json:
        lines = [summary_json(each) for each in found.result.summary()]
        terminal.emit(
            {"model": model, "summary": lines, "items": str(found.folder / "items.parquet"), "manifest": found.manifest}
        )
        return
    terminal.table(f"{model} on {len(found.manifest['items'])} sets", _COLUMNS, evaluation_rows(found.result))
    for sentence in _sentences(found.manifest):
        terminal.line(sentence)
    terminal.line(f"Every item, with what was written and the verdict: {found.folder / 'items.parquet'}")
    terminal.next_command("compare", "EXPERIMENT.yaml", "-o", "experiment", "--dry-run")


_COLUMNS = ("set", "measure", "items", "value", "95% low", "95% high", "without")


def evaluation_rows(result: EvaluationResult) -> list[tuple[object, ...]]:
    """The lines of the table; a number that is not known is None, which the table shows as a dash."""
    return [
        (each.set, each.measure, each.n, *_known(each.value, each.low, each.high), each.n_without or None)
        for each in result.summary()
    ]


def _known(*values: float) -> list[float | None]:
    return [round(value, 4) if value == value else None for value in values]


def _sentences(manifest: dict[str, Any]) -> list[str]:
    """What was left out, and how generation ended."""
    from qads.evaluate import told_lacks
    from qads.evaluate.items import listed_reasons

    sentences: list[str] = []
    if beyond := manifest["items_beyond_limit"]:
        listed = ", ".join(f"{n:,} of {name}" for name, n in beyond.items())
        sentences.append(f"Left out by the limit: {listed}.")
    if manifest["items_rejected"]:
        listed = listed_reasons(manifest.get("items_rejected_reasons", {}))
        sentences.append(f"Left out: {manifest['items_rejected']:,} rows that are no items ({listed}).")
    sentences += [f"{told}." for told in told_lacks(manifest)]
    if verdicts := manifest["verdicts"]:
        listed = ", ".join(f"{n:,} {verdict}" for verdict, n in verdicts.items())
        sentences.append(f"Answers: {listed}; {manifest['truncated']:,} solutions ended by max_new_tokens.")
    return sentences
