"""Files -> object storage: verified, and of several the manifest last.

An object appears whole or not at all. A folder of them cannot, so it says by its manifest that it is whole: that is
taken away before the first object changes, and written when the last one is there. `publishing.json` stands beside
them for as long as it lasts, so that what an interrupted upload has left is known for ours.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pyarrow as pa

from qads.datasets.storage import ObjectStore, check_location, is_remote, raise_storage_error
from qads.errors import InputError, RunError
from qads.pool import Progress

__all__ = ["MANIFEST", "check_publishable", "publish", "upload"]

MANIFEST = "manifest.json"
_UNDERWAY = "publishing.json"
_CHUNK = 8 << 20
_WRITABLE = ("s3", "gs")


def check_publishable(location: str) -> None:
    """Refuse what cannot be written to, before the work and without a word to the storage.

    Raises:
        InputError: no URL of ``s3://`` or ``gs://``, or one that cannot be.
    """
    if is_remote(location):
        check_location(location)
    if location.partition("://")[0] not in _WRITABLE:
        hint = " Write to a folder and upload it: hf upload OWNER/NAME FOLDER --repo-type dataset" if (
            location.startswith("hf://")
        ) else ""  # fmt: skip
        raise InputError(f"{location}: is written to {' or '.join(f'{s}://' for s in _WRITABLE)} only.{hint}")


def upload(source: Path, location: str) -> None:
    """Put one file into storage, whole or not at all, and read it back.

    Raises:
        InputError: the location cannot be written to.
        PoolError: the storage does not answer, or refuses.
        RunError: what is there afterwards is not the file.
    """
    from pyarrow.fs import LocalFileSystem, copy_files

    check_publishable(location)
    store = ObjectStore(location)
    try:
        # In one call below Python: a stream that is dropped half-way would make an object of the half it has.
        copy_files(
            str(source.absolute()), store.path, source_filesystem=LocalFileSystem(), destination_filesystem=store.files,
            chunk_size=_CHUNK, use_threads=False,
        )  # fmt: skip
    except (OSError, pa.ArrowException) as error:
        raise_storage_error(location, error)
    with source.open("rb") as file:
        wanted = hashlib.file_digest(file, "sha256").hexdigest()
    if store.size() != source.stat().st_size or _sha256(store) != wanted:
        raise RunError(f"{location}: is not what was written ({source.stat().st_size} bytes). Write it again.")


def publish(
    files: Mapping[str, Path], location: str, manifest: Mapping[str, Any], *, progress: Progress | None = None
) -> None:
    """Put files into a folder of object storage; what is there of an earlier time is replaced.

    Args:
        files: name within the folder -> file.
        location: of the folder.
        manifest: what is written last, as `manifest.json`: ``what`` it is, ``files`` with ``bytes`` and ``sha256``.
        progress: called with (files written, of these).

    Raises:
        InputError: the location cannot be written to.
        RunError: the folder holds something else, or what is there afterwards is not what was written.
        PoolError: the storage does not answer, or refuses.
    """
    check_publishable(location)
    root = location.rstrip("/")
    if _is_there(root, manifest):
        return
    before = _own_objects(root, str(manifest["what"]))
    _put_json({"what": manifest["what"], "files": sorted({*files, *before})}, f"{root}/{_UNDERWAY}")
    _delete(f"{root}/{MANIFEST}", missing_ok=True)
    for number, (name, path) in enumerate(sorted(files.items()), 1):
        upload(path, f"{root}/{name}")
        if progress:
            progress(number, len(files))
    for name in before - set(files):
        _delete(f"{root}/{name}", missing_ok=True)
    _put_json(manifest, f"{root}/{MANIFEST}")
    _delete(f"{root}/{_UNDERWAY}")


def _is_there(root: str, manifest: Mapping[str, Any]) -> bool:
    """Whether the very same is published already, every object of its size."""
    if ObjectStore(f"{root}/{MANIFEST}").size() is None or _read_json(f"{root}/{MANIFEST}") != manifest:
        return False
    return all(ObjectStore(f"{root}/{name}").size() == facts["bytes"] for name, facts in manifest["files"].items())


def _own_objects(root: str, what: str) -> set[str]:
    """What an earlier time has put into the folder.

    Raises:
        RunError: there is something else.
    """
    found = {path.removeprefix(f"{ObjectStore(root).path}/") for path in _listed(root)}
    own = {name for record in (MANIFEST, _UNDERWAY) if record in found for name in _names(f"{root}/{record}", what)}
    if strangers := sorted(found - own - {MANIFEST, _UNDERWAY}):
        shown = ", ".join(strangers[:3]) + (f" and {len(strangers) - 3} more" if len(strangers) > 3 else "")
        raise RunError(f"{root}: holds {shown}, which is not of a {what}, so nothing is replaced. Give another place.")
    return own & found


def _listed(root: str) -> list[str]:
    from pyarrow.fs import FileSelector, FileType

    store = ObjectStore(root)
    try:
        found = store.files.get_file_info(FileSelector(store.path, recursive=True, allow_not_found=True))
    except (OSError, pa.ArrowException) as error:
        raise_storage_error(root, error)
    return [each.path for each in found if each.type == FileType.File]


def _names(location: str, what: str) -> set[str]:
    told = _read_json(location)
    if told.get("what") != what:
        raise RunError(f"{location}: is not of a {what}, so nothing is replaced. Give another place.")
    return set(told.get("files") or ())


def _read_json(location: str) -> dict[str, Any]:
    """The object in it; none where it holds something else."""
    with ObjectStore(location).stream() as stream:
        content = stream.read()
    try:
        told: Any = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return cast(dict[str, Any], told) if isinstance(told, dict) else {}


def _put_json(value: Mapping[str, Any], location: str) -> None:
    store = ObjectStore(location)
    try:
        with store.files.open_output_stream(store.path) as stream:
            stream.write((json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())
    except (OSError, pa.ArrowException) as error:
        raise_storage_error(location, error)


def _delete(location: str, *, missing_ok: bool = False) -> None:
    store = ObjectStore(location)
    if missing_ok and store.size() is None:
        return
    try:
        store.files.delete_file(store.path)
    except (OSError, pa.ArrowException) as error:
        raise_storage_error(location, error)


def _sha256(store: ObjectStore) -> str:
    with store.stream() as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
