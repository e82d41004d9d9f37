"""The measure `accuracy`: items are answered by generation, in words or by programs, and what was written is judged."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from qads.evaluate.items import Item
from qads.evaluate.judging import Judgement, ProgramOutcome, holds_program, judge_program, judge_solution, program_in
from qads.models import prompt_ids
from qads.pool import Kind, Row
from qads.prompts import Renderer

__all__ = ["Generated", "Method", "RunPrograms", "Solver"]

Method = Literal["cot", "pot", "pot-cot"]
"""In words, by a program, or by a program and, where that gives no answer, in words."""
RunPrograms = Callable[[Sequence[str]], Sequence[ProgramOutcome]]
"""Runs programs in a sandbox."""


class Generated(Protocol):
    """What a model wrote."""

    @property
    def text(self) -> str:
        """The text."""
        ...

    @property
    def n_tokens(self) -> int:
        """Tokens that were written."""
        ...

    @property
    def is_truncated(self) -> bool:
        """Whether the limit ended it."""
        ...


@dataclass(frozen=True)
class _Attempt:
    """One way that an item was gone about."""

    kind: Kind
    written: Generated | None
    """None where the prompt left no room to write."""
    judgement: Judgement


@dataclass(frozen=True, kw_only=True)
class Solver:
    """Answers items with one model."""

    generate: Callable[[Sequence[tuple[int, ...]]], Sequence[Generated]]
    """Prompts -> what the model writes after them."""
    tokenizer: Any
    renderer: Renderer
    room: int
    """Tokens that a prompt may have."""
    suffixes: Mapping[Kind, str]
    """What is put after a problem to ask for reasoning or for a program."""
    examples: tuple[Row, ...] = ()
    """Rows shown before every problem."""
    run_programs: RunPrograms | None = None

    def __call__(self, items: Sequence[Item], method: Method) -> list[dict[str, Any]]:
        """Rows of the measure `accuracy`, one for each item."""
        first: Kind = "cot" if method == "cot" else "pot"
        attempts = [[attempt] for attempt in self._attempt(items, first)]
        if method == "pot-cot":
            again = [i for i, (attempt,) in enumerate(attempts) if attempt.judgement.verdict == "no answer"]
            for i, attempt in zip(again, self._attempt([items[i] for i in again], "cot"), strict=True):
                attempts[i].append(attempt)
        return [_row(item, each) for item, each in zip(items, attempts, strict=True)]

    def _attempt(self, items: Sequence[Item], kind: Kind) -> list[_Attempt]:
        prompts = [self._prompt(item, kind) for item in items]
        fitting = [i for i, prompt in enumerate(prompts) if len(prompt) <= self.room]
        written = dict(zip(fitting, self.generate([prompts[i] for i in fitting]), strict=True))
        texts = {i: each.text for i, each in written.items()}
        judged = self._judged(items, texts, kind)
        return [
            _Attempt(kind, written.get(i), judged.get(i) or self._no_room(len(prompt)))
            for i, prompt in enumerate(prompts)
        ]

    def _judged(self, items: Sequence[Item], texts: Mapping[int, str], kind: Kind) -> dict[int, Judgement]:
        programs = {i: program_in(text) for i, text in texts.items() if kind == "pot" and holds_program(text)}
        judged = {i: judge_solution(text, items[i]) for i, text in texts.items() if i not in programs}
        if kind == "pot":
            judged = {i: replace(each, reason=f"no program; {each.reason}") for i, each in judged.items()}
        if programs:
            assert self.run_programs is not None, "refused before"
            outcomes = zip(programs, self.run_programs(list(programs.values())), strict=True)
            judged |= {i: judge_program(outcome, items[i]) for i, outcome in outcomes}
        return judged

    def _prompt(self, item: Item, kind: Kind) -> tuple[int, ...]:
        row = replace(item.row, problem=item.row.problem + self.suffixes.get(kind, ""))
        return prompt_ids(self.tokenizer, self.renderer, row, examples=self.examples)

    def _no_room(self, n_tokens: int) -> Judgement:
        return Judgement(None, "no answer", f"prompt of {n_tokens} tokens where {self.room} leave room for an answer")


def _row(item: Item, attempts: Sequence[_Attempt]) -> dict[str, Any]:
    last = attempts[-1]
    before = [
        {"method": each.kind, "generation": each.written and each.written.text, "reason": each.judgement.reason}
        for each in attempts[:-1]
    ]
    return {
        "set": item.set,
        "id": item.row.id,
        "measure": "accuracy",
        "value": float(last.judgement.is_right),
        "method": last.kind,
        "generation": last.written and last.written.text,
        "extracted": last.judgement.extracted,
        "reference": item.row.answer,
        "verdict": last.judgement.verdict,
        "reason": last.judgement.reason,
        "n_tokens": sum(each.written.n_tokens for each in attempts if each.written),
        "truncated": last.written is not None and last.written.is_truncated,
        "details": json.dumps({"before": before}, ensure_ascii=False) if before else None,
    }
