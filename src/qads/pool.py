"""A pool of candidate samples, and a selection of its rows.

A `Pool` is one Arrow table with eight columns, all strings, so that a fingerprint, a file format and a
slice mean the same thing everywhere:

| column | meaning |
|---|---|
| `id` | unique name of the row |
| `source` | the dataset the row came from |
| `context` | earlier turns of a conversation as JSON `[{"role", "content"}, …]`; null when there are none |
| `problem` | what is asked |
| `solution` | the text a model should learn to write |
| `answer` | the final answer alone, where one is known; else null |
| `kind` | `cot`, `pot`, `general` or `answer-only` |
| `meta` | every other column of the source as a JSON object; null when there are none |
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypedDict, cast, get_args, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float, Int

from qads.errors import AlignmentError, InputError, PoolError
from qads.problems import problem_key

__all__ = [
    "COLUMNS", "Kind", "Pool", "Progress", "RejectedRow", "Row", "Selection", "Turn", "check_aligned", "take_rows",
]  # fmt: skip

Kind = Literal["cot", "pot", "general", "answer-only"]
KINDS: tuple[Kind, ...] = get_args(Kind)
COLUMNS = ("id", "source", "context", "problem", "solution", "answer", "kind", "meta")
SCHEMA = pa.schema([pa.field(name, pa.large_string()) for name in COLUMNS])

Progress = Callable[[int, int], None]
"""Called with (done, total) as long work goes on."""


EncodedRow = tuple[str | None, ...]
"""A row as the strings of the table, in the order of `COLUMNS`."""


class Turn(TypedDict):
    """One turn of a conversation."""

    role: str
    content: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """One sample, decoded."""

    id: str
    source: str
    problem: str
    solution: str
    answer: str | None = None
    kind: Kind = "general"
    context: tuple[Turn, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def encode(self) -> EncodedRow:
        """The row as the eight strings of the table."""
        # Keys are sorted, so that rows are equal however the file that held them ordered its columns.
        context = to_json(self.context, sort_keys=True) if self.context else None
        meta = to_json(self.meta, sort_keys=True) if self.meta else None
        return self.id, self.source, context, self.problem, self.solution, self.answer, self.kind, meta


@dataclass(frozen=True, kw_only=True)
class RejectedRow:
    """A row of a file that is not in the pool, and why."""

    where: str
    """File and line (or row) it came from."""
    reason: str
    """Why it cannot serve."""
    content: str
    """The row as it was read, or the beginning of a long one."""
    length: int | None = None
    """Characters of the whole row; None where `content` has all of them."""


@dataclass(frozen=True)
class Pool:
    """Candidate samples, in order.

    Args:
        table: Arrow table with the columns of `COLUMNS`, all `large_string`.
        rejected: rows of the sources that were set aside.

    Raises:
        PoolError: a column is missing or of another type, an id is null or occurs twice, a kind is unknown.
    """

    table: pa.Table
    rejected: tuple[RejectedRow, ...] = ()

    def __post_init__(self) -> None:
        if not self.table.schema.equals(SCHEMA):
            raise PoolError(
                f"Pool: the table has the columns {self.table.schema.names} with the types "
                f"{[str(t) for t in self.table.schema.types]}; it must have {list(COLUMNS)}, all "
                "large_string. Build pools with qads.load_pool or Pool.from_rows."
            )
        for name in ("id", "source", "problem", "solution", "kind"):
            if self.table[name].null_count:
                raise PoolError(f"Pool: column {name!r} holds {self.table[name].null_count} nulls; it may hold none.")
        unknown = [k for k in self.table["kind"].unique().to_pylist() if k not in KINDS]
        if unknown:
            raise PoolError(f"Pool: unknown kind {unknown[0]!r}; a kind is one of {', '.join(KINDS)}.")
        if (repeated := first_repeated(self.table["id"])) is not None:
            raise PoolError(f"Pool: the id {repeated!r} occurs more than once; ids must be unique over all sources.")

    @classmethod
    def from_rows(cls, rows: Iterable[Row], *, rejected: Sequence[RejectedRow] = ()) -> Pool:
        """Build a pool from decoded rows.

        Raises:
            PoolError: an id repeats, or a text holds a lone surrogate, which is not a character.

        >>> import qads
        >>> pool = qads.Pool.from_rows([qads.Row(id="a", source="me", problem="1+1?", solution="2")])
        >>> len(pool), pool.sources
        (1, ['me'])
        """
        return cls(table_from_encoded(row.encode() for row in rows), rejected=tuple(rejected))

    def __len__(self) -> int:
        return self.table.num_rows

    def __iter__(self) -> Iterator[Row]:
        for batch in self.table.to_batches(max_chunksize=4096):
            for record in batch.to_pylist():
                yield _decode(record)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Pool: ...
    def __getitem__(self, index: int | slice) -> Row | Pool:
        """Row `index`, decoded; the rows of a slice as a pool of their own."""
        if isinstance(index, slice):
            rows = range(len(self))[index]
            return self.slice(rows) if rows.step == 1 else self.take(rows)
        if not -len(self) <= index < len(self):
            raise IndexError(f"row {index} of a pool of {len(self)}")
        return _decode(self.table.slice(index % len(self), 1).to_pylist()[0])

    def take(self, indices: Sequence[int] | Int[np.ndarray, " k"]) -> Pool:
        """The rows at `indices`, in that order, as a pool of their own.

        Raises:
            InputError: they are no row numbers, or one is not in the pool.
        """
        rows = np.asarray(indices)
        if rows.ndim != 1 or (rows.size and rows.dtype.kind not in "iu"):
            raise InputError(
                f"Pool.take: indices have shape {rows.shape} and type {rows.dtype}; they must be row numbers [k] (of a "
                "mask: np.flatnonzero(mask))."
            )
        if (outside := (rows < 0) | (rows >= len(self))).any():
            raise InputError(
                f"Pool.take: row {rows[outside][0]} is not in the pool, whose rows are 0..{len(self) - 1}."
            )
        return Pool(take_rows(self.table, rows.astype(np.int64)))

    def slice(self, rows: range) -> Pool:
        """Neighbouring rows as a pool of their own; nothing is copied."""
        return Pool(self.table.slice(rows.start, len(rows)))

    def strings(self, column: str) -> list[str]:
        """One column without nulls as a list of strings."""
        return self.table[column].to_pylist()

    def meta(self, key: str) -> list[Any]:
        """One value of every row's `meta`, None where it has none; no row's whole `meta` is kept."""
        texts = (text for chunk in self.table["meta"].chunks for text in chunk.to_pylist())
        return [json.loads(text).get(key) if text else None for text in texts]

    @cached_property
    def sources(self) -> list[str]:
        """The names of the sources, in order of first appearance."""
        return self.table["source"].unique().to_pylist()

    @cached_property
    def source_codes(self) -> Int[np.ndarray, " n"]:
        """For every row the position of its source in `sources`."""
        encoded = self.table["source"].combine_chunks().dictionary_encode()  # Codes by first appearance.
        return encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)

    def n_bytes(self, rows: range) -> int:
        """Bytes of earlier turns, problems and solutions of neighbouring rows: about how long a model reads them."""
        part = self.table.slice(rows.start, len(rows))
        lengths = (pc.call_function("binary_length", [part[name]]) for name in ("context", "problem", "solution"))
        return sum(pc.call_function("sum", [each]).as_py() or 0 for each in lengths)

    def rows_by_source(self) -> dict[str, Int[np.ndarray, " k"]]:
        """For every source the positions of its rows."""
        order = np.argsort(self.source_codes, kind="stable")
        starts = np.searchsorted(self.source_codes[order], np.arange(len(self.sources)))
        return dict(zip(self.sources, np.split(order, starts)[1:], strict=True))

    @cached_property
    def problem_keys(self) -> list[str]:
        """`problem_key` of every row."""
        return list(map(problem_key, self.strings("problem"), self.table["context"].to_pylist()))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the content of all columns: equal rows in equal order, equal fingerprint."""
        digest = hashlib.sha256(struct.pack("<q", len(self)))
        for name in COLUMNS:
            digest.update(name.encode())
            # Fixed-size batches, so that how the table happens to be chunked in memory does not matter.
            for start in range(0, len(self), 65536):
                column = self.table[name].slice(start, 65536).combine_chunks()
                lengths = pc.call_function("binary_length", [column]).fill_null(-1).to_numpy(zero_copy_only=False)
                digest.update(np.ascontiguousarray(lengths, dtype="<i8").tobytes())
                digest.update("".join(text for text in column.to_pylist() if text).encode())
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class Selection:
    """Rows of a pool in the order they were chosen, each with the reason for it.

    Greedy selections are prefix-closed: `sel.head(k)` is the selection for the budget k.
    """

    indices: Int[np.ndarray, " k"]
    """Position in the pool of every pick."""
    gains: Float[np.ndarray, " k"]
    """What the selector maximised when it made the pick; NaN where nothing was maximised."""
    distances: Float[np.ndarray, " k"]
    """Distance to the nearest earlier pick; infinite where there was none, NaN where it plays no part."""
    nearest: Int[np.ndarray, " k"]
    """Step of that earlier pick; −1 where there was none, −2 − g where it is the row that was given as number g."""
    quality: Float[np.ndarray, " k"]
    """Quality of the pick as the caller gave it; 1 where none was given."""
    n_rows: int
    """Size of the pool that was selected from."""
    method: str
    """`kind` of the selector."""
    prefix_closed: bool = True
    """Whether the first k picks are the selection for the budget k."""
    stopped: str | None = None
    """Why it is shorter than was asked for, or what ended it under a token budget; None where it is exactly as long."""
    tokens: Int[np.ndarray, " k"] | None = None
    """Tokens of every pick, under a token budget."""

    def __post_init__(self) -> None:
        lengths = {
            len(self.indices),
            len(self.gains),
            len(self.distances),
            len(self.nearest),
            len(self.quality),
            len(self.indices if self.tokens is None else self.tokens),
        }
        if len(lengths) != 1:
            raise AlignmentError(f"Selection: its columns have different lengths {sorted(lengths)}.")

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def n_tokens(self) -> int | None:
        """Tokens of all picks, under a token budget."""
        return None if self.tokens is None else int(self.tokens.sum())

    def head(self, k: int) -> Selection:
        """The selection for a smaller budget, without computing anything again.

        Raises:
            InputError: k is larger than this selection, or the method is not prefix-closed.
        """
        if not self.prefix_closed:
            raise InputError(f"{self.method}: a smaller budget is another selection here; run it again with k={k}.")
        if not 0 <= k <= len(self):
            raise InputError(f"Selection.head: asked for {k} picks of a selection of {len(self)}.")
        columns = (c[:k] for c in (self.indices, self.gains, self.distances, self.nearest, self.quality))
        tokens = None if self.tokens is None else self.tokens[:k]
        stopped = self.stopped if k == len(self) else None
        return Selection(*columns, n_rows=self.n_rows, method=self.method, stopped=stopped, tokens=tokens)


