"""Readers and writers: files, folders, streams and hub datasets -> `Pool`, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Literal

from qads.choices import check_choice
from qads.datasets.drafts import Reject, UnknownShapeError
from qads.datasets.files import SourceFile, expand_sources, source_identity
from qads.datasets.formats import FIELDS, read_record, shown_names
from qads.datasets.outputs import refuse_own_output
from qads.datasets.records import BrokenRecord, Record, read_records
from qads.datasets.writers import WRITERS, atomic_path, write_pool
from qads.errors import PoolError
from qads.pool import (
    KINDS,
    EncodedRow,
    Kind,
    Pool,
    Progress,
    RejectedRow,
    Row,
    first_repeated,
    table_from_encoded,
    to_json,
)

__all__ = [
    "WRITERS",
    "atomic_path",
    "check_columns",
    "expand_sources",
    "load_pool",
    "refuse_own_output",
    "source_identity",
    "write_pool",
]

_SKIP = "To set such rows aside and go on: --on-bad-row skip; in Python: on_bad_row='skip'."
_KEPT = 1000
"""Characters that are kept of a row that is set aside; reports show fewer, and where it is stands beside them."""


def load_pool(
    sources: str | Path | Sequence[str | Path],
    *,
    columns: Mapping[str, str] | None = None,
    kind: Kind | None = None,
    on_bad_row: Literal["error", "skip"] = "error",
    require_solution: bool = True,
    progress: Progress | None = None,
) -> Pool:
    r"""Read candidate samples from files, globs, folders, standard input (``-``), ``hf://owner/name`` or storage.

    In object storage (``s3://bucket/…``, ``gs://…``, and single files by ``https://…`` or
    ``hf://datasets/owner/name/…``) everything is as on a disk: globs, folders, formats, compression. Rows are read as
    the bytes come; nothing is downloaded first.

    Formats are told by the ending (``.jsonl .json .csv .tsv .parquet .arrow``, each also with ``.gz .bz2 .xz
    .zst``) and shapes by their columns: Alpaca, prompt/completion, question/answer (GSM8K), problem/solution
    (MATH), AQuA, messages, ShareGPT, MathInstruct, program of thought, self-instruct, Dolly, SVAMP. Columns
    that no format uses are kept in ``meta``. Not kept as they were: CR LF becomes LF in problems and
    solutions, GSM8K's calculator marks leave the solution (``meta`` has the text with them), and NaN and
    infinities in ``meta`` become null.

    Args:
        sources: what to read, in order.
        columns: field -> column (``{"problem": "q", "solution": "a"}``) for shapes that are not recognised;
            an empty column leaves the field out (``{"id": ""}`` makes ids from source and row number). Only
            ``id`` is taken for an id unasked: ``ID``, ``item_id`` and their like stay in ``meta``, since
            upstream they often name a problem, which several rows share.
        kind: sets ``kind`` for every row instead of detecting it.
        on_bad_row: ``"skip"`` sets lines that cannot be read aside, ``"error"`` stops at the first.
        require_solution: whether a row without a solution is set aside; evaluation sets often have answers only,
            and then a column ``problem``, ``question``, ``instruction``, ``prompt`` or ``query`` is enough.
        progress: called with (rows read, −1).

    Returns:
        The pool; its ``rejected`` lists every row set aside and why.

    Raises:
        PoolError: a source is missing, empty or damaged, a row cannot be read, none can serve, an id repeats.

    >>> import qads, pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "tiny.jsonl"
    >>> _ = path.write_text('{"question": "1+1?", "answer": "1+1=2\\n#### 2"}')
    >>> qads.load_pool(path)[0].answer
    '2'
    """
    mapping = dict(columns or {})
    check_columns(mapping)
    if kind is not None and kind not in KINDS:
        raise PoolError(f"kind: {kind!r} is not one of {', '.join(KINDS)}.")
    check_choice(on_bad_row, ("error", "skip"), name="on_bad_row", method="load_pool")
    listed = [sources] if isinstance(sources, str | Path) else list(sources)
    if not listed:
        raise PoolError("load_pool: no source given.")
    reader = _Reader(
        columns=mapping, kind=kind, skip_bad=on_bad_row == "skip", require_solution=require_solution, progress=progress
    )
    files = expand_sources([str(source) for source in listed])
    table = table_from_encoded(row for file in files for row in reader.rows(file))
    if reader.unseen:
        name = min(reader.unseen)
        there = shown_names(dict.fromkeys(reader.names))
        raise PoolError(f"columns: no row has a column {name!r}; the first row has {there}.")
    if table.num_rows == 0:
        first = reader.rejected[0]
        raise PoolError(
            f"{', '.join(map(str, listed))}: none of the {len(reader.rejected)} rows can serve; "
            f"the first: {first.where}: {first.reason}."
        )
    if (repeated := first_repeated(table["id"])) is not None:
        raise PoolError(
            f"{' and '.join(reader.places(repeated, files))}: the id {repeated!r} occurs more than once; "
            "ids must be unique over all sources. To have them made from source and row number: --column id="
        )
    return Pool(table, rejected=tuple(reader.rejected))


def check_columns(columns: Mapping[str, str], where: str = "columns") -> None:
    """Refuse a column map that names what is no field of a row.

    Raises:
        PoolError: names the field and those that there are.
    """
    if unknown := [name for name in columns if name not in FIELDS]:
        raise PoolError(f"{where}: unknown field {unknown[0]!r}; a column map may name {', '.join(FIELDS)}.")


class _Reader:
    """Turns records into rows and keeps account of those it sets aside."""

    def __init__(
        self,
        *,
        columns: Mapping[str, str],
        kind: Kind | None = None,
        skip_bad: bool = True,
        require_solution: bool = True,
        progress: Progress | None = None,
    ) -> None:
        self.columns, self.kind, self.skip_bad, self.progress = columns, kind, skip_bad, progress
        self.require_solution = require_solution
        self.rejected: list[RejectedRow] = []
        self.unseen = {column for column in columns.values() if column}
        """Mapped columns that no record had so far."""
        self.names: tuple[str, ...] = ()
        """The columns of the first record."""
        self.seen = 0

    def rows(self, file: SourceFile) -> Iterator[EncodedRow]:
        return (row for _, row in self._placed_rows(file))

    def places(self, identifier: str, files: Sequence[SourceFile]) -> list[str]:
        """Where the first rows of that id are: read again, so that good files need no index of lines."""
        again = _Reader(columns=self.columns, require_solution=self.require_solution)
        readable = (file for file in files if file.location != "-")
        placed = (pair for file in readable for pair in again._placed_rows(file))
        found = (where for where, row in placed if row[0] == identifier)
        return list(islice(found, 2)) or ["standard input"]

    def _placed_rows(self, file: SourceFile) -> Iterator[tuple[str, EncodedRow]]:
        number = -1
        for number, record in enumerate(read_records(file)):
            self.seen += 1
            if self.progress and self.seen % 4096 == 0:
                self.progress(self.seen, -1)
            if isinstance(record, BrokenRecord):
                self._bad(record.where, record.reason, record.content)
                continue
            default = Row(id=f"{file.name}-{number}", source=file.source, problem="", solution="")
            for row in self._rows_of(record, default):
                yield record.where, row
        if number < 0:
            raise PoolError(f"{file.location}: holds no rows.")

    def _rows_of(self, record: Record, default: Row) -> Iterator[EncodedRow]:
        self.unseen.difference_update(record.fields)
        self.names = self.names or tuple(record.fields)
        try:
            for row in read_record(
                record.fields, self.columns, default=default, require_solution=self.require_solution
            ):
                if isinstance(row, Reject):
                    self._set_aside(record.where, row.reason, to_json(record.fields))
                    continue
                encoded = (row if self.kind is None else replace(row, kind=self.kind)).encode()
                "".join(filter(None, encoded)).encode()  # Arrow cannot hold a lone surrogate: find it where it is.
                yield encoded
        except UnknownShapeError as error:
            self._bad(record.where, str(error), to_json(record.fields), error.advice)
        except UnicodeEncodeError:
            self._bad(record.where, "holds a lone surrogate, which is not a character", ascii(record.fields))
        except RecursionError:
            self._bad(record.where, "nested too deep", "(nested too deep to be shown)")

    def _bad(self, where: str, reason: str, content: str, advice: str = "") -> None:
        if not self.skip_bad:
            raise PoolError(f"{where}: {reason.rstrip('.')}.", advice=f"{advice} {_SKIP}".lstrip())
        self._set_aside(where, f"{reason}. {advice}".rstrip(". "), content)

    def _set_aside(self, where: str, reason: str, content: str) -> None:
        """Keep why, and the beginning: rows that cannot serve may be many, and many megabytes each."""
        length = len(content) if len(content) > _KEPT else None
        self.rejected.append(RejectedRow(where=where, reason=reason, content=content[:_KEPT], length=length))
