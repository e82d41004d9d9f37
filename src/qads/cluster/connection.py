"""A connection to a Ray cluster. The only module that imports Ray, when a cluster is used."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from qads.cluster.execution import Execution, server
from qads.errors import ClusterError, InputError

__all__ = ["cluster", "connected", "import_ray", "machines"]

logger = logging.getLogger(__name__)

_PATIENCE = 10.0
"""Seconds that a machine may take to accept a connection."""
_SILENCE = 30.0
"""Seconds without an answer of Ray after which the user is told what is waited for."""
_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
"""Hosts in whose place Ray puts the address that other machines know this one by."""


@contextmanager
def cluster(address: str | None) -> Generator[None]:
    """Connect to a Ray cluster unless the caller has.

    Args:
        address: of the cluster, as `Execution.address`; None for the one that the environment variable RAY_ADDRESS
            names, or else one of this machine, which ends with the block.

    Raises:
        ClusterError: there is no cluster at the address, or it cannot be joined.
        InputError: that is no address, or Ray is not installed.
    """
    ray = import_ray()
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Nothing is reported to anybody.
    address, said_by = _chosen(address)
    _reach(address, said_by)
    with _told_if_silent(address, said_by), _sigterm_kept():
        _join(address, said_by)
    try:
        yield
    finally:
        ray.shutdown()


def _chosen(address: str | None) -> tuple[str, str]:
    """What Ray is asked for, and what says so.

    Never nothing: Ray would then take the cluster that is named by a file in the machine's folder for temporary files
    (`/tmp/ray/ray_current_cluster`), and that file may be anybody's.
    """
    in_environment = os.environ.get("RAY_ADDRESS")
    if in_environment and address in (None, "auto"):  # As Ray has it; `ray job submit` sets it.
        return in_environment, "RAY_ADDRESS"
    return "local" if address is None else address, "address"


def _reach(address: str, said_by: str) -> None:
    """Connect to the machine at an address, and let go: Ray tries for ever to, and says nothing.

    Raises:
        ClusterError: it cannot be found, or does not accept the connection.
        InputError: that is no address.
    """
    if (place := server(address, said_by)) is None:
        return
    host, port = place
    if host in _THIS_MACHINE and "://" not in address:
        host = import_ray().util.get_node_ip_address()
    try:
        socket.create_connection((host, port), timeout=_PATIENCE).close()
    except (OSError, UnicodeError) as error:  # No name of a machine is as long, or as empty, as some that are given.
        raise _unusable(address, said_by, error) from error


def _join(address: str, said_by: str) -> None:
    """Connect to the cluster, or start it.

    Raises:
        ClusterError: there is none, it is of another version of Ray or asks for a token, or it cannot be started.
    """
    ray = import_ray()
    try:
        ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level=logging.WARNING)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise _unusable(address, said_by, error) from error


def _unusable(address: str, said_by: str, error: Exception) -> ClusterError:
    reason = str(error).strip().rstrip(".")
    if address == "local":
        return ClusterError(f"Ray cannot be started on this machine: {reason}.")
    return ClusterError(
        f"no Ray cluster can be used at {said_by} {address!r}: {reason}. Start one there (ray start --head), correct "
        "the address, or give local to start one here. Where one asks for a token, set RAY_AUTH_MODE=token."
    )


@contextmanager
def _told_if_silent(address: str, said_by: str) -> Generator[None]:
    """Tell what is waited for where the block takes long: an open port need not be that of a cluster."""
    message = (
        "Ray (%s %r) has given no answer for %g seconds and is waited for. If no cluster of the same version of Ray "
        "runs there, interrupt this and correct the address"
    )
    timer = threading.Timer(_SILENCE, logger.warning, [message, said_by, address, _SILENCE])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def _sigterm_kept() -> Generator[None]:
    """The caller's answer to SIGTERM is what it was, however the block ends: Ray puts its own in the place of it.

    A SIGTERM that Ray's has answered meanwhile, by `SystemExit`, is the caller's to answer too.
    """
    handler = signal.getsignal(signal.SIGTERM)
    stop: SystemExit | None = None
    try:
        yield
    except SystemExit as error:
        stop = error
    finally:
        if threading.current_thread() is threading.main_thread() and handler is not None:
            signal.signal(signal.SIGTERM, handler)
    if stop is not None:
        if stop.code == signal.SIGTERM and callable(handler):
            handler(signal.SIGTERM, None)
        raise stop


@contextmanager
def connected(execution: Execution) -> Generator[None]:
    """One connection for all that is computed inside the block, where it is computed on Ray."""
    if execution.kind == "ray":
        with cluster(execution.address):
            yield
    else:
        yield


def machines() -> list[tuple[float, float]]:
    """Processors and GPUs of every machine of the cluster that one is connected to: an actor lives on one of them."""
    alive = (node["Resources"] for node in import_ray().nodes() if node["Alive"])
    return [(each.get("CPU", 0.0), each.get("GPU", 0.0)) for each in alive]


def import_ray() -> Any:
    """Ray, where it is installed.

    Raises:
        InputError: it is not.
    """
    try:
        import ray
    except ImportError as error:
        raise InputError("Ray is not installed; it comes with pip install 'qads[ray]'.") from error
    return ray
