"""Multiple choice whose options have a column: how they are written below the question, and which is right."""

from __future__ import annotations

import re
from collections.abc import Sequence

from qads.answers import LETTERS
from qads.datasets.drafts import Draft, Fields, Reject, UnknownShapeError, parsed

__all__ = [
    "option_texts",
    "query_alone",
    "read_aqua",
    "read_query_choices",
    "read_question_choices",
    "right_letter",
    "with_options",
]

_LABEL = re.compile(r"\(?(?P<letter>[A-Ja-j])[).:]\s*")
_LETTER = re.compile(r"\(?(?P<letter>[A-Ja-j])[).]?")
_ASKS_FOR_LETTER = re.compile(r"\s*\n\s*A: Among A through [A-J], the answer is\s*\Z")


def with_options(question: str, options: Sequence[object]) -> str:
    """The question and below it its options, as `qads.answers.split_options` reads them.

    Fewer than two, or more than there are letters, are no multiple choice: they stand there as they are.

    >>> print(with_options("What is 2+3?", ["A)4", "B)5"]))
    What is 2+3?
    Answer Choices:
    (A) 4
    (B) 5
    """
    lines = option_texts(options)
    if 2 <= len(lines) <= len(LETTERS):
        lines = [f"({letter}) {text}" for letter, text in zip(LETTERS, lines, strict=False)]
    return "\n".join([question, "Answer Choices:", *lines] if lines else [question])


def option_texts(options: Sequence[object]) -> list[str]:
    """Options without the labels that upstream wrote before them, where they are labelled in order.

    >>> option_texts(["A)4", "B) 5"]), option_texts(["a dozen", "A. Turing"])
    (['4', '5'], ['a dozen', 'A. Turing'])
    """
    texts = [str(option).strip() for option in options]
    labels = [_LABEL.match(text) for text in texts]
    named = "".join(label["letter"] for label in labels if label).upper()
    if not texts or len(named) < len(texts) or named != LETTERS[: len(texts)]:
        return texts
    return [text[label.end() :] for text, label in zip(texts, labels, strict=True) if label]


def right_letter(answer: object, options: Sequence[object]) -> str | None:
    """The letter of the option that is right; None where the answer is that of none, or of several.

    Args:
        answer: its place, counted from 0, alone or as the only one of a list; its text; or its letter.
        options: as upstream has them.

    >>> [right_letter(answer, ["4", "5"]) for answer in (1, [1], "5", "(b)", 7, [0, 1], "because")]
    ['B', 'B', 'B', 'B', None, None, None]
    """
    if isinstance(answer, list):
        return right_letter(answer[0], options) if len(answer) == 1 else None
    n_options = len(options)
    if answer is None or isinstance(answer, bool) or not 2 <= n_options <= len(LETTERS):
        return None
    if isinstance(answer, int) and 0 <= answer < n_options:
        return LETTERS[answer]
    text, texts = str(answer).strip(), option_texts(options)
    if texts.count(text) == 1:
        return LETTERS[texts.index(text)]
    named = _LETTER.fullmatch(text)
    letter = named["letter"].upper() if named else ""
    return letter if letter and LETTERS.index(letter) < n_options else None


def query_alone(query: str, options: Sequence[object]) -> str:
    r"""What a query of AGIEval asks, without its marks, the options in it, and the words that wait for a letter.

    >>> query_alone("Q: 2+3? Answer Choices: (A)4 (B)5\nA: Among A through B, the answer is", ["(A)4", "(B)5"])
    '2+3?'
    """
    asked = _ASKS_FOR_LETTER.sub("", query)
    listed = "Answer Choices: " + " ".join(map(str, options))
    return asked.removesuffix(listed).removeprefix("Q: ").strip()


def read_aqua(fields: Fields) -> Sequence[Draft]:
    """AQuA: options with their letters before them, and the letter that is right."""
    options = fields["options"]
    asked = str(fields["question"])
    problem = with_options(asked, options) if isinstance(options, list) else f"{asked}\nAnswer Choices:\n{options}"
    extra = {"question": fields["question"], "options": options}
    used = ("question", "options", "rationale", "correct")
    return [Draft(problem, fields.get("rationale"), used, fields["correct"], extra=extra)]


def read_question_choices(fields: Fields) -> Sequence[Draft]:
    """MMLU and its relatives: the answer is the place of an option; where it is none, it is a solution."""
    options, answer = parsed(fields["choices"]), fields["answer"]
    if not isinstance(options, list):
        return [Draft(fields["question"], answer, ("question", "answer"), may_be_answer=True)]
    problem, extra = with_options(str(fields["question"]), options), {"choices": options}
    letter = right_letter(answer, options)
    if letter is None and isinstance(answer, str) and "solution" not in fields:
        return [Draft(problem, answer, ("question", "choices", "answer"), extra=extra, may_be_answer=True)]
    used = ("question", "choices", "answer", "solution")
    right = letter or (answer if isinstance(answer, str) else None)  # A place that is none, as of hidden answers.
    return [Draft(problem, fields.get("solution"), used, right, extra=extra)]


def read_query_choices(fields: Fields) -> Sequence[Draft | Reject]:
    """AGIEval: the query has the options in it, too."""
    options, gold = parsed(fields["choices"]), parsed(fields["gold"])
    if not isinstance(options, list):
        raise UnknownShapeError(f"'choices' must be a list of texts, found {type(options).__name__}")
    if isinstance(gold, list) and len(gold) > 1:
        return [Reject("several options are right, where one is compared with")]
    problem = with_options(query_alone(str(fields["query"]), options), options)
    extra = {"query": fields["query"], "choices": options}
    return [Draft(problem, None, ("query", "choices", "gold"), right_letter(gold, options), extra=extra)]
