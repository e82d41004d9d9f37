"""Paths, globs, folders, standard input and hub names -> the files to read, each with a name."""

from __future__ import annotations

import bz2
import glob
import gzip
import hashlib
import io
import lzma
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pyarrow as pa

from qads.datasets.storage import ObjectStore, is_object, is_remote
from qads.errors import PoolError

__all__ = [
    "HUB",
    "SourceFile",
    "expand_sources",
    "file_path",
    "format_of",
    "is_compressed",
    "open_bytes",
    "source_identity",
    "unreadable",
]

_SUFFIXES = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
}
_SAVED = {"state.json", "dataset_info.json"}
"""What `datasets` writes beside the tables that it saves to a folder."""
_SPLITS = "dataset_dict.json"
"""What it writes into a folder of several such folders, one a split."""
_COMPRESSIONS: dict[str, Callable[[Any], Any]] = {
    ".gz": lambda file: gzip.open(file, "rb"),
    ".bz2": lambda file: bz2.open(file, "rb"),
    ".xz": lambda file: lzma.open(file, "rb"),
    # Arrow's reader, since zstandard's takes a file that is cut short, or has a second frame, for whole.
    ".zst": lambda file: io.BufferedReader(cast(Any, pa.CompressedInputStream(_arrow_file(file), "zstd"))),
}
_MOST_INFLATED = 200
"""Bytes for one of a compressed file, beyond which it is not read."""
_LARGEST_SURELY = 1 << 28
"""Bytes that are read of any compressed file, however small."""
_SHARD = re.compile(r"-\d{5}-of-\d{5}(?=\.|$)")
"""In the name of a file: that it is one of several which are one table."""
HUB = re.compile(
    r"^hf://(?:datasets/)?(?P<repo>[\w.-]+/[\w.-]+)"
    r"(@(?P<revision>[^:/]+))?(:(?P<config>[^/]+))?(/(?P<split>[\w.\[\]:%+-]+))?$"
)


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """One thing to read: a file, standard input, or a hub dataset."""

    location: str
    """Path, ``-``, ``hf://owner/name`` or the URL of an object, as the user knows it."""
    name: str
    """Tells it from all other files of the same reading."""
    source: str
    """Name of the source for rows that do not carry one: the name, or that of the dataset whose shard this is."""


def expand_sources(sources: list[str]) -> list[SourceFile]:
    """Files for paths, globs and folders (recursively), ``-``, ``hf://`` datasets and objects, in a stable order.

    Of folders hidden files and folders are left out, and what `datasets` has saved in them is one source.

    Raises:
        PoolError: nothing is there, or a folder holds no file of a known format.
    """
    locations: list[str] = []
    for source in sources:
        locations += _expand(source)
    spellings: dict[str, str] = {}
    for location in locations:
        elsewhere = location == "-" or is_remote(location)
        spellings.setdefault(location if elsewhere else os.path.realpath(location), location)
    unique = list(spellings.values())
    for location in unique:
        _check_name(location)
    wholes = [_whole(location) for location in unique]
    different = list(dict.fromkeys(wholes))
    called = dict(zip(different, _names(different), strict=True))
    return [
        SourceFile(location=location, name=name, source=called[whole])
        for location, name, whole in zip(unique, _names(unique), wholes, strict=True)
    ]


def _check_name(location: str) -> None:
    """Refuse a name that cannot stand in what is written, which is UTF-8: a manifest, a list of rows, a page."""
    try:
        location.encode()
    except UnicodeEncodeError:
        raise PoolError(
            f"{location}: the name of this file is not UTF-8 text. Rename the file, or link to it."
        ) from None


def source_identity(location: str) -> str:
    """Which content a location stands for now: the SHA-256 of a file, the commit of a hub dataset, what storage says.

    Of an object in storage it is the mark by which that tells contents apart (ETag, checksum), and the size.

    Without a network the commit is that of the copy in the hub's cache. Where there is none either, and for
    standard input, the location stands for itself.

    Raises:
        PoolError: the file cannot be read.
    """
    match = None if is_object(location) else HUB.match(location)
    if match is not None:
        commit = _hub_commit(match["repo"], match["revision"])
        config = f":{match['config']}" if match["config"] else ""
        return f"hf://{match['repo']}@{commit}{config}/{match['split'] or 'train'}" if commit else location
    if is_object(location):
        return ObjectStore(location).identity()
    if location == "-" or location.startswith("hf://"):
        return location
    try:
        with Path(os.path.expanduser(location)).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise unreadable(location, error) from error


