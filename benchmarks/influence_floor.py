"""The floor under `influence.py`: the matrix products that scoring needs, and nothing else.

Same shapes, the model's own weights (so that caches behave as they do in earnest), outputs allocated beforehand. What a
scorer takes beyond that is norms, activations, softmax, memory traffic and Python.

`linear` counts the linear layers of the body on all tokens and the vocabulary head on the positions before answers.
`full` adds attention: q·kᵀ and p·v over exactly the rectangles that are needed (a target's queries over its prefix) and
half of each causal square. The products run as ours does, whole passes side by side, or one after the other on all
cores, whichever way is the faster of the two at the start.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, groupby
from typing import Any

import numpy as np
import torch

from qads.kernels.lanes import cut_streams, run_lanes
from qads.kernels.likelihood import TokenTarget

__all__ = ["Floor", "FloorSeconds", "Passes", "Piece", "cut_passes"]

_LOGITS = 2**25
"""Logits in the output buffer of the head at most."""
_SCORES = 2**20
"""Attention scores in the output buffer at most, so that they stay in a cache."""


@dataclass(frozen=True)
class Piece:
    """Tokens that are never divided between passes: a prefix or a target."""

    candidate: int
    n_tokens: int
    n_before: int
    """Tokens of the prefix that a target follows; 0 for a prefix."""
    n_answers: int
    """Answer tokens of a target; 0 for a prefix."""


@dataclass(frozen=True)
class FloorSeconds:
    """Seconds of the products by what they are for."""

    body: float
    head: float
    attention: float

    @property
    def linear(self) -> float:
        """Body and head."""
        return self.body + self.head

    @property
    def full(self) -> float:
        """Body, head and attention."""
        return self.body + self.head + self.attention


Passes = list[list[Piece]]
"""Passes that need nothing of other ones."""


def cut_passes(prefixes: Sequence[Sequence[int]], targets: Sequence[TokenTarget], max_tokens: int) -> list[Passes]:
    """The passes of a call, stream by stream, as our kernel cuts them on a CPU."""
    n_targets = sum(len(t.ids) for t in targets)
    streams = cut_streams(np.array([len(prefix) + n_targets for prefix in prefixes]), max_tokens)
    return [_cut(_pieces_of([(i, prefixes[i]) for i in rows], targets), max_tokens) for rows in streams]


def _pieces_of(prefixes: Sequence[tuple[int, Sequence[int]]], targets: Sequence[TokenTarget]) -> list[Piece]:
    """Every prefix, and after it all targets, short ones first as our kernel takes them."""
    ordered = sorted(targets, key=lambda t: (len(t.ids), t.ids))
    pieces: list[Piece] = []
    for candidate, prefix in prefixes:
        pieces.append(Piece(candidate, len(prefix), 0, 0))
        pieces += [Piece(candidate, len(t.ids), len(prefix), t.answer_end - t.answer_start) for t in ordered]
    return pieces


def _cut(pieces: Sequence[Piece], max_tokens: int) -> Passes:
    """Pieces in order, packed into passes of at most `max_tokens`, cut where our kernel cuts.

    A prefix begins only where its first target fits as well; what is longer than a pass has one of its own.
    """
    passes: Passes = []
    room = 0
    for piece, after in zip(pieces, [*pieces[1:], None], strict=True):
        needed = piece.n_tokens + (after.n_tokens if after is not None and piece.n_answers == 0 else 0)
        if not passes or needed > room:
            passes.append([])
            room = max_tokens
        passes[-1].append(piece)
        room -= piece.n_tokens
    return passes


class Floor:
    """Runs the products of passes.

    Args:
        model: a causal LM of transformers whose linear layers are `torch.nn.Linear`.
        n_tokens: tokens of the largest pass that will come.
        synchronize: waits for the device.
    """

    def __init__(self, model: Any, n_tokens: int, synchronize: Callable[[], None]) -> None:
        self._synchronize = synchronize
        first = _Products(model, n_tokens)
        first.block = self._fastest_block(first, n_tokens)
        n_lanes = torch.get_num_threads() if first.is_on_cpu else 1
        self._lanes = [first, *(_Products(model, n_tokens, first.block) for _ in range(n_lanes - 1))]
        trial = [[[Piece(0, n_tokens, 0, 0)]] for _ in range(2 * n_lanes)]
        self.side_by_side = n_lanes > 1 and self._is_faster_side_by_side(trial)

    def __call__(self, streams: Sequence[Passes]) -> FloorSeconds:
        """Run all products of all passes."""
        return FloorSeconds(
            body=self._seconds(_Products.run_body, streams),
            head=self._seconds(_Products.run_head, streams),
            attention=self._seconds(_Products.run_attention, streams),
        )

    @property
    def head_block(self) -> tuple[int, int]:
        """Positions and words of one product of the head: the faster of two ways, measured at the start."""
        return self._lanes[0].block

    def _seconds(self, run: Callable[[_Products, Sequence[Piece]], None], streams: Sequence[Passes]) -> float:
        free: queue.SimpleQueue[_Products] = queue.SimpleQueue()
        for lane in self._lanes:
            free.put(lane)

        def job(passes: Passes) -> Iterator[None]:
            lane = free.get()
            for passed in passes:
                run(lane, passed)
                yield
            free.put(lane)

        self._synchronize()
        started = time.perf_counter()
        if self.side_by_side:
            run_lanes([partial(job, passes) for passes in streams])
        else:
            for passed in chain.from_iterable(streams):
                run(self._lanes[0], passed)
        self._synchronize()
        return time.perf_counter() - started

    def _fastest_block(self, products: _Products, n_tokens: int) -> tuple[int, int]:
        """One wide product of as many positions as fit the buffer, or blocks that stay in a core's cache."""
        passed = [Piece(0, n_tokens, 0, min(1024, n_tokens))]
        seconds: dict[tuple[int, int], float] = {}
        for block in (products.block, (512, 1024)):
            products.block = block
            seconds[block] = min(self._once(lambda: products.run_head(passed)) for _ in range(3))
        return min(seconds, key=lambda block: seconds[block])

    def _once(self, run: Callable[[], None]) -> float:
        self._synchronize()
        started = time.perf_counter()
        run()
        self._synchronize()
        return time.perf_counter() - started

    def _is_faster_side_by_side(self, trial: Sequence[Passes]) -> bool:
        seconds: dict[bool, list[float]] = {False: [], True: []}
        for _ in range(3):
            for way in seconds:
                self.side_by_side = way
                seconds[way].append(self._seconds(_Products.run_body, trial))
        return min(seconds[True]) < min(seconds[False])


