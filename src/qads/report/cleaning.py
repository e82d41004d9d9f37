"""What was taken out of the pool before anything was chosen, as a report shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from qads.report.passages import Passage, beginning, line
from qads.run import Manifest

__all__ = ["CleaningFacts", "ContaminatedFacts", "DroppedFacts", "EvaluationFacts", "read_cleaning"]

_FIRST = 20
_WHY = {
    "contaminated": "problem of the evaluation",
    "exact": "equal to another row",
    "near": "near duplicate",
    "solution": "more solutions of its problem than wanted",
    "semantic": "embedded next to another row",
}


@dataclass(frozen=True)
class DroppedFacts:
    """One row that went."""

    id: Passage
    source: Passage
    why: str
    kept: Passage | None
    """The row that stays in its place; None for a problem of the evaluation."""
    similarity: float | None


@dataclass(frozen=True)
class EvaluationFacts:
    """One evaluation set."""

    name: Passage
    n_rows: int
    exact: int
    """Rows of the pool that hold a problem of it as it is."""
    ngram: int
    renumbered: int


@dataclass(frozen=True)
class ContaminatedFacts:
    """A text of the evaluation in a row."""

    id: Passage
    kind: str
    overlap: float
    evaluation_id: Passage
    evaluation_source: Passage
    text: Passage
    excerpt: Passage


@dataclass(frozen=True)
class CleaningFacts:
    """Everything that is shown."""

    n_before: int
    n_rows: int
    reasons: tuple[tuple[str, int], ...]
    """Rows that went, for each reason that there was."""
    columns: tuple[str, ...]
    """Those reasons, as the heads of a table."""
    sources: tuple[tuple[Passage, int, tuple[int, ...]], ...]
    """Source, rows that stay, and rows that went for each of `columns`; sources that lost none are left out."""
    n_several: int | None
    """Problems with several different solutions; None where they were not looked for."""
    n_rows_of_these: int | None
    evaluation: tuple[EvaluationFacts, ...] | None
    """None where no evaluation set was given."""
    removes: bool
    """Whether problems of the evaluation go."""
    n_contaminated: int
    n_anchors_contaminated: int | None
    """None where there were no anchors of the user's own to look at."""
    dropped: tuple[DroppedFacts, ...]
    """The first that went for another row."""
    contaminated: tuple[ContaminatedFacts, ...]
    """The first problems of the evaluation."""


def read_cleaning(root: Path, manifests: Mapping[str, Manifest]) -> CleaningFacts | None:
    """What cleaning did; None where the run has none."""
    if (manifest := manifests.get("clean")) is None:
        return None
    by_source: dict[str, dict[str, int]] = manifest["dropped_by_source"]
    reasons = [name for name in _WHY if name in manifest["dropped"]]
    found: dict[str, Any] | None = manifest["contamination"]
    anchors: dict[str, Any] | None = manifests.get("anchors", {}).get("contamination")
    return CleaningFacts(
        n_before=manifest["rows_before"],
        n_rows=manifest["rows"],
        reasons=tuple((_WHY[name], manifest["dropped"][name]) for name in reasons),
        columns=tuple(_WHY[name] for name in reasons),
        sources=tuple(
            (line(name), manifest["sources"].get(name, 0), tuple(lost.get(reason, 0) for reason in reasons))
            for name, lost in by_source.items()
        ),
        n_several=manifest["problems_with_several_solutions"],
        n_rows_of_these=manifest["rows_of_these"],
        evaluation=None if found is None else _evaluation(found),
        removes=found is not None and found["action"] == "remove",
        n_contaminated=0 if found is None else found["rows"],
        n_anchors_contaminated=None if anchors is None else anchors["rows"],
        dropped=_dropped(root / "clean" / "dropped.parquet"),
        contaminated=() if found is None else _contaminated(root / "clean" / "contaminated.parquet"),
    )


def _evaluation(found: Mapping[str, Any]) -> tuple[EvaluationFacts, ...]:
    kinds = ("exact", "ngram", "renumbered")
    return tuple(
        EvaluationFacts(line(name), n, *(found["rows_by_set"].get(name, {}).get(kind, 0) for kind in kinds))
        for name, n in found["evaluation_rows"].items()
    )


def _dropped(path: Path) -> tuple[DroppedFacts, ...]:
    table = pq.read_table(path)
    rows = [row for row in table.to_pylist() if row["kept"] is not None][:_FIRST]
    return tuple(
        DroppedFacts(line(r["id"]), line(r["source"]), _WHY[r["reason"]], line(r["kept"]), r["similarity"])
        for r in rows
    )


def _contaminated(path: Path) -> tuple[ContaminatedFacts, ...]:
    rows = pq.read_table(path).slice(0, _FIRST).to_pylist()
    return tuple(
        ContaminatedFacts(
            id=line(r["id"]),
            kind=r["kind"],
            overlap=r["overlap"],
            evaluation_id=line(r["evaluation_id"]),
            evaluation_source=line(r["evaluation_source"]),
            text=beginning(r["text"]),
            excerpt=beginning(r["evaluation_excerpt"]),
        )
        for r in rows
    )
