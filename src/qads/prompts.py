r"""Every text a model sees.

A scored text is three blocks, each tokenised on its own:

    header · example(candidate) · target(anchor)        one-shot
    header ·                      target(anchor)        zero-shot

so header and target are the same tokens in both settings, and the difference of the two scores is due to the
example and to nothing else. (NUGGETS puts a BOS before the one-shot text only.) A `Target` says which characters
are the answer; the tokens that are scored follow from the tokenizer's offsets, never from counting.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Protocol, assert_never

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool

from qads.errors import ModelError
from qads.pool import Kind, Row, Turn
from qads.problems import earlier_exchanges

__all__ = [
    "INSTRUCTIONS",
    "QUALITY_QUESTION",
    "ChatTemplate",
    "ExemplarTemplate",
    "RenderChat",
    "Renderer",
    "Target",
    "Template",
    "named_instructions",
    "sample_text",
    "with_suffixes",
]

QUALITY_QUESTION = "\n\nQuality: "
"""What follows a row for a model that was fine-tuned to say its quality."""

INSTRUCTIONS: Mapping[Kind, str] = {"cot": "", "pot": " Let's write a program."}
"""What is put after a problem to ask for reasoning in words, or for a program (MAmmoTH, Yue et al. 2023)."""


def named_instructions(value: object) -> object:
    """What a setting `suffix` means: ``instructions`` are those of `INSTRUCTIONS`, anything else is itself."""
    return dict(INSTRUCTIONS) if value == "instructions" else value


def with_suffixes(table: pa.Table, suffixes: Mapping[Kind, str]) -> tuple[pa.Table, Bool[np.ndarray, " n"]]:
    """Put the suffix of its kind after every problem that does not end with it.

    Args:
        table: the rows of a pool.
        suffixes: kind -> text.

    Returns:
        The table, and which of its rows were lengthened.
    """
    lengthened = np.zeros(table.num_rows, bool)
    for kind, text in suffixes.items():
        problems = table["problem"]
        ends = pc.call_function("ends_with", [problems], pc.MatchSubstringOptions(text))
        mine = pc.call_function("and_not", [pc.call_function("equal", [table["kind"], pa.scalar(kind)]), ends])
        longer = pc.call_function(
            "binary_join_element_wise", [problems, pa.scalar(text, pa.large_string()), pa.scalar("", pa.large_string())]
        )
        column = pc.call_function("if_else", [mine, longer, problems])
        table = table.set_column(table.schema.get_field_index("problem"), "problem", column)
        lengthened |= mine.to_numpy(zero_copy_only=False)
    return table, lengthened


RenderChat = Callable[[Sequence[Turn]], str]
"""Renders a conversation with the model's own chat template."""


@dataclass(frozen=True)
class Target:
    """A block whose characters [answer_start, answer_end) are scored."""

    text: str
    answer_start: int
    answer_end: int


class Renderer(Protocol):
    """Renders rows into the three blocks."""

    @property
    def header(self) -> str:
        """Text before everything else; the model's BOS comes before it where `add_bos` says so."""
        ...

    @property
    def add_bos(self) -> bool:
        """Whether the tokenizer's BOS comes first."""
        ...

    def example(self, row: Row) -> str:
        """A candidate as a worked example."""
        ...

    def target(self, row: Row) -> Target:
        """An anchor, with its solution marked."""
        ...


