"""Files, streams and hub datasets -> raw records, each with the place it came from.

Nothing here knows what a record means; `qads.datasets.formats` does.
"""

from __future__ import annotations

import csv
import io
import json
import lzma
import os
import re
import zlib
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import chain, count, islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from qads.datasets.files import HUB, SourceFile, file_path, format_of, is_compressed, open_bytes, unreadable
from qads.datasets.storage import ObjectStore, is_object, raise_storage_error
from qads.errors import PoolError

__all__ = ["BrokenRecord", "Record", "read_lines", "read_records"]

_BATCH_ROWS = 1024
_BOM = b"\xef\xbb\xbf"
_ARROW_FILE = b"ARROW1"
_LONGEST_LINE = 1 << 26
"""Bytes of a line, and characters of a cell."""
_DAMAGED = (EOFError, zlib.error, lzma.LZMAError, OSError)
"""What the readers of compressed files raise."""


@dataclass(frozen=True)
class Record:
    """One record as the file gives it."""

    where: str
    """File and line or row, for messages."""
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class BrokenRecord:
    """A line or row that cannot be read as what the file is."""

    where: str
    reason: str
    content: str


def read_records(source: SourceFile) -> Iterator[Record | BrokenRecord]:
    """The records of one source, in order, streamed.

    A line or row that cannot be decoded comes out as a `BrokenRecord`; the caller decides what it means.

    Raises:
        PoolError: the file as a whole cannot be read as what it is.
    """
    if source.location.startswith("hf://") and not is_object(source.location):
        yield from _read_hub(source.location)
        return
    kind = "jsonl" if source.location == "-" else format_of(file_path(source.location))
    if kind in ("parquet", "arrow"):
        yield from _read_columnar(source.location, kind)
        return
    with _opened(source.location) as stream:
        yield from _TEXT_READERS[kind](stream, source.location)


def read_lines(location: str) -> list[str]:
    """The lines of a text, which is decompressed if its ending says so.

    Raises:
        PoolError: it cannot be read, is damaged or is not UTF-8.
    """
    with _opened(location) as stream:
        return [*_decoded_lines(stream, location)]


@contextmanager
def _opened(location: str) -> Generator[io.BufferedIOBase]:
    """The bytes of a file or object, decompressed; what the system or the archive has against it names it."""
    try:
        with open_bytes(location) as stream:
            yield stream
    except _DAMAGED as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise unreadable(location, error) from error
        raise PoolError(
            f"{location}: the compressed file is damaged or cut short ({error}). "
            "Get the file again, or decompress what is left of it and read that."
        ) from error


def _lines(stream: io.BufferedIOBase, location: str) -> Iterator[bytes]:
    """The lines, none of which can take all memory."""
    for number in count(1):
        line = stream.readline(_LONGEST_LINE + 1)
        if not line:
            return
        if len(line) > _LONGEST_LINE:
            raise PoolError(f"{location}:{number}: the line is longer than {_LONGEST_LINE:,} bytes, which no row is.")
        yield line


def _read_jsonl(stream: io.BufferedIOBase, location: str) -> Iterator[Record | BrokenRecord]:
    for number, line in enumerate(_lines(stream, location), 1):
        where = f"{location}:{number}"
        if number == 1:
            line = line.removeprefix(_BOM)
            if line.lstrip()[:1] == b"[":
                raise PoolError(f"{where}: JSON Lines was expected, but the file starts a JSON array; name it .json.")
        if not line.strip():
            continue
        yield _decode_json_line(line, where)


def _other_encoding(text: bytes) -> str:
    """What a text that is not UTF-8 seems to be, by its first bytes."""
    return " (it begins as UTF-16 does; save the file as UTF-8)" if text[:2] in (b"\xff\xfe", b"\xfe\xff") else ""


def _decode_json_line(line: bytes, where: str) -> Record | BrokenRecord:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        shown = line.decode("utf-8", errors="replace").rstrip("\r\n")
        return BrokenRecord(where, f"invalid UTF-8 at byte {error.start} of the line{_other_encoding(line)}", shown)
    try:
        value = _JSON.decode(text)
    except (ValueError, RecursionError) as error:
        return BrokenRecord(where, f"not valid JSON: {_json_fault(error)}", text.rstrip("\r\n"))
    return _as_record(value, where)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        repeated = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"the key {repeated!r} occurs twice in one object")
    return fields


