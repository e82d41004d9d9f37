"""Attention over a packed pass: each target sees its own prefix and itself, and nothing else.

A pass is one row of tokens without padding. It is made of parts: a prefix, or one whose keys an earlier pass kept,
and the targets that share it. Queries of all targets of a part meet the prefix in one product; each target meets
itself in a causal one; the two softmaxes are joined by their normalisers:

    a = σ(lse_prefix − lse_own)      out = a · out_prefix + (1 − a) · out_own

which is the softmax over both. Where torch has no kernel that gives the normaliser, or a layer asks for what those
kernels lack (soft caps, sinks, a sliding window that cuts something off), the same is computed from scores in float32.

Inputs are checked by the caller.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch

__all__ = ["Layout", "Part", "laid_out", "packed_attention"]

_NAME = "qads_packed"
_SCORES = 2**24
"""Attention scores alive at once where they are computed one by one: 64 MB in float32."""


@dataclass(frozen=True)
class Part:
    """A prefix and targets after it, all of them neighbours in the pass."""

    prefix: tuple[int, int] | None
    """First token and end of the prefix in the pass; None if an earlier pass kept its keys, or if it is empty."""
    n_before: int
    """Tokens of the prefix, wherever they are."""
    targets: tuple[tuple[int, int], ...]
    """First token and end of every target."""
    keep: bool = False
    """Keep the keys of the prefix for the next pass."""


@dataclass
class Layout:
    """What the attention layers of a model must know about the passes they see."""

    parts: tuple[Part, ...] = ()
    """Of the pass that is running."""
    n_calls: int = 0
    """Attention layers that asked for it."""
    n_windows: int = 0
    """Of these, layers with a sliding window."""
    kept: dict[torch.nn.Module, tuple[torch.Tensor, torch.Tensor]] = field(
        default_factory=dict[torch.nn.Module, tuple[torch.Tensor, torch.Tensor]]
    )
    """Keys and values of the prefix whose targets go on in the next pass, by attention layer."""


_LAYOUT: ContextVar[Layout] = ContextVar("layout")


@contextmanager
def packed_attention(model: Any) -> Generator[None]:
    """Let a model of transformers attend by the layout of each pass; what it had before comes back afterwards."""
    from transformers import AttentionInterface  # Loads every model's base class, which few commands need.

    AttentionInterface.register(_NAME, _attention)  # A name without a mask function of its own: none is made.
    before = model.config._attn_implementation
    model.set_attn_implementation(_NAME)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


@contextmanager
def laid_out(layout: Layout) -> Generator[None]:
    """Run passes of this thread by a layout."""
    token = _LAYOUT.set(layout)
    try:
        yield
    finally:
        _LAYOUT.reset(token)


@dataclass(frozen=True)
class _Rule:
    """How one layer weighs its scores."""

    scale: float
    window: int | None
    soft_cap: float | None
    sinks: torch.Tensor | None
    """One more score for every head [kv, g], that takes part in the softmax and has no value."""

    @property
    def is_plain(self) -> bool:
        return self.soft_cap is None and self.sinks is None


def _attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """The attention of a layer: query [1, heads, n, d], key and value [1, kv, n, d] -> [1, n, heads, d]."""
    if attention_mask is not None:
        raise NotImplementedError("it has a mask of its own")
    layout = _LAYOUT.get()
    layout.n_calls += 1
    layout.n_windows += sliding_window is not None
    n_groups = query.shape[1] // key.shape[1]
    rule = _Rule(
        query.shape[-1] ** -0.5 if scaling is None else scaling,
        sliding_window,
        softcap,
        None if s_aux is None else s_aux.float().view(key.shape[1], n_groups),
    )
    q = query[0].unflatten(0, (key.shape[1], n_groups))
    out = q.new_empty(query.shape[2], key.shape[1], n_groups, value.shape[-1]).permute(1, 2, 0, 3)
    for part in layout.parts:
        _attend_part(layout, module, part, q, key[0], value[0], rule, out)
    return out.permute(2, 0, 1, 3).flatten(1, 2)[None], None


def _attend_part(
    layout: Layout,
    module: torch.nn.Module,
    part: Part,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    rule: _Rule,
    out: torch.Tensor,
) -> None:
    """Fill the rows of one part: q and out [kv, g, n, d], k and v [kv, n, d]."""
    before: tuple[torch.Tensor, torch.Tensor] | None = layout.kept.get(module) if part.n_before else None
    if part.prefix is not None:
        rows = slice(*part.prefix)
        before = k[:, rows], v[:, rows]
        out[:, :, rows] = _attend(q[:, :, rows], *before, rule, n_before=0)
    if part.keep and part.prefix is not None and before is not None:
        layout.kept[module] = before[0].clone(), before[1].clone()
    if not part.keep:
        layout.kept.pop(module, None)
    if not part.targets:
        return
    longest = part.n_before + max(end - start for start, end in part.targets)
    if not rule.is_plain or _cuts(rule, longest) or not _has_normaliser(q, v):
        for start, end in part.targets:
            rows = slice(start, end)
            keys, values = k[:, rows], v[:, rows]
            if before is not None:
                keys, values = torch.cat([before[0], keys], 1), torch.cat([before[1], values], 1)
            out[:, :, rows] = _attend(q[:, :, rows], keys, values, rule, n_before=part.n_before)
        return
    _attend_targets(part, before, q, k, v, rule, out)


def _attend_targets(
    part: Part,
    before: tuple[torch.Tensor, torch.Tensor] | None,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    rule: _Rule,
    out: torch.Tensor,
) -> None:
    """All targets of a part at once over the prefix, each over itself, joined by the normalisers."""
    own = [
        _flash(q[:, :, start:end], k[:, start:end], v[:, start:end], rule.scale, causal=True)
        for start, end in part.targets
    ]
    rows = slice(part.targets[0][0], part.targets[-1][1])
    alone = torch.cat([o for o, _ in own], 2) if len(own) > 1 else own[0][0]
    if before is None:
        out[:, :, rows] = alone
        return
    past, past_lse = _flash(q[:, :, rows], *before, rule.scale, causal=False)
    own_lse = torch.cat([lse for _, lse in own], 2) if len(own) > 1 else own[0][1]
    share = torch.sigmoid(past_lse - own_lse).to(alone.dtype)[..., None]
    torch.lerp(alone, past, share, out=out[:, :, rows])


def _attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, rule: _Rule, *, n_before: int) -> torch.Tensor:
    """Causal attention of the last rows of a text over all of it: q [kv, g, r, d], k and v [kv, n_before + r, d]."""
    plain = rule.is_plain and not _cuts(rule, k.shape[1])
    if plain and n_before == 0 and _has_normaliser(q, v):
        return _flash(q, k, v, rule.scale, causal=True)[0]
    step = max(1, _SCORES // (q.shape[0] * q.shape[1] * k.shape[1]))
    parts = [_attend_rows(q[:, :, i : i + step], k, v, rule, first=n_before + i) for i in range(0, q.shape[2], step)]
    return torch.cat(parts, 2) if len(parts) > 1 else parts[0]


def _attend_rows(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, rule: _Rule, *, first: int) -> torch.Tensor:
    """From scores in float32: q [kv, g, r, d] at the positions `first`, …; k and v [kv, s, d] from position 0."""
    scores = torch.matmul(q.float(), k.float().unsqueeze(1).mT) * rule.scale
    if rule.soft_cap is not None:
        scores = torch.tanh(scores / rule.soft_cap) * rule.soft_cap
    distance = torch.arange(first, first + q.shape[2], device=q.device)[:, None]
    distance = distance - torch.arange(k.shape[1], device=q.device)
    hidden = distance < 0
    if rule.window is not None:
        hidden |= distance >= rule.window
    scores.masked_fill_(hidden, -torch.inf)
    if rule.sinks is not None:
        sinks = rule.sinks[:, :, None, None].expand(*scores.shape[:3], 1)
        weights = torch.softmax(torch.cat([scores, sinks], -1), -1)[..., :-1]
    else:
        weights = torch.softmax(scores, -1)
    return torch.matmul(weights, v.float().unsqueeze(1)).to(q.dtype)


def _cuts(rule: _Rule, n_tokens: int) -> bool:
    """Whether the window of a layer hides anything from the last of so many tokens."""
    return rule.window is not None and n_tokens > rule.window


def _has_normaliser(q: torch.Tensor, v: torch.Tensor) -> bool:
    return q.device.type in ("cpu", "cuda") and q.shape[-1] == v.shape[-1]


def _flash(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float, *, causal: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention [kv, g, r, d] and the natural logarithm of its normaliser [kv, g, r], in float32."""
    shape = (*q.shape[:2], k.shape[1], k.shape[2])
    k, v = k.unsqueeze(1).expand(shape), v.unsqueeze(1).expand(shape)
    if q.device.type == "cpu":
        return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, is_causal=causal, scale=scale)
    if q.dtype == torch.float32:
        out, lse, *_ = torch.ops.aten._scaled_dot_product_efficient_attention(
            q, k, v, None, True, is_causal=causal, scale=scale
        )
        return out, lse[..., : q.shape[2]]  # Padded to a multiple of 32.
    out, lse, *_ = torch.ops.aten._scaled_dot_product_flash_attention(q, k, v, is_causal=causal, scale=scale)
    return out, lse
