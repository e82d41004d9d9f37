"""What all arms choose from: a run up to its quality, made once for every model that scores."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from qads.compare.experiment import Experiment
from qads.compare.grid import folder_name
from qads.config import RunConfig
from qads.errors import RunError
from qads.pool import Pool
from qads.run import Manifest, Observer, pool_file, read_json, read_stage_record, run_pipeline, share_stages
from qads.run.context import read_pool
from qads.run.limits import NamedFiles
from qads.selection import RandomSelection, Selector

__all__ = ["SHARED_STAGES", "SharedRun", "compute_shared", "open_shared", "rows_stage", "shared_folder"]

_MODEL_FREE = ("pool", "clean", "embed", "anchors")
"""Stages in which the model that scores plays no part."""
SHARED_STAGES = (*_MODEL_FREE, "influence", "scorer", "quality", "targets", "likelihoods")
"""Stages that cells read."""


@dataclass(frozen=True, eq=False)
class SharedRun:
    """The stages of one scoring model, read when needed."""

    root: Path
    config: RunConfig

    @cached_property
    def pool(self) -> Pool:
        """The candidates."""
        return read_pool(pool_file(self.root))

    @cached_property
    def embeddings(self) -> Float[np.ndarray, "n d"]:
        """Vectors of the pool, memory-mapped."""
        return np.load(self.root / "embed" / "embeddings.npy", mmap_mode="r")

    @cached_property
    def quality(self) -> Float[np.ndarray, " n"]:
        """Quality of every row; NaN where there is none."""
        return np.load(self.root / "quality" / "quality.npy")

    @cached_property
    def excluded(self) -> Int[np.ndarray, " r"]:
        """Rows that no arm chooses, since files name them.

        Raises:
            InputError: an id that is not in the pool.
            PoolError: a file is missing or cannot be read.
        """
        whole = self.root / "pool" / "pool.parquet"
        found = NamedFiles.read(
            self.pool, self.config.constraints, reading=self.config.pool, uncleaned=lambda: read_pool(whole)
        )  # fmt: skip
        return found.out

    def need(self, name: str) -> Any:
        """What a selector takes by this keyword."""
        if name == "groups":
            return self.pool.strings("source")
        if name == "lengths":
            return [len(text) for text in self.pool.strings("solution")]
        return np.load(self.root / name / f"{name}.npy")

    def manifest(self, stage: str) -> Manifest | None:
        """What a finished stage says."""
        return read_stage_record(self.root / stage / "manifest.json")

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """Of every finished stage that cells read."""
        found = {stage: self.manifest(stage) for stage in SHARED_STAGES}
        return {stage: manifest["fingerprint"] for stage, manifest in found.items() if manifest is not None}


def shared_folder(out: Path, scoring_model: str) -> Path:
    """Where the shared run of a scoring model is."""
    return out / "shared" / folder_name(scoring_model)


def rows_stage(experiment: Experiment) -> str:
    """The stage whose rows are chosen from."""
    return "pool" if experiment.clean is None else "clean"


def compute_shared(
    experiment: Experiment, out: Path, *, redo: Sequence[str] = (), reuse: Sequence[str] = (), observer: Observer,
    check: Callable[[SharedRun], None],
) -> dict[str, SharedRun]:  # fmt: skip
    """Compute what the directory does not hold yet.

    Args:
        experiment: what to compute for.
        out: directory of the experiment.
        redo: shared stages to compute again, with all that is made from them.
        reuse: directories of other runs whose scores are taken over.
        observer: hears of progress.
        check: is given the first run as soon as its rows are there, and raises what makes the rest futile.

    Returns:
        Scoring model -> its run.

    Raises:
        DriftError, RunError, InputError: as `run_pipeline`.
    """
    found: dict[str, SharedRun] = {}
    folders = [shared_folder(out, model) for model in experiment.scoring_models]
    for model, folder in zip(experiment.scoring_models, folders, strict=True):
        if folder != folders[0]:
            share_stages(folders[0], folder, _MODEL_FREE)
        again = [name for name in redo if folder == folders[0] or name not in _MODEL_FREE]
        if folder == folders[0]:
            config, _ = _parts(experiment, model)[0]
            run_pipeline(config, folder, until=rows_stage(experiment), redo=again, observer=observer)
            check(SharedRun(folder, config))
            again = []
        for config, until in _parts(experiment, model):
            # What the first part computes again, the others find as it is.
            run_pipeline(config, folder, until=until, redo=again, reuse=_scored(config, reuse), observer=observer)
            again = []
        found[model] = SharedRun(folder, _parts(experiment, model)[0][0])
    return found


def open_shared(experiment: Experiment, out: Path) -> dict[str, SharedRun]:
    """The shared runs of a directory, nothing computed.

    Raises:
        RunError: one has no finished pool and embeddings.
    """
    found: dict[str, SharedRun] = {}
    for model in experiment.scoring_models:
        found[model] = SharedRun(shared_folder(out, model), _parts(experiment, model)[0][0])
        if "embed" not in found[model].fingerprints:
            raise RunError(f"{out}: its shared stages are not finished yet; start the experiment again.")
    return found


def _scored(config: RunConfig, reuse: Sequence[str]) -> list[str]:
    """Those of the runs that were scored by the model of this one; with several models each takes over its own."""
    if config.quality is None:
        return []
    return [each for each in reuse if _model_of(Path(each)) in (None, config.quality.influence.model)]


def _model_of(directory: Path) -> str | None:
    quality: dict[str, Any] = (read_json(directory / "config.json") or {}).get("quality") or {}
    return quality.get("influence", {}).get("model")


def _parts(experiment: Experiment, model: str) -> list[tuple[RunConfig, str]]:
    """Configurations of one run, and up to which stage each is computed."""
    has_quality = any(arm.needs_quality for arm in experiment.arms.values())

    def planned(selection: Selector) -> RunConfig:
        config = experiment.run_config(selection, 1, model)
        if has_quality:
            return config
        return dataclasses.replace(config, quality=None, likelihoods=config.answer_likelihoods)

    config = planned(RandomSelection())
    parts = [(config, "embed" if config.quality is None else "quality")]
    needs = {name: arm.selection for arm in experiment.arms.values() for name in getattr(arm.selection, "needs", ())}
    return parts + [
        (planned(selection), name) for name, selection in needs.items() if name in ("targets", "likelihoods")
    ]
