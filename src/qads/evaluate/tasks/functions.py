"""What the task files call: documents of a set, their prompts, and the verdict on what a model wrote."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from qads.errors import InputError
from qads.evaluate.items import Item, read_items
from qads.evaluate.judging import judge_solution
from qads.evaluate.likelihoods import choice_statement
from qads.pool import Row
from qads.prompts import ExemplarTemplate

__all__ = [
    "chosen",
    "judged",
    "multiple_choice",
    "nothing",
    "problem",
    "problems",
    "rendered",
    "right_option",
    "statements",
    "unjudged",
]

logger = logging.getLogger(__name__)

Document = dict[str, Any]


def problems(*, set: str, **settings: Any) -> dict[str, Any]:
    """The items of a set, as the harness wants them; from the hub, or `--metadata '{"files": {"gsm8k": "FILE"}}'`."""
    documents = _documents(set, settings)
    return _as_dataset(_those_with("an answer", set, documents, [each for each in documents if each["answer"]]))


def multiple_choice(*, set: str, **settings: Any) -> dict[str, Any]:
    """Those of them that offer options."""
    documents = _documents(set, settings)
    return _as_dataset(_those_with("options", set, documents, [each for each in documents if each["options"]]))


def _those_with(what: str, name: str, documents: list[Document], kept: list[Document]) -> list[Document]:
    """What a task can be made of; the rest is told, and a task of nothing refused.

    Raises:
        InputError: no item has it.
    """
    if not kept:
        raise InputError(
            f"{name}: none of its {len(documents):,} items has {what}; the first: {documents[0]['problem'][-200:]!r}, "
            f'answer {documents[0]["answer"]!r}. Give another file: --metadata \'{{"files": {{"{name}": "FILE"}}}}\''
        )
    if n_without := len(documents) - len(kept):
        logger.warning("%s: %d of %d items are left out: they have not %s", name, n_without, len(documents), what)
    return kept


def _as_dataset(documents: list[Document]) -> dict[str, Any]:
    import datasets

    return {"test": datasets.Dataset.from_list(documents)}


def _documents(name: str, settings: dict[str, Any]) -> list[Document]:
    file = settings.get("files", {}).get(name)
    found = read_items([f"{name}={file}" if file else name], limit=settings.get("items"))
    return [
        {
            "id": item.row.id, "set": item.set, "problem": item.row.problem, "solution": item.row.solution,
            "answer": item.row.answer or "", "options": list(item.options), "right": item.right_option,
        }
        for item in found.items
    ]  # fmt: skip


def problem(document: Document) -> str:
    """The prompt of the plain template; the blank at its end is left for the model to write."""
    renderer = ExemplarTemplate().renderer(None)
    target = renderer.target(_row(document))
    return target.text[: target.answer_start].rstrip()


def judged(document: Document, results: Sequence[str]) -> dict[str, float]:
    """Whether the answer of what was written is the reference."""
    item = Item(document["set"], _row(document))
    return {"accuracy": float(judge_solution(results[0], item).is_right)}


def statements(document: Document) -> list[str]:
    """How each option is stated."""
    return [choice_statement(place) for place in range(len(document["options"]))]


def right_option(document: Document) -> int:
    """The place of the right option."""
    return document["right"]


def chosen(document: Document, results: Sequence[tuple[float, bool]]) -> dict[str, float]:
    """Whether the likeliest option is the right one."""
    sums = [found[0] for found in results]
    return {"choice_likelihood": float(sums.index(max(sums)) == document["right"])}


def nothing(**_: Any) -> dict[str, Any]:
    """No documents: qads hands them over."""
    return {"test": []}


def rendered(document: Document) -> str:
    """The prompt that stands in the document."""
    return document["prompt"]


def unjudged(document: Document, results: Sequence[str]) -> dict[str, float]:
    """No verdict: qads judges."""
    return {"bypass": 0.0}


def _row(document: Document) -> Row:
    return Row(
        id=document["id"], source=document["set"], problem=document["problem"], solution=document["solution"],
        answer=document["answer"] or None,
    )  # fmt: skip
