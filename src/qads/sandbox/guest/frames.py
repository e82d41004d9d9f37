"""What passes between a worker and its parent: numbers of fixed size and text of stated length, no objects."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

__all__ = [
    "MESSAGE_CHARS",
    "NO_ANSWER",
    "REPLY",
    "REQUEST",
    "STATUSES",
    "Limits",
    "Reply",
    "cut",
    "pack_reply",
    "pack_request",
    "reply_size",
]

REQUEST = struct.Struct("<4sII")
"""Mark, number of the program, bytes of its text, which follow."""
REPLY = struct.Struct("<4sIBIII")
"""Mark, number of the program, status, bytes of output, answer and message, which follow."""
STATUSES = ("ok", "error", "timeout", "memory", "output", "killed", "nothing")
NO_ANSWER = 0xFFFFFFFF

_MARK = b"qads"
MESSAGE_CHARS = 500


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one program may use: the settings of `qads.Sandbox`, in the kernel's units."""

    isolated: bool = True
    seconds: float = 5.0
    memory: int = 512 << 20
    scratch: int = 16 << 20
    output_chars: int = 10_000
    processes: int = 4

    @property
    def wall_seconds(self) -> float:
        """By the clock. Three times the CPU's, so that a busy machine is no timeout."""
        return 3 * self.seconds


class Reply(NamedTuple):
    """What became of one program."""

    status: str
    output: str
    answer: str | None
    message: str


def pack_request(number: int, program: str) -> bytes:
    """A program on its way in; lone surrogates too, since a model may write anything."""
    text = program.encode("utf-8", "surrogatepass")
    return REQUEST.pack(_MARK, number, len(text)) + text


def pack_reply(number: int, reply: Reply) -> bytes:
    """A result on its way out."""
    output, message = _encoded(reply.output), _encoded(reply.message)
    answer = b"" if reply.answer is None else _encoded(reply.answer)
    n_answer = NO_ANSWER if reply.answer is None else len(answer)
    header = REPLY.pack(_MARK, number, STATUSES.index(reply.status), len(output), n_answer, len(message))
    return header + output + answer + message


def reply_size(header: bytes, number: int, n_chars: int) -> tuple[str, int, int, int]:
    """Read a header that nobody vouches for.

    Args:
        header: as many bytes as `REPLY` has.
        number: of the program that was asked about.
        n_chars: characters that output and answer may have.

    Returns:
        The status, then the bytes of output, answer (-1 where there is none) and message.

    Raises:
        ValueError: it is no answer to that question, or larger than allowed.
    """
    mark, found, status, n_output, n_answer, n_message = REPLY.unpack(header)
    if mark != _MARK or found != number or status >= len(STATUSES):
        raise ValueError(f"a header of a reply to program {number} was expected, found {header!r}")
    n_answer = -1 if n_answer == NO_ANSWER else n_answer
    if max(n_output, n_answer) > 4 * (n_chars + 100) or n_message > 4 * (MESSAGE_CHARS + 100):
        raise ValueError(f"a reply to program {number} claims {n_output} + {n_answer} + {n_message} bytes")
    return STATUSES[status], n_output, n_answer, n_message


def cut(text: str, n_chars: int) -> str:
    """At most `n_chars` characters, and a mark where there were more."""
    return text if len(text) <= n_chars else f"{text[:n_chars]}… [cut]"


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")
