"""What `qads train` carries out: files, how they are read, how a model is trained on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from qads.choices import check_choices
from qads.cluster import Execution
from qads.config.limits import Sources
from qads.datasets import check_columns
from qads.errors import InputError
from qads.train import FineTuning

__all__ = ["TrainConfig"]


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A training on files, without a run around it."""

    sources: Sources
    """Files, globs, folders, ``hf://owner/name``, the folder of a mixture, or a run directory."""
    columns: dict[str, str] = field(default_factory=dict[str, str])
    """Field -> column, for shapes that are not recognised."""
    on_bad_row: Literal["error", "skip"] = "error"
    """What a line that cannot be read does."""
    train: FineTuning = field(default_factory=FineTuning)
    """How."""
    execution: Execution = field(default_factory=Execution)
    """How fast, never what."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        check_choices(self)
        if "-" in self.sources:
            raise InputError("sources: a training is read from files, so that it can go on after a kill.")
        check_columns(self.columns, "columns")
