"""What the scoring model makes of rows, one forward pass a row: states of layers and likelihoods, as plain arrays."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from qads.cluster import Execution, Function, Grid, MemoryShards, ShardStore, Tell, map_shards, workers
from qads.errors import InputError
from qads.kernels.cost import Cost, CostRule, call_cost
from qads.kernels.row_states import RowReading, RowStates, layers_at
from qads.kernels.target import TokenTarget
from qads.models import CausalLM, Dtype, header_ids, open_causal_lm, token_target
from qads.pool import Pool, Progress, Row
from qads.prompts import Renderer, Template

__all__ = ["LIKELIHOODS", "NO_NUMBER", "ON_CUDA", "Readings", "RowReader", "read_rows"]

logger = logging.getLogger(__name__)

LIKELIHOODS = (
    "solution given the problem",
    "first half of the solution",
    "second half given the first",
    "problem",
    "least likely token",
    "spread over tokens",
    "log tokens of the solution",
    "log tokens",
)
"""Of every row, in nats a token; the last two are logarithms of counts."""
ON_CUDA = 16_384
"""Padded tokens in a forward pass on CUDA unless said otherwise."""
NO_NUMBER = "what the model gives is no number, as where float16 overflows"
"""Why a row has no prediction."""
_ROWS_PER_SHARD = 256
_EVERY_TOKEN = CostRule(shares_prefix=True, head_everywhere=True)


@dataclass(frozen=True, eq=False)
class Readings:
    """What was read of rows; NaN for a row that could not be."""

    states: Float[np.ndarray, "n l h"]
    """Mean over the solution's tokens at every layer, then the last token at every layer."""
    likelihoods: Float[np.ndarray, "n s"]
    """The numbers of `LIKELIHOODS`."""
    reasons: tuple[str | None, ...]
    """Why a row could not be read."""
    cost: Cost = field(default_factory=Cost)
    """What reading took."""

    def take(self, rows: Int[np.ndarray, " r"]) -> Readings:
        """Those of some rows; what reading took is that of all."""
        reasons = tuple(self.reasons[i] for i in rows.tolist())
        return Readings(self.states[rows], self.likelihoods[rows], reasons, self.cost)

    def to_table(self) -> pa.Table:
        """As `from_table` reads it: numbers as the bytes that they are."""
        columns = {name: [row.tobytes() for row in getattr(self, name)] for name in ("states", "likelihoods")}
        table = pa.table({name: pa.array(rows, pa.binary()) for name, rows in columns.items()})
        facts = {"cost": self.cost.to_json(), "shape": " ".join(map(str, self.states.shape[1:]))}
        return table.append_column("reason", pa.array(self.reasons, pa.string())).replace_schema_metadata(facts)

    @classmethod
    def from_table(cls, table: pa.Table) -> Readings:
        """What `to_table` gave."""
        n, shape = len(table), map(int, table.schema.metadata[b"shape"].split())
        states, likelihoods = (b"".join(table[name].to_pylist()) for name in ("states", "likelihoods"))
        return cls(
            np.frombuffer(states, np.float32).reshape(n, *shape),
            np.frombuffer(likelihoods, np.float64).reshape(n, len(LIKELIHOODS)),
            tuple(table["reason"].to_pylist()),
            Cost.from_json(table.schema.metadata[b"cost"]),
        )

    @classmethod
    def joined(cls, parts: Iterable[Readings], n_rows: int) -> Readings:
        """The readings of neighbouring parts of a pool, one after the other."""
        states, likelihoods = np.empty((n_rows, 0, 0), np.float32), np.empty((n_rows, len(LIKELIHOODS)))
        reasons, cost = list[str | None](), Cost()
        for part in parts:
            rows = slice(len(reasons), len(reasons) + len(part.reasons))
            if not rows.start:
                states = np.empty((n_rows, *part.states.shape[1:]), np.float32)
            states[rows], likelihoods[rows] = part.states, part.likelihoods
            reasons += part.reasons
            cost += part.cost
        assert len(reasons) == n_rows, f"{len(reasons)} readings for {n_rows} rows"
        return cls(states, likelihoods, tuple(reasons), cost)


def read_rows(
    open_reader: Callable[[Execution], RowReader],
    rows: Pool,
    execution: Execution,
    *,
    shards: ShardStore | None = None,
    progress: Progress | None = None,
) -> Readings:
    """Read rows a shard at a time, by whoever computes.

    Args:
        open_reader: opens the model where it is to read; can be pickled.
        rows: the rows.
        execution: device, batch size, and who computes.
        shards: where finished shards are kept, so that a killed run goes on; memory by default.
        progress: called with (rows read, rows).
    """
    store, grid = shards or MemoryShards(), Grid(n_rows=len(rows), rows_per_shard=_ROWS_PER_SHARD)
    with workers(lambda: _Reading(open_reader), execution) as crew:
        map_shards(crew, rows.slice, grid, store=store, size=rows.n_bytes, progress=progress)
    return Readings.joined(map(Readings.from_table, grid.finished(store)), len(rows))


