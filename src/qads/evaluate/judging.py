"""What a model wrote, judged: which answer it states, or its program has, and whether that is the one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, Protocol

from qads.answers import find_answer, same_answer
from qads.evaluate.items import Item

__all__ = ["Judgement", "ProgramOutcome", "judge_program", "judge_solution", "program_in"]

Verdict = Literal["right", "wrong", "no answer", "undecided"]

_FENCED = re.compile(r"```[ \t]*(?:py(?:thon)?[\d.]*)?[ \t]*\r?\n(?P<code>.*?)(?:```|\Z)", re.DOTALL | re.IGNORECASE)


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
    """Judge a program by what it gave."""
    if outcome.status != "ok":
        return Judgement(None, "no answer", " ".join(filter(None, [f"program: {outcome.status}", outcome.message])))
    return _judged(outcome.answer, item, "program")


def _judged(answer: str | None, item: Item, where: str) -> Judgement:
    found = same_answer(answer, item.row.answer or "", options=item.options)
    if found.how == "nothing":
        return Judgement(answer, "no answer", where)
    verdict = "undecided" if found.how == "undecided" else "right" if found else "wrong"
    return Judgement(answer, verdict, f"{where}; {found.how}")


def program_in(text: str) -> str:
    r"""The program in what a model wrote: the first fenced block, else all of it.

    >>> program_in("Sure:\n```python\nprint(1)\n```\nDone.")
    'print(1)\n'
    """
    fenced = _FENCED.search(text)
    return fenced["code"] if fenced else text.strip()
