"""Objects in remote storage, read and written as files are: ``s3://``, ``gs://``, ``https://``, files of a hub dataset.

Arrow's own file systems read S3 and Google Cloud Storage; they come with pyarrow and pin no other library. fsspec's
read ``https://`` and ``hf://``, and come with what `datasets` needs. Credentials are found by each in its usual
places (environment, configuration files, the machine's role) and are never taken from a location, since locations
are written into configurations and manifests.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, cast
from urllib.parse import parse_qsl, urlsplit

import pyarrow as pa

from qads.errors import InputError, PoolError

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

__all__ = [
    "ObjectStore",
    "check_location",
    "is_object",
    "is_remote",
    "local_path",
    "path_pattern",
    "raise_storage_error",
]

_REMOTE = re.compile(r"^(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://")
_PATH_OF_URL = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+):/+(.*)$")
"""As `Path` writes one; a drive of Windows has one letter."""
_FORMATS = r"\.(jsonl|ndjson|json|csv|tsv|parquet|arrow|feather|ipc|txt)(\.(gz|bz2|xz|zst))?"
_HUB_FILE = re.compile(rf"^hf://datasets/[\w.-]+/[\w.-]+(@[^/]+)?/.+{_FORMATS}$", re.IGNORECASE)
_LISTED = ("s3", "gs", "hf")
_SCHEMES = (*_LISTED, "https", "http")
_MAGIC = re.compile(r"[*?\[]")
_SECRET_NAME = re.compile(r"sig|token|key|secret|passw|credential|auth", re.IGNORECASE)
_SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "HF_TOKEN")
"""Variables whose values are blotted out of what a library says."""
_MARKS = ("md5Hash", "crc32c", "ETag", "etag", "lfs", "blob_id", "Content-MD5", "Digest", "Last-Modified")
"""What storage calls the mark of an object's content, the surest first."""
_BUFFER = 8 << 20
"""Bytes that a stream asks for at once."""
_CONNECT_SECONDS, _ANSWER_SECONDS = 10, 60


def is_remote(location: str) -> bool:
    """Whether a location is a URL, of whatever kind."""
    return _REMOTE.match(location) is not None


def is_object(location: str) -> bool:
    """Whether a location names objects: a URL, but for ``hf://owner/name``, which is a dataset."""
    return is_remote(location) and (not location.startswith("hf://") or _HUB_FILE.match(location) is not None)


def local_path(path: Path, what: str) -> Path:
    """The path, if it is none that a URL became.

    Args:
        path: where something is to be written.
        what: what that is, with the verb for it.

    Raises:
        InputError: it was a URL.
    """
    if found := _PATH_OF_URL.match(str(path)):
        raise InputError(
            f"{found[1]}://{found[2]}: {what} on a disk, where files can be locked and renamed. To "
            "object storage go what a run has made (qads run --publish), selected rows (qads select -o) and mixtures "
            "(qads mix -o)."
        )
    return path


def path_pattern(pattern: str) -> re.Pattern[str]:
    """What the whole path of a file matches that a glob names, as on a disk.

    ``**`` goes through folders, none at all included, where it stands between slashes; elsewhere it is ``*``.

    >>> bool(path_pattern("data/**/*.jsonl").match("data/a.jsonl"))
    True
    """
    from fsspec.utils import glob_translate

    parts = (part if part == "**" else re.sub(r"\*+", "*", part) for part in pattern.split("/"))
    return re.compile(glob_translate("/".join(parts)))


def check_location(location: str) -> None:
    """Refuse a URL that nothing can read, or that holds what must not be written down.

    Raises:
        PoolError: an unknown scheme, no bucket or host, a user or password, a signature in the query.
    """
    scheme = cast(re.Match[str], _REMOTE.match(location))["scheme"]
    try:
        parts = urlsplit(location)
    except ValueError as error:
        raise PoolError(f"{scheme}://…: is no URL that can be read ({error}).") from error
    shown = f"{scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    if scheme not in _SCHEMES:
        raise PoolError(f"{shown}: {scheme}:// is not known; there are {', '.join(f'{s}://' for s in _SCHEMES)}.")
    if "@" in parts.netloc:
        raise PoolError(
            f"{shown}: holds a user or a password before '@', which would be written into the run's files. Leave it "
            "out; credentials are taken from the environment, the library's configuration file or the machine's role."
        )
    if scheme.startswith("http"):
        if secret := [name for name, _ in parse_qsl(parts.query) if _SECRET_NAME.search(name)]:
            raise PoolError(
                f"{shown}: its query has {secret[0]!r}, which looks like a signature or key and would be written into "
                "the run's files. Name the object by s3:// or gs://, or download it."
            )
    if not parts.netloc or (scheme != "hf" and not parts.path.strip("/")):
        raise PoolError(f"{location}: names no {'file' if scheme.startswith('http') else 'object, pattern or folder'}.")