@dataclass(frozen=True, kw_only=True)
class ExemplarTemplate:
    r"""Plain text: ``Question: … \nAnswer: …`` blocks separated by an empty line."""

    kind: Literal["exemplar"] = "exemplar"
    question: str = "Question: "
    """Put before a problem (and before every user turn of a context)."""
    answer: str = "\nAnswer: "
    """Put before a solution (and before every assistant turn of a context)."""
    separator: str = "\n\n"
    """Put after a worked example."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    @property
    def stops(self) -> tuple[str, ...]:
        """Where a solution that a model writes has ended: at the next question, if it makes one up."""
        mark = f"{self.separator}{self.question}".rstrip()
        return (mark,) if mark.strip() else ()

    def renderer(self, render_chat: RenderChat | None) -> Renderer:
        """The template, ready to render; it needs no chat template."""
        return _ExemplarRenderer(self)


@dataclass(frozen=True, kw_only=True)
class ChatTemplate:
    """The model's own chat template: the example is an earlier exchange of the same conversation."""

    kind: Literal["chat"] = "chat"
    system: str | None = None
    """System message; None leaves it to the model's template."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    @property
    def stops(self) -> tuple[str, ...]:
        """None: a turn ends with the end-of-text token."""
        return ()

    def renderer(self, render_chat: RenderChat | None) -> Renderer:
        """The template with the model's `render_chat`.

        Raises:
            ModelError: the model has no chat template, or one that cannot be cut into blocks.
        """
        if render_chat is None:
            raise ModelError("template chat: the model has no chat template; use template {kind: exemplar}.")
        return _ChatRenderer(render_chat, self.system)


Template = ExemplarTemplate | ChatTemplate


@dataclass(frozen=True)
class _ExemplarRenderer:
    template: ExemplarTemplate
    header: str = ""
    add_bos: bool = True

    def example(self, row: Row) -> str:
        return f"{self._question(row)}{row.solution}{self.template.separator}"

    def target(self, row: Row) -> Target:
        question = self._question(row)
        return Target(question + row.solution, len(question), len(question) + len(row.solution))

    def _question(self, row: Row) -> str:
        # System turns have no place in a plain exemplar; they stand before the first question as they are.
        marks = {"user": self.template.question, "assistant": self.template.answer}
        context = "".join(
            f"{marks.get(turn['role'], '')}{turn['content']}{'' if turn['role'] == 'user' else self.template.separator}"
            for turn in row.context
        )
        return f"{context}{self.template.question}{row.problem}{self.template.answer}"


class _ChatRenderer:
    """Finds the blocks by rendering conversations that differ in one part only."""

    add_bos = False  # The chat template writes it where the model wants it.

    def __init__(self, render: RenderChat, system: str | None) -> None:
        self._render = render
        self._system: list[Turn] = [] if system is None else [Turn(role="system", content=system)]
        try:
            single = self._render([*self._system, *_exchange(_PROBE)])
            twice = self._render([*self._system, *_exchange(_PROBE), *_exchange(_PROBE)])
        except Exception as error:  # A template is a program of the model's author and raises what he likes.
            told = "" if system is None else " with a system message (template.system; null leaves it out)"
            raise ModelError(
                f"template chat: this model's chat template refuses a conversation{told}: {error}. "
                "If that cannot be helped, use template {kind: exemplar}."
            ) from error
        self.header = single[: max(0, 2 * len(single) - len(twice))]
        block = single[len(self.header) :]
        if twice != self.header + block + block:
            raise ModelError(
                "template chat: this model's chat template renders an earlier exchange otherwise than a later one, "
                "so zero-shot and one-shot texts would differ by more than the example; use template {kind: exemplar}."
            )

    def example(self, row: Row) -> str:
        try:
            return self._render([*self._system, *_exchange(row)])[len(self.header) :]
        except Exception as error:  # A template is a program of the model's author and raises what he likes.
            raise ModelError(
                f"template chat: the chat template refuses row {row.id!r}: {error}. Leave the row out, or use exemplar."
            ) from error

    def target(self, row: Row) -> Target:
        text = self.example(row)
        # The solution starts where the text of another solution departs from it.
        other = self.example(replace(row, solution="x" if row.solution.strip()[:1] != "x" else "y"))
        start = next((i for i, (a, b) in enumerate(zip(text, other, strict=False)) if a != b), 0)
        # Templates keep or strip the ends of a turn.
        solution = row.solution if text.startswith(row.solution, start) else row.solution.strip()
        if not text.startswith(solution, start):
            raise ModelError(f"template chat: the chat template rewrites the solution of row {row.id!r}; use exemplar.")
        return Target(text, start, start + len(solution))


def _exchange(row: Row) -> list[Turn]:
    """The row as turns; its own system message joins the turn after it, since only a conversation's head has one."""
    turns: list[Turn] = []
    system = ""
    for turn in (
        *row.context,
        Turn(role="user", content=row.problem),
        Turn(role="assistant", content=row.solution),
    ):
        if turn["role"] == "system":
            system += f"{turn['content']}\n\n"
        else:
            turns.append(Turn(role=turn["role"], content=system + turn["content"]))
            system = ""
    return turns


_PROBE = Row(id="", source="", problem="What is one and one?", solution="Two.")


def sample_text(row: Row, part: Literal["problem", "solution", "both"] = "both") -> str:
    """What an embedder sees of a row: the problem after its earlier exchanges, the solution, or one after the other."""
    asked = [*(turn["content"] for turn in earlier_exchanges(row.context)), row.problem]
    if part == "both":
        return "\n".join([*asked, row.solution])
    if part == "problem":
        return "\n".join(asked)
    if part == "solution":
        return row.solution
    assert_never(part)
