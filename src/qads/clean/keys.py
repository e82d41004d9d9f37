"""What makes two rows the same row, as a few numbers for each, read batch by batch.

- **The same problem**: `text.exact_key`, symbols (★) and the earlier turns are equal. A problem of which the key leaves
  nothing is the same as its equals only. Of a multiple choice what is asked and the right option count, since AQuA and
  the like ask one question with other wrong options, or the same in another order.
- **The same row**: the problem is the same, options and all, and so is the solution *to the letter*. Solutions are code
  and LaTeX, where case, indentation, a sign or a backslash change the meaning, so only what no reader and no
  interpreter sees is left out: which of two equivalent Unicode forms a character has (NFC; NFKC would make x² into x2),
  how lines end, blanks at the end of a line, empty lines around the whole, and blanks before a solution of one line.

Keys are BLAKE2 digests of 128 bits, so equal ones are equal texts and no machine or process makes others.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Int, UInt64

from qads.answers import split_options
from qads.characters import normalized
from qads.clean.reading import Reading, as_columns
from qads.clean.text import exact_key
from qads.cluster import Execution, Function, Tell
from qads.pool import Pool, Progress

__all__ = ["RowKeys", "mathematics", "row_keys", "same_solution_key"]

_LETTERS = re.compile(r"[^\W\d_]+")
_BLANKS = " \t\f\v"


@dataclass(frozen=True, eq=False)
class RowKeys:
    """Numbers that are equal where rows are."""

    rows: Int[np.ndarray, " n"]
    """Equal for equal rows, 0 and up."""
    problems: Int[np.ndarray, " n"]
    """Equal for equal problems after equal turns, however their options stand, 0 and up."""
    turns: UInt64[np.ndarray, " n"]
    """Equal for equal earlier turns, and next to never for others."""
    mathematics: UInt64[np.ndarray, " n"]
    """Equal for the same `mathematics` of the problems, and next to never for other."""
    solution_lengths: Int[np.ndarray, " n"]
    """Characters of every solution."""


def row_keys(pool: Pool, *, reading: Reading | None = None, progress: Progress | None = None) -> RowKeys:
    """Read every row once.

    Args:
        pool: the rows; their table may be mapped from a file.
        reading: who reads; this process alone by default.
        progress: called with (rows done, rows).

    Raises:
        ClusterError: workers died again and again.
    """
    table = pool.table.select(["context", "problem", "solution", "answer"])
    numbers = (reading or Reading()).numbers(
        _Keying(), lambda rows: table.slice(rows.start, len(rows)), len(pool), 7, progress
    )
    turns, signs, lengths = (column.copy() for column in numbers[:, 4:].T)
    return RowKeys(_numbered(numbers[:, :2]), _numbered(numbers[:, 2:4]), turns, signs, lengths.astype(np.int64))


@dataclass(frozen=True)
class _Keying:
    """Makes the keys of rows, wherever that is done."""

    @contextmanager
    def open(self, _: Execution, __: Tell) -> Generator[Function]:
        """Rows -> their keys."""
        yield _read


def _read(rows: pa.Table) -> pa.Table:
    numbers = np.empty((7, len(rows)), np.uint64)
    columns: list[list[Any]] = [column.to_pylist() for column in rows.columns]
    for row, (context, problem, solution, answer) in enumerate(zip(*columns, strict=True)):
        key = _key(problem)
        numbers[0:2, row] = _digest(context, key, same_solution_key(solution))
        numbers[2:4, row] = _digest(context, _without_options(problem, answer) or key)
        numbers[4, row], numbers[5, row] = _digest(context)[0], _digest(_LETTERS.sub("", key))[0]
        numbers[6, row] = len(solution)
    return as_columns(numbers)


def mathematics(text: str) -> str:
    """Numbers, operators and symbols in order; letters are left out.

    >>> mathematics("Tom has 3 apples") == mathematics("Ann has 3 pears")
    True
    >>> mathematics("z - 1") == mathematics("z + 1")
    False
    """
    return _LETTERS.sub("", _key(text))


def _key(text: str) -> str:
    """The exact key and the signs that it leaves out but that mean something, such as stars; never empty."""
    symbols = "" if text.isascii() else "".join(c for c in text if unicodedata.category(c) == "So")
    return exact_key(text) + symbols or text


def _without_options(problem: str, answer: str | None) -> str | None:
    """What a multiple choice asks, with the right option, or all of them in order where none is known to be.

    None where the problem is no multiple choice.

    >>> _without_options("1 + 1 =? (A) 2 (B) 3", "A") == _without_options("1 + 1 =? (A) 4 (B) 2", "B")
    True
    >>> _without_options("Even? (A) 2 (B) 3", "A") == _without_options("Even? (A) 1 (B) 4", "B")
    False
    """
    stem, options = split_options(problem)
    if not options:
        return None
    right = (answer or "").strip(" ().").upper()
    number = ord(right) - ord("A") if len(right) == 1 else -1
    named = [options[number]] if 0 <= number < len(options) else sorted(options)
    return "\0".join([_key(text) for text in (stem, *named)])


def same_solution_key(solution: str) -> str:
    r"""The solution without what changes no meaning.

    >>> same_solution_key("if x:\r\n    y = 1  \n") == same_solution_key("if x:\n    y = 1")
    True
    >>> same_solution_key("if x:\n    y = 1") == same_solution_key("if x:\n  y = 1")
    False
    """
    lines = normalized("NFC", solution).replace("\r\n", "\n").replace("\r", "\n")
    kept = "\n".join(line.rstrip(_BLANKS) for line in lines.split("\n")).strip("\n")
    return kept if "\n" in kept else kept.lstrip()


def _digest(*parts: str | None) -> UInt64[np.ndarray, "2"]:
    """128 bits of some texts; their lengths keep one from running into the next."""
    texts = [(part or "").encode() for part in parts]
    lengths = b"".join(len(text).to_bytes(8, "little") for text in texts)
    return np.frombuffer(blake2b(lengths + b"".join(texts), digest_size=16).digest(), "<u8")


def _numbered(digests: UInt64[np.ndarray, "n 2"]) -> Int[np.ndarray, " n"]:
    """Equal digests -> equal numbers."""
    order = np.lexsort((digests[:, 1], digests[:, 0]))
    numbers = np.zeros(len(digests), np.int64)
    if len(digests):
        ordered = digests[order]
        numbers[order] = np.r_[0, np.cumsum((ordered[1:] != ordered[:-1]).any(axis=1))]
    return numbers