class ObjectStore:
    """The storage that a location is in."""

    def __init__(self, location: str) -> None:
        """Connect lazily; nothing is asked of the storage yet.

        Raises:
            PoolError: the location cannot be one, or the library for it is not there.
        """
        check_location(location)
        self.location = location
        self.scheme, _, self.path = location.partition("://")
        if self.scheme.startswith("http"):
            self.path = location
        try:
            self.files: FileSystem = _FILE_SYSTEMS[self.scheme](self.path)
        except ImportError as error:
            raise PoolError(
                f"{location}: {self.scheme}:// needs a library that is not installed here ({error}). The wheels of "
                "pyarrow on PyPI have S3 and Google Cloud Storage: pip install --force-reinstall pyarrow"
            ) from error
        except (OSError, pa.ArrowException) as error:
            raise_storage_error(location, error)

    def url(self, path: str) -> str:
        """The location of another path in the same storage."""
        return path if self.scheme.startswith("http") else f"{self.scheme}://{path}"

    def expand(self, endings: tuple[str, ...]) -> list[str]:
        """The object itself, those that a pattern matches, or those of a known format in the folder; sorted.

        Raises:
            PoolError: there is none, or the storage does not answer.
        """
        if self.scheme.startswith("http"):
            if _MAGIC.search(urlsplit(self.location).path) or self.location.endswith("/"):
                raise PoolError(f"{self.location}: a web server lists no files; name each.")
            return [self.location]
        if magic := _MAGIC.search(self.path):
            pattern = path_pattern(self.path)
            found = [path for path in self._below(self.path[: magic.start()].rpartition("/")[0]) if pattern.match(path)]
            if not found:
                raise PoolError(f"{self.location}: the pattern matches no object.")
            return [self.url(path) for path in found]
        if not self.path.endswith("/") and self.size() is not None:
            return [self.location]
        folder = self.path.rstrip("/")
        found = self._below(folder)
        if not found:
            raise PoolError(f"{self.location}: no such object or folder.")
        if not (known := [path for path in found if path.lower().endswith(endings)]):
            raise PoolError(f"{self.location}: the folder holds no file of a known format.")
        return [self.url(path) for path in known]

    def _below(self, folder: str) -> list[str]:
        """Paths of all objects below a folder, sorted."""
        from pyarrow.fs import FileSelector, FileType

        try:
            found = self.files.get_file_info(FileSelector(folder, recursive=True, allow_not_found=False))
        except (OSError, pa.ArrowException) as error:
            raise_storage_error(self.location, error)
        return sorted(each.path for each in found if each.type == FileType.File)

    def size(self) -> int | None:
        """Bytes of the object; None where there is none."""
        from pyarrow.fs import FileType

        try:
            (found,) = self.files.get_file_info([self.path])
        except (OSError, pa.ArrowException) as error:
            raise_storage_error(self.location, error)
        return found.size if found.type == FileType.File else None

    def open(self) -> pa.NativeFile:
        """The object as a file of which parts can be read."""
        try:
            return self.files.open_input_file(self.path)
        except (OSError, pa.ArrowException) as error:
            raise_storage_error(self.location, error)

    def stream(self) -> io.BufferedReader:
        """The object's bytes as they are stored, fetched piece by piece; a failure on the way is a `PoolError`."""
        try:
            stream = self.files.open_input_stream(self.path, compression=None, buffer_size=_BUFFER)
        except (OSError, pa.ArrowException) as error:
            raise_storage_error(self.location, error)
        return io.BufferedReader(_Stream(self.location, stream), _BUFFER)

    def identity(self) -> str:
        """The mark by which the storage tells contents apart, and the size.

        Raises:
            PoolError: there is no such object, or the storage gives no mark.
        """
        found = _web_facts(self.files, self.path) if self.scheme in ("http", "https", "hf") else self._facts()
        mark = next((f"{name} {_text(found[name])}" for name in _MARKS if found.get(name)), None)
        if mark is None:
            raise PoolError(
                f"{self.location}: the server gives neither ETag nor date, so a change would not be noticed. Download "
                "the file and name that."
            )
        return f"{mark}, {found['size']} bytes"

    def _facts(self) -> dict[str, Any]:
        with self.open() as file:
            return dict(cast(Mapping[str, Any], file.metadata())) | {"size": file.size()}


