"""Two expressions compared by computer algebra, in a process that can be stopped.

`math-verify` guards itself by signals, which work in the main thread alone and do not reach a power tower that is
being multiplied out. Here it runs in a child with limits on memory and time; a comparison that takes too long costs the
child its life, and the next one starts another. What crosses is text. LaTeX goes through a grammar; the way of
`math-verify` for plain expressions, which evaluates them as Python, is shut: answers are untrusted.
"""

from __future__ import annotations

import atexit
import importlib.util
import json
import os
import re
import selectors
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import lru_cache

from qads.errors import InputError

__all__ = ["Algebra", "as_latex", "same_expression"]

Algebra = Callable[[str, str], bool | None]
"""Whether a found expression is the reference; None where that could not be decided in time."""

_SECONDS = 5.0
_START_SECONDS = 60.0
_LONGEST = 400
_CALL = re.compile(r"(?<![\\A-Za-z])(sqrt|sin|cos|tan|log|ln|exp|pi|infty)(?![A-Za-z])")
_ROOT = re.compile(r"\\sqrt\s*\(([^()]*)\)")
_NOT_STARS = re.compile(r"(?<!\\)\*")


def same_expression(found: str, reference: str) -> bool | None:
    r"""Whether two expressions are mathematically the same; None where that takes too long or too much memory.

    Raises:
        InputError: `math-verify` is not installed.

    >>> same_expression(r"(x+1)^2", r"x^2 + 2x + 1"), same_expression("9^{9^{9^9}}", "2^{2^{99}}")
    (True, None)
    """
    if max(len(found), len(reference)) > _LONGEST:
        return None
    return _compared(as_latex(found), as_latex(reference))


def as_latex(answer: str) -> str:
    r"""An expression in LaTeX, of one that may be as programs write it.

    >>> as_latex("2*sqrt(3)*x**2")
    '2 \\cdot \\sqrt{3} \\cdot x^2'
    """
    text = answer.strip().strip("$").strip().rstrip(".")
    text = _NOT_STARS.sub(r" \\cdot ", text.replace("**", "^"))
    return _ROOT.sub(r"\\sqrt{\1}", _CALL.sub(r"\\\1", text))


@lru_cache(maxsize=4096)
def _compared(found: str, reference: str) -> bool | None:
    return _CHILD.ask(found, reference)


class _Child:
    """The process that compares; started when it is first asked."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def ask(self, found: str, reference: str) -> bool | None:
        """What it says; None where it does not say anything in time."""
        with self._lock:
            process = self._running()
            try:
                _write(process, json.dumps([found, reference]))
                answer = _read(process, _SECONDS)
            except OSError:  # It is gone: memory.
                answer = None
            if answer is None:
                self._stop()
                return None
            return bool(json.loads(answer))

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None and self._process.args[-1] == str(os.getpid()):
            return self._process
        if importlib.util.find_spec("math_verify") is None:
            raise InputError("comparing expressions needs math-verify: pip install 'qads[eval]'")
        command = [sys.executable, "-m", "qads.answers.algebra", str(os.getpid())]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        )
        if _read(self._process, _START_SECONDS) is None:
            self._stop()
            raise InputError(
                "the process that compares expressions by math-verify does not start; try `python -m "
                "qads.answers.algebra`, which says why."
            )
        return self._process

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def close(self) -> None:
        """Stop it."""
        with self._lock:
            self._stop()


def _write(process: subprocess.Popen[bytes], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line.encode() + b"\n")
    process.stdin.flush()


def _read(process: subprocess.Popen[bytes], seconds: float) -> str | None:
    """One line, if it comes in time."""
    assert process.stdout is not None
    with selectors.DefaultSelector() as waiting:
        waiting.register(process.stdout, selectors.EVENT_READ)
        if not waiting.select(seconds):
            return None
    return process.stdout.readline().decode() or None


_CHILD = _Child()
atexit.register(_CHILD.close)
