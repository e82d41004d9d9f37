"""Many prefixes and targets in few forward passes: packed, without padding, every prefix once.

The prefixes and their targets make one stream of tokens, cut into passes at the borders of targets. Several short
prefixes share a pass; a prefix whose targets do not fit into one pass keeps its keys for the next. Positions go on
after the prefix, as if every target followed it alone. Inputs are checked by the caller.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool

from qads.kernels.attention import Layout, Part, laid_out, packed_attention
from qads.kernels.target import AnswerStates, TokenTarget

__all__ = ["PackedBody", "Share", "plan_passes"]


@dataclass(frozen=True)
class Share:
    """What a pass does for one prefix."""

    prefix: int
    targets: tuple[int, ...]
    opens: bool = True
    """The prefix itself runs in this pass; an earlier one kept its keys otherwise."""
    goes_on: bool = False
    """There are targets left for the next pass."""


def plan_passes(
    prefixes: Sequence[int], targets: Sequence[int], wanted: Bool[np.ndarray, "n m"], max_tokens: int
) -> Iterator[list[Share]]:
    """Cut the stream of texts into passes of at most `max_tokens` tokens, or of one text that is longer.

    Args:
        prefixes: tokens of every prefix.
        targets: tokens of every target.
        wanted: the pairs that are asked for.
        max_tokens: tokens of a pass.

    Yields:
        The passes; between two of them at most one prefix goes on, the last of the one and the first of the other.
    """
    done: list[Share] = []
    used = 0
    for i in np.flatnonzero(wanted.any(axis=1)).tolist():
        members = np.flatnonzero(wanted[i]).tolist()
        if done and used + prefixes[i] + targets[members[0]] > max_tokens:
            yield done
            done, used = [], 0
        used += prefixes[i]
        share: list[int] = []
        opens = True
        for j in members:
            if used and used + targets[j] > max_tokens:
                yield [*done, Share(i, tuple(share), opens, goes_on=True)]
                done, used, share, opens = [], 0, [], False
            share.append(j)
            used += targets[j]
        done.append(Share(i, tuple(share), opens))
    if done:
        yield done


class PackedBody:
    """The body of a model whose attention goes through the attention interface of transformers.

    Raises:
        NotImplementedError: it does not, or not for all layers, or a layer hides more than we know of.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        if not model._can_set_attn_implementation():
            raise NotImplementedError("its attention cannot be exchanged")
        config = model.config.get_text_config()
        kinds = getattr(config, "layer_types", None)
        if kinds is None:
            window = getattr(config, "sliding_window", None)
            kinds = ["full_attention" if window is None else "sliding_attention"] * config.num_hidden_layers
        if unknown := set(kinds) - {"full_attention", "sliding_attention"}:
            raise NotImplementedError(f"it has layers of the kind {', '.join(sorted(unknown))}")
        layout = Layout((Part((0, 2), 0, ()),))
        with self.installed():
            self._run(layout, [(1, 2)], [0])
        if (layout.n_calls, layout.n_windows) != (len(kinds), list(kinds).count("sliding_attention")):
            raise NotImplementedError(
                f"{layout.n_calls} layers asked for attention, {layout.n_windows} with a window, where its "
                f"configuration has {len(kinds)} layers, {list(kinds).count('sliding_attention')} with a window"
            )

    def installed(self) -> AbstractContextManager[None]:
        """Passes run inside this block; on several threads at once if need be."""
        return packed_attention(self._model)

    def states(
        self,
        prefixes: Sequence[Sequence[int]],
        targets: Sequence[TokenTarget],
        wanted: Bool[np.ndarray, "n m"],
        max_tokens: int,
    ) -> Iterator[AnswerStates]:
        """The states before the answer tokens of all wanted pairs, pass by pass."""
        layout = Layout()
        lengths = [len(p) for p in prefixes], [len(t.ids) for t in targets]
        for shares in plan_passes(*lengths, wanted, max_tokens):
            texts, firsts, layout.parts = _lay_out(shares, prefixes, targets)
            hidden = self._run(layout, texts, firsts)
            if any(share.targets for share in shares):
                yield _answers(hidden, shares, layout.parts, targets)

    @torch.inference_mode()
    def _run(self, layout: Layout, texts: Sequence[Sequence[int]], firsts: Sequence[int]) -> torch.Tensor:
        """The last states [tokens, h] of a pass: texts one after the other, each from its first position on."""
        ids = torch.tensor(list(chain.from_iterable(texts)))
        positions = torch.cat([torch.arange(first, first + len(t)) for first, t in zip(firsts, texts, strict=True)])
        with laid_out(layout):
            found = self._model.base_model(
                input_ids=ids[None].to(self._model.device),
                position_ids=positions[None].to(self._model.device),
                use_cache=False,
            )
        return found.last_hidden_state[0]


def _lay_out(
    shares: Sequence[Share], prefixes: Sequence[Sequence[int]], targets: Sequence[TokenTarget]
) -> tuple[list[Sequence[int]], list[int], tuple[Part, ...]]:
    """The texts of a pass one after the other, the position of the first token of each, and where all of it lies."""
    texts: list[Sequence[int]] = []
    firsts: list[int] = []
    parts: list[Part] = []
    at = 0
    for share in shares:
        prefix = prefixes[share.prefix]
        own = (at, at + len(prefix)) if share.opens and len(prefix) else None
        if own is not None:
            texts.append(prefix)
            firsts.append(0)
            at = own[1]
        spans: list[tuple[int, int]] = []
        for target in (targets[j].ids for j in share.targets):
            texts.append(target)
            firsts.append(len(prefix))
            spans.append((at, at + len(target)))
            at += len(target)
        parts.append(Part(own, len(prefix), tuple(spans), keep=share.goes_on))
    return texts, firsts, tuple(parts)


def _answers(
    hidden: torch.Tensor, shares: Sequence[Share], parts: Sequence[Part], targets: Sequence[TokenTarget]
) -> AnswerStates:
    """The states of a pass that predict answer tokens: the one at p − 1 predicts token p."""
    pairs = [(share.prefix, j) for share in shares for j in share.targets]
    starts = [start for part in parts for start, _ in part.targets]
    chosen = [targets[j] for _, j in pairs]
    rows = [
        row
        for start, target in zip(starts, chosen, strict=True)
        for row in range(start + target.answer_start - 1, start + target.answer_end - 1)
    ]
    tokens = [token for target in chosen for token in target.ids[target.answer_start : target.answer_end]]
    return AnswerStates(
        pairs,
        [target.n_answer for target in chosen],
        hidden[torch.tensor(rows, device=hidden.device)],
        torch.tensor(tokens, device=hidden.device),
    )
