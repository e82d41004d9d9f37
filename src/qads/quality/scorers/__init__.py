"""Scorers: they predict quality from what is cheap to know of a row, fitted on rows that were really scored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from qads.errors import CorruptError
from qads.models import Lora
from qads.quality.scorers.base import FittedScorer, MadeFor, Prediction, read_folder
from qads.quality.scorers.calibration import Calibration
from qads.quality.scorers.lm import FittedLM, LMScorer
from qads.quality.scorers.probe import FittedProbe, ProbeScorer
from qads.quality.scorers.retrieval import FittedRetrieval, RetrievalScorer
from qads.quality.scorers.validation import OutOfFold

__all__ = [
    "FittedLM",
    "FittedProbe",
    "FittedRetrieval",
    "FittedScorer",
    "LMScorer",
    "Lora",
    "MadeFor",
    "OutOfFold",
    "Prediction",
    "ProbeScorer",
    "RetrievalScorer",
    "Scorer",
    "load_scorer",
]

Scorer = ProbeScorer | RetrievalScorer | LMScorer
"""Every scorer; a configuration picks one by `kind`."""

_KINDS: dict[str, tuple[Any, Callable[..., FittedScorer]]] = {
    "probe": (ProbeScorer, FittedProbe.load),
    "retrieval": (RetrievalScorer, FittedRetrieval.load),
    "lm": (LMScorer, FittedLM.load),
}


def load_scorer(folder: str | Path) -> FittedScorer:
    """The scorer that `FittedScorer.save` kept in a folder.

    Raises:
        InputError: there is no scorer.
        CorruptError: its files are damaged or of another version.
    """
    path = Path(folder)
    numbers, arrays = read_folder(path)
    try:
        method_class, load = _KINDS[numbers["kind"]]
        method = TypeAdapter(method_class).validate_python(numbers["method"])
        made_for = MadeFor(**numbers["made_for"] | {"sources": tuple(numbers["made_for"]["sources"])})
        calibration = Calibration.from_json(numbers["calibration"])
        common = {"made_for": made_for, "calibration": calibration, "n_labels": numbers["labels"]}
        return load(method, numbers, arrays, folder=path, **common)
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptError(f"{path}: its scorer cannot be read ({error!r}). Fit it again.") from error
