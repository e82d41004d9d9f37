"""What a run has made, in object storage: files for trainers, picks with their reasons, pages."""

from __future__ import annotations

from qads.datasets.publishing import publish
from qads.pool import Progress
from qads.run.pipeline import RunResult
from qads.run.shards import file_sha256

__all__ = ["publish_run"]

_FOLDERS = ("mixture", "select", "report")


def publish_run(result: RunResult, location: str, *, progress: Progress | None = None) -> None:
    """Copy a finished run's files for trainers, its picks and its pages to a folder of ``s3://`` or ``gs://``.

    The folder has their places in the run directory, and a `manifest.json` that is written last: without it the folder
    is not whole. What an earlier start has published there is replaced; where it is the same already, nothing is sent.

    Args:
        result: of the run.
        location: the folder.
        progress: called with (files written, of these).

    Raises:
        InputError: the location cannot be written to.
        RunError: the folder holds something else, or what is there afterwards is not what was written.
        PoolError: the storage does not answer, or refuses.
    """
    root = result.directory
    found = (path for folder in _FOLDERS for path in sorted((root / folder).rglob("*")) if path.is_file())
    # The plans of stages tell how a run was made on this disk; their manifests tell what it is.
    files = {path.relative_to(root).as_posix(): path for path in found if path.name != "plan.json"}
    manifest = {
        "what": "qads run",
        "format": 1,
        "stages": {name: stage["fingerprint"] for name, stage in result.manifests.items()},
        "files": {name: {"bytes": path.stat().st_size, "sha256": file_sha256(path)} for name, path in files.items()},
    }
    publish(files, location, manifest, progress=progress)
