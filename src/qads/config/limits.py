"""What a selection keeps to, whatever the selector: quotas of groups, and rows that are out, in, or there already."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator

from qads.amounts import parse_limit
from qads.errors import InputError

__all__ = ["ANY_OTHER", "ConstraintsConfig", "QuotaConfig", "Sources"]

Sources = Annotated[tuple[str, ...], BeforeValidator(lambda v: (v,) if isinstance(v, str) else v)]
"""One source or several."""
Limit = Annotated[int | float, BeforeValidator(parse_limit)]
"""Rows, or a fraction of the budget in (0, 1]."""
ANY_OTHER = "*"
"""In the place of a value: each of the values that no quota names."""


@dataclass(frozen=True, kw_only=True)
class QuotaConfig:
    """Limits for the rows that have one value of a column."""

    at_least: Limit | None = None
    """Rows of it that are selected at least: a count, or a share of the budget."""
    at_most: Limit | None = None
    """Rows of it that are selected at most: a count, or a share of the budget."""
    share: Limit | None = None
    """Exactly this share of the budget; excludes the other two."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        if self.at_least is None and self.at_most is None and self.share is None:
            raise InputError("a quota with no limit; give at_least, at_most or share.")
        if self.share is not None and not (self.at_least is None and self.at_most is None):
            raise InputError("share says exactly how many; it excludes at_least and at_most.")
        if isinstance(self.share, int):
            raise InputError(f"share is {self.share} rows; it must be a fraction (0.3, 30%). For rows give at_least.")


@dataclass(frozen=True, kw_only=True)
class ConstraintsConfig:
    """What a selection keeps to."""

    quotas: dict[str, dict[str, QuotaConfig]] = field(default_factory=dict[str, dict[str, QuotaConfig]])
    """Column (``source``, ``kind`` or ``meta.NAME``) -> value -> limits; the value ``*`` is each that is not named."""
    exclude: Sources = ()
    """Files that name rows which are never selected."""
    include: Sources = ()
    """Files that name rows which are selected first; they count towards the budget."""
    given: Sources = ()
    """Files of what is trained on already: not selected again, and what is near it brings little new."""
    min_distance: float | None = None
    """No pick nearer than this to an earlier or a given one, in the selector's metric."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        for column, quotas in self.quotas.items():
            if column not in ("source", "kind") and not (column.startswith("meta.") and len(column) > 5):
                raise InputError(
                    f"quotas.{column}: is no column to group by; there are source, kind and meta.NAME, with the name "
                    "of a column that the sources have beside the known ones."
                )
            if not quotas:
                raise InputError(f"quotas.{column}: is empty; give values with limits.")
        if self.min_distance is not None and not self.min_distance > 0:
            raise InputError(f"min_distance is {self.min_distance}; it must be a number above 0.")
        if "-" in self.files:
            raise InputError("exclude, include and given are read from files, not from standard input.")

    @property
    def files(self) -> tuple[str, ...]:
        """Every file that names rows."""
        return (*self.exclude, *self.include, *self.given)

    @property
    def prefix_closed(self) -> bool:
        """Whether the first picks are the selection for a smaller budget: no minimum, no share of the budget."""
        return not any(
            quota.at_least is not None or quota.share is not None or isinstance(quota.at_most, float)
            for quotas in self.quotas.values()
            for quota in quotas.values()
        )
