"""What an evaluation is meant to measure: its model and its plan."""

from __future__ import annotations

import dataclasses

from qads.cluster import Execution
from qads.config import EvaluateConfig, RunConfig
from qads.datasets import expand_sources, source_identity
from qads.datasets.benchmarks import evaluation_contents
from qads.errors import InputError
from qads.models import find_model
from qads.run.directory import StagePlan

__all__ = ["evaluated_model", "evaluates_trained", "evaluation_plan", "named_model"]

_ELSEWHERE = ("sets", "shots_from", "model")
"""Settings that are inputs, by what they stand for."""
_JUDGING = 4
"""Of the rules by which answers are written, extracted and judged, and options found: results by other rules are not
put beside these."""
_PROGRAMS = ("isolation", "program_seconds", "program_memory_mb")


def evaluates_trained(config: RunConfig) -> bool:
    """Whether a run evaluates the model that it trains."""
    return config.evaluate is not None and config.evaluate.model is None and config.train is not None


def evaluated_model(config: RunConfig) -> str:
    """The model that a run evaluates, or trains and then evaluates: what the sections name, else what scores.

    Raises:
        InputError: none is named, trained or scores; with a scorer that was fitted before none does.
    """
    assert config.evaluate is not None
    if config.evaluate.model is not None:
        return config.evaluate.model
    if config.train is not None:
        return config.train.model
    if config.quality is None or not config.quality.scores:
        raise InputError("evaluate.model is null, and nothing is trained or scored here; name the model.")
    return config.quality.influence.model


def named_model(method: EvaluateConfig) -> str:
    """The model that the section names.

    Raises:
        InputError: it names none.
    """
    if method.model is None:
        raise InputError("evaluate.model is null; name the model to evaluate.")
    return method.model


def evaluation_plan(
    method: EvaluateConfig, model: str, execution: Execution, *, trained: str | None = None
) -> StagePlan:
    """What an evaluation is meant to measure.

    Args:
        method: its settings.
        model: what is measured, or what is trained before that.
        execution: device and batch size.
        trained: fingerprint of the training of the model.

    Raises:
        ModelError: the model cannot be found.
        PoolError: a set cannot be found.
    """
    settings = {name: value for name, value in dataclasses.asdict(method).items() if name not in _ELSEWHERE}
    if method.dtype == "auto":  # What it is for the weights of a model to come, the training of it says.
        settings["dtype"] = f"float32 where weights are stored so, else {execution.precision('auto')}"
    if trained is None:
        settings["model"] = find_model(model, revision=method.revision).identity
    if method.generate or method.choice != "generation":
        settings["judging"] = _JUDGING
    if not method.runs_programs:
        settings = {name: value for name, value in settings.items() if name not in _PROGRAMS}
    if execution.trust_remote_code:
        settings["trust_remote_code"] = True
    inputs = {} if trained is None else {"train": trained}
    inputs |= {f"set {name}": content for name, content in evaluation_contents(method.sets).items()}
    for file in expand_sources([method.shots_from]) if method.shots_from else ():
        inputs[f"examples {file.name}"] = source_identity(file.location)
    device = execution.found_device
    how = {"device": device, "max_tokens_per_batch": execution.pass_size(device) or "auto"}
    return StagePlan("evaluate", settings, inputs, how)
