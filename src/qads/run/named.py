"""Files that name rows of the pool: by id, or as samples that are the same."""

from __future__ import annotations

import difflib
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Int

from qads.config import PoolConfig
from qads.datasets import expand_sources, load_pool
from qads.datasets.drafts import UnknownShapeError, is_nothing
from qads.datasets.files import SourceFile, file_path, format_of
from qads.datasets.formats import read_record
from qads.datasets.records import BrokenRecord, Record, read_lines, read_records
from qads.datasets.storage import is_object, is_remote
from qads.errors import InputError, PoolError
from qads.pool import Pool, Row

__all__ = ["NamedRows", "read_named"]

logger = logging.getLogger(__name__)


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
    pool: Pool,
    files: Sequence[str],
    *,
    setting: str,
    reading: PoolConfig | None = None,
    uncleaned: Callable[[], Pool] | None = None,
) -> NamedRows:
    """Find the rows that files name.

    A file is a list of ids (any ending but those of samples, one a line), a table with a column ``id`` and no problems,
    or samples. A sample is the row of its id if that has its problem too (`Pool.problem_keys`); else it is every row
    with its problem, since ids are unique within one pool only.

    Args:
        pool: the candidates.
        files: paths, globs, folders or hub names.
        setting: what to call them in a message.
        reading: how the files of the pool are read: a column means the same in these, where they have it.
        uncleaned: gives the candidates before cleaning; a row of theirs that went is a sample that is not in the pool.

    Raises:
        InputError: an id is not in the pool; names the nearest one there is.
        PoolError: a file is missing or cannot be read, or a row of a list has no id.
    """
    if not files:
        return NamedRows(np.empty(0, np.int64), None)
    position = {name: row for row, name in enumerate(pool.strings("id"))}
    found: dict[int, None] = {}
    others: list[Pool] = []
    for file in expand_sources(list(files)):
        where, columns = f"{setting}: {file.location}", {} if reading is None else _columns_in(file, reading.columns)
        if (ids := _ids_in(file, columns)) is not None:
            if uncleaned and (went := _that_went(ids, position, uncleaned)):
                others.append(Pool.from_rows(went.values()))
                ids = [name for name in ids if name not in went]
            found |= dict.fromkeys(_rows_of_ids(ids, position, where))
            continue
        samples = _samples_in(file, columns, where, on_bad_row="error" if reading is None else reading.on_bad_row)
        matched = list(_matches(pool, samples, position))
        found |= dict.fromkeys(row for rows in matched for row in rows)
        if missing := [number for number, rows in enumerate(matched) if not rows]:
            others.append(samples.take(missing))
    return NamedRows(np.array(list(found), np.int64), _joined(others))


def _columns_in(file: SourceFile, columns: Mapping[str, str]) -> dict[str, str]:
    """What of a column map is meant for a file, which may have another shape than those of the pool."""
    fields = first.fields if columns and (first := _first_record(file)) else {}
    return {name: column for name, column in columns.items() if not column or column in fields}


def _first_record(file: SourceFile) -> Record | None:
    """The first record that can be read; None of a list of ids, and where there is none."""
    if _is_list(file):
        return None
    return next((record for record in read_records(file) if isinstance(record, Record)), None)


def _is_list(file: SourceFile) -> bool:
    """Whether the ending is none of a format of samples; a dataset of the hub has no ending."""
    if is_remote(file.location) and not is_object(file.location):
        return False
    try:
        format_of(file_path(file.location))
    except PoolError:
        return True
    return False


def _ids_in(file: SourceFile, columns: Mapping[str, str]) -> list[str] | None:
    """The ids in a file that holds nothing else of a row; None where it holds samples.

    Raises:
        PoolError: a row has no id, or cannot be read.
    """
    if _is_list(file):
        return [name for line in read_lines(file.location) if (name := line.strip())]
    name, first = columns.get("id") or "id", _first_record(file)
    if first is None or name not in first.fields or _is_sample(first, columns):
        return None
    return [_id_of(record, name) for record in read_records(file)]


def _is_sample(record: Record, columns: Mapping[str, str]) -> bool:
    default = Row(id="", source="", problem="", solution="")
    try:
        read_record(record.fields, columns, default=default, require_solution=False)
    except UnknownShapeError:
        return False
    return True


def _id_of(record: Record | BrokenRecord, name: str) -> str:
    """The id in a row of a list, none of which is passed over: what it names would be selected, or not at all."""
    if isinstance(record, BrokenRecord):
        raise PoolError(f"{record.where}: {record.reason}. A list of ids must be whole; mend this row, or take it out.")
    if is_nothing(found := record.fields.get(name)):
        raise PoolError(f"{record.where}: has no {name!r}, as every row of a list of ids must; take it out otherwise.")
    return str(found)


def _samples_in(
    file: SourceFile, columns: Mapping[str, str], where: str, *, on_bad_row: Literal["error", "skip"]
) -> Pool:
    """The samples of a file, problems alone included; those that are set aside name nothing, and are told."""
    samples = load_pool(file.location, columns=columns, on_bad_row=on_bad_row, require_solution=False)
    if samples.rejected:
        first = samples.rejected[0]
        logger.warning(
            "%s: %d of its rows cannot serve, so that they name no row of the pool; the first: %s: %s",
            where, len(samples.rejected), first.where, first.reason,
        )  # fmt: skip
    return samples


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
