"""The walls: how bubblewrap is asked for them, and what can be seen inside."""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from qads.errors import SandboxError
from qads.sandbox import guest
from qads.sandbox.guest.frames import Limits

__all__ = ["Walls", "bubblewrap", "inside_command", "open_command", "package_paths", "package_versions"]

Walls = list[str]
"""Arguments of bubblewrap that say what can be seen."""

_CODE, _PACKAGES = "/code", "/packages"
_GUEST = "qads.sandbox.guest.keeper"
_SYSTEM = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/share/zoneinfo", "/etc/ld.so.cache")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
_NOBODY = 65534
_ENVIRONMENT = {
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "OMP_NUM_THREADS": "1",  # A fork of a process with threads is a fork of one of them.
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
    "TMPDIR": "/tmp",
    "TZ": "UTC",
}
_LESS_DEAR = ("/bin/sh", "-c", 'echo 1000 > /proc/self/oom_score_adj; exec "$@"', "sh")
"""Where memory runs out, the kernel is to end a program first, and not an evaluation of hours."""
_BECOME_NOBODY = f"""
import os, sys
os.setgroups([])
os.setresgid(*[{_NOBODY}] * 3)
os.setresuid(*[{_NOBODY}] * 3)
os.execv(sys.argv[1], sys.argv[1:])
"""


def bubblewrap() -> str:
    """Path of ``bwrap``.

    Raises:
        SandboxError: there is none.
    """
    if not sys.platform.startswith("linux"):
        raise SandboxError(
            f"programs can be run in isolation on Linux only, by bubblewrap; this is {sys.platform}. Run the evaluation"
            " on Linux, or without program of thought."
        )
    found = shutil.which("bwrap")
    if found is None:
        raise SandboxError(
            "programs are run in isolation by bubblewrap, and there is no command bwrap in PATH. Install it"
            " (apt install bubblewrap, dnf install bubblewrap, apk add bubblewrap)."
        )
    return os.path.realpath(found)


def package_paths(names: Iterable[str]) -> list[Path]:
    """Folders and files that hold the named top-level packages, with the libraries that wheels put beside them.

    Raises:
        SandboxError: one is not installed.
    """
    paths: list[Path] = []
    for name in names:
        found = importlib.util.find_spec(name) if name.isidentifier() else None
        if found is None or found.origin is None:
            raise SandboxError(
                f"Sandbox.packages names {name!r}, which is not installed here as a package of that name. Install it,"
                " or leave it out."
            )
        folders = found.submodule_search_locations
        path = Path(next(iter(folders)) if folders else found.origin).resolve()
        beside = path.parent / f"{name}.libs"
        paths += [path, *([beside] if beside.is_dir() else [])]
    return paths


def package_versions(names: Iterable[str]) -> dict[str, str]:
    """The installed version of the distribution that holds each of the packages."""
    of_package = importlib.metadata.packages_distributions()
    return {name: importlib.metadata.version(of_package.get(name, [name])[0]) for name in names}


def inside_command(limits: Limits, packages: Sequence[str], warm: bool) -> list[str]:
    """The command of a worker, within walls.

    Args:
        limits: of a program.
        packages: names of the packages that programs may import.
        warm: whether they are imported beforehand.

    Raises:
        SandboxError: there is no bubblewrap, or a package is missing.
    """
    bwrap = bubblewrap()
    ours = _our_places(package_paths(packages))
    isolated = [
        *(bwrap, "--unshare-all", "--unshare-user", "--disable-userns", "--hostname", "sandbox"),
        *("--uid", str(_NOBODY), "--gid", str(_NOBODY)),
        *("--die-with-parent", "--new-session", "--cap-drop", "ALL", "--cap-add", "CAP_SYS_ADMIN"),
        *("--clearenv", *(part for pair in _environment().items() for part in ("--setenv", *pair))),
        *(*_system_walls(), *_bind(ours), "--dir", "/tmp", "--chdir", "/tmp", "--remount-ro", "/"),
        *("--", *_keeper(limits, packages if warm else ())),
    ]
    if not _is_root_of_machine():
        return [*_LESS_DEAR, *isolated]
    # Root is above the limit of processes. So root first makes a view in which nobody can open what it needs (it may
    # lie in root's home), then becomes nobody, and nobody makes the walls as any user does.
    where_it_is = _bind({path: str(path) for path in (*ours, Path(bwrap))})
    # A process namespace of its own, since what is left of root after bubblewrap may not kill what belongs to nobody.
    view = [bwrap, "--die-with-parent", "--unshare-pid", *_system_walls(), *where_it_is, "--bind", "/proc", "/proc"]
    view += ["--dir", "/tmp"]  # Where bubblewrap makes the second view; a folder that is there stays as it is.
    return [*_LESS_DEAR, *view, "--", str(_python()), "-S", "-s", "-P", "-c", _BECOME_NOBODY, *isolated]


