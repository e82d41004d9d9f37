"""How many parameters a model has and how precisely they are kept, told by the headers of its files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from gguf import GGUFReader
from safetensors import safe_open

from qads.errors import ModelError
from qads.models.sources import adapter_base, find_model

__all__ = ["are_stored_in_float32", "count_parameters"]


def count_parameters(model: str) -> int | None:
    """Parameters of a model on this disk, from the headers of its files; of an adapter those of its model."""
    try:
        location = Path(find_model(model).location)
    except ModelError:
        return None
    if (base := adapter_base(location)) is not None:
        return count_parameters(base.model)
    if location.suffix == ".gguf":
        return sum(int(tensor.n_elements) for tensor in GGUFReader(location).tensors)
    total = 0
    for file in location.glob("*.safetensors"):
        with safe_open(file, framework="np") as tensors:
            total += sum(int(np.prod(tensors.get_slice(name).get_shape())) for name in tensors.keys())
    return total or None


def are_stored_in_float32(folder: Path) -> bool:
    """Whether matrices of a folder's safetensors files are float32, so that bfloat16 would round them."""
    for file in folder.glob("*.safetensors"):
        with safe_open(file, framework="np") as tensors:
            kept = (tensors.get_slice(name) for name in tensors.keys())
            if any(each.get_dtype() == "F32" and len(each.get_shape()) > 1 for each in kept):
                return True
    return False
