"""Final answers: where a solution states one, and what it is."""

from __future__ import annotations

import re

__all__ = ["extract_answer"]

# No pattern here has two repeats that can share a run of blanks: a solution of a megabyte takes linear time.
_MARKED = re.compile(r"^####(?!#)(?P<answer>.*)", re.MULTILINE)
_BOXED = re.compile(r"\\(?:boxed|fbox)\s*(?:\{|(?P<token>[^\s{}$\\]+))")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_STATED = re.compile(
    r"\b(?:the\s+)?(?:final\s+|correct\s+)?answer\s*(?:is\b(?:\s*:)?|:|=)\s*(?P<answer>[^\n]+)", re.IGNORECASE
)
_NEXT_SENTENCE = re.compile(r"\.\s+(?=[A-Z])")


def extract_answer(solution: str) -> str | None:
    r"""The final answer that a solution states, or None.

    In this order: a closing ``#### x`` line (GSM8K; elsewhere ``####`` is a Markdown heading), the content of
    the last ``\boxed{x}`` (MATH), the last "the answer is x".

    >>> extract_answer("2+2=4\n#### 4"), extract_answer(r"so \boxed{\frac{1}{2}}."), extract_answer("no idea")
    ('4', '\\frac{1}{2}', None)
    """
    if (marked := _last(_MARKED, solution)) and marked["answer"].strip():
        rest = solution[marked.end() :].strip()
        if not rest or _STATED.match(rest):
            return marked["answer"].strip()
    if boxed := _last(_BOXED, solution):
        return boxed["token"] or _up_to_closing_brace(solution, boxed.end())
    if stated := _last(_STATED, solution):
        return _NEXT_SENTENCE.split(stated["answer"], maxsplit=1)[0].strip().removesuffix(".").strip("$ ") or None
    return None


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    return max(pattern.finditer(text), key=re.Match[str].start, default=None)


def _up_to_closing_brace(text: str, start: int) -> str | None:
    depth = 1
    for brace in _BRACE.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(brace[0], 0)  # An escaped brace is a character of the answer.
        if depth == 0:
            return text[start : brace.start()].strip() or None
    return None
