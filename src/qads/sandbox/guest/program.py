"""Run one program in this process, find its answer, say it, and end the process.

What is said goes through a pipe as one letter and text. The program has that pipe too and may write to it what it
likes; it thereby lies about its own answer, which it could do as well by printing.
"""

from __future__ import annotations

import atexit
import io
import os
import random
import sys
import threading
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from qads.sandbox.guest import confinement
from qads.sandbox.guest.frames import MESSAGE_CHARS, cut

__all__ = ["ANSWER", "ERROR", "MEMORY", "NO_VALUE", "one_line", "run"]

ANSWER, NO_VALUE, ERROR, MEMORY = b"A", b"N", b"E", b"M"
_VARIABLES = ("ans", "answer", "result")


class _Output(io.FileIO):
    """Standard output that knows whether anything but white space was written to it."""

    printed = False

    def write(self, data: Any) -> int:
        """Write, and remember."""
        self.printed = self.printed or bool(bytes(data).strip())
        return super().write(data)


def run(source: bytes, *, record: int, answer_chars: int) -> None:
    """Run a program; never returns.

    Args:
        source: its text, UTF-8 with lone surrogates passed.
        record: the pipe to say its answer through.
        answer_chars: characters of the answer at most.
    """
    said = ERROR + b"the program could not be run"
    try:
        said = _run(source, answer_chars)
    except MemoryError:
        confinement.use_reserve()
        said = MEMORY
    except BaseException as error:  # A program may raise anything, and its own classes may raise when they are shown.
        said = ERROR + one_line(error).encode("utf-8", "backslashreplace")
    finally:
        try:
            os.write(record, said)
        finally:
            os._exit(0)


def _run(source: bytes, answer_chars: int) -> bytes:
    output = _stand_in()
    main = ModuleType("__main__")
    sys.modules["__main__"] = main
    sys.argv = ["program"]
    _seed()
    try:
        exec(compile(source.decode("utf-8", "surrogatepass"), "<program>", "exec", dont_inherit=True), main.__dict__)
    except SystemExit as end:
        if end.code not in (None, 0):
            raise
    _flush()
    answer = None if output.printed else _find_answer(main.__dict__, output)
    text = None if answer is None else cut(str(answer), answer_chars).encode("utf-8", "backslashreplace")
    # What the interpreter does at its end, in its order.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage]
    _flush()
    return NO_VALUE if text is None else ANSWER + text


def _stand_in() -> _Output:
    """Fresh standard streams over the files 0, 1 and 2, and no handlers of the interpreter that was forked."""
    atexit._clear()  # pyright: ignore[reportPrivateUsage]
    output = _Output(1, "wb", closefd=False)
    lenient: dict[str, Any] = {"encoding": "utf-8", "errors": "backslashreplace", "line_buffering": True}
    sys.stdin = sys.__stdin__ = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), encoding="utf-8")
    sys.stdout = sys.__stdout__ = io.TextIOWrapper(io.BufferedWriter(output), **lenient)
    sys.stderr = sys.__stderr__ = io.TextIOWrapper(io.BufferedWriter(io.FileIO(2, "wb", closefd=False)), **lenient)
    return output


def _seed() -> None:
    """The same random numbers in every run, wherever in the list a program stands."""
    random.seed(0)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(0)  # The generator that programs use without making their own.


def _flush() -> None:
    for stream in (sys.__stdout__, sys.stdout):
        try:
            if stream is not None:
                stream.flush()
        except (AttributeError, OSError, ValueError):  # The program closed it, or put something there that is none.
            continue


def _find_answer(names: Mapping[str, Any], output: _Output) -> object | None:
    """What `solution` returns, else the first of the usual variables that has a value; None where lines decide."""
    solution = names.get("solution")
    if callable(solution):
        value = _awaited(solution())
        _flush()
        if value is not None or output.printed:
            return value
    values = (names.get(name) for name in _VARIABLES)
    return next((value for value in values if value is not None and not callable(value)), None)


def _awaited(value: object) -> object:
    """What a coroutine gives in the end."""
    import asyncio
    import inspect

    return asyncio.run(value) if inspect.iscoroutine(value) else value


def one_line(error: BaseException) -> str:
    """Type and text of an error."""
    try:
        text = " ".join(str(error).split())
    except BaseException:
        text = "(its text cannot be shown)"
    name = type(error).__name__
    return cut(f"{name}: {text}" if text else name, MESSAGE_CHARS)