class _Products:
    """The products of one pass, with buffers of their own."""

    def __init__(self, model: Any, n_tokens: int, block: tuple[int, int] | None = None) -> None:
        config = model.config.get_text_config()
        linears = [m.weight for m in model.base_model.modules() if isinstance(m, torch.nn.Linear)]
        if not linears:
            raise SystemExit(f"{config.model_type}: has no torch.nn.Linear, so its floor is not known here.")
        self._weights = linears
        self._head = model.get_output_embeddings().weight
        self._n_layers = config.num_hidden_layers
        self._n_kv = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        self._groups = config.num_attention_heads // self._n_kv
        self._width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        options = {"dtype": self._head.dtype, "device": self._head.device}
        widths = {n for w in (*linears, self._head) for n in w.shape} - {len(self._head)}
        self._inputs = {n: torch.randn(n_tokens, n, **options) for n in widths}
        self._outputs = {n: torch.empty(n_tokens, n, **options) for n in widths}
        self._logits = torch.empty(max(_LOGITS, len(self._head)), **options)
        per_token = self._n_kv * self._groups * self._width
        self._q, self._kv = torch.randn(n_tokens * per_token, **options), torch.randn(n_tokens * per_token, **options)
        self._attended = torch.empty(n_tokens * per_token, **options)
        self._scores = torch.empty(max(_SCORES, self._n_kv * self._groups * n_tokens), **options).fill_(0.01)
        self.block = block or (max(1, _LOGITS // len(self._head)), len(self._head))

    @property
    def is_on_cpu(self) -> bool:
        """Whether they run on a CPU."""
        return self._head.device.type == "cpu"

    @torch.inference_mode()
    def run_body(self, passed: Sequence[Piece]) -> None:
        """All linear layers of the body."""
        n = sum(piece.n_tokens for piece in passed)
        for weight in self._weights:
            torch.mm(self._inputs[weight.shape[1]][:n], weight.T, out=self._outputs[weight.shape[0]][:n])

    @torch.inference_mode()
    def run_head(self, passed: Sequence[Piece]) -> None:
        """The vocabulary head on the positions before answers."""
        n = sum(piece.n_answers for piece in passed)
        n_rows, n_words = self.block
        states = self._inputs[self._head.shape[1]]
        for i in range(0, n, n_rows):
            rows = states[i : min(n, i + n_rows)]
            for j in range(0, len(self._head), n_words):
                words = self._head[j : j + n_words]
                torch.mm(rows, words.T, out=self._logits[: len(rows) * len(words)].view(len(rows), len(words)))

    @torch.inference_mode()
    def run_attention(self, passed: Sequence[Piece]) -> None:
        """q·kᵀ and p·v."""
        shapes: list[tuple[int, int]] = []
        for _, group in groupby(passed, key=lambda piece: (piece.candidate, piece.n_before)):
            pieces = list(group)
            # Half of a causal square, in whole rows.
            shapes += [((p.n_tokens + 1) // 2, p.n_tokens) for p in pieces]
            shapes.append((sum(p.n_tokens for p in pieces), pieces[0].n_before))
        for _ in range(self._n_layers):
            for n_rows, n_keys in shapes:
                if n_rows and n_keys:
                    self._attend(n_rows, n_keys)

    def _attend(self, n_rows: int, n_keys: int) -> None:
        """q·kᵀ and p·v of so many query rows over so many keys; the heads that share keys go in one product."""
        kv, width = self._n_kv, self._width
        keys = self._kv[: kv * n_keys * width].view(kv, n_keys, width)
        step = max(1, _SCORES // (kv * self._groups * n_keys))
        for i in range(0, n_rows, step):
            rows = self._groups * min(step, n_rows - i)
            queries = self._q[: kv * rows * width].view(kv, rows, width)
            scores = self._scores[: kv * rows * n_keys].view(kv, rows, n_keys)
            torch.bmm(queries, keys.mT, out=scores)
            torch.bmm(scores, keys, out=self._attended[: kv * rows * width].view(kv, rows, width))
