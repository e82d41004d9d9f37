"""How long operations of a model take on this processor, before any is done."""

from __future__ import annotations

import torch

from qads.cluster import Execution
from qads.kernels.peak import matmul_peak
from qads.models import Dtype

__all__ = ["cpu_seconds"]


def cpu_seconds(flops: int, *, share: float, execution: Execution, dtype: Dtype) -> float | None:
    """Seconds of so many operations at a share of the peak of matrix products; None where a GPU does them.

    What share of its peak a model reaches on a GPU was never measured.
    """
    if execution.found_device != "cpu":
        return None
    return flops / (share * matmul_peak(torch.device("cpu"), getattr(torch, execution.precision(dtype))))
