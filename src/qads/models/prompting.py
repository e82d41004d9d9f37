"""What a model is given to go on from: the tokens of a row before its solution, as a trainer shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from qads.kernels.target import common_start
from qads.models.tokens import header_ids, token_ids, token_target
from qads.pool import Row
from qads.prompts import Renderer, Target

__all__ = ["prompt_ids"]

_PROBES = ("The", "1", "x")
"""Beginnings of a solution: a word, a figure, a letter."""


def prompt_ids(tokenizer: Any, renderer: Renderer, row: Row, *, examples: Sequence[Row] = ()) -> tuple[int, ...]:
    """The tokens that stand before a solution, whatever solution it is: header, examples, problem.

    Tokenised alone, a prompt ends in tokens that no training text has: ``Answer: `` ends in a blank, which in a text
    is part of the next word's token. So the prompt is what the texts of several solutions have in common, and the blank
    is the model's to write.

    Args:
        tokenizer: of the model.
        renderer: of the template.
        row: its problem and context; the solution does not count.
        examples: rows shown before it, each with its solution.
    """
    before = [token_ids(tokenizer, renderer.example(each)) for each in examples]
    targets = [_with_its_blank(renderer.target(replace(row, solution=probe))) for probe in _PROBES]
    tokens = [token_target(tokenizer, target) for target in targets]
    common = common_start([target.ids[: target.answer_start] for target in tokens])
    return (*header_ids(tokenizer, renderer), *(token for ids in before for token in ids), *common)


def _with_its_blank(target: Target) -> Target:
    """The target with the blank before its answer counted as the answer's."""
    return replace(target, answer_start=len(target.text[: target.answer_start].rstrip(" ")))
