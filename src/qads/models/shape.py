"""What a model costs, from its configuration: no weights are read."""

from __future__ import annotations

import copy
from typing import Any

import torch
import transformers

from qads.kernels.cost import ModelShape, model_shape
from qads.models.quiet import quiet_loading

__all__ = ["shape_of_config"]


def shape_of_config(config: Any, *, trust_remote_code: bool = False) -> ModelShape | None:
    """The shape of the model that a configuration describes, built with tensors that have no content.

    Returns:
        The shape; None where it describes no causal language model of transformers, or not completely.
    """
    own = copy.deepcopy(config)  # Building a model writes into its configuration.
    try:
        with torch.device("meta"), quiet_loading():
            model: Any = transformers.AutoModelForCausalLM.from_config(own, trust_remote_code=trust_remote_code)
        return model_shape(model)
    except Exception:  # A configuration may be of anything, and lack anything; its constructors raise what they like.
        return None
