"""All that is known of how a fitted scorer predicts, as one object that is kept as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, cast

from pydantic import BeforeValidator, TypeAdapter, ValidationError

from qads.errors import InputError
from qads.pool import to_json
from qads.quality.anchor_groups import AnchorGroups
from qads.quality.fidelity.estimates import Estimate, Number
from qads.quality.fidelity.other_anchors import OtherAnchors
from qads.quality.fidelity.verdicts import Fidelity

__all__ = ["CurvePoint", "FidelityReport", "ScoringCost"]


@dataclass(frozen=True)
class CurvePoint:
    """How well predictions agree with so many labels."""

    n_labels: int
    pearson: Estimate
    within: Estimate
    """Pearson's r within sources."""


@dataclass(frozen=True)
class ScoringCost:
    """What a row costs, scored for real and predicted; NaN where it was not measured."""

    n_anchors: int
    """That real scoring reads the row before."""
    real_tokens: Number
    """Through the model, a row."""
    real_flops: Number
    real_seconds: Number
    predicted_tokens: Number
    predicted_flops: Number
    predicted_seconds: Number

    @property
    def token_ratio(self) -> float:
        """Tokens of predicting as a share of those of scoring."""
        return _share(self.predicted_tokens, self.real_tokens)

    @property
    def flop_ratio(self) -> float:
        """The same of floating-point operations."""
        return _share(self.predicted_flops, self.real_flops)

    @property
    def second_ratio(self) -> float:
        """The same of seconds."""
        return _share(self.predicted_seconds, self.real_seconds)


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else float("nan")


def _anchor_groups(value: Any) -> Any:
    try:
        return AnchorGroups.from_json(cast(Mapping[str, Any], value)) if isinstance(value, Mapping) else value
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"is no table of anchor groups ({error!r})") from None


@dataclass(frozen=True)
class FidelityReport:
    """A scorer, and how it was measured."""

    scorer: Mapping[str, Any]
    """Its kind, its settings, and what fitting chose."""
    fidelity: Fidelity
    curve: tuple[CurvePoint, ...] = ()
    """The learning curve; empty where it was not measured."""
    cost: ScoringCost | None = None
    unscored: Mapping[str, int] = dataclasses.field(default_factory=dict[str, int])
    """Rows that have no number, by reason."""
    groups: Annotated[AnchorGroups | None, BeforeValidator(_anchor_groups)] = None
    """Which source helps which anchors."""
    other_anchors: OtherAnchors | None = None
    """How well it predicts what anchors say that it was not fitted for; None where that was not measured."""

    def as_json(self) -> dict[str, Any]:
        """Plain values as JSON has them: null in the place of NaN."""
        return json.loads(to_json(dataclasses.asdict(self)))

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> FidelityReport:
        """What `as_json` gave, after its way through a file.

        Raises:
            InputError: it is something else; names the place.
        """
        try:
            return _adapter().validate_python(dict(raw))
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise InputError(f"fidelity report: {place}: {first['msg']}. Measure again: --redo scorer") from None


@cache
def _adapter() -> TypeAdapter[FidelityReport]:
    return TypeAdapter(FidelityReport)
