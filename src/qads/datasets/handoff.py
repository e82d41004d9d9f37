"""Rows in the shapes that trainers read, and how each trainer is told of them.

A file for trainers has the same columns, of the same types and never null, in every row: a reader of JSON Lines tells
types by the first rows it sees, and one that saw nulls alone there stops at the first number. So what not every row has
is one JSON text, the column `qads`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from qads.datasets.writers import WRITERS
from qads.pool import Row, Turn
from qads.prompts import Renderer

__all__ = [
    "HANDOFFS",
    "Handoff",
    "HandoffFormat",
    "axolotl_entry",
    "dataset_features",
    "llamafactory_entry",
    "turns_alternate",
]

HandoffFormat = Literal["messages", "chat-prompt-completion", "prompt-completion", "alpaca", "sharegpt"]
"""Shapes of a row: ``messages`` (TRL, axolotl, LLaMA-Factory), ``chat-prompt-completion`` (TRL: loss on the answer
alone), ``prompt-completion`` (plain text, for base models), ``alpaca`` and ``sharegpt`` (LLaMA-Factory, axolotl)."""


@dataclass(frozen=True)
class Handoff:
    """One shape: how a row is written, and what trainers are told."""

    shape: Callable[[Row, Renderer], dict[str, Any]]
    """The columns that a trainer learns from."""
    fields: tuple[pa.Field, ...]
    """Their types."""
    carries_context: bool = True
    """Whether earlier turns of a conversation have a place in it."""
    llamafactory: Mapping[str, Any] | None = None
    """Keys of its entry in ``dataset_info.json``; None where LLaMA-Factory has no such shape."""
    axolotl: Mapping[str, Any] | None = None
    """Keys of its entry under ``datasets:``; None where axolotl has no such shape."""


def _messages(row: Row, _: Renderer) -> dict[str, Any]:
    return {"messages": WRITERS["messages"](row)["messages"]}


def _sharegpt(row: Row, _: Renderer) -> dict[str, Any]:
    return {"conversations": WRITERS["sharegpt"](row)["conversations"]}


def _alpaca(row: Row, _: Renderer) -> dict[str, Any]:
    record = WRITERS["alpaca"](row)
    return {name: record[name] for name in ("instruction", "input", "output")}


def _chat_prompt_completion(row: Row, _: Renderer) -> dict[str, Any]:
    turns = WRITERS["messages"](row)["messages"]
    return {"prompt": turns[:-1], "completion": turns[-1:]}


def _prompt_completion(row: Row, renderer: Renderer) -> dict[str, Any]:
    target = renderer.target(row)
    return {"prompt": target.text[: target.answer_start], "completion": target.text[target.answer_start :]}


def _texts(*names: str) -> tuple[pa.Field, ...]:
    return tuple(pa.field(name, pa.string()) for name in names)


def _turns(*names: str, role: str = "role", content: str = "content") -> tuple[pa.Field, ...]:
    return tuple(pa.field(name, pa.list_(pa.struct(_texts(role, content)))) for name in names)


HANDOFFS: Mapping[HandoffFormat, Handoff] = {
    "messages": Handoff(
        _messages,
        _turns("messages"),
        llamafactory={
            "formatting": "sharegpt",
            "columns": {"messages": "messages"},
            "tags": {
                "role_tag": "role", "content_tag": "content",
                "user_tag": "user", "assistant_tag": "assistant", "system_tag": "system",
            },
        },
        axolotl={
            "type": "chat_template",
            "field_messages": "messages",
            "message_property_mappings": {"role": "role", "content": "content"},
        },
    ),
    "chat-prompt-completion": Handoff(_chat_prompt_completion, _turns("prompt", "completion")),
    "prompt-completion": Handoff(
        _prompt_completion,
        _texts("prompt", "completion"),
        llamafactory={"formatting": "alpaca", "columns": {"prompt": "prompt", "response": "completion"}},
        axolotl={
            "type": {
                "field_instruction": "prompt", "field_output": "completion",
                "format": "{instruction}", "no_input_format": "{instruction}",
            }
        },
    ),
    "alpaca": Handoff(
        _alpaca,
        _texts("instruction", "input", "output"),
        carries_context=False,
        llamafactory={
            "formatting": "alpaca",
            "columns": {"prompt": "instruction", "query": "input", "response": "output"},
        },
        axolotl={"type": "alpaca"},
    ),
    "sharegpt": Handoff(
        _sharegpt,
        _turns("conversations", role="from", content="value"),
        llamafactory={
            "formatting": "sharegpt",
            "columns": {"messages": "conversations"},
            "tags": {
                "role_tag": "from", "content_tag": "value",
                "user_tag": "human", "assistant_tag": "gpt", "system_tag": "system",
            },
        },
        axolotl={
            "type": "chat_template",
            "field_messages": "conversations",
            "message_property_mappings": {"role": "from", "content": "value"},
        },
    ),
}  # fmt: skip
"""Every shape of a row, with what trainers need to know of it."""


def llamafactory_entry(format: HandoffFormat, file: str) -> dict[str, Any] | None:
    """The entry of a file in ``dataset_info.json``; None where LLaMA-Factory has no such shape.

    >>> llamafactory_entry("alpaca", "data/train.jsonl")["formatting"]
    'alpaca'

    Source: LLaMA-Factory 0.9.5, `data/parser.py: DatasetAttr`.
    """
    known = HANDOFFS[format].llamafactory
    return None if known is None else {"file_name": file, **known}


def axolotl_entry(format: HandoffFormat, file: str) -> dict[str, Any] | None:
    """The entry of a file under ``datasets:``; None where axolotl has no such shape.

    >>> axolotl_entry("alpaca", "data/train.jsonl")
    {'path': 'data/train.jsonl', 'ds_type': 'json', 'split': 'train', 'type': 'alpaca'}

    Source: axolotl 0.19.0, `utils/schemas/datasets.py: SFTDataset`.
    """
    known = HANDOFFS[format].axolotl
    kind = "parquet" if file.endswith(".parquet") else "json"
    return None if known is None else {"path": file, "ds_type": kind, "split": "train", **known}


def dataset_features(schema: pa.Schema) -> list[dict[str, Any]]:
    """The columns as a dataset card declares them under ``dataset_info.features``.

    >>> dataset_features(pa.schema([("n", pa.int64()), ("turns", pa.list_(pa.struct([("role", pa.string())])))]))
    [{'name': 'n', 'dtype': 'int64'}, {'name': 'turns', 'list': [{'name': 'role', 'dtype': 'string'}]}]
    """
    return [{"name": field.name, **_feature(field.type)} for field in schema]


def _feature(kind: pa.DataType) -> dict[str, Any]:
    if pa.types.is_list(kind):
        inner = _feature(kind.value_type)
        return {"list": inner.get("struct") or inner["dtype"]}
    if pa.types.is_struct(kind):
        return {"struct": [{"name": field.name, **_feature(field.type)} for field in kind]}
    return {"dtype": str(kind)}


def turns_alternate(context: Sequence[Turn]) -> bool:
    """Whether earlier turns are of user and assistant in turn, after one of the system at most.

    LLaMA-Factory leaves other conversations out.
    """
    roles = [turn["role"] for turn in context]
    return roles[roles[:1] == ["system"] :] == ["user", "assistant"] * (len(roles) // 2)
