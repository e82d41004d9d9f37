"""Final answers: where a solution states one, what it is, and whether it is the one that was asked for."""

from __future__ import annotations

from qads.answers.comparing import Comparison, right_option, same_answer
from qads.answers.extracting import FoundAnswer, extract_answer, find_answer
from qads.answers.latex import FIGURE, without_latex
from qads.answers.numbers import Number, last_number, read_number, same_number
from qads.answers.options import LETTERS, Question, is_letter, named_option, split_options
from qads.answers.printed import printed_answer
from qads.answers.symbolic import Algebra, same_expression

__all__ = [
    "FIGURE",
    "LETTERS",
    "Algebra",
    "Comparison",
    "FoundAnswer",
    "Number",
    "Question",
    "extract_answer",
    "find_answer",
    "is_letter",
    "last_number",
    "named_option",
    "printed_answer",
    "read_number",
    "right_option",
    "same_answer",
    "same_expression",
    "same_number",
    "split_options",
    "without_latex",
]
