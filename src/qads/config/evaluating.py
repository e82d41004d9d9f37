"""The section that says how a model is measured in the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from qads.datasets.benchmarks import evaluation_locations
from qads.errors import ConfigError, InputError
from qads.evaluate import Evaluation
from qads.pool import Kind
from qads.train import FineTuning

__all__ = ["PROGRAMS_BY_HAND", "EvaluateConfig", "check_suffixes", "suffix_settings"]

PROGRAMS_BY_HAND: Mapping[str, tuple[object, str]] = {
    "execution.allow_code_execution": (True, "lets programs that a model wrote run"),
    "evaluate.isolation": ("none", "lets programs that a model wrote run without walls, as you"),
}
"""What no file may say, and what it does."""


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(Evaluation):
    """A model, what it is measured on, and how."""

    model: str | None = None
    """Alias, folder, GGUF file or hub id; null takes the model that the run trains, else the one that scores."""
    isolation: Literal["bubblewrap", "none"] = "bubblewrap"
    """What stands between a program that the model wrote and this machine; ``none`` is nothing but limits, and is said
    with ``--set``: no file may say it."""
    program_seconds: float = 5.0
    """Seconds that a program may take."""
    program_memory_mb: int = 512
    """Memory that a program may take, in MiB."""

    @property
    def files(self) -> tuple[str, ...]:
        """Everything that is read."""
        return (*evaluation_locations(self.sets), *(() if self.shots_from is None else (self.shots_from,)))

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.program_seconds <= 86_400:
            raise InputError(
                f"evaluate.program_seconds is {self.program_seconds:g}; it must be above 0, and a day at most."
            )
        if self.program_memory_mb < 1:
            raise InputError(f"evaluate.program_memory_mb is {self.program_memory_mb}; it must be 1 at least.")


def check_suffixes(trained: FineTuning | None, evaluation: Evaluation | None) -> None:
    """A model that is asked for a kind of solution in some words is trained on problems that ask for it so.

    Asked before anything is trained, and not of settings that are only read: a directory may be older than the rule.

    Raises:
        ConfigError: the two differ for a kind that the evaluation asks for.
    """
    if trained is None or evaluation is None:
        return
    kinds: dict[str, tuple[Kind, ...]] = {"cot": ("cot",), "pot": ("pot",), "pot-cot": ("pot", "cot")}
    for kind in kinds[evaluation.method] if evaluation.generate else ():
        asked, seen = evaluation.suffix.get(kind, ""), trained.suffix.get(kind, "")
        if asked != seen:
            raise ConfigError(
                f"evaluate.suffix puts {asked!r} after problems to ask for solutions of the kind {kind}, but "
                f"train.suffix puts {seen!r} after those that are trained on. Make them the same: train.suffix: "
                "instructions puts there what an evaluation does by default, where a problem does not end with it."
            )


def suffix_settings(trained: FineTuning | None) -> dict[str, Any]:
    """What a training puts after problems, which its tokens are counted with; nothing where it puts nothing."""
    return {"suffix": trained.suffix} if trained is not None and trained.suffix else {}
