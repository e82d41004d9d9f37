"""`qads check`: what of a pool should not be trained on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qads.cli.options import AsJson, Columns, OnBadRow, Sources, columns_from_flags

if TYPE_CHECKING:
    from qads.clean import PoolFindings
    from qads.cli.terminal import Terminal
    from qads.pool import Pool

__all__ = ["check"]

_SORTS = ("rejected", "duplicates", "near", "contamination")

Against = Annotated[
    list[str] | None,
    typer.Option(
        help="Evaluation sets that must not be in the pool: benchmarks (gsm8k), files, or NAME=FILE. After POOL."
    ),
]
CheckedAnchors = Annotated[
    list[str] | None,
    typer.Option("--anchors", "-a", help="Anchors, which must not be of the evaluation sets either. After POOL."),
]
FailOn = Annotated[
    list[str] | None,
    typer.Option(
        "--fail-on",
        metavar="SORT",
        help=f"Findings that make the exit code 1: {', '.join(_SORTS)}; all unless given. Repeatable.",
    ),
]


def check(
    pool: Sources,
    against: Against = None,
    anchors: CheckedAnchors = None,
    show: Annotated[int, typer.Option(min=0, help="Findings of each sort to print.")] = 5,
    neighbours: Annotated[
        int, typer.Option(min=0, help="List the K rows nearest to the evaluation by embeddings; never findings.")
    ] = 0,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File for all matches with the evaluation: .jsonl or .parquet.")
    ] = None,
    write_clean: Annotated[
        Path | None, typer.Option("--write-clean", help="File for the pool without its contaminated rows.")
    ] = None,
    fail_on: FailOn = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that read the texts, a core each.")] = None,
    column: Columns = None,
    on_bad_row: OnBadRow = "skip",
    as_json: AsJson = False,
) -> None:
    """Look for unusable rows, repeated problems and evaluation problems; exit 1 if there are any."""
    from qads.cli.findings import findings_as_json, show_findings, write_matches
    from qads.cli.terminal import Terminal
    from qads.datasets import load_pool, write_pool
    from qads.datasets.benchmarks import load_evaluation

    _refuse_unusable(pool, against, anchors, neighbours, out, write_clean)
    if unknown := [sort for sort in fail_on or () if sort not in _SORTS]:
        raise typer.BadParameter(f"--fail-on {unknown[0]}: must be one of {', '.join(_SORTS)}")
    terminal = Terminal(as_json=as_json)
    with terminal.reading() as progress:
        candidates = load_pool(pool, columns=columns_from_flags(column), on_bad_row=on_bad_row, progress=progress)
        evaluation = load_evaluation(against, progress=progress) if against else None
        target = load_pool(anchors, require_solution=False, progress=progress) if anchors else None
    findings = _look(candidates, evaluation, target, neighbours, workers, terminal)
    if out:
        write_matches(findings, out)
    if write_clean and findings.against:
        write_pool(candidates.take(findings.against.clean_rows), write_clean)
    if as_json:
        terminal.emit(findings_as_json(findings))
    else:
        show_findings(findings, terminal, show=show)
        cleaned = ("--dedup", "near", *(("--against", *against) if against else ())) if _fails(findings, None) else ()
        read_so = [word for text in column or () for word in ("--column", text)]
        read_so += ["--on-bad-row", "skip"] if findings.rejected else []
        target_named = ["--anchors", *anchors] if anchors else []
        terminal.next_command(
            "select", *pool, *read_so, *target_named, "--budget", "10%", "-o", "picked.jsonl", *cleaned
        )
    if _fails(findings, fail_on):
        raise typer.Exit(1)


def _look(
    candidates: Pool, evaluation: Pool | None, anchors: Pool | None, neighbours: int, workers: int | None,
    terminal: Terminal,
) -> PoolFindings:  # fmt: skip
    from qads.clean import Decontamination, check_pool
    from qads.cluster import Execution

    vectors = None
    with terminal.running() as display:
        if neighbours and evaluation is not None:
            from qads.embed import SentenceEmbedder  # Brings torch, which nothing else here needs.

            embedder = SentenceEmbedder(text="problem")
            display.stage_started("embedding the evaluation", 1, 3)
            asked = embedder(evaluation, progress=display.progress)
            display.stage_started("embedding the pool", 2, 3)
            vectors = embedder(candidates, progress=display.progress), asked
        n_stages = 1 if vectors is None else 3
        display.stage_started("looking", n_stages, n_stages)
        return check_pool(
            candidates,
            evaluation,
            anchors=anchors,
            decontamination=Decontamination(neighbours=neighbours),
            embeddings=vectors,
            execution=Execution(workers=workers or "auto"),
            progress=display.progress,
        )


def _refuse_unusable(
    pool: Sequence[str], against: Sequence[str] | None, anchors: Sequence[str] | None, neighbours: int,
    out: Path | None, write_clean: Path | None,
) -> None:  # fmt: skip
    """Refuse before the work what could not be done after it."""
    from qads.datasets import refuse_own_output
    from qads.datasets.benchmarks import evaluation_locations

    for option, given in (
        ("--anchors", anchors), ("--neighbours", neighbours), ("--out", out), ("--write-clean", write_clean)
    ):  # fmt: skip
        if given and not against:
            raise typer.BadParameter(f"{option} needs --against: it is about problems of the evaluation")
    if out is not None and write_clean is not None and out.resolve() == write_clean.resolve():
        raise typer.BadParameter(f"--write-clean {write_clean}: is the file of --out too; each needs one of its own")
    for option, path in (("--out", out), ("--write-clean", write_clean)):
        if path is None:
            continue
        if path.suffix not in (".jsonl", ".parquet"):
            raise typer.BadParameter(f"{option} {path}: the file must end in .jsonl or .parquet")
        refuse_own_output((*pool, *evaluation_locations(against or ()), *(anchors or ())), [path])


def _fails(findings: PoolFindings, fail_on: Sequence[str] | None) -> bool:
    reports = [report for report in (findings.against, findings.anchors) if report]
    found = {
        "rejected": bool(findings.rejected),
        "duplicates": findings.n_duplicate_rows > 0,
        "near": bool(findings.near),
        "contamination": any(len(report.rows) for report in reports),
    }
    return any(found[sort] for sort in fail_on or found)
