"""What a run would cost: stages, rows, tokens and time, before it starts.

Tokens are estimated from characters; time from the model's size and a matrix product timed on the spot. Both
are estimates and are called so wherever they are shown.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from gguf import GGUFReader
from jaxtyping import Float
from safetensors import safe_open

from qads.config import RunConfig
from qads.datasets import load_pool
from qads.errors import ModelError
from qads.models import Dtype, find_model, resolve_device, resolve_dtype
from qads.pool import Pool
from qads.prompts import sample_text
from qads.run.directory import RunDirectory, StageDirectory
from qads.run.plan import local_sources, plan_stages, spool_stdin, stage_names, stdin_file
from qads.selection.inputs import resolve_budget

__all__ = ["StageEstimate", "estimate_run"]

_CHARS_PER_TOKEN = 2.8
"""Between GSM8K rows (3.1) and MATH rows (2.4) under the tokenizer of SmolLM2; other texts differ."""
_UTILISATION = 0.35
"""Share of the matrix-product peak that scoring is assumed to reach; a guess, not a measurement."""


@dataclass(frozen=True)
class StageEstimate:
    """What one stage would do."""

    name: str
    status: str
    """``done``, ``partial``, ``to do`` or ``drifted``."""
    rows: int
    tokens: int | None = None
    """Model tokens, estimated; None where no model runs."""
    seconds: float | None = None
    """Estimated; None where it is short or the model's size is unknown."""


def estimate_run(config: RunConfig, directory: str | Path) -> list[StageEstimate]:
    """Rows, tokens and time of every stage. Reads the pool, computes nothing, writes nothing.

    Raises:
        InputError: configuration or data cannot be used.
    """
    run = RunDirectory(Path(directory))
    with tempfile.TemporaryDirectory() as scratch:
        stdin = spool_stdin(config, stdin_file(run.root), stdin_file(Path(scratch)), replace=True)
        sources = local_sources(config.pool.sources, stdin)
        anchor_sources = local_sources(config.anchors.sources, stdin)
        settings = config.pool
        pool = load_pool(sources, columns=settings.columns, kind=settings.kind, on_bad_row=settings.on_bad_row)
        own = config.anchors
        anchors = load_pool(anchor_sources, columns=own.columns, on_bad_row=own.on_bad_row) if anchor_sources else None
        plans = plan_stages(config, sources, anchor_sources)
    rows, cost = _stage_sizes(config, pool, anchors)
    return [
        StageEstimate(name, _status(run.stage(plans[name])), rows[name], *cost.get(name, (None, None)))
        for name in stage_names(config)
    ]


def _status(stage: StageDirectory) -> str:
    before = stage.begun()
    if before is not None and before.get("fingerprint") != stage.plan.fingerprint:
        return "drifted"
    if stage.manifest() is not None or (stage.path / "report.html").exists():
        return "done"
    return "partial" if stage.path.exists() else "to do"


def _stage_sizes(
    config: RunConfig, pool: Pool, anchors: Pool | None
) -> tuple[dict[str, int], dict[str, tuple[int, float | None]]]:
    """Rows of every stage; tokens and seconds of those that run a model."""
    budget = resolve_budget(config.budget, len(pool), method="budget")
    rows = dict.fromkeys(stage_names(config), len(pool))
    rows |= dict.fromkeys(("select", "mixture", "report"), budget)
    tokens = _tokens(pool)
    read = int(np.minimum(tokens, 256).sum())
    cost = {"embed": (read, _seconds(read, config.embedding.model, config.embedding.dtype, config))}
    if config.quality is not None:
        influence = config.quality.influence
        n_anchors = len(anchors) if anchors else config.anchors.n_chosen
        anchor_tokens = _tokens(anchors).sum() if anchors else n_anchors * tokens.mean()
        left = max(0, len(pool) - (0 if anchors else n_anchors))  # The stage `anchors` stops where none is left.
        sample = min(config.quality.sample, left)
        scored = int(sample * (tokens.mean() + anchor_tokens) + anchor_tokens)
        cost["influence"] = (scored, _seconds(scored, influence.model, influence.dtype, config))
        rows |= {"anchors": n_anchors, "influence": sample}
    return rows, cost


def _tokens(pool: Pool) -> Float[np.ndarray, " n"]:
    return np.array([len(sample_text(row)) for row in pool]) / _CHARS_PER_TOKEN


def _seconds(n_tokens: int, model: str, dtype: Dtype, config: RunConfig) -> float | None:
    """Two floating-point operations a parameter and token, at a share of the measured peak."""
    n_parameters = _count_parameters(model)
    if n_parameters is None:
        return None
    device = config.execution.device
    peak = _matmul_peak(device, resolve_dtype(dtype, device))
    return 2 * n_parameters * n_tokens / (_UTILISATION * peak)


def _count_parameters(model: str) -> int | None:
    """Parameters of a model on this disk, from the headers of its files."""
    try:
        location = Path(find_model(model).location)
    except ModelError:
        return None
    if location.suffix == ".gguf":
        return sum(int(tensor.n_elements) for tensor in GGUFReader(location).tensors)
    total = 0
    for file in location.glob("*.safetensors"):
        with safe_open(file, framework="np") as tensors:
            total += sum(int(np.prod(tensors.get_slice(name).get_shape())) for name in tensors.keys())
    return total or None


def _matmul_peak(device: str, dtype: str) -> float:
    """Floating-point operations a second of a matrix product, here and now."""
    where = resolve_device(device)
    a = torch.randn(1024, 1024, device=where, dtype=getattr(torch, dtype))
    best = 0.0
    for _ in range(5):
        started = time.perf_counter()
        (a @ a)[0, 0].item()  # .item() waits for the device.
        best = max(best, 2 * 1024**3 / (time.perf_counter() - started))
    return best