def check_aligned(vectors: object, pool: Pool) -> None:
    """Refuse vectors that know their pool, as `qads.Embeddings` do, where it is another one; plain arrays know none.

    Raises:
        AlignmentError: they are of another pool.
    """
    if (check := getattr(vectors, "check_aligned", None)) is not None:
        check(pool)


def to_json(value: object, *, sort_keys: bool = False) -> str:
    """Compact JSON with the characters as they are; NaN and infinities, which JSON lacks, become null."""
    try:
        return _ENCODERS[sort_keys].encode(value)
    except ValueError:
        return _ENCODERS[sort_keys].encode(_finite(value))


def _plain(value: object) -> object:
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else str(value)


_ENCODERS = {
    sort_keys: json.JSONEncoder(
        ensure_ascii=False, separators=(",", ":"), default=_plain, allow_nan=False, sort_keys=sort_keys
    )
    for sort_keys in (False, True)
}


def _finite(value: object) -> object:
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(element) for name, element in cast(Mapping[str, Any], value).items()}
    return [_finite(element) for element in cast(list[Any], value)] if isinstance(value, list | tuple) else value


def table_from_encoded(encoded: Iterable[EncodedRow], *, batch_rows: int = 8192) -> pa.Table:
    """An Arrow table from encoded rows, built batch by batch so that memory stays near the table's size."""
    batches: list[pa.RecordBatch] = []
    pending: list[EncodedRow] = []

    def flush() -> None:
        columns = list(zip(*pending, strict=True)) or [()] * len(COLUMNS)
        try:
            batches.append(pa.record_batch([pa.array(c, pa.large_string()) for c in columns], schema=SCHEMA))
        except UnicodeEncodeError as error:
            raise PoolError(f"Pool: {error.object!r} holds a lone surrogate, which is not a character.") from error
        pending.clear()

    for row in encoded:
        pending.append(row)
        if len(pending) == batch_rows:
            flush()
    flush()
    return pa.Table.from_batches(batches, schema=SCHEMA)


