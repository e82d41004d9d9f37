"""Candidates and anchors as tokens that fit the model's context, with an account of every row that did not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from qads.errors import InputError, TooLongError
from qads.kernels.target import TokenTarget
from qads.models import header_ids, token_ids, token_target
from qads.pool import Pool, Row
from qads.prompts import Renderer

__all__ = ["FittedTexts", "TooLong", "fit_texts"]

TooLong = Literal["error", "drop", "truncate_problem"]


@dataclass(frozen=True)
class FittedTexts:
    """Token ids of header, examples and targets; None for a row that was dropped."""

    header: tuple[int, ...]
    examples: tuple[tuple[int, ...] | None, ...]
    targets: tuple[TokenTarget | None, ...]
    affected: Mapping[str, str] = field(default_factory=dict[str, str])
    """Rows dropped or cut, by role and id, and why."""


def fit_texts(
    tokenizer: Any, renderer: Renderer, candidates: Pool, anchors: Pool, max_length: int, too_long: TooLong
) -> FittedTexts:
    """Tokenise everything, applying the policy to what does not fit.

    An anchor may take half of the context; a candidate what the longest anchor leaves.

    Raises:
        TooLongError: the policy is ``"error"`` and a row does not fit.
        InputError: an anchor has no token to score, or the policy leaves no anchor or no candidate.
    """
    header = header_ids(tokenizer, renderer)
    affected: dict[str, str] = {}

    def fit(row: Row, role: str, room: int, n_tokens: Callable[[Row], int]) -> Row | None:
        needed = n_tokens(row)
        if needed <= room:
            return row
        what = f"{needed} tokens where {room} fit"
        shorter = _cut_problem(row, room, n_tokens, tokenizer) if too_long == "truncate_problem" else None
        affected[f"{role} {row.id}"] = f"{what}; problem cut on the left" if shorter else f"{what}; dropped"
        return shorter

    room = (max_length - len(header)) // 2
    kept = [fit(row, "anchor", room, lambda r: len(token_target(tokenizer, renderer.target(r)).ids)) for row in anchors]
    targets = [None if row is None else token_target(tokenizer, renderer.target(row)) for row in kept]
    room = max_length - len(header) - max((len(t.ids) for t in targets if t is not None), default=0)
    shown = [
        fit(row, "candidate", room, lambda r: len(token_ids(tokenizer, renderer.example(r)))) for row in candidates
    ]
    if affected and too_long == "error":
        raise _too_long_error(affected, max_length)
    for role, fitted in (("anchor", targets), ("candidate", shown)):
        if all(each is None for each in fitted):
            first = next(reason for name, reason in affected.items() if name.startswith(role))
            raise InputError(
                f"OneShotInfluence: too_long {too_long} leaves no {role} of {len(fitted)} in a context of {max_length} "
                f"tokens (the first: {first}). Raise quality.influence.max_length, or give shorter {role}s."
            )
    for row, target in zip(anchors, targets, strict=True):
        if target is not None and not 1 <= target.answer_start < target.answer_end:
            raise InputError(
                f"anchor {row.id!r}: its solution has no token of its own, or no token before it; "
                "use a template that puts text between problem and solution."
            )
    examples = tuple(None if row is None else token_ids(tokenizer, renderer.example(row)) for row in shown)
    return FittedTexts(header, examples, tuple(targets), affected)


def _cut_problem(row: Row, room: int, n_tokens: Callable[[Row], int], tokenizer: Any) -> Row | None:
    """The row with its earlier turns, then the beginning of its problem left away; None if even that does not fit."""
    row = replace(row, context=())
    while (excess := n_tokens(row) - room) > 0:
        offsets = tokenizer(row.problem, add_special_tokens=False, return_offsets_mapping=True, verbose=False)[
            "offset_mapping"
        ]
        if not row.problem:
            return None
        cut = offsets[excess][0] if excess < len(offsets) else len(row.problem)
        row = replace(row, problem=row.problem[max(1, cut) :])
    return row


def _too_long_error(affected: Mapping[str, str], max_length: int) -> TooLongError:
    listed = "\n".join(f"  {name}: {reason.split(';')[0]}" for name, reason in list(affected.items())[:10])
    more = f"\n  … and {len(affected) - 10} more" if len(affected) > 10 else ""
    return TooLongError(
        f"OneShotInfluence: {len(affected)} rows do not fit a context of {max_length} tokens:\n{listed}{more}\n"
        "Set quality.influence.too_long to drop (they get no score) or truncate_problem (cut on the left)."
    )
