"""What a run would cost: stages, rows, tokens and time, before it starts.

Tokens are estimated from characters; time from the model's size and a matrix product timed on the spot. Both are
estimates and are called so wherever they are shown.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from gguf import GGUFReader
from safetensors import safe_open

from qads.config import RunConfig
from qads.datasets import load_pool
from qads.errors import ModelError
from qads.models import find_model, resolve_device, resolve_dtype
from qads.pool import Pool
from qads.prompts import sample_text
from qads.run.directory import RunDirectory
from qads.run.plan import local_sources, plan_stages, stage_names
from qads.selection.inputs import resolve_budget

__all__ = ["StageEstimate", "estimate_run"]

_CHARS_PER_TOKEN = 3.3
"""Of mathematical English with a byte-pair vocabulary; measured on GSM8K and MATH rows: 3.0 to 3.6."""
_UTILISATION = 0.35
"""Share of the matrix-product peak that scoring reaches."""


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
    root = Path(directory)
    sources = local_sources(config.pool.sources, root, "pool.sources")
    anchor_sources = local_sources(config.anchors.sources, root, "anchors.sources")
    pool = load_pool(
        sources, columns=config.pool.columns, kind=config.pool.kind, on_bad_row=config.pool.on_bad_row
    )
    plans = plan_stages(config, sources, anchor_sources)
    tokens = np.array([len(sample_text(row)) for row in pool]) / _CHARS_PER_TOKEN
    rows, cost = _stage_sizes(config, pool, tokens, anchor_sources)
    estimates: list[StageEstimate] = []
    for name in stage_names(config):
        stage = RunDirectory(root).stage(plans[name])
        before = stage.manifest()
        status = "to do" if not stage.path.exists() else "partial" if before is None else "done"
        if before is not None and before["fingerprint"] != plans[name].fingerprint:
            status = "drifted"
        n_tokens, seconds = cost.get(name, (None, None))
        estimates.append(StageEstimate(name, status, rows[name], n_tokens, seconds))
    return estimates


def _stage_sizes(
    config: RunConfig, pool: Pool, tokens: np.ndarray, anchor_sources: tuple[str, ...]
) -> tuple[dict[str, int], dict[str, tuple[int, float | None]]]:
    budget = resolve_budget(config.budget, len(pool), method="budget")
    rows = dict.fromkeys(stage_names(config), len(pool)) | {"select": budget, "mixture": budget, "report": budget}
    read = int(np.minimum(tokens, 256).sum())
    cost = {"embed": (read, _seconds(read, config.embedding.model, config.embedding.dtype, config))}
    if config.quality is not None:
        anchors = load_pool(anchor_sources, columns=config.anchors.columns) if anchor_sources else None
        n_anchors = len(anchors) if anchors else config.anchors.n
        anchor_tokens = sum(len(sample_text(r)) for r in anchors) / _CHARS_PER_TOKEN if anchors else n_anchors * tokens.mean()
        sample = min(config.quality.sample, len(pool))
        scored = int(sample * (tokens.mean() + anchor_tokens) + anchor_tokens)
        influence = config.quality.influence
        cost["influence"] = (scored, _seconds(scored, influence.model, influence.dtype, config))
        rows |= {"anchors": n_anchors, "influence": sample}
    return rows, cost


def _seconds(n_tokens: int, model: str, dtype: str, config: RunConfig) -> float | None:
    """Two floating-point operations a parameter and token, at a share of the measured peak."""
    n_parameters = _count_parameters(model)
    if n_parameters is None:
        return None
    peak = _matmul_peak(config.execution.device, resolve_dtype(dtype, config.execution.device))  # pyright: ignore[reportArgumentType]
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
            total += sum(int(np.prod(tensors.get_slice(name).get_shape())) for name in tensors.keys())  # noqa: SIM118
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
