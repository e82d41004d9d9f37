"""What the text of a solution tells of itself: calculator marks, and what sort of solution it is."""

from __future__ import annotations

import ast
import re
import warnings

from qads.pool import Kind

__all__ = ["detect_kind", "is_bare", "strip_calculator"]

_FEW_WORDS = 6
"""Words that an answer alone may have."""

# As in qads.answers, no two repeats share a run of characters, so that long texts take linear time.
_CALCULATOR = re.compile(r"<<(?=[^<>\n=]*=)[^<>\n]*>>")
_STATEMENT = re.compile(
    r"^\W*(?:so |thus |therefore,? )?(?:the )?(?:final |correct )?(?:answer|option)\s*(?:is|:)?\s*", re.I
)
_ARITHMETIC = re.compile(r"\\boxed|\\frac|\d\s*[-+*/×÷=^]|[-+*/×÷=^]\s*\$?\d|^####", re.MULTILINE)
_PROGRAM_RESULT = re.compile(r"^[ \t]*(?:return\b|print\(|ans(?:wer)?\s*=|result\s*=)", re.MULTILINE)
_FENCE = re.compile(r"```(?:python|py)\n(?P<code>.*?)```", re.DOTALL)


def strip_calculator(solution: str) -> str:
    """GSM8K's ``<<3*2=6>>`` marks removed; they are a tool's input, not what a reader should see."""
    return _CALCULATOR.sub("", solution) if "####" in solution else solution


def is_bare(text: str) -> bool:
    r"""Whether a text is short enough to be an answer and nothing else: a line of a few words.

    >>> is_bare("1536"), is_bare("The blue car"), is_bare("3 + 4 = 7.\nSo there are 7.")
    (True, True, False)
    """
    return bool(text) and "\n" not in text and len(text.split()) <= _FEW_WORDS


def detect_kind(problem: str, solution: str, answer: str | None) -> Kind:
    """What sort of solution this is: a program, a bare answer, mathematical reasoning, or anything else."""
    if _is_program(solution) and re.search(r"\d", problem):
        return "pot"
    bare = _STATEMENT.sub("", solution).strip(" .$()\n").casefold()
    if len(bare.split()) <= _FEW_WORDS and (
        re.fullmatch(r"[-+]?[\d.,/%$]++\s?\w*|\(?[a-h]\)?", bare) or bare == (answer or "").strip(" .$()").casefold()
    ):
        return "answer-only"
    return "cot" if _ARITHMETIC.search(solution) else "general"


def _is_program(solution: str) -> bool:
    fenced = _FENCE.search(solution)
    code = fenced["code"] if fenced else solution
    if not _PROGRAM_RESULT.search(code):
        return False
    try:
        with warnings.catch_warnings(action="ignore"):  # An invalid escape in somebody's code is not our news.
            return any(isinstance(node, ast.Assign | ast.FunctionDef) for node in ast.walk(ast.parse(code)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
