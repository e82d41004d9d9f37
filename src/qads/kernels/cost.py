"""What scoring costs, from token counts alone: tokens through the model, and the floating-point operations they take.

    FLOPs = 2 · weights · tokens  +  Σ_layers 2 · heads · (d_key + d_value) · attended pairs  +  2 · head · answers

`weights` are those of the body that a token meets in matrix products: no embeddings, of the experts of a layer only
the share that a token is sent to. A text of n tokens attends n(n+1)/2 pairs of query and key, fewer where a window
cuts. Only the work that the model's definition asks for counts (model FLOPs), not what an implementation adds: masked
scores, padding, rotations, norms, softmax.

Nothing here is estimated, so that the account before a run is that after it. Inputs are checked by the caller.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int

from qads.kernels.target import TokenTarget

__all__ = ["Cost", "CostRule", "ModelShape", "attended_pairs", "call_cost", "model_shape"]

_EXPERTS_PER_TOKEN = (
    "num_experts_per_tok", "num_experts_per_token", "top_k_experts", "moe_topk", "moe_top_k", "moe_k",
)  # fmt: skip
"""What configurations call the number of experts that a token is sent to."""


@dataclass(frozen=True)
class AttentionLayers:
    """Layers whose attention costs the same."""

    n_layers: int
    width: int
    """Heads × (size of a key + size of a value)."""
    window: int | None
    """Keys that a query sees at most, itself included."""


@dataclass(frozen=True)
class ModelShape:
    """What of a causal language model decides its cost."""

    body: int
    """Weights that a token meets in matrix products before the head."""
    head: int
    """Weights of the vocabulary head."""
    attention: tuple[AttentionLayers, ...]


@dataclass(frozen=True)
class CostRule:
    """How whoever runs the model goes about a prefix and its targets."""

    shares_prefix: bool
    """A prefix runs once for all its targets in a call; else once for each."""
    ends_with_answer: bool = False
    """What comes after an answer does not run."""
    head_everywhere: bool = False
    """The vocabulary head runs on all tokens; else on answers only."""


@dataclass(frozen=True)
class Cost:
    """What was, or would be, spent; costs add up."""

    tokens: int = 0
    """Tokens of texts that went through the model."""
    answer_tokens: int = 0
    """Tokens that were scored."""
    flops: int | None = 0
    """Floating-point operations of the model for these; None where the model's shape is not known."""
    extra_tokens: int = 0
    """Tokens beside them that serve no score: padding, or what a server generates that cannot generate nothing."""
    seconds: float = 0.0
    """Seconds of scoring."""
    capacity: float | None = 0.0
    """Operations that matrix products alone would have done in these seconds; None where that was not measured."""
    max_tokens_per_batch: tuple[int, ...] = ()
    """Tokens in one forward pass, as it was set or found; several where memory ran out or machines changed."""

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            tokens=self.tokens + other.tokens,
            answer_tokens=self.answer_tokens + other.answer_tokens,
            flops=None if self.flops is None or other.flops is None else self.flops + other.flops,
            extra_tokens=self.extra_tokens + other.extra_tokens,
            seconds=self.seconds + other.seconds,
            capacity=None if self.capacity is None or other.capacity is None else self.capacity + other.capacity,
            max_tokens_per_batch=tuple(dict.fromkeys((*self.max_tokens_per_batch, *other.max_tokens_per_batch))),
        )

    def to_json(self) -> str:
        """As text, which `from_json` reads."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> Cost:
        """The cost that `to_json` wrote."""
        found = json.loads(text)
        return cls(**found | {"max_tokens_per_batch": tuple(found["max_tokens_per_batch"])})

    @property
    def matmul_peak(self) -> float | None:
        """FLOP/s of matrix products alone, as measured where the model ran; None where it was not, or nothing ran."""
        return self.capacity / self.seconds if self.capacity and self.seconds else None

    @property
    def utilisation(self) -> float | None:
        """Share of that peak which the model's own operations reached (model-FLOPs utilisation)."""
        return self.flops / self.capacity if self.capacity and self.flops is not None else None