def _hub_commit(repository: str, revision: str | None) -> str | None:
    from huggingface_hub import HfApi, snapshot_download  # Only hub sources need it.

    try:
        return HfApi().dataset_info(repository, revision=revision, timeout=20).sha
    except Exception:  # No network, no such dataset, no right to see it: reading it will say which.
        try:
            cached = snapshot_download(repository, repo_type="dataset", revision=revision, local_files_only=True)
        except Exception:
            return None
        return Path(cached).name


def _expand(source: str) -> list[str]:
    if is_object(source):
        return ObjectStore(source).expand(tuple(f"{end}{pack}" for end in _SUFFIXES for pack in ("", *_COMPRESSIONS)))
    return [source] if source == "-" or source.startswith("hf://") else _expand_path(source)


def _expand_path(source: str) -> list[str]:
    if not source:  # To the system the empty name is the folder that one is in: an unset variable would read it all.
        raise PoolError("a source is the empty text; it must name a file or folder. For the folder you are in: .")
    try:
        return _paths(source)
    except OSError as error:
        raise unreadable(error.filename or source, error) from error


def _paths(source: str) -> list[str]:
    path = Path(os.path.expanduser(source))
    if path.is_dir():
        found = sorted(str(p) for p in _files_under(path) if _known_format(p) is not None)
        if not found:
            raise PoolError(f"{source}: the folder holds no file of a known format ({', '.join(_SUFFIXES)}).")
        return found
    if path.exists():
        return [str(path)]
    found = sorted(match for match in glob.glob(str(path), recursive=True) if not Path(match).is_dir())
    if not found:
        what = "the pattern matches no file" if glob.has_magic(source) else "no such file or folder"
        raise PoolError(f"{source}: {what}.")
    return found


def _files_under(folder: Path) -> Iterator[Path]:
    def stop(error: OSError) -> None:
        raise error  # os.walk and rglob pass over a folder they may not read.

    for parent, folders, names in os.walk(folder, onerror=stop):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if _SPLITS in names:
            _refuse_several_splits(Path(parent), folders)
        described = (_SPLITS, *(_SAVED if set(names) >= _SAVED else ()))
        yield from (Path(parent, name) for name in names if not name.startswith(".") and name not in described)


def _refuse_several_splits(folder: Path, folders: Sequence[str]) -> None:
    """Rows to test on would be taken for rows to train on."""
    splits = sorted(name for name in folders if all(Path(folder, name, each).is_file() for each in _SAVED))
    if len(splits) > 1:
        raise PoolError(
            f"{folder}: a saved dataset with the splits {', '.join(splits)}; name the one that is meant: "
            f"{folder / splits[-1]}"
        )


def _whole(location: str) -> str:
    """What a shard is of: the folder of a saved dataset, or the file without its number; any other file is itself."""
    if location == "-" or (HUB.match(location) and not is_object(location)):
        return location
    folder, slash, name = location.rpartition("/")
    if not _SHARD.search(name):
        return location
    if not is_object(location) and all(Path(folder, each).is_file() for each in _SAVED):
        return folder or "."
    return folder + slash + _SHARD.sub("", name)


def _names(locations: list[str]) -> list[str]:
    """The shortest names that tell the locations apart: the stem, with folders before it where needed."""
    parts = [_name_parts(location) for location in locations]
    twins = {mine for mine, count in Counter(parts).items() if count > 1}  # train.csv beside train.jsonl
    parts = [
        (*mine[:-1], _whole_name(loc)) if mine in twins else mine for mine, loc in zip(parts, locations, strict=True)
    ]
    tails = Counter(mine[-depth:] for mine in parts for depth in range(1, len(mine) + 1))
    names: list[str] = []
    for mine in parts:
        depth = next((depth for depth in range(1, len(mine)) if tails[mine[-depth:]] == 1), len(mine))
        names.append(Path(*mine[-depth:]).as_posix())
    return names


def _name_parts(location: str) -> tuple[str, ...]:
    if location == "-":
        return ("stdin",)
    if not is_object(location) and (match := HUB.match(location)):
        return tuple(match["repo"].split("/"))
    # However the path is spelled; but a link, as of large files in a repository, keeps the name it has.
    path = file_path(location)
    if not is_object(location):
        path = Path(os.path.realpath(path.parent), path.name)
    stem = path.name
    for suffix in reversed(path.suffixes):
        if suffix.lower() not in _COMPRESSIONS and suffix.lower() not in _SUFFIXES:
            break
        stem = stem[: -len(suffix)]
    return (*path.parts[:-1], stem or path.name)


