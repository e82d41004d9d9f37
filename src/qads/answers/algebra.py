"""The child process that compares expressions: ``[found, reference]`` a line in, ``true`` or ``false`` a line out.

Only LaTeX is read, by a grammar. sympy evaluates text as Python; it does so for figures here, and for nothing else.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import resource
import signal
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["main"]

_MEMORY = 2 << 30
_FIGURES = re.compile(r"[\d.]{1,400}")


def main() -> None:
    """Answer until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever asked.
    answers = sys.stdout
    sys.stdout = sys.stderr  # What libraries print is no answer.
    compare = _comparer()
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        found, reference = json.loads(line)
        try:
            same = compare(found, reference)
        except (Exception, RecursionError):  # Parsers of broken LaTeX raise whatever their authors thought of.
            same = False
        print(json.dumps(same), file=answers, flush=True)


def _comparer() -> Callable[[str, str], bool]:
    import math_verify
    from sympy.parsing import sympy_parser

    logging.disable(logging.CRITICAL)
    latex = [math_verify.LatexExtractionConfig()]

    def parsed(text: str) -> list[object]:
        return math_verify.parse(f"${text}$", latex, fallback_mode="no_fallback", parsing_timeout=None)

    def compare(found: str, reference: str) -> bool:
        wanted = parsed(reference)
        return bool(wanted) and math_verify.verify(wanted, parsed(found), timeout_seconds=None)

    compare("(x+1)^2", "x^2+2x+1")  # What libraries load when they are first used, they may evaluate.
    evaluate = sympy_parser.parse_expr

    def parse_number(text: str, *arguments: Any, **options: Any) -> Any:
        if not _FIGURES.fullmatch(text):
            raise ValueError("text is not evaluated")
        return evaluate(text, *arguments, **options)

    sympy_parser.parse_expr = parse_number  # Where sympy turns text into expressions, by Python's eval.
    return compare


if __name__ == "__main__":
    main()
