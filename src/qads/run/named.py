"""Files that name rows of the pool: by id, or as samples that are the same."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int

from qads.datasets import expand_sources, load_pool
from qads.datasets.drafts import UnknownShapeError
from qads.datasets.files import SourceFile, file_path, format_of, open_bytes
from qads.datasets.formats import read_record
from qads.datasets.records import Record, read_records
from qads.datasets.storage import is_object
from qads.errors import InputError, PoolError
from qads.pool import Pool, Row

__all__ = ["NamedRows", "read_named"]


@dataclass(frozen=True, eq=False)
class NamedRows:
    """What some files name."""

    rows: Int[np.ndarray, " r"]
    """Rows of the pool, each once, in the order in which they are named."""
    others: Pool | None
    """Samples that are not in the pool; None where there are none."""

    @property
    def n_others(self) -> int:
        """Number of samples that are not in the pool."""
        return 0 if self.others is None else len(self.others)


def read_named(
    pool: Pool, files: Sequence[str], *, setting: str, uncleaned: Callable[[], Pool] | None = None
) -> NamedRows:
    """Find the rows that files name.

    A file is a list of ids (any ending but those of samples, one a line), a table with a column ``id`` and no problems,
    or samples. A sample is the row of its id if that has its problem too (`Pool.problem_keys`); else it is every row
    with its problem, since ids are unique within one pool only.

    Args:
        pool: the candidates.
        files: paths, globs, folders or hub names.
        setting: what to call them in a message.
        uncleaned: gives the candidates before cleaning; a row of theirs that went is a sample that is not in the pool.

    Raises:
        InputError: an id is not in the pool; names the nearest one there is.
        PoolError: a file is missing or cannot be read.
    """
    if not files:
        return NamedRows(np.empty(0, np.int64), None)
    position = {name: row for row, name in enumerate(pool.strings("id"))}
    found: dict[int, None] = {}
    others: list[Pool] = []
    for file in expand_sources(list(files)):
        if (ids := _ids_in(file)) is not None:
            if uncleaned and (went := _that_went(ids, position, uncleaned)):
                others.append(Pool.from_rows(went.values()))
                ids = [name for name in ids if name not in went]
            found |= dict.fromkeys(_rows_of_ids(ids, position, f"{setting}: {file.location}"))
            continue
        samples = load_pool(file.location, require_solution=False)
        matched = list(_matches(pool, samples, position))
        found |= dict.fromkeys(row for rows in matched for row in rows)
        if missing := [number for number, rows in enumerate(matched) if not rows]:
            others.append(samples.take(missing))
    return NamedRows(np.array(list(found), np.int64), _joined(others))


def _ids_in(file: SourceFile) -> list[str] | None:
    """The ids in a file that holds nothing else of a row; None where it holds samples."""
    if file.location.startswith("hf://") and not is_object(file.location):
        return None
    try:
        format_of(file_path(file.location))
    except PoolError:  # No format of samples: a list of ids.
        with open_bytes(file.location) as stream:
            lines = stream.read().decode("utf-8-sig").splitlines()
        return [line.strip() for line in lines if line.strip()]
    records = (record for record in read_records(file) if isinstance(record, Record))
    first = next(records, None)
    if first is None or "id" not in first.fields or _is_sample(first):
        return None
    return [str(record.fields["id"]) for record in (first, *records) if record.fields.get("id") is not None]


def _is_sample(record: Record) -> bool:
    try:
        read_record(record.fields, {}, default=Row(id="", source="", problem="", solution=""), require_solution=False)
    except UnknownShapeError:
        return False
    return True


def _that_went(ids: Sequence[str], position: dict[str, int], uncleaned: Callable[[], Pool]) -> dict[str, Row]:
    """The rows of these ids that cleaning took out."""
    missing = {name for name in ids if name not in position}
    return {row.id: row for row in uncleaned() if row.id in missing} if missing else {}


def _rows_of_ids(ids: Sequence[str], position: dict[str, int], where: str) -> Iterator[int]:
    for name in ids:
        if name not in position:
            near = difflib.get_close_matches(name, position, n=3)
            hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else "."
            raise InputError(f"{where}: no row of the pool has the id {name!r}{hint}")
        yield position[name]


def _matches(pool: Pool, samples: Pool, position: dict[str, int]) -> Iterator[list[int]]:
    """The rows that each sample is."""
    of_problem: dict[str, list[int]] = defaultdict(list)
    keys = pool.problem_keys
    for row, key in enumerate(keys):
        of_problem[key].append(row)
    for name, key in zip(samples.strings("id"), samples.problem_keys, strict=True):
        row = position.get(name)
        yield [row] if row is not None and keys[row] == key else of_problem.get(key, [])


def _joined(pools: Sequence[Pool]) -> Pool | None:
    """One pool of several, with ids made unique by number where files share them."""
    if not pools:
        return None
    rows = [row for each in pools for row in each]
    taken: dict[str, None] = {}
    unique: list[Row] = []
    for number, row in enumerate(rows):
        name = row.id if row.id not in taken else f"{row.id}#{number}"
        taken[name] = None
        unique.append(replace(row, id=name))
    return Pool.from_rows(unique)
