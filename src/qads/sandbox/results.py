"""What became of a program."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["ProgramResult", "Status"]

Status = Literal["ok", "error", "timeout", "memory", "output", "killed", "nothing"]


@dataclass(frozen=True)
class ProgramResult:
    """What became of a program. All text is the program's own and as little to be trusted as the program."""

    status: Status
    """``ok``: it ended and has an answer. ``nothing``: it ended without one. ``error``: it raised, did not compile, or
    ended with an exit code. ``timeout``, ``memory``, ``output``: it reached that limit. ``killed``: it died of a
    signal, or its worker did."""
    answer: str | None
    """With ``ok`` the answer, as text: the last line printed; where nothing was printed, what ``solution()`` returns,
    else the variable ``ans``, ``answer`` or ``result``."""
    output: str
    """What it printed to standard output, cut with a mark. Bytes that are no UTF-8 are shown as escapes."""
    message: str
    """Why there is no answer, in one line; for an error its type and text. Empty with ``ok``."""
