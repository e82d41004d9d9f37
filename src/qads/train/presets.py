"""Settings that others have published, number by number with where it is from.

What the paper of QaDS trained with is not in any text that we could read; it trains 7B models on mixtures as MAmmoTH
does (Yue et al. 2023, arXiv:2309.05653), so `qads-paper` is the recipe of those, and each number says whose it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["PRESETS"]

_QADS_PAPER: Mapping[str, Any] = {
    "epochs": 3.0,  # MAmmoTH, "Training Setup": three epochs.
    "learning_rate": 2e-5,  # For 7B; MaskedThought's script for the same data (AlibabaResearch/DAMO-ConvAI, run.sh).
    "batch_size": 128,  # The same script: 8 GPUs x 2 rows x 8 passes.
    "scheduler": "cosine",  # The same script.
    "warmup": 0.03,  # The same script.
    "weight_decay": 0.0,  # The same script.
    "lora": None,  # All weights, as there.
    "dtype": "bfloat16",  # The same script; float32 weights under it are ours.
    "gradient_checkpointing": True,  # Ours: 7B fit then.
    "max_length": 2048,  # Ours.
    "too_long": "drop",  # Ours: a mixture of a dozen sources has a few rows beyond any length.
}

PRESETS: Mapping[str, Mapping[str, Any]] = {"qads-paper": _QADS_PAPER}
"""Name -> fields of `FineTuning`."""
