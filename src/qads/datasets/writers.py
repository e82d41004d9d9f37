"""Pool -> file. Every writer keeps every field, so that reading the file gives the pool back.

The exceptions are rows that `load_pool` would not have made: with an empty problem or solution or a NUL in
them, with CR LF, with GSM8K's calculator marks, with a role in the context that ShareGPT has another name for
(``human``, ``gpt``, …), or with values in `meta` that JSON does not have.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from qads.datasets.formats import FIELDS
from qads.datasets.shapes import FORMATS
from qads.datasets.storage import local_path
from qads.errors import InputError
from qads.pool import Pool, Row, to_json
from qads.storage import flush, storing

__all__ = ["WRITERS", "atomic_path", "write_pool"]


@contextmanager
def atomic_path(path: Path) -> Generator[Path]:
    """A temporary name beside `path` that becomes `path` only when the block ends without an error.

    The file is flushed to disk before it is renamed, so after a crash there is the whole file or none.

    Raises:
        StorageError: the system does not let it be written.
    """
    local_path(path, "this file is written")
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.partial")
        # Nothing that is there is opened, be it a link; the system takes off the rights that the user's mask forbids.
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    try:
        with storing(path, temporary):
            yield temporary
            flush(temporary)
            temporary.replace(path)
            flush(path.parent)
    finally:
        with suppress(OSError):  # It has been renamed, or its folder is gone.
            temporary.unlink()


def write_pool(
    pool: Pool,
    path: str | Path,
    *,
    format: str | None = None,
    extra: Sequence[Mapping[str, Any]] | None = None,
) -> None:
    """Write a pool; an existing file is replaced only once the new one is whole.

    Args:
        pool: what to write.
        path: where to.
        format: ``parquet``, ``jsonl``, ``alpaca``, ``messages`` or ``sharegpt`` (all but the first as JSON
            Lines, or as one array where the path ends in ``.json``); by default told by the ending.
        extra: one mapping a row that is written under the column ``qads`` (the reasons of a selection); an
            earlier column of that name moves to ``meta``.

    Raises:
        InputError: the format is unknown, or the ending belongs to another one.
    """
    path = Path(path)
    name = format or ("parquet" if path.suffix == ".parquet" else "jsonl")
    if name != "parquet" and name not in WRITERS:
        raise InputError(f"{path}: unknown format {name!r}; one of {', '.join((*WRITERS, 'parquet'))}.")
    endings = (".parquet",) if name == "parquet" else (".jsonl", ".ndjson", ".json")
    if path.suffix not in endings:
        raise InputError(f"{path}: a {name} file must end in {' or '.join(endings)}, or it could not be read back.")
    if extra is not None and len(extra) != len(pool):
        raise InputError(f"write_pool: {len(extra)} reasons for {len(pool)} rows; there must be one for each.")
    with atomic_path(path) as temporary:
        if name == "parquet":
            _write_parquet(pool, temporary, extra)
        else:
            _write_json(pool, temporary, WRITERS[name], extra, array=path.suffix == ".json")


def _write_parquet(pool: Pool, path: Path, extra: Sequence[Mapping[str, Any]] | None) -> None:
    table = pool.table
    if extra is not None:
        table = table.append_column("qads", pa.array([dict(e) for e in extra]))
    pq.write_table(table, path, compression="zstd")


def _write_json(
    pool: Pool,
    path: Path,
    shape: Callable[[Row], dict[str, Any]],
    extra: Sequence[Mapping[str, Any]] | None,
    *,
    array: bool,
) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write("[\n" if array else "")
        for number, row in enumerate(pool):
            record = shape(row)
            reasons = {} if extra is None else {"qads": dict(extra[number])}
            rest = dict(row.meta)
            if record.get("input") and record["input"] == rest.get("input"):
                del rest["input"]  # It stands in the record, and reading puts it back into meta.
            # A column of the source that has the name of one of ours is kept, nested, under "meta".
            taken = _RESERVED | reasons.keys()
            columns = {key: value for key, value in rest.items() if key not in taken} | reasons
            nested = {key: value for key, value in rest.items() if key in taken}
            line = to_json(record | columns | ({"meta": nested} if nested else {}))
            file.write(f",\n{line}" if array and number else line if array else f"{line}\n")
        file.write("\n]\n" if array else "")


_RESERVED = frozenset(FIELDS).union({"context", "meta"}, *(shape.needs for shape in FORMATS))
"""Names that would change how the record is read back."""


def _identity(row: Row) -> dict[str, Any]:
    return {"answer": row.answer, "kind": row.kind, "id": row.id, "source": row.source}


def _jsonl(row: Row) -> dict[str, Any]:
    record = {"id": row.id, "source": row.source, "problem": row.problem, "solution": row.solution}
    record |= {"answer": row.answer, "kind": row.kind}
    return record | ({"context": list(row.context)} if row.context else {})


def _alpaca(row: Row) -> dict[str, Any]:
    kept = row.meta.get("input")
    text = kept if isinstance(kept, str) and kept and row.problem.endswith(f"\n\n{kept}") else ""
    instruction = row.problem.removesuffix(f"\n\n{text}") if text else row.problem
    record: dict[str, Any] = {"instruction": instruction, "input": text, "output": row.solution}
    # "history" is LLaMA-Factory's name for earlier turns; "context" is what reads back here.
    return record | _identity(row) | ({"context": list(row.context)} if row.context else {})


def _messages(row: Row) -> dict[str, Any]:
    turns = [
        *row.context,
        {"role": "user", "content": row.problem},
        {"role": "assistant", "content": row.solution},
    ]
    return {"messages": turns} | _identity(row)


def _sharegpt(row: Row) -> dict[str, Any]:
    names = {"user": "human", "assistant": "gpt"}
    turns = [{"from": names.get(t["role"], t["role"]), "value": t["content"]} for t in _messages(row)["messages"]]
    return {"conversations": turns} | _identity(row)


WRITERS: dict[str, Callable[[Row], dict[str, Any]]] = {
    "jsonl": _jsonl,
    "alpaca": _alpaca,
    "messages": _messages,
    "sharegpt": _sharegpt,
}
"""The shapes that are written as JSON, one object a row."""
