"""What items lack for what is measured: a set that would go empty is refused, the rest is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from qads.answers import is_letter
from qads.errors import InputError
from qads.evaluate.items import Item, Items, listed_reasons

__all__ = ["lacks", "refuse_empty", "told_lacks"]

_ANSWERS = (
    'a column "answer", or a solution that states it ("#### 5", "\\boxed{5}", "The answer is 5."); a solution alone '
    "serves without generation (--no-generate; evaluate.generate: false)"
)
_OPTIONS = 'options at the end of the problem, "Answer Choices: (A) 4 (B) 5", or in a column "options" or "choices"'
_NEEDS = {"accuracy": "an answer", "choice_likelihood": "options", "answer_log_likelihood": "a solution"}
_SHOWN = 200


def lacks(items: Items) -> dict[str, dict[str, int]]:
    """Set -> items without an answer, without a solution, and of which the answer is a letter of options not found."""
    return {
        "without_answer": _counts(item for item in items.items if not item.row.answer),
        "without_solution": _counts(item for item in items.items if not item.has_solution),
        "without_options": _counts(item for item in items.items if _lost_its_options(item)),
    }


def refuse_empty(items: Items, measured: Mapping[str, Sequence[Item]]) -> None:
    """Refuse what would be measured on none of the items of a set, and so be missing from its numbers without a word.

    A set without solutions or without options is none of these, as long as something else is measured on it.

    Args:
        items: of all sets.
        measured: what is asked for -> the items that it can be made on.

    Raises:
        InputError: says which set lacks what, and what to do.
    """
    for name, n_items in items.sets.items():
        of_set = [item for item in items.items if item.set == name]
        what = f"none of its {n_items:,} items"
        if not any(item.set == name for part in measured.values() for item in part):
            needs = " or ".join(_NEEDS[measure] for measure in measured)
            why = f"{what} has {needs}, for {' and '.join(measured)}"
            raise _refused("nothing can", name, why, f"{needs}, or measure something else", items)
        if "accuracy" in measured and not any(item.row.answer for item in of_set):
            raise _refused("accuracy cannot", name, f"{what} has an answer", _ANSWERS, items)
        if "choice_likelihood" in measured and all(map(_lost_its_options, of_set)):
            why = f"its answers are letters, but {what} has options: {of_set[0].row.problem[-_SHOWN:]!r}"
            raise _refused("choice_likelihood cannot", name, why, _OPTIONS, items)
    if "choice_likelihood" in measured and not measured["choice_likelihood"]:
        raise _refused("choice_likelihood cannot", ", ".join(items.sets), "no item has options", _OPTIONS, items)


def told_lacks(facts: Mapping[str, Any]) -> list[str]:
    """Sentences, without their ends, on what an evaluation leaves out for what its items lack.

    Args:
        facts: of an evaluation, or its manifest: `items`, `measured`, and what `lacks` says.
    """
    measured, n_items = facts["measured"], facts["items"]
    found: list[str] = []
    if "accuracy" in measured and (lost := facts["without_answer"]):
        found.append(f"Without answer, so no accuracy: {_listed(lost, n_items)}")
    if "answer_log_likelihood" in measured and (lost := facts["without_solution"]):
        found.append(f"Without solution, so no likelihood: {_listed(lost, n_items)}")
    if lost := facts.get("without_options"):
        found.append(
            f"Their answer is a letter and no options were found, so only the letter counts: {_listed(lost, n_items)}"
        )
    return found


def _lost_its_options(item: Item) -> bool:
    return not item.options and is_letter(item.row.answer or "")


def _listed(lost: Mapping[str, int], n_items: Mapping[str, int]) -> str:
    return ", ".join(f"{n:,} of {n_items[name]:,} items of {name}" for name, n in lost.items())


def _refused(what: str, name: str, why: str, needs: str, items: Items) -> InputError:
    aside = f" Rows that are no items at all: {listed_reasons(items.rejected)}." if items.rejected else ""
    return InputError(f"evaluate: {what} be measured on {name}: {why}. Give {needs}; or leave the set out.{aside}")


def _counts(items: Iterable[Item]) -> dict[str, int]:
    return dict(Counter(item.set for item in items))