class _Stream(io.RawIOBase):
    """A stream of Arrow's whose errors are those of the location."""

    def __init__(self, location: str, stream: pa.NativeFile) -> None:
        self._location, self._stream = location, stream

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """The next bytes; fewer where there are not as many."""
        try:
            found = self._stream.read(len(buffer))
        except (OSError, pa.ArrowException) as error:
            raise_storage_error(self._location, error)
        buffer[: len(found)] = found
        return len(found)

    def close(self) -> None:
        """Close both."""
        if not self.closed:
            self._stream.close()
        super().close()


def _text(mark: object) -> str:
    if isinstance(mark, Mapping):  # Of a large file of the hub.
        return str(cast(Mapping[str, Any], mark).get("sha256"))
    return (mark.decode() if isinstance(mark, bytes) else str(mark)).strip('"')


def _web_facts(files: Any, path: str) -> dict[str, Any]:
    try:
        return files.handler.fs.info(path)
    except Exception as error:  # The errors of each library are its own.
        raise_storage_error(path, error)


def _s3(path: str) -> FileSystem:
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem, resolve_s3_region

    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    elsewhere = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if region is None and not elsewhere:
        region = resolve_s3_region(path.partition("/")[0])
    return S3FileSystem(
        region=region, endpoint_override=elsewhere, connect_timeout=_CONNECT_SECONDS, request_timeout=_ANSWER_SECONDS,
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=3), background_writes=False, allow_delayed_open=True,
    )  # fmt: skip


def _gs(path: str) -> FileSystem:
    import datetime

    from pyarrow.fs import GcsFileSystem

    return GcsFileSystem(retry_time_limit=datetime.timedelta(seconds=_ANSWER_SECONDS))


def _web(path: str) -> FileSystem:
    from fsspec.implementations.http import HTTPFileSystem
    from pyarrow.fs import FSSpecHandler, PyFileSystem

    return PyFileSystem(FSSpecHandler(HTTPFileSystem(skip_instance_cache=True)))


def _hub(path: str) -> FileSystem:
    from huggingface_hub import HfFileSystem
    from pyarrow.fs import FSSpecHandler, PyFileSystem

    return PyFileSystem(FSSpecHandler(HfFileSystem(skip_instance_cache=True)))


_FILE_SYSTEMS = {"s3": _s3, "gs": _gs, "http": _web, "https": _web, "hf": _hub}


def raise_storage_error(location: str, error: Exception) -> NoReturn:
    """Say what the storage did, without what must stay secret.

    Raises:
        PoolError: always.
    """
    told = _without_secrets(str(error))
    if isinstance(error, FileNotFoundError) or "NO_SUCH_BUCKET" in told or "NO_SUCH_KEY" in told or "not found" in told:
        what = "no such object, folder or bucket"
    elif isinstance(error, PermissionError) or re.search(
        r"ACCESS_DENIED|\b40[13]\b|INVALID_ACCESS_KEY|SIGNATURE", told
    ):
        what = (
            "access is denied. Credentials come from the environment, the library's configuration file or the "
            "machine's role; see that they are there and may read it"
        )
    elif isinstance(error, TimeoutError) or re.search(
        r"NETWORK_CONNECTION|curlCode|[Cc]annot connect|[Tt]ime[d-]? ?out|REQUEST_TIMEOUT|[Cc]onnection", told
    ):
        what = "the storage does not answer. Check the network and the endpoint (AWS_ENDPOINT_URL)"
    else:
        what = "the storage cannot do what was asked"
    raise PoolError(f"{location}: {what} ({type(error).__name__}: {told[:400]}).") from error


def _without_secrets(text: str) -> str:
    for name in _SECRETS:
        if len(secret := os.environ.get(name, "")) > 3:
            text = text.replace(secret, "…")
    return re.sub(r"\b(AKIA|ASIA)[0-9A-Z]{12,}\b", "…", text)
