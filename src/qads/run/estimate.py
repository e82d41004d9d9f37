"""What a run would cost: stages, rows, tokens, operations and time, before it starts.

Of the stage `influence` tokens and operations are exact as soon as it is known which rows are scored on which anchors:
the very calls are gone through, without the model. Everything else is an estimate, and each number says which it is.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import Float

from qads.cluster import Execution
from qads.config import EvaluateConfig, QualityConfig, RunConfig, SavedScorer, check_suffixes
from qads.datasets import load_pool
from qads.evaluate import Item
from qads.kernels.cost import call_cost
from qads.kernels.target import TokenTarget
from qads.models import Dtype, count_parameters, open_tokenizer
from qads.pool import Kind, Pool, RejectedRow, Row
from qads.prompts import sample_text
from qads.quality import EveryAnchor, LMScorer, LocalEngine, ProbeScorer, load_scorer, stratified_sample
from qads.quality.scorers import FittedLM, FittedProbe
from qads.run.budgets import resolve_rows
from qads.run.context import read_pool
from qads.run.decontamination import OwnAnchors, read_evaluation
from qads.run.directory import RunDirectory, StageDirectory
from qads.run.limits import NamedFiles, check_limits
from qads.run.measured import evaluated_model, evaluates_trained, evaluation_plan, named_model
from qads.run.plan import (
    computed_names,
    names_until,
    plan_stages,
    stage_names,
)
from qads.run.reuse import read_reused
from qads.run.speed import cpu_seconds
from qads.run.stdin import local_sources, spool_stdin, stdin_file, told_as_stdin
from qads.run.training import training_seconds
from qads.train import FineTuning

__all__ = ["CHARS_PER_TOKEN", "Basis", "StageEstimate", "estimate_evaluation", "estimate_run"]

Basis = Literal["exact", "at most", "estimated"]
CHARS_PER_TOKEN = 2.8
"""Between GSM8K rows (3.1) and MATH rows (2.4) under the tokenizer of SmolLM2; other texts differ."""
_ROWS_READ = 200
"""Rows of the pool, evenly spaced, that tell how long rows are in tokens."""
_CPU_UTILISATION = 0.7
"""Share of the matrix-product peak that scoring reaches on a CPU, by first measurements of SmolLM2-135M in bfloat16."""
_NOT_CLEANED = "what cleaning leaves is not known yet, so later stages are counted as if every row stayed"
_EMBEDDING_UTILISATION = 0.35
"""The same of embedding; a guess, not a measurement."""


@dataclass(frozen=True)
class StageEstimate:
    """What one stage would do."""

    name: str
    status: str
    """``done``, ``partial``, ``to do`` or ``drifted``."""
    rows: int
    tokens: int | None = None
    """Tokens through a model; None where none runs."""
    flops: int | None = None
    """Floating-point operations of the model; None where none runs or its shape is unknown."""
    basis: Basis | None = None
    """What tokens and operations are: counted, an upper bound, or estimated; None where there are none."""
    seconds: float | None = None
    """Always an estimate; None where it is short, or where nobody knows: `note` says why."""
    note: str | None = None
    """What else there is to know."""


@dataclass(frozen=True)
class _ModelCost:
    """What the model of a stage would do."""

    tokens: int
    flops: int | None
    basis: Basis
    seconds: float | None
    note: str | None = None


def estimate_run(
    config: RunConfig, directory: str | Path, *, reuse: Sequence[str | Path] = (), until: str | None = None
) -> list[StageEstimate]:
    """Rows, tokens, operations and time of every stage. Reads the pool, runs no model, leaves the directory as it is.

    Args:
        config: what would be computed.
        directory: the run directory, which need not be there.
        reuse: directories of other runs whose scores would be taken over.
        until: last stage that would be computed; all of them by default.

    Raises:
        ConfigError: there is no such stage.
        TooLongError: texts exceed the context, and the run would stop for it.
        InputError: configuration or data cannot be used.
    """
    run = RunDirectory(Path(directory))
    names = stage_names(config) if until is None else names_until(computed_names(config), until)
    with tempfile.TemporaryDirectory() as scratch, told_as_stdin(run.root), told_as_stdin(Path(scratch)):
        stdin = spool_stdin(config, stdin_file(run.root), stdin_file(Path(scratch)), replace=True)
        sources = local_sources(config.pool.sources, stdin)
        anchor_sources = local_sources(config.anchors.sources, stdin)
        settings = config.pool
        pool = load_pool(sources, columns=settings.columns, kind=settings.kind, on_bad_row=settings.on_bad_row)
        notes: dict[str, str | None] = {"pool": _rows_without(pool.rejected)}
        own = config.anchors
        anchors = load_pool(anchor_sources, columns=own.columns, on_bad_row=own.on_bad_row) if anchor_sources else None
        plans = plan_stages(config, sources, anchor_sources)
        if anchors is not None:
            n_anchors_read = len(anchors)
            anchors = OwnAnchors.checked(anchors, config.clean, read_evaluation(config.clean)).pool
            notes["anchors"] = _rows_without(anchors.rejected, n_anchors_read - len(anchors))
    stages = {name: run.stage(plans[name]) for name in stage_names(config)}
    read, is_cleaned = pool, "clean" not in stages or _status(stages["clean"]) == "done"
    if "clean" in stages and is_cleaned:
        stages["clean"].check_files()
        pool = read_pool(stages["clean"].path / "pool.parquet")
    rows = _stage_rows(config, pool, anchors, lambda: read) | {
        name: len(read) for name in ("pool", "clean") if name in stages
    }
    embeds_early = config.clean is not None and config.clean.is_semantic
    cost = {"clean" if embeds_early else "embed": _embedding_cost(config, pool)}
    if "likelihoods" in stages:
        cost["likelihoods"] = _likelihood_cost(config, pool)
    if config.train is not None and "train" in names:
        cost["train"] = _training_cost(config, config.train, pool, rows["train"])
    if evaluates_trained(config) and "evaluate" in names and _status(stages["train"]) != "done":
        check_suffixes(config.train, config.evaluate)
    if config.evaluate is not None and "evaluate" in names:
        rows["evaluate"], cost["evaluate"] = _evaluation_cost(
            config.evaluate, evaluated_model(config), config.execution
        )
    if config.quality is not None:
        cost |= _reading_costs(config, config.quality, pool, rows)
    if config.quality is not None and config.scores:
        scored = _scored_rows(config, config.quality, pool, anchors, stages["anchors"]) if is_cleaned else None
        if scored is None:
            cost["influence"] = _estimated_influence(config, config.quality, pool, rows, is_cleaned=is_cleaned)
        else:
            cost["influence"] = _counted_influence(config, config.quality, *scored, reuse, run.root)
    if not is_cleaned:
        notes["clean"] = _NOT_CLEANED
    found = [_stage_estimate(name, stages[name], rows[name], cost) for name in names]
    return [replace(each, note=_joined(each.note, notes.get(each.name))) for each in found]


def _rows_without(rejected: Sequence[RejectedRow], n_contaminated: int = 0) -> str | None:
    """Rows that were read and will not be used, with the most frequent reason."""
    reasons = Counter(row.reason for row in rejected).most_common(1)
    aside = [f"set aside: {len(rejected):,} (most often: {reason})" for reason, _ in reasons]
    out = [f"taken out as problems of the evaluation: {n_contaminated:,}"] if n_contaminated else []
    return "; ".join([*aside, *out]) or None


def _stage_estimate(name: str, stage: StageDirectory, rows: int, cost: Mapping[str, _ModelCost]) -> StageEstimate:
    status = _status(stage)
    if (found := cost.get(name)) is None:
        return StageEstimate(name, status, rows)
    return StageEstimate(name, status, rows, found.tokens, found.flops, found.basis, found.seconds, found.note)


def _status(stage: StageDirectory) -> str:
    before = stage.begun()
    if before is not None and before.get("fingerprint") != stage.plan.fingerprint:
        return "drifted"
    if stage.manifest() is not None or (stage.path / "report.html").exists():
        return "done"
    return "partial" if stage.path.exists() else "to do"


def _stage_rows(config: RunConfig, pool: Pool, anchors: Pool | None, uncleaned: Callable[[], Pool]) -> dict[str, int]:
    rows = dict.fromkeys(stage_names(config), len(pool))
    if (method := config.report.projection) is not None:
        rows["projection"] = min(len(pool), method.most)
    if not config.counts_tokens:  # How many rows a number of tokens comes to, only the selection shows.
        chosen = [name for name in ("select", "mixture", "train", "report") if name in rows]
        rows |= dict.fromkeys(chosen, max(resolve_rows(config, len(pool))))
    named = NamedFiles.read(pool, config.constraints, reading=config.pool, uncleaned=uncleaned)
    check_limits(pool, config, named)
    if "given" in rows:
        rows["given"] = len(named.given.rows) + named.given.n_others
    n_anchors = len(anchors) if anchors else config.anchors.n_chosen
    rows |= {name: n_anchors for name in ("anchors", "targets") if name in rows}
    if config.quality is not None and config.scores:
        left = max(0, len(pool) - (0 if anchors else n_anchors))  # The stage `anchors` stops where none is left.
        rows["influence"] = rows["scorer"] = min(config.quality.sample, left)
    return rows


def _scored_rows(
    config: RunConfig, quality: QualityConfig, pool: Pool, anchors: Pool | None, stage: StageDirectory
) -> tuple[Pool, Pool] | None:
    """Candidates and anchors, where they are determined without a model."""
    if quality.labelling is not None:
        return None  # Which rows are labelled, the scorer decides on the way.
    if anchors is not None:
        return pool.take(stratified_sample(pool, quality.sample, seed=config.seed)), anchors
    if _status(stage) != "done":
        return None
    stage.check_files()
    candidates = np.load(stage.path / "candidates.npy")
    return pool.take(candidates), Pool(pq.read_table(stage.path / "anchors.parquet"))


def _counted_influence(
    config: RunConfig, quality: QualityConfig, candidates: Pool, anchors: Pool, reuse: Sequence[str | Path], root: Path
) -> _ModelCost:
    """By the method itself, which goes through its calls."""
    method = quality.influence
    known = [run.influence for run in read_reused(reuse, root, config)]
    cost = method.expected_cost(candidates, anchors, known=known, execution=config.execution)
    seconds, note = _scoring_seconds(config, quality, cost.flops)
    bound = None if isinstance(method.stopping, EveryAnchor) else "as if the rule stopped nobody early"
    return _ModelCost(cost.tokens, cost.flops, "at most" if bound else "exact", seconds, _joined(bound, note))


def _estimated_influence(
    config: RunConfig, quality: QualityConfig, pool: Pool, rows: Mapping[str, int], *, is_cleaned: bool
) -> _ModelCost:
    """As if all candidates and anchors were of the mean length of rows of the pool."""
    method, trust = quality.influence, config.execution.trust_remote_code
    tokenizer = open_tokenizer(method.model, revision=method.revision, trust_remote_code=trust)
    read = pool.take(np.arange(0, len(pool), max(1, len(pool) // _ROWS_READ)))
    lengths = [len(tokenizer.tokenizer(sample_text(row), verbose=False)["input_ids"]) for row in read]
    mean = max(2, int(np.mean(lengths)))
    examples = [0, *[mean] * rows["influence"]]  # None for the zero-shot scores.
    anchors = [TokenTarget((0,) * mean, mean // 2, mean)] * rows["anchors"]
    everywhere = np.ones((len(examples), len(anchors)), np.bool_)
    cost = call_cost(tokenizer.shape, method.engine.cost_rule, examples, anchors, everywhere)
    seconds, note = _scoring_seconds(config, quality, cost.flops)
    missing = "the anchors are not chosen yet" if is_cleaned else "the pool is not cleaned yet"
    why = f"{missing}; counts are exact once the stage anchors is done"
    if quality.labelling is not None:
        why = f"labels come in rounds; beside them the scorer reads {quality.n_watched:,} rows that may be labelled"
    return _ModelCost(cost.tokens, cost.flops, "estimated", seconds, _joined(why, note))


def _scoring_seconds(config: RunConfig, quality: QualityConfig, flops: int | None) -> tuple[float | None, str | None]:
    """Seconds of the scoring model, or why nobody knows."""
    if not isinstance(quality.influence.engine, LocalEngine):
        return None, "a server scores, and how fast it is only it knows"
    if flops is None:
        return None, "the shape of the model is unknown, and with it operations and time"
    return _seconds(flops, _CPU_UTILISATION, config.execution, quality.influence.dtype)


def _joined(*notes: str | None) -> str | None:
    return "; ".join(note for note in notes if note) or None


def _embedding_cost(config: RunConfig, pool: Pool) -> _ModelCost:
    """Two operations a parameter and token; of a row 256 tokens are read at most."""
    tokens = int(np.minimum(_tokens(pool), 256).sum())
    n_parameters = count_parameters(config.embedding.model)
    if n_parameters is None:
        why = "operations and time are unknown, since the weights are not on this disk"
        return _ModelCost(tokens, None, "estimated", None, why)
    flops = 2 * n_parameters * tokens
    seconds = _seconds(flops, _EMBEDDING_UTILISATION, config.execution, config.embedding.dtype)
    return _ModelCost(tokens, flops, "estimated", *seconds)


def _reading_costs(
    config: RunConfig, quality: QualityConfig, pool: Pool, rows: Mapping[str, int]
) -> dict[str, _ModelCost]:
    """A probe reads the labelled rows, then all of them, each once; nothing where all are labelled.

    One that was fitted before reads all of them.
    """
    labelled = rows["influence"] if config.scores else 0
    saved = load_scorer(quality.scorer.folder) if isinstance(quality.scorer, SavedScorer) else None
    method = saved.method if isinstance(saved, FittedProbe | FittedLM) else None if saved else quality.scorer_method
    if not isinstance(method, ProbeScorer | LMScorer) or not method.reads_model or labelled >= len(pool):
        return {}
    assert method.model is not None
    n_parameters, per_row = count_parameters(method.model), float(_tokens(pool).mean())
    found: dict[str, _ModelCost] = {}
    for name, n_rows in (("scorer", labelled), ("quality", len(pool))):
        if not n_rows:
            continue
        tokens = int(per_row * n_rows)
        if n_parameters is None:
            found[name] = _ModelCost(tokens, None, "estimated", None, "the weights are not on this disk")
            continue
        flops = 2 * n_parameters * tokens
        found[name] = _ModelCost(
            tokens, flops, "estimated", *_seconds(flops, _EMBEDDING_UTILISATION, config.execution, method.dtype)
        )
    return found


def estimate_evaluation(method: EvaluateConfig, out: Path, execution: Execution) -> StageEstimate:
    """What a measurement alone would come to; runs no model.

    Raises:
        InputError: no model is named, or a set cannot be read.
    """
    model = named_model(method)
    rows, cost = _evaluation_cost(method, model, execution)
    stage = RunDirectory(out).stage(evaluation_plan(method, model, execution))
    return _stage_estimate("evaluate", stage, rows, {"evaluate": cost})


def _evaluation_cost(method: EvaluateConfig, model: str, execution: Execution) -> tuple[int, _ModelCost]:
    """Items times measures; two operations a parameter and token, every solution as long as it may be."""
    found = method.items()
    measured, lacking = method.measured(found), _joined(*method.lacking(found))
    n_attempts = len(measured.get("accuracy", ())) * (2 if method.method == "pot-cot" else 1)
    tokens = int(_evaluation_characters(method, measured) / CHARS_PER_TOKEN) + n_attempts * method.max_new_tokens
    rows, n_parameters = sum(map(len, measured.values())), count_parameters(model)
    if n_parameters is None:
        return rows, _ModelCost(
            tokens, None, "estimated", None, _joined(lacking, "the weights are not on this disk, so time is unknown")
        )
    flops = 2 * n_parameters * tokens
    if n_attempts:
        note = _joined(lacking, "how long generation takes depends on what is written")
        return rows, _ModelCost(tokens, flops, "estimated", None, note)
    seconds, unknown = _seconds(flops, _CPU_UTILISATION, execution, "float32")
    return rows, _ModelCost(tokens, flops, "estimated", seconds, _joined(lacking, unknown))


def _evaluation_characters(method: EvaluateConfig, measured: Mapping[str, Sequence[Item]]) -> int:
    """Of problems with their earlier turns; worked examples and suffixes before every generation, solutions scored."""
    kinds: Sequence[Kind] = ("pot", "cot") if method.method == "pot-cot" else (method.method,)
    examples = sum(_asked_characters(row) + len(row.solution) for row in method.examples())
    before = {
        "accuracy": [examples + len(method.suffix.get(kind, "")) for kind in kinds],
        "answer_log_likelihood": [0],
        "choice_likelihood": [0],
    }
    return sum(
        more + _asked_characters(item.row) + (len(item.row.solution) if measure == "answer_log_likelihood" else 0)
        for measure, items in measured.items()
        for item in items
        for more in before[measure]
    )


def _asked_characters(row: Row) -> int:
    return len(row.problem) + sum(len(turn["content"]) for turn in row.context)


def _likelihood_cost(config: RunConfig, pool: Pool) -> _ModelCost:
    """Two operations a parameter and token, of problem and solution and of the solution once more."""
    method = config.answer_likelihoods
    characters = sum(len(sample_text(row)) + len(row.solution) for row in pool)
    tokens, n_parameters = int(characters / CHARS_PER_TOKEN), count_parameters(method.model)
    if n_parameters is None:
        return _ModelCost(tokens, None, "estimated", None, "the weights are not on this disk, so time is unknown")
    flops = 2 * n_parameters * tokens
    if not isinstance(method.engine, LocalEngine):
        return _ModelCost(tokens, flops, "estimated", None, "a server scores, and how fast it is only it knows")
    return _ModelCost(tokens, flops, "estimated", *_seconds(flops, _CPU_UTILISATION, config.execution, method.dtype))


def _training_cost(config: RunConfig, method: FineTuning, pool: Pool, n_rows: int) -> _ModelCost:
    """Six operations a parameter and token (four under an adapter), of rows of mean length: which ones is not known."""
    mean = float(_tokens(pool).mean())
    budget = method.tokens or (method.steps or 0) * method.step_tokens(mean) or mean * n_rows * method.n_epochs
    tokens, n_parameters = int(budget), count_parameters(method.model)
    if n_parameters is None:
        return _ModelCost(tokens, None, "estimated", None, "the weights are not on this disk, so time is unknown")
    flops = (6 if method.lora is None else 4) * n_parameters * tokens
    seconds = training_seconds(flops, method, config.execution)
    note = "time is unknown: training was never measured on this device" if seconds is None else None
    return _ModelCost(tokens, flops, "estimated", seconds, note)


def _tokens(pool: Pool) -> Float[np.ndarray, " n"]:
    return np.array([len(sample_text(row)) for row in pool]) / CHARS_PER_TOKEN


def _seconds(flops: int, share: float, execution: Execution, dtype: Dtype) -> tuple[float | None, str | None]:
    """Seconds of so many operations at a share of the peak of this processor, or why nobody knows."""
    seconds = cpu_seconds(flops, share=share, execution=execution, dtype=dtype)
    unknown = f"time is unknown: what share of its peak a model reaches on {execution.found_device} was never measured"
    return seconds, unknown if seconds is None else None
