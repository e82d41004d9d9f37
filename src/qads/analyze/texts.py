r"""How long a solution is, and in how many steps it goes.

**Steps of a text** are its segments: it is cut at line breaks and after a sentence's end before a capital, a digit, a
bracket or a formula. A segment that only states the answer ("#### 42", "The answer is (E).") is no step, nor is one
without a letter or digit. **Steps of a program** are its lines but for comments, docstrings, imports and the line of
`def`. **Equations** are signs of equality that stand alone.

What the rule does not see: a sentence that takes two steps counts as one, one with two remarks as one; after "Mr. " and
the like no sentence ends, after abbreviations that are not known one does; lines broken by ``\\`` inside a formula are
one segment; a statement over several lines is several steps. It measures the form of a solution, not its logic.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from qads.pool import Pool

__all__ = ["Segment", "TextMeasures", "measure_texts", "split_steps"]

_ABBREVIATIONS = ("Mr.", "Mrs.", "Ms.", "Dr.", "St.", "No.", "vs.", "e.g.", "i.e.", "Eq.", "Fig.")
_BEFORE = "".join(rf"(?<!\b{re.escape(word)})" for word in _ABBREVIATIONS)
_BORDER = re.compile(rf'(?:(?<=[.!?])|(?<=[.!?][$)"”])){_BEFORE}[ \t]+(?=[A-Z0-9$\\(\[“"])|\n\s*')
_ANSWER = re.compile(
    r"\W*(?:####.*|(?:(?:so|therefore|thus|hence|and|then)\b,?\s*)?the\s+(?:correct\s+|final\s+)?answer(?:\s+is\b|\s*:).{0,80}"
    r"|answer\s*:.{0,80})",
    re.IGNORECASE | re.DOTALL,
)
_LIST_NUMBER = re.compile(r"\W*\d{1,3}[.)]\W*")
_NO_WORD = re.compile(r"\W*")
_DOCSTRING = re.compile(r'"""[\s\S]*?"""|' + r"'''[\s\S]*?'''")
_NO_STATEMENT = re.compile(r"#|//|import\b|from\s+\S+\s+import\b|def\b|\W*$")
_EQUATION = re.compile(r"(?<![=<>!:+\-*/])=(?![=>])")


@dataclass(frozen=True)
class Segment:
    """A piece of a solution; all pieces in order are the solution."""

    text: str
    """With the white space after it."""
    is_step: bool
    """False for one that states the answer alone, or holds nothing."""
    states_answer: bool


@dataclass(frozen=True, eq=False)
class TextMeasures:
    """Counts of every row."""

    words: Int[np.ndarray, " n"]
    """Words of the solution, by white space."""
    steps: Int[np.ndarray, " n"]
    equations: Int[np.ndarray, " n"]


def split_steps(solution: str, kind: str = "cot") -> list[Segment]:
    r"""The segments of a solution.

    Args:
        solution: the text.
        kind: of the row; a program (``pot``) is cut into lines.

    >>> [piece.text for piece in split_steps("Add 2 and 3. That is 5.\n#### 5") if piece.is_step]
    ['Add 2 and 3. ', 'That is 5.\n']
    """
    if kind == "pot":
        return _program_lines(solution)
    pieces: list[str] = []
    start, numbered = 0, None
    for border in _BORDER.finditer(solution):
        # "2. " at the beginning of a line is a number in a list, and goes with what follows. What was found to be one
        # is not read again, so that the time does not grow with the square of the length.
        rest = (_LIST_NUMBER, start) if numbered is None else (_NO_WORD, numbered)
        if rest[0].fullmatch(solution, rest[1], border.start()):
            numbered = border.start()
        else:
            pieces.append(solution[start : border.end()])
            start, numbered = border.end(), None
    pieces.append(solution[start:])
    return [_segment(piece) for piece in pieces if piece]


def measure_texts(pool: Pool) -> TextMeasures:
    """Words, steps and equations of the solutions of a pool."""
    solutions, kinds = pool.strings("solution"), pool.strings("kind")
    steps = (sum(piece.is_step for piece in split_steps(*each)) for each in zip(solutions, kinds, strict=True))
    return TextMeasures(
        words=np.array([len(text.split()) for text in solutions], np.int64),
        steps=np.fromiter(steps, np.int64, len(solutions)),
        equations=np.array([sum(1 for _ in _EQUATION.finditer(text)) for text in solutions], np.int64),
    )


def _segment(piece: str) -> Segment:
    states_answer = _ANSWER.fullmatch(piece.strip()) is not None
    return Segment(piece, not states_answer and any(c.isalnum() for c in piece), states_answer)


def _program_lines(solution: str) -> list[Segment]:
    # A docstring becomes as many comments as it has lines.
    bare = _DOCSTRING.sub(lambda found: "\n".join("#" for _ in found[0].split("\n")), solution).split("\n")
    lines = [line + "\n" for line in solution.split("\n")]
    lines[-1] = lines[-1][:-1]
    return [
        Segment(line, _NO_STATEMENT.match(left.strip()) is None, False)
        for line, left in zip(lines, bare, strict=True)
        if line
    ]
