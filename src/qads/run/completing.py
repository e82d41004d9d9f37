"""One stage, computed where it is not complete yet."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from qads.models import give_back_models
from qads.run.directory import Manifest, StageDirectory
from qads.run.observing import Observer

__all__ = ["complete"]


def complete(
    stage: StageDirectory,
    compute: Callable[[], dict[str, Any]],
    *,
    number: int = 1,
    n_stages: int = 1,
    observer: Observer,
    name: str | None = None,
) -> Manifest:
    """Use a stage as it is, or compute it.

    Args:
        stage: its folder.
        compute: fills the folder and returns the facts for the manifest.
        number: of the stage among those of the run.
        n_stages: how many these are.
        observer: hears of it.
        name: what to call it there; its own by default.

    Raises:
        CorruptError: a file of the finished stage is not what its manifest says.
    """
    name = name or stage.plan.name
    if (manifest := stage.manifest()) is not None:
        stage.check_files()
        stage.mend_plan()
        stage.remove_parts()
        observer.stage_finished(name, manifest, reused=True)
        return manifest
    observer.stage_started(name, number, n_stages)
    started = time.monotonic()
    stage.begin()
    try:
        facts = compute()
    except BaseException as error:
        # What is joined is no part to go on from, and may be what fills the disk.
        with contextlib.suppress(OSError):
            stage.shards.drop_array()
            # A stage that failed before it finished anything to go on from leaves nothing behind.
            if isinstance(error, Exception) and stage.n_parts == 0:
                stage.remove()
        raise
    finally:
        pa.default_memory_pool().release_unused()  # Arrow keeps what is free; the next stage may need it elsewhere.
        give_back_models()
    manifest = stage.finish(seconds=time.monotonic() - started, facts=facts)
    observer.stage_finished(name, manifest, reused=False)
    return manifest