_JSON = json.JSONDecoder(object_pairs_hook=_unique_keys)


def _json_fault(error: ValueError | RecursionError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg.removesuffix(' at')} at column {error.colno}"
    return "nested too deep" if isinstance(error, RecursionError) else str(error)


def _as_record(value: object, where: str) -> Record | BrokenRecord:
    if not isinstance(value, dict):
        return BrokenRecord(where, f"a JSON object was expected, found {type(value).__name__}", json.dumps(value))
    return Record(where, value)


def _read_json(stream: io.BufferedIOBase, location: str) -> Iterator[Record | BrokenRecord]:
    """A JSON array of objects, decoded element by element so that memory holds the text and one element."""
    try:
        text = stream.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        other = _other_encoding(error.object)
        raise PoolError(f"{location}: invalid UTF-8 at byte {error.start}{other}. Save the file as UTF-8.") from error
    position = _skip_blanks(text, 0)
    if position == len(text):
        raise PoolError(f"{location}: the file is empty.")
    if text[position] != "[":
        yield from _read_json_objects(text, location)
        return
    row, line, seen = 0, 1, 0
    position = _skip_blanks(text, position + 1)
    while text[position : position + 1] != "]":
        line, seen = line + text.count("\n", seen, position), position
        where = f"{location}:{line} (element {row})"
        if position == len(text):
            raise PoolError(f"{where}: the JSON array is not closed; the file is cut short.")
        try:
            value, position = _JSON.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            line = error.lineno if isinstance(error, json.JSONDecodeError) else line
            raise PoolError(f"{location}:{line} (element {row}): not valid JSON: {_json_fault(error)}.") from error
        yield _as_record(value, where)
        row, position = row + 1, _skip_blanks(text, position)
        if text[position : position + 1] == ",":
            position = _skip_blanks(text, position + 1)
        elif position < len(text) and text[position] != "]":
            raise PoolError(f"{where}: after it a comma or the end of the JSON array was expected.")
    if _skip_blanks(text, position + 1) != len(text):
        raise PoolError(f"{location}: text follows the end of the JSON array.")


def _read_json_objects(text: str, location: str) -> Iterator[Record | BrokenRecord]:
    """A ``.json`` file of one object: the rows under its only list, or JSON Lines under the wrong name."""
    try:
        value = _JSON.decode(text)
    except (ValueError, RecursionError) as error:
        line = error.lineno if isinstance(error, json.JSONDecodeError) else 1
        if isinstance(error, json.JSONDecodeError) and error.msg == "Extra data":
            yield from _read_jsonl(io.BytesIO(text.encode()), location)
            return
        raise PoolError(f"{location}:{line}: not valid JSON: {_json_fault(error)}.") from error
    columns = list(value.items()) if isinstance(value, dict) else []
    if len(columns) == 1 and isinstance(columns[0][1], list):
        key, rows = columns[0]
        for row, element in enumerate(rows):
            yield _as_record(element, f"{location} ({key}[{row}])")
    else:
        yield _as_record(value, f"{location}:1")


def _skip_blanks(text: str, position: int) -> int:
    match = _BLANKS.match(text, position)
    assert match is not None
    return match.end()


_BLANKS = re.compile(r"\s*")


def _read_delimited(stream: io.BufferedIOBase, location: str, *, delimiter: str) -> Iterator[Record | BrokenRecord]:
    csv.field_size_limit(_LONGEST_LINE)  # A setting of the whole process; rows may be longer than its 128 KiB.
    lines = _decoded_lines(stream, location)
    first = list(islice(lines, 1))
    line = 0
    try:
        delimiter = _delimiter_of(first, delimiter)
        reader = csv.reader(chain(first, lines), delimiter=delimiter, strict=True)
        header, line = next(reader, []), reader.line_num
        if len(set(header)) < len(header):
            raise PoolError(f"{location}:1: the header names a column twice: {_shown(', '.join(header))}.")
        for cells in reader:
            where, line = f"{location}:{line + 1}", reader.line_num
            if not cells:
                continue
            if len(cells) != len(header):
                reason = f"{len(cells)} cells where the header names {len(header)} columns"
                yield BrokenRecord(where, reason, delimiter.join(cells))
            else:
                # An empty cell is CSV's way to say "no value".
                yield Record(where, {name: cell or None for name, cell in zip(header, cells, strict=True)})
    except csv.Error as error:
        name = "TSV" if delimiter == "\t" else "CSV"
        raise PoolError(f"{location}:{line + 1}: the row that begins here is not valid {name}: {error}.") from error


