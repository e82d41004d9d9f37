"""What the task files call: documents of a set, their prompts, and the verdict on what a model wrote."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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

Document = dict[str, Any]


def problems(*, set: str, **settings: Any) -> dict[str, Any]:
    """The items of a set, as the harness wants them; from the hub, or `--metadata '{"files": {"gsm8k": "FILE"}}'`."""
    return _as_dataset(_documents(set, settings))


def multiple_choice(*, set: str, **settings: Any) -> dict[str, Any]:
    """Those of them that offer options."""
    return _as_dataset([each for each in _documents(set, settings) if each["options"]])


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
