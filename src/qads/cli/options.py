"""What the commands' options are, and the configuration that they make."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperCommand

if TYPE_CHECKING:
    from qads.config import RunConfig

__all__ = [
    "AllowOther",
    "Anchors",
    "AsJson",
    "Budget",
    "Budgets",
    "Columns",
    "Device",
    "DryRun",
    "ManyValues",
    "Model",
    "OnBadRow",
    "Ray",
    "Redo",
    "Reuse",
    "RunDir",
    "Sample",
    "ScorerOption",
    "Settings",
    "Sources",
    "Style",
    "UntilRankStable",
    "UntilSe",
    "Workers",
    "check_out",
    "columns_from_flags",
    "config_from_flags",
    "execution_from_flags",
    "saved_scorer",
    "scorer_from_flags",
    "set_option",
]

_TAKE_MANY = ("--anchors", "-a", "--against", "--exclude", "--include", "--given", "--sets", "-s")
"""Options that take every value up to the next option, since a shell puts many for `eval/*.jsonl`."""


_SCORERS = ("probe", "lm", "retrieval")
"""Kinds of scorer that can be fitted; any other value of `--scorer` is a place."""


class ManyValues(TyperCommand):
    """A command whose options in `_TAKE_MANY` have several values; else all but the first would join POOL."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse, with every value under its option."""
        return super().parse_args(ctx, _spread(args))


def _spread(args: list[str]) -> list[str]:
    """`--anchors a b` as `--anchors a --anchors b`."""
    spread: list[str] = []
    option = ""
    for position, arg in enumerate(args):
        if arg == "--":
            return spread + args[position:]
        if arg in _TAKE_MANY:
            option = arg
        elif arg.startswith("-") and arg != "-":
            option = ""
            spread.append(arg)
        else:
            spread += [option, arg] if option else [arg]
    return spread


def set_option(example: str) -> Any:
    """The option `--set` of a command, with an example of what can be set there."""
    return typer.Option("--set", help=f"Any setting of the configuration: {example}. Repeatable.")


Sources = Annotated[list[str], typer.Argument(metavar="POOL...", help="Files, globs, folders, - or hf://owner/name.")]
Budget = Annotated[str, typer.Option("--budget", "-b", help="Rows to select: 1000, 0.1 or 10%.")]
Budgets = Annotated[
    list[str],
    typer.Option(
        "--budget", "-b", help="What to select: 1000 rows, 0.1, 10% or '2M tokens'. Repeatable: a file for each."
    ),
]
Anchors = Annotated[
    list[str] | None,
    typer.Option(
        "--anchors",
        "-a",
        help="The target skill: file(s) of your own samples, after POOL. Or a number: choose so many from the pool.",
    ),
]
Columns = Annotated[
    list[str] | None,
    typer.Option("--column", help="Map a column: problem=NAME, solution=NAME; id= makes ids anew. Repeatable."),
]
OnBadRow = Annotated[Literal["error", "skip"], typer.Option(help="A line that cannot be read: stop, or set it aside.")]
Settings = Annotated[list[str] | None, set_option("selection.alpha=0.5")]
Redo = Annotated[
    list[str] | None,
    typer.Option("--redo", metavar="STAGE", help="Compute a stage and all that is made from it again. Repeatable."),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show stages, rows, estimated tokens and time; compute nothing.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]
Model = Annotated[str | None, typer.Option(help="Causal model that scores: alias, folder, GGUF file or hub id.")]
Sample = Annotated[int | None, typer.Option(help="Rows that are really scored; the rest is predicted.")]
Style = Annotated[
    Literal["off", "source", "surface"],
    typer.Option(
        help="Quality apart from style: what a row gives beyond others of its source, or beyond rows that look like it."
    ),
]
ScorerOption = Annotated[
    str | None,
    typer.Option(
        "--scorer",
        metavar="S",
        help="What predicts the rest: probe, lm, retrieval, or a run whose scorer is used.",
    ),
]
AllowOther = Annotated[
    list[str] | None,
    typer.Option(
        metavar="WHAT",
        help="Use a scorer that was fitted for another pool, model, template, anchors or embedding. Repeatable.",
    ),
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps; by default the best there is.")]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Processes that compute, each with the model; on Ray, actors of the cluster.")
]
Ray = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="Compute on a Ray cluster: its address, auto for one here, local starts one."),
]
UntilSe = Annotated[
    float | None,
    typer.Option(
        "--until-se",
        metavar="S",
        help="Score a row on more and more anchors until the standard error of its quality is S (0.01) at most.",
    ),
]
UntilRankStable = Annotated[
    bool,
    typer.Option(
        "--until-rank-stable",
        help="Score a row on more and more anchors until it is clear where it stands among the scored rows.",
    ),
]
Reuse = Annotated[
    list[str] | None,
    typer.Option(metavar="RUN", help="Take the scores of another run for the same texts and model. Repeatable."),
]
RunDir = Annotated[Path, typer.Option("--out", "-o", help="Run directory.")]


def check_out(location: str, config: RunConfig) -> None:
    """Refuse before the work what could not be written after it."""
    from qads.datasets import refuse_own_output
    from qads.datasets.publishing import check_publishable

    shape = config.output.format
    endings = (".parquet",) if shape == "parquet" else (".jsonl", ".ndjson", ".json")
    out = Path(location)
    if out.suffix not in endings:
        known = "in .parquet" if shape == "parquet" else f"in {' or '.join(endings)}, or in .parquet for Parquet"
        raise typer.BadParameter(f"--out {location}: a file of the format {shape} must end {known}")
    if "://" in location:
        check_publishable(location)
        return
    refuse_own_output(config.files, [out])
    parent = next(folder for folder in out.absolute().parents if folder.exists())
    if out.is_dir() or not parent.is_dir() or not os.access(parent, os.W_OK):
        raise typer.BadParameter(f"--out {out}: no file can be written there")