def _delimiter_of(first: list[str], usual: str) -> str:
    """What separates the cells: the usual, unless it makes one column of a header of which another makes several.

    Spreadsheets write semicolons into ``.csv`` where the comma is the decimal sign.
    """

    def n_columns(delimiter: str) -> int:
        return len(next(csv.reader(first, delimiter=delimiter), []))

    return usual if n_columns(usual) > 1 else max((usual, ";", "\t", ","), key=n_columns)


def _shown(text: str) -> str:
    return text if len(text) <= 500 else f"{text[:500]}…"


def _decoded_lines(stream: io.BufferedIOBase, location: str) -> Iterator[str]:
    for number, line in enumerate(_lines(stream, location), 1):
        try:
            yield line.removeprefix(_BOM if number == 1 else b"").decode()
        except UnicodeDecodeError as error:
            what = f"invalid UTF-8 at byte {error.start} of the line{_other_encoding(line)}"
            raise PoolError(f"{location}:{number}: {what}. Save the file as UTF-8.") from error


_TEXT_READERS: dict[str, Callable[[Any, str], Iterator[Record | BrokenRecord]]] = {
    "jsonl": _read_jsonl,
    "json": _read_json,
    "csv": lambda stream, location: _read_delimited(stream, location, delimiter=","),
    "tsv": lambda stream, location: _read_delimited(stream, location, delimiter="\t"),
}


def _read_columnar(location: str, kind: str) -> Iterator[Record | BrokenRecord]:
    try:
        row = 0
        for batch in _batches(location, kind):
            # One batch of an Arrow file may hold all its rows; as Python objects they would not fit.
            for start in range(0, batch.num_rows, _BATCH_ROWS):
                for fields in batch.slice(start, _BATCH_ROWS).to_pylist():
                    yield Record(f"{location} (row {row})", fields)
                    row += 1
    except PoolError:
        raise
    except (*_DAMAGED, pa.ArrowException, ValueError, OverflowError) as error:
        if is_object(location) and isinstance(error, OSError):
            raise_storage_error(location, error)
        raise PoolError(f"{location}: cannot be read as {kind.capitalize()}: {error}") from error


def _batches(location: str, kind: str) -> Iterator[Any]:
    if is_compressed(file_path(location)):
        with open_bytes(location) as stream:
            source: Any = pa.BufferReader(stream.read())
    elif is_object(location):
        source = ObjectStore(location).open()
    else:
        source = pa.OSFile(location)  # Not mapped: where a damaged file points behind its end, the process would die.
    with closing(source):
        if kind == "parquet":
            with pq.ParquetFile(source) as file:
                yield from file.iter_batches(batch_size=_BATCH_ROWS)
            return
        if source.read(len(_ARROW_FILE)) == _ARROW_FILE:
            with pa.ipc.open_file(source) as reader:
                yield from map(_sound, (reader.get_batch(i) for i in range(reader.num_record_batches)))
        else:
            source.seek(0)
            with pa.ipc.open_stream(source) as reader:
                yield from map(_sound, reader)


def _sound(batch: Any) -> Any:
    """The batch, unless its offsets lead out of it: Arrow takes them as they stand in the file."""
    batch.validate(full=True)
    return batch


def _read_hub(location: str) -> Iterator[Record]:
    match = HUB.match(location)
    if match is None:
        raise PoolError(f"{location}: expected hf://owner/name[@revision][:config][/split].")
    if os.path.isdir(match["repo"]):
        raise PoolError(
            f"{location}: the folder {match['repo']} is here, and would be read instead of the hub. Give it as it is, "
            "or start somewhere else."
        )
    import datasets  # Takes a second to import and only hub sources need it.

    split = match["split"] or "train"
    try:
        rows: Any = datasets.load_dataset(match["repo"], match["config"], revision=match["revision"], split=split)
    except Exception as error:
        raise PoolError(
            f"{location}: the hub dataset cannot be loaded ({type(error).__name__}: {error}). Check the "
            "name, the configuration and the split; without a network, download the files and name those."
        ) from error
    for row, fields in enumerate(rows):
        yield Record(f"{location} (row {row})", fields)