def take_rows(table: pa.Table, rows: Int[np.ndarray, " k"]) -> pa.Table:
    """The rows of a table at these positions, in that order.

    Arrow's own `take` first joins the chunks of every column, which for a few rows of a large table is a copy of it.
    """
    if len(rows) and not 0 <= rows.min() <= rows.max() < table.num_rows:
        raise IndexError(f"rows {rows.min()} to {rows.max()} of a table of {table.num_rows}")
    order = np.argsort(rows, kind="stable")
    rising, parts, start = rows[order], list[pa.RecordBatch](), 0
    for batch in table.to_batches():
        first, last = np.searchsorted(rising, (start, start + batch.num_rows))
        if last > first:
            parts.append(batch.take(pa.array(rising[first:last] - start)))
        start += batch.num_rows
    taken = pa.Table.from_batches(parts, table.schema)
    return taken if np.array_equal(rising, rows) else taken.take(pa.array(np.argsort(order)))


def _decode(record: Mapping[str, Any]) -> Row:
    return Row(
        id=record["id"],
        source=record["source"],
        problem=record["problem"],
        solution=record["solution"],
        answer=record["answer"],
        kind=record["kind"],
        context=tuple(json.loads(record["context"])) if record["context"] else (),
        meta=json.loads(record["meta"]) if record["meta"] else {},
    )


def first_repeated(ids: pa.ChunkedArray) -> str | None:
    """The first string that occurs more than once."""
    counts = ids.value_counts()
    repeated = np.flatnonzero(counts.field("counts").to_numpy() > 1)
    return counts.field("values")[int(repeated[0])].as_py() if len(repeated) else None
