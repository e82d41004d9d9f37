"""What scores were made from, so that they are extended by scores of the same texts and the same model only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from qads.errors import InputError
from qads.quality.tokens import FittedTexts

__all__ = ["Origin"]


@dataclass(frozen=True)
class Origin:
    """The texts, as the model saw them, and everything else that makes a score."""

    identity: Mapping[str, Any]
    """Weights, precision, engine and template."""
    candidate_keys: tuple[str, ...]
    """Hash of header and example of every candidate, in tokens; empty where the row was dropped."""
    anchor_keys: tuple[str, ...]
    """Hash of header, anchor and the place of its solution, likewise."""

    @classmethod
    def of_texts(cls, identity: Mapping[str, Any], texts: FittedTexts) -> Self:
        """The origin of scores of these texts."""
        header = texts.header
        examples = (None if ids is None else (*header, *ids) for ids in texts.examples)
        targets = (None if t is None else (*header, *t.ids, t.answer_start, t.answer_end) for t in texts.targets)
        return cls(identity, tuple(map(_key, examples)), tuple(map(_key, targets)))

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        """The origin as `to_json` writes it."""
        return cls(found["identity"], tuple(found["candidate_keys"]), tuple(found["anchor_keys"]))

    def check_identity(self, identity: Mapping[str, Any], where: str) -> None:
        """Refuse scores of another model.

        Args:
            identity: that of the scores to be made now.
            where: what is being extended, for the message.

        Raises:
            InputError: names what differs.
        """
        if changed := list(_differences(dict(self.identity), dict(identity))):
            raise InputError(
                f"{where} was scored in another way, so its scores do not mix with those asked for now:\n"
                + "\n".join(f"  {line}" for line in changed)
                + "\nScore with the same settings, or without it."
            )


def _key(ids: tuple[int, ...] | None) -> str:
    return "" if ids is None else hashlib.sha256(",".join(map(str, ids)).encode()).hexdigest()[:32]


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for name in dict.fromkeys([*before, *now]):
        old, new = before.get(name), now.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differences(old, new, f"{path}{name}.")
        elif old != new:
            yield f"{path}{name}: was {json.dumps(old, ensure_ascii=False)}, now {json.dumps(new, ensure_ascii=False)}"
