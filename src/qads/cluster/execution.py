"""How work is executed: where, on how many workers, how long each may take. It changes how fast, not what."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator

from qads.choices import check_choices
from qads.errors import InputError
from qads.machine import Dtype, resolve_device, resolve_dtype

__all__ = ["Execution", "server"]

_SERVER = re.compile(r"(?:ray://)?(?:\[([0-9A-Fa-f:.]+(?:%\w+)?)\]|([^\s/:@\[\]]+)):([0-9]{1,5})")
"""Host, in brackets where it is an IPv6 address, and port."""


def _whole(name: str, what: str) -> BeforeValidator:
    """A whole number of 1 at least, or ``auto``."""
    return BeforeValidator(lambda value: _check_whole(value, name, what))


def _check_whole(value: object, name: str, what: str) -> object:
    where = f"execution.{name}"
    if value == "auto":
        return value
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(f"{where} is {value!r}; it must be auto, or a whole number of {what}.")
    if value < 1:
        raise InputError(f"{where} is {value}; it must be 1 at least.")
    return value


def server(address: str, where: str) -> tuple[str, int] | None:
    """Host and port in the address of a Ray cluster; None for ``auto`` and ``local``, which hold none.

    Args:
        address: of a Ray cluster.
        where: what says so, for the error.

    Raises:
        InputError: that is no address.
    """
    if address in ("auto", "local"):
        return None
    found = _SERVER.fullmatch(address)
    if found is None or not 0 < int(found[3]) < 2**16:
        raise InputError(
            f"{where} is {address!r}; it must be auto (the cluster that runs here), local (one that is started here), "
            "or host:port with a port of 1 to 65535, such as 10.0.0.1:6379, [fd00::1]:6379 or ray://10.0.0.1:10001."
        )
    return found[1] or found[2], int(found[3])


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How fast, never what: but for `auto_dtype`, no field here changes a result beyond floating-point rounding.

    >>> import qads
    >>> qads.Execution(workers=2).workers
    2
    """

    kind: Literal["local", "ray"] = "local"
    """Where shards are computed: on this machine, or by the actors of a Ray cluster."""
    workers: Annotated[int | Literal["auto"], _whole("workers", "workers")] = "auto"
    """Workers, each with the model open. On one machine ``auto`` is one a GPU, and without any this process alone,
    which has all cores; 2 and more are processes. On Ray ``auto`` is as many as the cluster has room for."""
    cpus_per_worker: Annotated[int | Literal["auto"], _whole("cpus_per_worker", "processors")] = "auto"
    """Processors of a worker, and its threads. ``auto`` shares those of this machine out among its workers; on Ray it
    is 8, or all that the largest machine has."""
    gpus_per_worker: float = 0.0
    """On Ray: GPUs of a worker; 0 computes on CPUs. A share, such as 0.5, puts several workers on one GPU."""
    address: str | None = None
    """Of the Ray cluster: host:port or ray://host:port; ``auto`` for one that runs here; ``local``, as null, starts one
    on this machine. Where the environment variable RAY_ADDRESS is set, it takes the place of ``auto`` and of null."""
    shard_timeout: float | None = None
    """Seconds after which a worker that says nothing is ended and its shard goes elsewhere; null waits for ever. It has
    to be more than the longest shard takes, and more than a worker takes to begin (on a busy cluster) and to open the
    model. A selection on a Ray cluster ends then, its picks kept. One process alone, as by default on a CPU, has nobody
    beside it to end it."""
    shard_retries: int = 2
    """How often a shard is tried again whose worker died or was ended. Then the work stops, and what is done stays."""
    device: str = "auto"
    """Where models run, as torch names it; ``auto`` takes CUDA, then MPS, then the CPU. On Ray `gpus_per_worker`
    says."""
    auto_dtype: Dtype = "auto"
    """What ``dtype: auto`` of a model stands for. ``auto`` is bfloat16 where the device computes it in hardware, else
    float32, as the machine finds that starts the work; workers do as it found. Of GPUs on Ray it finds nothing out
    where it has none itself, and takes them to compute bfloat16. Name one to get the results of another machine."""
    max_tokens_per_batch: Annotated[int | Literal["auto"], _whole("max_tokens_per_batch", "tokens")] = "auto"
    """Tokens in one forward pass of a model; bounds its memory. ``auto`` is 2048, which is best on CPUs; on CUDA it is
    found by trying when a scoring model is opened."""
    trust_remote_code: bool = False
    """Run Python code that comes with a model. Only for models you trust as you trust their authors."""
    allow_code_execution: bool = False
    """Run programs that a model wrote, in a sandbox, where an evaluation asks for programs. No file may say it; the
    command does, by ``--allow-code-execution``."""
    concurrency: int = 16
    """Requests to a remote engine at once."""
    timeout: float = 300.0
    """Seconds that a request to a remote engine may take."""
    retries: int = 6
    """How often a request is repeated that was refused for now (408, 429), failed (5xx) or got no answer."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        _check_whole(self.workers, "workers", "workers")
        _check_whole(self.cpus_per_worker, "cpus_per_worker", "processors")
        _check_whole(self.max_tokens_per_batch, "max_tokens_per_batch", "tokens")
        check_choices(self)
        if self.concurrency < 1:
            raise InputError(f"execution.concurrency is {self.concurrency}; it must be 1 at least.")
        for name in ("timeout", "shard_timeout"):
            seconds = getattr(self, name)
            if seconds is not None and not (math.isfinite(seconds) and seconds > 0):
                raise InputError(f"execution.{name} is {seconds:g}; it must be a number of seconds above 0.")
        for name in ("retries", "shard_retries"):
            if getattr(self, name) < 0:
                raise InputError(f"execution.{name} is {getattr(self, name)}; it must be 0 at least.")
        self._check_ray()

    def _check_ray(self) -> None:
        if not (math.isfinite(self.gpus_per_worker) and self.gpus_per_worker >= 0):
            raise InputError(f"execution.gpus_per_worker is {self.gpus_per_worker:g}; it must be 0 at least.")
        if self.kind == "local":
            for name in ("address", "gpus_per_worker"):
                if getattr(self, name):
                    raise InputError(
                        f"execution.{name} is {getattr(self, name)!r}, but execution.kind is local; it is of a Ray "
                        "cluster. Set execution.kind to ray, or leave it out."
                    )
            return
        if self.address is not None:
            server(self.address, "execution.address")
        there = "cuda" if self.gpus_per_worker else "cpu"
        if self.device not in ("auto", there):
            raise InputError(
                f"execution.device is {self.device!r}, but workers on Ray with gpus_per_worker "
                f"{self.gpus_per_worker:g} compute on {there}. Leave device out, or change gpus_per_worker."
            )
        object.__setattr__(self, "device", there)  # What it means there, not on the machine of the driver.

    @property
    def described(self) -> str:
        """Where shards are computed, in a sentence."""
        if self.kind == "ray":
            crowd = "as many workers as it holds" if self.workers == "auto" else f"{self.workers} workers"
            gpus = f", {self.gpus_per_worker:g} GPUs each" if self.gpus_per_worker else ""
            return f"Shards are computed by {crowd} on {self._cluster}{gpus}."
        if self.workers == "auto":
            return "Shards are computed in this process, or by a worker for each GPU where there are several."
        return f"Shards are computed by {self.workers} processes." if self.workers > 1 else "One process computes."

    @property
    def _cluster(self) -> str:
        if self.address is None:
            return "the Ray cluster that RAY_ADDRESS names, or else one that is started here"
        if self.address == "auto":
            return "the Ray cluster that RAY_ADDRESS names, or else the one that runs here"
        return "a Ray cluster that is started here" if self.address == "local" else f"the Ray cluster at {self.address}"

    def pass_size(self, device: str) -> int | None:
        """Tokens in one forward pass on a device (``cpu``, ``cuda``, ``cuda:1``); None: to be found by trying."""
        if self.max_tokens_per_batch != "auto":
            return self.max_tokens_per_batch
        return None if device.startswith("cuda") else 2048

    def precision(self, dtype: Dtype) -> Dtype:
        """The precision of a model where work runs, with what ``auto`` stands for.

        Raises:
            ModelError: the device is not here.
        """
        chosen = self.auto_dtype if dtype == "auto" else dtype
        return "bfloat16" if chosen == "auto" and self._is_far_from_gpus else resolve_dtype(chosen, self.device)

    @property
    def found_device(self) -> str:
        """The device that results are computed on, with what ``auto`` stands for.

        Raises:
            ModelError: it should be here and is not.
        """
        return self.device if self._is_far_from_gpus else str(resolve_device(self.device))

    @property
    def _is_far_from_gpus(self) -> bool:
        """Whether work runs on GPUs of a cluster, and this machine has none; the head of a cluster often has none."""
        if self.kind != "ray" or self.device != "cuda":
            return False
        import torch

        return not torch.cuda.is_available()

    def reading(self) -> Execution:
        """The same for work that reads texts and runs no model: one processor a worker, and no GPU.

        On one machine ``auto`` is then this process alone: whoever has GPUs did not ask for a process for each.
        """
        plain = replace(self, auto_dtype="float32")  # So that nobody loads torch to ask what it would be.
        if self.kind == "ray":
            return replace(plain, cpus_per_worker=1, gpus_per_worker=0.0, device="auto")
        return plain.here("cpu") if self.workers == "auto" else replace(plain, device="cpu")

    def decided(self) -> Execution:
        """The same with ``auto`` precision found out, so that every worker computes as this machine says."""
        return replace(self, auto_dtype=self.precision("auto"))

    def here(self, device: str | None = None) -> Execution:
        """The same, by the process that asks, alone."""
        return replace(
            self, kind="local", workers=1, cpus_per_worker="auto", gpus_per_worker=0.0, address=None,
            device=device or self.device,
        )  # fmt: skip