def _whole_name(location: str) -> str:
    """The last part of a location with all that `_name_parts` leaves out: endings, revision and split."""
    if HUB.match(location) and not is_object(location):
        return location.split("/", 3)[-1]
    return file_path(location).name


def _known_format(path: Path) -> str | None:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _COMPRESSIONS:
        suffixes.pop()
    return _SUFFIXES.get(suffixes[-1]) if suffixes else None


def format_of(path: Path) -> str:
    """``jsonl``, ``json``, ``csv``, ``tsv``, ``parquet`` or ``arrow``, by the ending.

    Raises:
        PoolError: the ending is of none of them.
    """
    known = _known_format(path)
    if known is None:
        raise PoolError(
            f"{path}: the ending {''.join(path.suffixes) or '(none)'} is not one of a known format. "
            f"Known: {', '.join(_SUFFIXES)}, each also with {', '.join(_COMPRESSIONS)}."
        )
    return known


def unreadable(location: str, error: OSError) -> PoolError:
    """The error for a file or folder that the system does not let us read."""
    return PoolError(f"{location}: cannot be read: {error.strerror}.")


def is_compressed(path: Path) -> bool:
    """Whether the ending says that the file is compressed."""
    return path.suffix.lower() in _COMPRESSIONS


def open_bytes(location: str) -> io.BufferedIOBase:
    """The bytes of a file or object, decompressed as they come, or of standard input."""
    if location == "-":
        return io.BufferedReader(io.FileIO(sys.stdin.fileno(), closefd=False))
    opener = _COMPRESSIONS.get(file_path(location).suffix.lower())
    if is_object(location):
        stream = ObjectStore(location).stream()
        if not opener:
            return stream
        packed = _Counted(stream)  # A server need not say how long what it sends is.
        return _Inflated.of(opener(io.BufferedReader(packed)), location, lambda: packed.n_bytes)
    path = Path(location)
    return _Inflated.of(opener(path), location, lambda: path.stat().st_size) if opener else path.open("rb")


class _Counted(io.RawIOBase):
    """A stream that knows how many bytes were read of it."""

    def __init__(self, stream: io.BufferedIOBase) -> None:
        self._stream, self.n_bytes = stream, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        n_bytes = self._stream.readinto(buffer)
        self.n_bytes += n_bytes
        return n_bytes

    def close(self) -> None:
        self._stream.close()
        super().close()


class _Inflated(io.RawIOBase):
    """What a compressed file holds, as long as it can be the text of somebody.

    A file of a few kilobytes can stand for more than any memory: text shrinks to a fifth or a tenth, such a file to a
    thousandth.
    """

    def __init__(self, stream: io.BufferedIOBase, location: str, n_packed: Callable[[], int]) -> None:
        self._stream, self._location, self._n_packed = stream, location, n_packed
        self._n_bytes = 0

    @classmethod
    def of(cls, stream: io.BufferedIOBase, location: str, n_packed: Callable[[], int]) -> io.BufferedIOBase:
        """Of a file or object that takes so many bytes as it is kept, or of which so many were read."""
        return io.BufferedReader(cls(stream, location, n_packed), buffer_size=1 << 18)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        n_bytes = self._stream.readinto(buffer)
        self._n_bytes += n_bytes
        if self._n_bytes > _LARGEST_SURELY and self._n_bytes > _MOST_INFLATED * (n_packed := self._n_packed()):
            raise PoolError(
                f"{self._location}: its {n_packed:,} bytes hold more than {self._n_bytes:,}, over {_MOST_INFLATED} "
                "times as many, which no text does. If it is meant, decompress it first."
            )
        return n_bytes

    def close(self) -> None:
        self._stream.close()
        super().close()


def file_path(location: str) -> Path:
    """A location as a path, of which name and endings can be asked; that of an object leads nowhere."""
    return Path(location.partition("://")[2].partition("?")[0] if is_object(location) else location)


def _arrow_file(file: Any) -> pa.NativeFile:
    return pa.OSFile(str(file)) if isinstance(file, Path) else pa.PythonFile(file, "r")
