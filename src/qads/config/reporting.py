"""What the page of a run shows; nothing of it changes what is chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from qads.analyze import TSNEProjection
from qads.errors import InputError

__all__ = ["ReportConfig"]


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """The map and the samples that are in the page."""

    projection: TSNEProjection | None = field(default_factory=TSNEProjection)
    """How the map is laid out, and of how many rows at most; null leaves map and samples out."""
    texts: int = 10_000
    """Rows whose whole text is in the page: picks first, then those of highest quality and an even draw of the rest."""
    characters: int = 4_000
    """Of a problem or solution that are shown; what is longer is cut, and says so."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        for name, value, least in (("texts", self.texts, 0), ("characters", self.characters, 100)):
            if value < least:
                raise InputError(f"report.{name} is {value}; it must be a whole number ≥ {least}.")