@dataclass(frozen=True, eq=False)
class _Reading:
    """A model that reads, at work."""

    open_reader: Callable[[Execution], RowReader]

    @contextmanager
    def open(self, execution: Execution, _: Tell) -> Generator[Function]:
        """The model, open: rows -> a table of what it makes of them."""
        read = self.open_reader(execution)
        yield lambda rows: read(rows).to_table()


class RowReader:
    """Reads rows with one open model.

    Args:
        lm: the model.
        template: how a row becomes text.
        depths: shares of the model's depth at which states are taken.
        max_length: tokens that fit; None takes the model's.
        max_tokens_per_batch: padded tokens in one forward pass.

    Raises:
        ModelError: the template cannot be used with this model.
        InputError: the model sees fewer tokens than `max_length`.
    """

    def __init__(
        self, lm: CausalLM, template: Template, *, depths: Sequence[float], max_length: int | None,
        max_tokens_per_batch: int,
    ) -> None:  # fmt: skip
        config = lm.model.config.get_text_config()
        self._layers = layers_at(depths, config.num_hidden_layers)
        self._size = int(config.hidden_size)
        self._tokenizer, self._shape = lm.tokenizer, lm.shape
        self._renderer: Renderer = template.renderer(lm.render_chat)
        self._header = header_ids(lm.tokenizer, self._renderer)
        self._max_length = max_length or lm.max_length
        if self._max_length > lm.max_length:
            raise InputError(
                f"scorer: max_length is {max_length}, but {lm.source.name} sees {lm.max_length} tokens at most."
            )
        self._read = RowStates(
            lm.model, layers=self._layers, max_tokens_per_batch=max_tokens_per_batch, notify=logger.warning
        )

    @classmethod
    def open(
        cls, model: str, template: Template, *, revision: str | None, dtype: Dtype, depths: Sequence[float],
        max_length: int | None, execution: Execution,
    ) -> RowReader:  # fmt: skip
        """Open the model, and read with it."""
        lm = open_causal_lm(
            model, device=execution.device, dtype=execution.precision(dtype), revision=revision,
            trust_remote_code=execution.trust_remote_code,
        )  # fmt: skip
        size = execution.pass_size(lm.device.type) or ON_CUDA
        return cls(lm, template, depths=depths, max_length=max_length, max_tokens_per_batch=size)

    def __call__(self, pool: Pool) -> Readings:
        """Read every row."""
        started = time.perf_counter()
        texts = [self._text(row) for row in pool]
        fitting = [i for i, text in enumerate(texts) if isinstance(text, TokenTarget)]
        states = np.full((len(texts), 2 * len(self._layers), self._size), np.nan, np.float32)
        likelihoods = np.full((len(texts), len(LIKELIHOODS)), np.nan)
        targets: list[Any] = [texts[i] for i in fitting]
        for i, text, reading in zip(fitting, targets, self._read(targets), strict=True):
            states[i] = np.concatenate([reading.mean, reading.last])
            likelihoods[i] = _summary(text, reading, len(self._header))
        reasons = [text if isinstance(text, str) else None for text in texts]
        for i in fitting:
            if not (np.isfinite(states[i]).all() and np.isfinite(likelihoods[i]).all()):
                states[i], likelihoods[i], reasons[i] = np.nan, np.nan, NO_NUMBER
        spent = call_cost(self._shape, _EVERY_TOKEN, [0], targets, np.ones((1, len(targets)), np.bool_))
        return Readings(states, likelihoods, tuple(reasons), replace(spent, seconds=time.perf_counter() - started))

    def _text(self, row: Row) -> TokenTarget | str:
        """Header, problem and solution; or why they cannot be read."""
        target = token_target(self._tokenizer, self._renderer.target(row))
        before = len(self._header)
        if (n_tokens := before + len(target.ids)) > self._max_length:
            return f"{n_tokens} tokens where the context of the model holds {self._max_length}"
        start, end = before + target.answer_start, before + target.answer_end
        if not 1 <= start < end:
            return "the solution has no token of its own, or no token before it"
        return TokenTarget((*self._header, *target.ids), start, end)


def _summary(text: TokenTarget, reading: RowReading, n_header: int) -> list[float]:
    """The numbers of `LIKELIHOODS`; token t is predicted at place t − 1."""
    log_probs = reading.log_probs.astype(np.float64)
    solution = log_probs[text.answer_start - 1 : text.answer_end - 1]
    problem = log_probs[max(0, n_header - 1) : text.answer_start - 1]
    half = max(1, len(solution) // 2)
    second = solution[half:] if len(solution) > half else solution
    return [
        float(solution.mean()),
        float(solution[:half].mean()),
        float(second.mean()),
        float(problem.mean()) if len(problem) else 0.0,
        float(solution.min()),
        float(solution.std()),
        float(np.log(len(solution))),
        float(np.log(len(text.ids))),
    ]
