"""What is taken out of the pool before anything else is made from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, cast

from qads.choices import check_choices
from qads.clean import Decontamination, Deduplication
from qads.config.limits import Sources
from qads.errors import ConfigError, InputError

__all__ = ["CleanConfig", "nothing_left"]


def nothing_left(section: object) -> object:
    """The section as it was given; null where it says of duplicates that none are looked for, and nothing else.

    So `--dedup off` and `--set clean.duplicates=null` take out of a configuration what it asks for.
    """
    if isinstance(section, Mapping):
        given = cast(Mapping[str, Any], section)
        if given.get("duplicates", {}) is None and not any(given.values()):
            return None
    return section


@dataclass(frozen=True, kw_only=True)
class CleanConfig:
    """Duplicates, and problems of the evaluation."""

    duplicates: Deduplication | None = None
    """What counts as a repeated row, and which one stays; null looks for none (said alone, nothing is cleaned)."""
    against: Sources = ()
    """Evaluation sets: names of benchmarks (``gsm8k``), files, globs, folders, ``hf://owner/name``, or any of these
    under a name (``exam=FILE``). Their problems must be neither in the pool nor among the anchors."""
    contamination: Decontamination = field(default_factory=Decontamination)
    """What counts as a problem of the evaluation."""
    on_contamination: Literal["remove", "report", "error"] = "remove"
    """What a row or an anchor that is one does: goes, stays and is listed, or stops the run."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    @property
    def is_semantic(self) -> bool:
        """Whether cleaning needs embeddings."""
        return self.duplicates is not None and self.duplicates.semantic is not None

    def __post_init__(self) -> None:
        check_choices(self)
        if self.duplicates is None and not self.against:
            raise InputError(
                "asks for nothing: give duplicates ({} for the defaults) or against (evaluation sets), or leave the "
                "section out."
            )
        if "-" in self.against:
            raise InputError("against is read from files, not from standard input.")
        if not self.against and (self.on_contamination != "remove" or self.contamination != Decontamination()):
            raise InputError("contamination is looked for in evaluation sets only, and against names none.")
        if self.duplicates is not None and self.duplicates.keep == "quality":
            raise ConfigError(
                "duplicates.keep is 'quality', which a run measures after cleaning only. Take first, longest, shortest "
                "or source, or clean from Python: qads.Deduplication(keep='quality')(pool, prefer=quality)."
            )
