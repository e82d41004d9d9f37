"""The embedded model cut short: its tokenizer, its template and its own first layers, at a quarter of the cost."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from qads.models import open_causal_lm

__all__ = ["short_model"]

_LAYERS = 2


@cache
def short_model() -> str:
    """A folder with the first two of its thirty layers, which is there while this process lives."""
    lm = open_causal_lm("smollm2-135m", device="cpu", dtype="float32")
    lm.model.model.layers = lm.model.model.layers[:_LAYERS]
    lm.model.config.num_hidden_layers = _LAYERS
    folder = Path(tempfile.mkdtemp(prefix="short-model-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    lm.model.save_pretrained(folder)
    lm.tokenizer.save_pretrained(folder)
    return str(folder)
