"""What a model wrote, judged: which answer it states, or its program has, and whether that is the one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, Protocol

from qads.answers import find_answer, printed_answer, same_answer
from qads.evaluate.items import Item

__all__ = ["Judgement", "ProgramOutcome", "holds_program", "judge_program", "judge_solution", "program_in"]

Verdict = Literal["right", "wrong", "no answer", "undecided"]

_FENCED = re.compile(r"```[ \t]*(?:py(?:thon)?[\d.]*)?[ \t]*\r?\n(?P<code>.*?)(?:```|\Z)", re.DOTALL | re.IGNORECASE)

_CODE = re.compile(
    r"\bprint\s*\(|\.write\(|^[ \t]*(?:def|class)[ \t]+\w+[ \t]*[(:]|^[ \t]*import[ \t]+[A-Za-z_]"
    r"|^[ \t]*from[ \t]+[\w.]+[ \t]+import\b|^(?:ans|answer|result)[ \t]*=(?!=)",
    re.MULTILINE,
)
"""Without one of these a program has no answer to give, but for one that was cut, which begins as programs do."""
_BEGINNING = re.compile(r"(?:\s*#[^\n]*\n)*\s*[A-Za-z_]\w*[ \t]*=(?!=)[^=\n]*$", re.MULTILINE)


class ProgramOutcome(Protocol):
    """What became of a program."""

    @property
    def status(self) -> str:
        """``ok``, or why there is no answer."""
        ...

    @property
    def answer(self) -> str | None:
        """What it printed last, returned, or left in its variable."""
        ...

    @property
    def message(self) -> str:
        """The error, in one line."""
        ...


@dataclass(frozen=True)
class Judgement:
    """The verdict on one generation."""

    extracted: str | None
    verdict: Verdict
    reason: str
    """Where the answer stood and what decided."""

    @property
    def is_right(self) -> bool:
        """Whether it counts."""
        return self.verdict == "right"


def judge_solution(text: str, item: Item) -> Judgement:
    """Judge a solution in words by the answer that it states, or by what stands last in it."""
    found = find_answer(text, options=item.options)
    return _judged(found.text, item, found.where)


def judge_program(outcome: ProgramOutcome, item: Item) -> Judgement:
    """Judge a program by what it gave: the line itself, or the answer in it where it is a sentence.

    ``None``, ``nan`` and empty results are no answer.
    """
    if outcome.status != "ok":
        return Judgement(None, "no answer", " ".join(filter(None, [f"program: {outcome.status}", outcome.message])))
    line = outcome.answer or ""
    answer = printed_answer(line, options=item.options)
    if answer is None:
        return Judgement(None, "no answer", f"program: gave {line.strip() or 'an empty line'}")
    if answer == line.strip():
        return _judged(answer, item, "program")
    whole = same_answer(line, item.row.answer or "", options=item.options, algebra=None)
    if whole and whole.how != "number":  # "Sunday, March 3", and not the one number of a sentence.
        return _judged(line, item, "program")
    return _judged(answer, item, "program: in what it printed")


def _judged(answer: str | None, item: Item, where: str) -> Judgement:
    found = same_answer(answer, item.row.answer or "", options=item.options)
    if found.how == "nothing":
        return Judgement(answer, "no answer", where)
    verdict = "undecided" if found.how == "undecided" else "right" if found else "wrong"
    return Judgement(answer, verdict, f"{where}; {found.how}")


def holds_program(text: str) -> bool:
    r"""Whether what a model wrote is, or holds, a program; else it is in words.

    Decided by fences and by what programs cannot do without, so that nothing is parsed: a text that is taken for a
    program and is none gives no answer when it is run.

    >>> holds_program("print(6 * 7)"), holds_program("apples = 6\nans = apples * 7"), holds_program("6 times 7 is 42.")
    (True, True, False)
    """
    return any(pattern.search(text) for pattern in (_FENCED, _CODE)) or _BEGINNING.match(text) is not None


def program_in(text: str) -> str:
    r"""The program in what a model wrote: the first fenced block, else all of it.

    >>> program_in("Sure:\n```python\nprint(1)\n```\nDone.")
    'print(1)\n'
    """
    fenced = _FENCED.search(text)
    return fenced["code"] if fenced else text.strip()
