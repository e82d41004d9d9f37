"""Rows of a pool looked through for texts of evaluation sets, batch by batch, by whoever is there to do it."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa

from qads.clean.evaluation import Part
from qads.clean.recognition import Filled, MatchKind, Recognition, Rules
from qads.cluster import Execution, Function, Grid, MemoryShards, ShardStore, Tell, map_shards, workers
from qads.pool import Pool, Progress

__all__ = ["Seen", "search"]

_ROWS_PER_BATCH = 2048
_READ = ("context", "problem", "solution")
_SCHEMA = pa.schema(
    [
        ("row", pa.int64()), ("kind", pa.string()), ("overlap", pa.float64()), ("part", pa.string()),
        ("text", pa.large_string()), ("asked_row", pa.int64()), ("asked_part", pa.string()),
        ("numberings", pa.int64()), ("shape", pa.list_(pa.large_string())),
    ]
)  # fmt: skip


class Seen(NamedTuple):
    """A text of an evaluation set in a row, or a template that both fill."""

    row: int
    """Position in the pool."""
    kind: MatchKind | None
    """None for a template, which is no evidence."""
    overlap: float | None
    part: Part | None
    text: str | None
    """Of the row; it and the two before it None for a template."""
    asked_row: int
    """Position in the evaluation pool; of a template, the first that fills it."""
    asked_part: Part
    numberings: int
    """In how many ways the set fills the same template."""
    shape: tuple[str, ...] | None
    """The template; None where it is no matter of one."""


def search(
    pool: Pool,
    evaluation: Pool,
    rules: Rules,
    *,
    execution: Execution | None = None,
    shards: ShardStore | None = None,
    progress: Progress | None = None,
) -> Iterator[Seen]:
    """What of the evaluation sets is in a pool, batch after batch: what a row has of them, then the templates.

    Args:
        pool: where to look.
        evaluation: the sets; sent to every worker once.
        rules: what counts.
        execution: who looks; this process alone unless a number of workers or a cluster is asked for.
        shards: where finished batches are kept.
        progress: called with (rows done, rows).

    Raises:
        ClusterError: workers died again and again.
    """
    table, store = pool.table.select(_READ), shards or MemoryShards()
    grid = Grid(n_rows=len(pool), rows_per_shard=_ROWS_PER_BATCH)
    with workers(lambda: _Searching(evaluation, rules), (execution or Execution()).reading()) as crew:
        map_shards(crew, lambda rows: table.slice(rows.start, len(rows)), grid, store=store, progress=progress)
    for (_, rows), found in zip(grid, grid.finished(store), strict=True):
        for seen in found.to_pylist():
            shape = seen["shape"]
            yield Seen(**seen | {"row": rows.start + seen["row"], "shape": None if shape is None else tuple(shape)})


@dataclass(frozen=True)
class _Searching:
    """Looks through rows, wherever that is done."""

    evaluation: Pool
    rules: Rules

    @contextmanager
    def open(self, _: Execution, __: Tell) -> Generator[Function]:
        """Rows -> what is in them, with places in the batch."""
        recognition = Recognition(self.evaluation, self.rules)

        def look(rows: pa.Table) -> pa.Table:
            seen = [_record(row, found) for row, found in recognition.seen(rows.to_pylist())]
            return pa.Table.from_pylist(seen, _SCHEMA)

        yield look


def _record(row: int, found: Any) -> dict[str, Any]:
    asked = found.asked
    common = {"row": row, "asked_row": asked.row, "asked_part": asked.part, "numberings": asked.numberings}
    if isinstance(found, Filled):
        return common | {"shape": list(found.shape)}
    return common | {"kind": found.kind, "overlap": found.overlap, "part": found.part, "text": found.text}
