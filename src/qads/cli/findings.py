"""What a check found: tables and evidence side by side on a terminal, plain lines elsewhere, one JSON object."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.table import Table
from rich.text import Text

from qads.clean import ContaminationReport, Match, Neighbour, PoolFindings, Template
from qads.cli.terminal import Terminal, inert
from qads.datasets import atomic_path
from qads.pool import to_json

__all__ = ["findings_as_json", "show_findings", "write_matches"]

_SIDE_BY_SIDE = 100
"""Columns of a terminal from which two texts stand beside each other."""
_MOST_CHARACTERS = 1200
"""Of a text that is shown as evidence."""
_TOKEN = re.compile(r"\d+(?:[.,]\d+)*|\w+|\s+|.", re.DOTALL)


def show_findings(findings: PoolFindings, terminal: Terminal, *, show: int) -> None:
    """Print what a check found.

    Args:
        findings: all of it.
        terminal: where to.
        show: findings of each sort to print.
    """
    terminal.table("Rows", ("source", "rows"), list(findings.n_by_source.items()))
    terminal.table("Kinds", ("kind", "rows"), list(findings.n_by_kind.items()))
    contaminated = len(findings.against.rows) if findings.against else 0
    terminal.line(
        f"{findings.n_rows} usable rows; {len(findings.rejected)} set aside, {findings.n_duplicate_rows} repeat a "
        f"problem, {len(findings.near)} nearly repeat a row, {contaminated} hold a problem of the evaluation."
    )
    for row in findings.rejected[:show]:
        terminal.line(f"  set aside: {row.where}: {row.reason}")
    for group in sorted(findings.duplicates, key=lambda g: -len(g.ids))[:show]:
        same = "same solution" if group.same_solution else "different solutions"
        ids = ", ".join(group.ids[:4])
        terminal.line(f"  {len(group.ids)} × one problem ({same}): {ids}: {_cut(group.problem, 100)}")
    for near in findings.near[:show]:
        terminal.line(f"  nearly {near.kept} ({near.similarity:.0%}): {near.id}: {_cut(near.problem, 100)}")
    for row in findings.evaluation_rejected[:show]:
        terminal.line(f"  not looked for, of the evaluation: {row.where}: {row.reason}")
    for what, report in (("pool", findings.against), ("anchors", findings.anchors)):
        if report:
            _show_report(report, terminal, what=what, show=show)


def _show_report(report: ContaminationReport, terminal: Terminal, *, what: str, show: int) -> None:
    if report.counts:
        rows = [(*place, n) for place, n in report.counts.items()]
        terminal.table(f"Problems of the evaluation in the {what}", (what, "evaluation", "kind", "rows"), rows)
        sets = [(name, n, report.n_evaluation[name]) for name, n in report.found_of.items() if n]
        terminal.table(f"Evaluation sets in the {what}", ("evaluation", "problems found", "of"), sets)
    else:
        terminal.line(f"No problem of the evaluation is in the {what}.")
    for match in _varied(report.strongest, show):
        label = "in the evaluation" if what == "pool" else f"in the evaluation ({what})"
        where = "" if match.part == "problem" else f" in its {match.part}"
        _show_pair(
            f"  {label}: {match.id} = {match.evaluation_id}: {match.kind}{where}, {match.overlap:.0%} of the words of "
            f"{match.evaluation_source}'s {match.evaluation_part}",
            match,
            terminal,
        )
    for template in report.templates[:show]:
        terminal.line(
            f"  not counted: {len(template.rows)} rows of the {what} are {template.evaluation_id} of "
            f"{template.evaluation_source} with other numbers, {_why_not_counted(template)}"
        )
    for near in report.neighbours[:show] if show else ():
        which = f"{near.id} ~ {near.evaluation_id} ({near.evaluation_source})"
        _show_pair(f"  for a look: {which}: cosine {near.similarity:.3f}", near, terminal)


def _why_not_counted(template: Template) -> str:
    if template.numberings > 1:
        return f"and so are {template.numberings} rows of that set"
    return "and few words beside them"


def _varied(matches: Sequence[Match], show: int) -> list[Match]:
    """Some of each kind, and of each kind from every source and set in turn, the largest overlap first."""
    by_kind: dict[str, dict[tuple[str, str], list[Match]]] = {}
    for match in sorted(matches, key=lambda m: -m.overlap):
        places = by_kind.setdefault(match.kind, {})
        places.setdefault((match.source, match.evaluation_source), []).append(match)
    chosen: list[Match] = []
    for kind in sorted(by_kind):
        turns = chain.from_iterable(zip_longest(*by_kind[kind].values()))
        chosen += [match for match in turns if match is not None][:show]
    return chosen


def _show_pair(title: str, pair: Match | Neighbour, terminal: Terminal) -> None:
    terminal.line(title)
    texts = _cut(pair.problem), _cut(pair.evaluation_problem)
    if not terminal.out.is_terminal:
        for name, text in zip(("pool", "evaluation"), texts, strict=True):
            terminal.line(f"    {name + ':':<12}{text}")
        return
    one, other = _marked(*texts)
    table = Table(box=None, padding=(0, 2), show_header=False, expand=True)
    if terminal.out.width >= _SIDE_BY_SIDE:
        table.add_column(ratio=1, overflow="fold")
        table.add_column(ratio=1, overflow="fold")
        table.add_row(one, other)
    else:
        table.add_column(overflow="fold")
        table.add_row(Text.assemble(("pool: ", "dim"), one))
        table.add_row(Text.assemble(("evaluation: ", "dim"), other))
    terminal.out.print(table)


def _marked(one: str, other: str) -> tuple[Text, Text]:
    """Two texts with the words that they share plain, numbers that differ in colour and all else dim."""
    pieces = _TOKEN.findall(one), _TOKEN.findall(other)
    folded = [[piece.casefold() for piece in side] for side in pieces]
    shared: tuple[set[int], set[int]] = set(), set()
    for start, there, size in difflib.SequenceMatcher(None, *folded, autojunk=False).get_matching_blocks():
        shared[0].update(range(start, start + size))
        shared[1].update(range(there, there + size))
    return _styled(pieces[0], shared[0]), _styled(pieces[1], shared[1])


def _styled(pieces: Iterable[str], shared: set[int]) -> Text:
    text = Text()
    for position, piece in enumerate(pieces):
        shown = inert(piece)
        if position not in shared:
            shown.stylize("bold yellow" if piece[0].isdecimal() else "dim")
        text.append_text(shown)
    return text


def findings_as_json(findings: PoolFindings) -> dict[str, Any]:
    """One object with all findings, the evidence included."""
    return {
        "rows": findings.n_rows,
        "n_findings": findings.n_findings,
        "n_by_source": findings.n_by_source,
        "n_by_kind": findings.n_by_kind,
        "rejected": [dataclasses.asdict(row) for row in findings.rejected],
        "exact_duplicates": findings.n_exact_duplicates,
        "repeated_problems": findings.n_duplicate_rows,
        "near_duplicates": len(findings.near),
        "duplicates": [dataclasses.asdict(group) for group in findings.duplicates],
        "near": [dataclasses.asdict(row) for row in findings.near],
        "evaluation_rejected": [dataclasses.asdict(row) for row in findings.evaluation_rejected],
        "contaminated": list(_records(findings.against)),
        "contamination": _summary(findings.against),
        "anchors": {"contaminated": list(_records(findings.anchors)), "contamination": _summary(findings.anchors)},
    }


def _records(report: ContaminationReport | None) -> Iterator[dict[str, Any]]:
    for match in report.matches if report else ():
        record = dataclasses.asdict(match)
        names = {"against": record.pop("evaluation_source"), "match": record.pop("evaluation_id")}
        yield {"id": record.pop("id"), **names, "kind": record.pop("kind"), **record}


def _summary(report: ContaminationReport | None) -> dict[str, Any] | None:
    if report is None:
        return None
    return {
        "rows": len(report.rows),
        "counts": [
            {"source": source, "against": against, "kind": kind, "rows": n}
            for (source, against, kind), n in report.counts.items()
        ],
        "evaluation": [
            {"against": name, "found": report.found_of[name], "of": n} for name, n in report.n_evaluation.items()
        ],
        "templates": [dataclasses.asdict(template) for template in report.templates],
        "neighbours": [dataclasses.asdict(near) for near in report.neighbours],
    }


def write_matches(findings: PoolFindings, path: Path) -> None:
    """All matches of the pool and of the anchors as JSON Lines or parquet, whole or not at all."""
    records = [
        {"in": what, **record}
        for what, report in (("pool", findings.against), ("anchors", findings.anchors))
        for record in _records(report)
    ]
    with atomic_path(path) as temporary:
        if path.suffix == ".parquet":
            pq.write_table(pa.Table.from_pylist(records), temporary, compression="zstd")
        else:
            temporary.write_text("".join(f"{to_json(record)}\n" for record in records), encoding="utf-8", newline="\n")


def _cut(text: str, length: int = _MOST_CHARACTERS) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= length else flat[: length - 1] + "…"
