"""How many parameters a model has and how precisely they are kept, told by the headers of its files."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from gguf import GGUFReader
from safetensors import safe_open

from qads.errors import ModelError
from qads.models.sources import adapter_base, find_model

__all__ = ["are_stored_in_float32", "count_parameters"]

_TABLES = re.compile(r"(^|[._])(embeddings?|embed_\w+|token_embd|wte|wpe|lm_head|embed_out)[._]|^output\.weight$")
"""What embeddings and vocabulary heads are called in transformers and in GGUF files."""


def count_parameters(model: str, *, body: bool = False) -> int | None:
    """Parameters of a model on this disk, from the headers of its files; of an adapter those of its model.

    Args:
        model: folder, file, or hub id.
        body: leave out what is looked up (embeddings) and the vocabulary head: what every token is multiplied by on
            its way to a vector.
    """
    try:
        location = Path(find_model(model).location)
    except ModelError:
        return None
    if (base := adapter_base(location)) is not None:
        return count_parameters(base.model, body=body)
    sizes = _tensor_sizes(location)
    return sum(size for name, size in sizes.items() if not body or not _TABLES.search(name)) or None


def _tensor_sizes(location: Path) -> dict[str, int]:
    """Elements of every tensor by its name."""
    if location.suffix == ".gguf":
        return {str(tensor.name): int(tensor.n_elements) for tensor in GGUFReader(location).tensors}
    found: dict[str, int] = {}
    for file in location.glob("*.safetensors"):
        with safe_open(file, framework="np") as tensors:
            found |= {name: int(np.prod(tensors.get_slice(name).get_shape())) for name in tensors.keys()}
    return found


def are_stored_in_float32(folder: Path) -> bool:
    """Whether matrices of a folder's safetensors files are float32, so that bfloat16 would round them."""
    for file in folder.glob("*.safetensors"):
        with safe_open(file, framework="np") as tensors:
            kept = (tensors.get_slice(name) for name in tensors.keys())
            if any(each.get_dtype() == "F32" and len(each.get_shape()) > 1 for each in kept):
                return True
    return False