def open_command(limits: Limits, packages: Sequence[str], warm: bool, folder: Path) -> tuple[list[str], dict[str, str]]:
    """The command of a worker without walls, and its environment.

    What it may import is the same as within walls, by links in a folder of ours.
    """
    for source, inside in _our_places(package_paths(packages)).items():
        place = Path(f"{folder}{inside}")
        place.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):  # Of another worker.
            place.symlink_to(source)
    return _keeper(limits, packages if warm else ()), _environment(str(folder))


def _keeper(limits: Limits, packages: Sequence[str]) -> list[str]:
    settings = json.dumps({"limits": dataclasses.asdict(limits), "packages": list(packages)})
    return [str(_python()), "-S", "-s", "-P", "-B", "-m", _GUEST, settings]


def _environment(folder: str = "") -> dict[str, str]:
    return {**_ENVIRONMENT, "PYTHONPATH": f"{folder}{_CODE}:{folder}{_PACKAGES}"}


def _system_walls() -> Walls:
    """The interpreter, its library, the libraries of the system, four devices; where they are."""
    base = Path(sys.base_prefix)
    libraries = [base / name for name in ("lib", sys.platlibdir)] if base != Path("/usr") else []
    walls: Walls = []
    for path in dict.fromkeys([*(Path(name) for name in _SYSTEM), *libraries, _python()]):
        if path.is_symlink():
            walls += [*_parents(path), "--symlink", os.readlink(path), str(path)]
        elif path.exists():
            walls += _bind({path: str(path)})
    for device in _DEVICES:
        walls += [*_parents(device), "--dev-bind", device, device]
    return walls


def _our_places(packages: Sequence[Path]) -> dict[Path, str]:
    """What the worker runs and programs may import -> where it stands inside, which says nothing of where it stood."""
    # The parents of this folder are no packages there, so that nothing else of qads is looked for.
    own = {Path(guest.__file__).parent: f"{_CODE}/qads/sandbox/guest"}
    return own | {path: f"{_PACKAGES}/{path.name}" for path in packages}


def _bind(places: Mapping[Path, str]) -> Walls:
    return [part for source, inside in places.items() for part in (*_parents(inside), "--ro-bind", str(source), inside)]


def _parents(path: str | Path) -> Walls:
    """The folders above, made by name, since bubblewrap gives those it makes by itself the owner's permissions."""
    above = [str(folder) for folder in reversed(Path(path).parents) if str(folder) != "/"]
    return [part for folder in above for part in ("--dir", folder)]


@functools.cache
def _python() -> Path:
    """The interpreter that this one's environment was made from."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    base = Path(sys.base_prefix, "bin", name)
    return Path(os.path.realpath(base if base.exists() else sys.executable))


def _is_root_of_machine() -> bool:
    """Whether this is root itself, not one that a user namespace calls so."""
    if os.geteuid() != 0:
        return False
    inside, outside, count = Path("/proc/self/uid_map").read_text().split()[:3]
    return (inside, outside) == ("0", "0") and int(count) > _NOBODY
