"""What makes two rows the same row, as a few numbers for each, read batch by batch.

- **The same problem**: `text.exact_key` and the earlier turns are equal. A problem of which the key leaves nothing is
  the same as its equals only.
- **The same row**: the problem is the same, and so is the solution *to the letter*. Solutions are code and LaTeX,
  where case, indentation, a sign or a backslash change the meaning, so only what no reader and no interpreter sees is
  left out: which of two equivalent Unicode forms a character has (NFC; NFKC would make x² into x2), how lines end, and
  blanks at the end of a line or around the whole.

Keys are BLAKE2 digests of 128 bits, so equal ones are equal texts and no machine or process makes others.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
from jaxtyping import Int, UInt64

from qads.clean.text import exact_key
from qads.pool import Pool, Progress

__all__ = ["ROWS_PER_BATCH", "RowKeys", "problem_identity", "row_keys", "same_solution_key"]

ROWS_PER_BATCH = 4096
"""Rows whose texts are in memory at a time."""
_TRAILING = re.compile(r"[ \t\f\v]+$", re.MULTILINE)


@dataclass(frozen=True, eq=False)
class RowKeys:
    """Numbers that are equal where rows are."""

    rows: Int[np.ndarray, " n"]
    """Equal for equal rows, 0 and up."""
    problems: Int[np.ndarray, " n"]
    """Equal for equal problems after equal turns, 0 and up."""
    solution_lengths: Int[np.ndarray, " n"]
    """Characters of every solution."""


def row_keys(pool: Pool, progress: Progress | None = None) -> RowKeys:
    """Read every row once.

    Args:
        pool: the rows; their table may be mapped from a file.
        progress: called with (rows done, rows).
    """
    n = len(pool)
    whole, asked = np.empty((n, 2), np.uint64), np.empty((n, 2), np.uint64)
    lengths, row = np.empty(n, np.int64), 0
    for batch in pool.table.select(["context", "problem", "solution"]).to_batches(max_chunksize=ROWS_PER_BATCH):
        columns: list[list[Any]] = [column.to_pylist() for column in batch.columns]
        for context, problem, solution in zip(*columns, strict=True):
            digest = blake2b(problem_identity(context, problem).encode(), digest_size=16)
            asked[row] = np.frombuffer(digest.digest(), "<u8")
            digest.update(b"\0" + same_solution_key(solution).encode())
            whole[row] = np.frombuffer(digest.digest(), "<u8")
            lengths[row] = len(solution)
            row += 1
        if progress:
            progress(row, n)
    return RowKeys(_numbered(whole), _numbered(asked), lengths)


def problem_identity(context: str | None, problem: str) -> str:
    """One text for everything that makes two problems the same."""
    return f"{context or ''}\0{exact_key(problem) or problem}"


def same_solution_key(solution: str) -> str:
    """The solution without what changes no meaning.

    >>> same_solution_key("if x:\\r\\n    y = 1  \\n") == same_solution_key("if x:\\n    y = 1")
    True
    >>> same_solution_key("if x:\\n    y = 1") == same_solution_key("if x:\\n  y = 1")
    False
    """
    lines = unicodedata.normalize("NFC", solution).replace("\r\n", "\n").replace("\r", "\n")
    kept = _TRAILING.sub("", lines).strip("\n")
    return kept if "\n" in kept else kept.lstrip()


def _numbered(digests: UInt64[np.ndarray, "n 2"]) -> Int[np.ndarray, " n"]:
    """Equal digests -> equal numbers."""
    order = np.lexsort((digests[:, 1], digests[:, 0]))
    numbers = np.zeros(len(digests), np.int64)
    if len(digests):
        ordered = digests[order]
        numbers[order] = np.r_[0, np.cumsum((ordered[1:] != ordered[:-1]).any(axis=1))]
    return numbers