def attended_pairs(n_tokens: Int[np.ndarray, "*t"], window: int | None) -> Int[np.ndarray, "*t"]:
    """Pairs (query, key) in causal texts of so many tokens: Σ_i min(i, window)."""
    if window is None:
        return n_tokens * (n_tokens + 1) // 2
    full = np.minimum(n_tokens, window)
    return full * (full + 1) // 2 + (n_tokens - full) * window


def call_cost(
    shape: ModelShape | None,
    rule: CostRule,
    prefixes: Sequence[int],
    targets: Sequence[TokenTarget],
    wanted: Bool[np.ndarray, "n m"],
) -> Cost:
    """The cost of one call that scores targets after prefixes.

    Args:
        shape: of the model; None leaves the operations open.
        rule: how the model is run.
        prefixes: tokens of every prefix.
        targets: what follows them.
        wanted: the pairs that are scored; a prefix without any does not run.

    Returns:
        Tokens, answer tokens and operations.
    """
    before = np.array(prefixes, np.int64).reshape(-1)
    after = np.array([t.answer_end if rule.ends_with_answer else len(t.ids) for t in targets], np.int64).reshape(-1)
    times = wanted.any(axis=1) if rule.shares_prefix else wanted.sum(axis=1)  # That each prefix runs.
    tokens = int((times * before).sum() + (wanted * after).sum())
    answers = int((wanted * np.array([t.n_answer for t in targets], np.int64).reshape(-1)).sum())
    if shape is None:
        return Cost(tokens, answers, None)
    flops = 2 * shape.body * tokens + 2 * shape.head * (tokens if rule.head_everywhere else answers)
    for layers in shape.attention:
        alone = attended_pairs(before, layers.window)
        whole = attended_pairs(before[:, None] + after, layers.window)
        pairs = int((times * alone).sum() + (wanted * (whole - alone[:, None])).sum())
        flops += 2 * layers.n_layers * layers.width * pairs
    return Cost(tokens, answers, flops)


def model_shape(model: Any) -> ModelShape | None:
    """What of a model of transformers decides its cost; its weights need no content (torch's meta device).

    Returns:
        The shape; None where the configuration does not say how many experts a token meets.
    """
    config = model.config.get_text_config()
    body = 0
    for module in model.get_decoder().modules():
        if isinstance(module, torch.nn.Embedding):
            continue
        n_weights = _weights_per_token(module, config)
        if n_weights is None:
            return None
        body += n_weights
    return ModelShape(body, int(model.get_output_embeddings().weight.numel()), _attention_layers(config))


def _weights_per_token(module: torch.nn.Module, config: Any) -> int | None:
    """Weights of a module itself, without those in it, that a token meets in matrix products."""
    n_in, n_out = getattr(module, "in_features", None), getattr(module, "out_features", None)
    if isinstance(n_in, int) and isinstance(n_out, int):
        return n_in * n_out  # The parameter of a quantised one is packed.
    total = 0
    for name, parameter in module.named_parameters(recurse=False):
        if name.endswith("bias"):
            continue  # GPT-OSS has biases with a row for every expert.
        if parameter.dim() == 2:
            total += parameter.numel()
        elif parameter.dim() == 3:  # Experts, one behind the other.
            used = next((k for key in _EXPERTS_PER_TOKEN if (k := getattr(config, key, None)) is not None), None)
            if used is None:
                return None
            total += used * parameter.shape[1] * parameter.shape[2]
    return total


def _attention_layers(config: Any) -> tuple[AttentionLayers, ...]:
    """The layers by their windows; a kind of layer that is not known counts as seeing everything."""
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    key = value = size
    if getattr(config, "qk_nope_head_dim", None) is not None:  # Latent attention, of DeepSeek.
        key, value = config.qk_nope_head_dim + config.qk_rope_head_dim, config.v_head_dim
    width = config.num_attention_heads * (key + value)
    window = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None)
    if kinds is None:
        n_cut = 0 if window is None else config.num_hidden_layers
    else:
        n_cut = 0 if window is None else list(kinds).count("sliding_attention")
    counts = ((config.num_hidden_layers - n_cut, None), (n_cut, window))
    return tuple(AttentionLayers(n, width, w) for n, w in counts if n)