def columns_from_flags(column: list[str] | None) -> dict[str, str]:
    """`--column problem=question` as field -> column."""
    pairs = [text.partition("=") for text in column or []]
    for name, equals, _ in pairs:
        if not equals:
            raise typer.BadParameter(f"--column {name}: expected FIELD=COLUMN, as in --column problem=question")
    return {name: value for name, _, value in pairs}


def config_from_flags(
    pool: list[str],
    budget: str | list[str],
    *,
    anchors: list[str] | None = None,
    model: str | None = None,
    sample: int | None = None,
    style: str = "off",
    no_quality: bool = False,
    column: list[str] | None = None,
    on_bad_row: str = "error",
    device: str | None = None,
    workers: int | None = None,
    ray: str | None = None,
    until_se: float | None = None,
    until_rank_stable: bool = False,
    scorer: dict[str, Any] | None = None,
    constraints: dict[str, Any] | None = None,
    settings: list[str] | None = None,
) -> RunConfig:
    """The configuration of a command that has no file; `--set` goes over everything else."""
    from qads.config import load_config

    raw: dict[str, Any] = {
        "pool": {"sources": tuple(pool), "columns": columns_from_flags(column), "on_bad_row": on_bad_row},
        "budget": budget,
    }
    if constraints:
        raw["constraints"] = constraints
    if anchors and len(anchors) == 1 and anchors[0].isdecimal():
        raw["anchors"] = {"n": int(anchors[0])}
    elif anchors:
        raw["anchors"] = {"sources": tuple(anchors), "on_bad_row": on_bad_row}
    if device:
        raw["execution"] = {"device": device}
    if no_quality and (model or sample is not None or anchors):
        raise typer.BadParameter("--no-quality excludes --model, --sample and --anchors: nothing is scored then")
    stopping = _stopping_from_flags(until_se, until_rank_stable)
    if no_quality and stopping:
        raise typer.BadParameter("--no-quality excludes --until-se and --until-rank-stable: nothing is scored then")
    if no_quality and style != "off":
        raise typer.BadParameter("--no-quality excludes --style: nothing is scored then")
    if no_quality and scorer is not None:
        raise typer.BadParameter("--no-quality excludes --scorer: nothing is predicted then")
    quality: dict[str, Any] = {} if sample is None else {"sample": sample}
    if style != "off":
        quality["style"] = {"by": style}
    if model or stopping:
        quality["influence"] = ({"model": model} if model else {}) | stopping
    if scorer is not None:
        if scorer["kind"] == "saved":
            _refuse_with_saved(anchors=anchors, sample=sample, stopping=stopping)
            if embedder := _embedder_of(scorer["path"]):
                raw["embedding"] = embedder
        quality["scorer"] = scorer
    raw["quality"] = None if no_quality else quality
    config = load_config(raw, [*execution_from_flags(workers, ray), *(settings or [])])
    if no_quality and config.quality is not None:
        raise typer.BadParameter("--no-quality excludes --set quality…: it would turn quality on again")
    return config


def execution_from_flags(workers: int | None, ray: str | None) -> list[str]:
    """The settings that `--workers` and `--ray` stand for."""
    on_ray = [] if ray is None else ["execution.kind=ray", f"execution.address={json.dumps(ray)}"]
    return on_ray if workers is None else [*on_ray, f"execution.workers={workers}"]


def saved_scorer(scorer: str, allow_other: list[str] | None) -> dict[str, Any]:
    """The setting that a scorer which was fitted before stands for."""
    return {"kind": "saved", "path": scorer, "allow": tuple(allow_other or ())}


def scorer_from_flags(scorer: str | None, allow_other: list[str] | None) -> dict[str, Any] | None:
    """The setting that `--scorer` and `--allow-other` stand for."""
    if scorer is not None and scorer not in _SCORERS:
        return saved_scorer(scorer, allow_other)
    if allow_other:
        raise typer.BadParameter("--allow-other is of a scorer that was fitted before: --scorer RUN")
    return None if scorer is None else {"kind": scorer}


def _embedder_of(scorer: str) -> dict[str, Any]:
    """What made the embeddings that a scorer was fitted on; nothing where it is not said."""
    from qads.config import SavedScorer
    from qads.quality import load_scorer

    return dict(load_scorer(SavedScorer(path=scorer).folder).made_for.embedder)


def _refuse_with_saved(*, anchors: list[str] | None, sample: int | None, stopping: dict[str, Any]) -> None:
    given = {"--anchors": anchors, "--sample": sample, "--until-…": stopping}
    if clash := [name for name, value in given.items() if value]:
        raise typer.BadParameter(f"{', '.join(clash)}: a scorer that was fitted before scores nothing for real")


def _stopping_from_flags(until_se: float | None, until_rank_stable: bool) -> dict[str, Any]:
    """The setting that `--until-…` stands for."""
    if until_se is not None and until_rank_stable:
        raise typer.BadParameter("--until-se and --until-rank-stable exclude each other: give one rule")
    if until_se is not None and not until_se > 0:
        raise typer.BadParameter(f"--until-se {until_se:g}: must be a number above 0, such as 0.01")
    if until_se is not None:
        return {"stopping": {"kind": "standard-error", "se": until_se}}
    return {"stopping": {"kind": "rank-stable"}} if until_rank_stable else {}
