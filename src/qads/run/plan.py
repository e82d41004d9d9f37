"""What a configuration would compute: the plan and the fingerprint of every stage, before anything runs."""

from __future__ import annotations

import dataclasses
import fnmatch
import glob
import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from qads.config import RunConfig
from qads.datasets import atomic_path, expand_sources
from qads.errors import DriftError, InputError, PoolError
from qads.run.directory import StagePlan, file_sha256

__all__ = [
    "local_sources",
    "plan_stages",
    "refuse_own_output",
    "spool_stdin",
    "stage_names",
    "stdin_file",
    "stdin_stage",
]


def stage_names(config: RunConfig) -> tuple[str, ...]:
    """The stages that this configuration has, in order."""
    scored = ("anchors", "influence", "quality") if config.quality else ()
    return ("pool", "embed", *scored, "select", "mixture", "report")


def stdin_file(root: Path) -> Path:
    """Where a run keeps what came through standard input, so that a second start can read it again."""
    return root / "input" / "stdin.jsonl"


def local_sources(sources: tuple[str, ...], stdin: Path) -> tuple[str, ...]:
    """The sources with standard input replaced by the file that holds it."""
    return tuple(str(stdin) if source == "-" else source for source in sources)


def spool_stdin(config: RunConfig, kept: Path, target: Path, *, replace: bool = False) -> Path:
    """Keep standard input, if the configuration reads it, in a file.

    Args:
        config: what is going to run.
        kept: the file that an earlier start may have left; serves where nothing is piped in now.
        target: the file to write.
        replace: let what is piped in now take the place of what was kept.

    Returns:
        The file that holds it.

    Raises:
        PoolError: nothing is piped in, and nothing was kept.
        DriftError: something else than what was kept.
    """
    if stdin_stage(config) is None:
        return kept
    fresh = target.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    if sys.stdin is not None and not sys.stdin.isatty():
        with atomic_path(fresh) as temporary, temporary.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
    if not fresh.exists() or fresh.stat().st_size == 0:
        fresh.unlink(missing_ok=True)
        if not kept.exists():
            raise PoolError("'-' reads standard input, but nothing is piped into it.")
        return kept
    if kept.exists() and not replace and file_sha256(kept) != file_sha256(fresh):
        fresh.unlink()
        raise DriftError(
            f"{kept}: the run was made from this, and other rows come through standard input now. To go on "
            "with what was kept, pipe nothing in; to start anew: "
            f"--redo {stdin_stage(config)}, or another directory."
        )
    fresh.replace(target)
    return target


def stdin_stage(config: RunConfig) -> str | None:
    """The stage that reads standard input."""
    if "-" in config.pool.sources:
        return "pool"
    return "anchors" if "-" in config.anchors.sources else None


def refuse_own_output(sources: Iterable[str], outputs: Iterable[Path]) -> None:
    """Refuse sources that a second start would find the run's own output in.

    Raises:
        InputError: names source and output.
    """
    for source in sources:
        if source == "-" or source.startswith("hf://"):
            continue
        place = os.path.abspath(Path(source).expanduser())
        for output in map(os.path.abspath, outputs):
            if Path(place).is_dir():
                inside = Path(output).is_relative_to(place)
            elif Path(place).exists() or not glob.has_magic(source):
                inside = output == place
            else:
                same_depth = "**" in source or output.count(os.sep) == place.count(os.sep)
                inside = same_depth and fnmatch.fnmatchcase(output, place)
            if inside:
                raise InputError(
                    f"{output}: lies in the source {source}, so a second start would read it as candidates. "
                    "Write to another place."
                )


def plan_stages(config: RunConfig, sources: tuple[str, ...], anchor_sources: tuple[str, ...]) -> dict[str, StagePlan]:
    """The plan of every stage, in order; each names the fingerprints of those it reads.

    Raises:
        PoolError: a source is missing.
        ModelError: a model cannot be found.
    """
    device = config.execution.device
    plans: dict[str, StagePlan] = {}

    def add(name: str, settings: dict[str, Any], *reads: str, files: dict[str, str] | None = None) -> None:
        inputs = {stage: plans[stage].fingerprint for stage in reads}
        inputs |= {f"file {source}": content for source, content in (files or {}).items()}
        plans[name] = StagePlan(name, settings, inputs)

    contents = _contents(sources)
    # What the files hold is an input, where they are is not; their names, in order, become those of sources.
    pool = dataclasses.asdict(config.pool) | {"sources": list(contents)}
    add("pool", {"pool": pool}, files=contents)
    add(
        "embed",
        {"embedding": dataclasses.asdict(config.embedding) | config.embedding.identity(device)},
        "pool",
    )
    if config.quality is not None:
        influence = config.quality.influence
        contents = _contents(anchor_sources)
        own = {"columns": config.anchors.columns, "sources": list(contents)}
        anchors = own if anchor_sources else {"n": config.anchors.n_chosen}
        settings = {"anchors": anchors, "quality": {"sample": config.quality.sample}, "seed": config.seed}
        reads = ("pool",) if anchor_sources else ("pool", "embed")
        add("anchors", settings, *reads, files=contents)
        method = dataclasses.asdict(influence) | influence.identity(device)
        add("influence", {"quality": {"influence": method}}, "anchors")
        add(
            "quality",
            {"quality": {"scorer": dataclasses.asdict(config.quality.scorer)}},
            "embed",
            "influence",
        )
    selection = {"selection": dataclasses.asdict(config.selection), "budget": config.budget}
    add("select", selection, "embed", *(["quality"] if config.quality else []))
    add("mixture", {"output": dataclasses.asdict(config.output)}, "pool", "select")
    add("report", {}, *plans)
    return plans


def _contents(sources: tuple[str, ...]) -> dict[str, str]:
    """Name of a source -> hash of its content; a hub dataset stands for itself with its revision."""
    return {
        file.name: file.location if file.location.startswith("hf://") else file_sha256(Path(file.location))
        for file in (expand_sources(list(sources)) if sources else [])
    }
