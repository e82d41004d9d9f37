"""A connection to a Ray cluster. The only module that imports Ray, when a cluster is used."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from qads.cluster.execution import Execution
from qads.errors import ClusterError, InputError

__all__ = ["cluster", "connected", "import_ray", "machines"]


@contextmanager
def cluster(address: str | None) -> Generator[None]:
    """Connect to a Ray cluster unless the caller has.

    Args:
        address: as of `ray.init`; None for a cluster that runs already or else one of this machine, which ends with
            the block.

    Raises:
        ClusterError: there is no cluster at the address.
    """
    ray = import_ray()
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Nothing is reported to anybody.
    in_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level=logging.WARNING)
    except ConnectionError as error:
        raise ClusterError(
            f"no Ray cluster answers at address {address!r} ({error}); start one there (ray start "
            "--head), or leave the address out to start one here."
        ) from error
    if in_main and handler is not None:
        signal.signal(signal.SIGTERM, handler)  # Ray has put its own in the place of the caller's.
    try:
        yield
    finally:
        ray.shutdown()


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
