"""What a configuration would compute: the plan and the fingerprint of every stage, before anything runs."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from pathlib import Path
from typing import Any

from qads.config import RunConfig
from qads.datasets import atomic_path, expand_sources
from qads.errors import PoolError
from qads.run.directory import StagePlan, file_sha256

__all__ = ["local_sources", "plan_stages", "stage_names"]


def stage_names(config: RunConfig) -> tuple[str, ...]:
    """The stages that this configuration has, in order."""
    scored = ("anchors", "influence", "quality") if config.quality else ()
    return ("pool", "embed", *scored, "select", "mixture", "report")


def local_sources(sources: tuple[str, ...], root: Path, role: str) -> tuple[str, ...]:
    """The sources with standard input spooled into the run directory, so that a second start can read it again."""
    if "-" not in sources:
        return sources
    spool = root / "input" / "stdin.jsonl"
    if not spool.exists():
        if sys.stdin is None or sys.stdin.isatty():
            raise PoolError(f"{role}: '-' reads standard input, but nothing is piped into it.")
        with atomic_path(spool) as temporary, temporary.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
    return tuple(str(spool) if source == "-" else source for source in sources)


def plan_stages(config: RunConfig, sources: tuple[str, ...], anchor_sources: tuple[str, ...]) -> dict[str, StagePlan]:
    """The plan of every stage, in order; each names the fingerprints of those it reads.

    Raises:
        PoolError: a source is missing.
        ModelError: a model cannot be found.
    """
    device = config.execution.device
    plans: dict[str, StagePlan] = {}

    def add(name: str, settings: Any, *reads: str, files: dict[str, str] | None = None) -> None:
        inputs = {stage: plans[stage].fingerprint for stage in reads} | (files or {})
        plans[name] = StagePlan(name, settings, inputs)

    pool = dataclasses.asdict(config.pool)
    del pool["sources"]  # What they hold is an input; what they are called is not.
    add("pool", {"pool": pool}, files=_content_of(sources))
    add("embed", {"embedding": dataclasses.asdict(config.embedding) | config.embedding.identity(device)}, "pool")
    if config.quality is not None:
        influence = config.quality.influence
        anchors = {"columns": config.anchors.columns} if anchor_sources else {"n": config.anchors.n}
        settings = {"anchors": anchors, "quality": {"sample": config.quality.sample}, "seed": config.seed}
        reads = ("pool",) if anchor_sources else ("pool", "embed")
        add("anchors", settings, *reads, files=_content_of(anchor_sources))
        method = dataclasses.asdict(influence) | influence.identity(device)
        add("influence", {"quality": {"influence": method}}, "anchors")
        add("quality", {"quality": {"scorer": dataclasses.asdict(config.quality.scorer)}}, "embed", "influence")
    selection = {"selection": dataclasses.asdict(config.selection), "budget": config.budget}
    add("select", selection, "embed", *(["quality"] if config.quality else []))
    add("mixture", {"output": dataclasses.asdict(config.output)}, "pool", "select")
    add("report", {}, *plans)
    return plans


def _content_of(sources: tuple[str, ...]) -> dict[str, str]:
    """Source name -> hash of its content; a hub dataset stands for itself with its revision."""
    return {
        f"file {file.name}": file.location if file.location.startswith("hf://") else file_sha256(Path(file.location))
        for file in (expand_sources(list(sources)) if sources else [])
    }
