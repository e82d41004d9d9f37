"""What is written must not be what is read."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from pathlib import Path

from qads.datasets.files import expand_sources
from qads.datasets.storage import check_location, is_object, is_remote, path_pattern
from qads.errors import InputError

__all__ = ["refuse_own_output"]


def refuse_own_output(sources: Iterable[str], outputs: Iterable[Path], folders: Iterable[Path] = ()) -> None:
    """Refuse sources that are an output, would have it among their files, or lie in a folder that is written whole.

    Links are followed: what counts is the file, not its name.

    Raises:
        InputError: names source and output.
    """
    filled = [(folder, os.path.realpath(folder)) for folder in folders]
    targets = list(outputs)
    for source in sources:
        if is_object(source):
            check_location(source)  # Before anything of it is written down.
        if source == "-" or is_remote(source):
            continue
        for output in targets:
            if _would_match(source, output):
                raise InputError(
                    f"{output}: lies in the source {source}, so a second start would read it as candidates. "
                    "Write to another place."
                )
        for file in expand_sources([source]):
            for output in targets:
                if _is_same(file.location, output):
                    raise InputError(
                        f"{output}: is the source {file.location}, which would be overwritten. Write to another place."
                    )
            for folder, real in filled:
                if Path(os.path.realpath(file.location)).is_relative_to(real):
                    raise InputError(
                        f"{file.location}: this source lies in {folder}, which is written as a whole. Move it, or "
                        "write to another directory."
                    )


def _would_match(source: str, output: Path) -> bool:
    """Whether a folder or pattern would have a file of that name among its own."""
    place = Path(os.path.expanduser(source))
    if place.is_dir():
        return Path(os.path.realpath(output)).is_relative_to(os.path.realpath(place))
    if place.exists() or not glob.has_magic(source):
        return False
    return any(path_pattern(resolve(place)).match(resolve(output)) for resolve in (os.path.abspath, os.path.realpath))


def _is_same(location: str, output: Path) -> bool:
    if os.path.realpath(location) == os.path.realpath(output):
        return True
    return output.exists() and os.path.samefile(location, output)
