"""Embedders: what "near" means to the selector.

Rows are cut into shards of `rows_per_shard`; within a shard they are batched by length. A shard's embeddings depend
on its rows alone, so a resumed run ends with the same bytes.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, cast

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float

from qads.choices import check_choices
from qads.cluster import Execution, Function, Grid, MemoryShards, ShardStore, Tell, map_shards, workers
from qads.errors import AlignmentError, InputError
from qads.kernels.padded_batches import PaddedBatches, padded
from qads.models import Dtype, open_causal_lm, open_encoder
from qads.pool import Pool, Progress
from qads.prompts import sample_text

__all__ = ["Embedder", "Embeddings", "LMEmbedder", "SentenceEmbedder"]

_ROWS_PER_SHARD = 1024
_ON_CUDA = 8192
"""Padded tokens in a forward pass on CUDA unless said otherwise."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Row-aligned vectors of a pool, indexed as the array is that `np.asarray(embeddings)` gives."""

    vectors: Float[np.ndarray, "n d"]
    """float32; may be a memory map."""
    pool_fingerprint: str
    """Fingerprint of the pool whose rows these are."""
    n_tokens: int
    """Tokens that the model read."""
    n_truncated: int
    """Rows of which the model saw the beginning only, because they are longer than it can read."""

    def __len__(self) -> int:
        return len(self.vectors)

    def __getitem__(self, rows: Any) -> np.ndarray:
        return self.vectors[rows]

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and dimensions."""
        return self.vectors.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the numbers."""
        return self.vectors.dtype

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.vectors, dtype=dtype) if copy is None else np.array(self.vectors, dtype=dtype, copy=copy)

    def check_aligned(self, pool: Pool) -> None:
        """Refuse a pool whose rows these vectors do not describe.

        Raises:
            AlignmentError: the pool is another one.
        """
        if self.pool_fingerprint != pool.fingerprint:
            raise AlignmentError(
                f"Embeddings: made for the pool {self.pool_fingerprint[:12]} but used with {pool.fingerprint[:12]}. "
                "Recompute: qads run … --redo embed"
            )


@dataclass(frozen=True, kw_only=True)
class SentenceEmbedder:
    """A sentence encoder, vectors of length 1."""

    kind: Literal["sentence"] = "sentence"
    model: str = "minilm"
    """Alias, folder or hub id, opened by sentence-transformers."""
    revision: str | None = None
    """Branch, tag or commit of a hub id."""
    dtype: Dtype = "auto"
    """Precision of the model; vectors are float32 always."""
    text: Literal["both", "problem", "solution"] = "both"
    """What of a row is embedded."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        check_choices(self)

    def __call__(
        self,
        pool: Pool,
        *,
        execution: Execution | None = None,
        shards: ShardStore | None = None,
        progress: Progress | None = None,
    ) -> Embeddings:
        """Embed every row of a pool.

        Args:
            pool: the rows.
            execution: device, batch size, and who computes.
            shards: where finished shards are kept, so that a killed run goes on; memory by default.
            progress: called with (rows done, rows).

        Returns:
            float32 vectors [n, d] in the order of the pool.
        """
        return _embed_pool(self, pool, execution or Execution(), shards or MemoryShards(), progress)

    @contextmanager
    def open(self, execution: Execution, _: Tell) -> Generator[Function]:
        """The encoder, open: texts -> a table of vectors."""
        encoder = open_encoder(
            self.model, device=execution.device, dtype=execution.precision(self.dtype), revision=self.revision,
            trust_remote_code=execution.trust_remote_code,
        )  # fmt: skip
        model = encoder.model
        max_tokens = execution.pass_size(model.device.type) or _ON_CUDA
        limit = int(model.max_seq_length or 2**31 - 1)
        batches = PaddedBatches(model, max_tokens=max_tokens, notify=logger.warning)
        encode = partial(model.encode, convert_to_tensor=True, show_progress_bar=False)

        def embed_texts(texts: list[str]) -> pa.Table:
            tokens = cast(list[list[int]], model.tokenizer(texts, truncation=False, verbose=False)["input_ids"])
            lengths = [len(ids) for ids in tokens]
            read = [min(length, limit) for length in lengths]
            vectors: list[Any] = [None] * len(texts)

            def embed_batch(batch: list[int]) -> None:
                found = encode([texts[i] for i in batch], batch_size=len(batch))
                for i, vector in zip(batch, found.float().cpu(), strict=True):
                    vectors[i] = vector

            encode(texts[:1])  # Sets how the tokenizer cuts and pads, which several threads must not do at once.
            batches(read, embed_batch)
            return _to_table(vectors, n_tokens=sum(read), n_truncated=sum(n > limit for n in lengths))

        yield embed_texts


@dataclass(frozen=True, kw_only=True)
class LMEmbedder:
    """A causal language model's last layer, mean over the real tokens, scaled to length 1."""

    kind: Literal["lm"] = "lm"
    model: str = "smollm2-135m"
    """Alias, folder or hub id of a causal language model."""
    revision: str | None = None
    """Branch, tag or commit of a hub id."""
    dtype: Dtype = "auto"
    """Precision of the model; vectors are float32 always."""
    text: Literal["both", "problem", "solution"] = "both"
    """What of a row is embedded."""
    max_length: int = 1024
    """Tokens of a row that are read, from its beginning."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        check_choices(self)
        if self.max_length < 1:
            raise InputError(f"LMEmbedder: max_length is {self.max_length}; it must be 1 at least.")

    def __call__(
        self,
        pool: Pool,
        *,
        execution: Execution | None = None,
        shards: ShardStore | None = None,
        progress: Progress | None = None,
    ) -> Embeddings:
        """Embed every row of a pool; arguments and result as for `SentenceEmbedder`."""
        return _embed_pool(self, pool, execution or Execution(), shards or MemoryShards(), progress)

    @contextmanager
    def open(self, execution: Execution, _: Tell) -> Generator[Function]:
        """The model, open: texts -> a table of vectors."""
        lm = open_causal_lm(
            self.model, device=execution.device, dtype=execution.precision(self.dtype), revision=self.revision,
            trust_remote_code=execution.trust_remote_code,
        )  # fmt: skip
        max_tokens = execution.pass_size(lm.device.type) or _ON_CUDA
        limit = min(self.max_length, lm.max_length)
        batches = PaddedBatches(lm.model, max_tokens=max_tokens, notify=logger.warning)

        def embed_texts(texts: list[str]) -> pa.Table:
            tokens = cast(list[list[int]], lm.tokenizer(texts, truncation=False, verbose=False)["input_ids"])
            kept = [ids[:limit] for ids in tokens]
            if empty := [i for i, ids in enumerate(kept) if not ids]:
                raise InputError(f"LMEmbedder: the text {texts[empty[0]]!r} has no token for this model.")
            vectors: list[Any] = [None] * len(texts)

            def embed_batch(batch: list[int]) -> None:
                for i, vector in zip(batch, _mean_states(lm.model, [kept[i] for i in batch]), strict=True):
                    vectors[i] = vector

            batches([len(ids) for ids in kept], embed_batch)
            n_truncated = sum(len(ids) > limit for ids in tokens)
            return _to_table(vectors, n_tokens=sum(map(len, kept)), n_truncated=n_truncated)

        yield embed_texts


Embedder = SentenceEmbedder | LMEmbedder
"""Every embedder: `embedder(pool) -> Embeddings`."""


def _mean_states(model: Any, tokens: list[list[int]]) -> Float[torch.Tensor, "b d"]:
    """Last hidden states, averaged in float32 over the real tokens of every row; padding is not counted."""
    ids, mask = (part.to(model.device) for part in padded(tokens))
    states = model.base_model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state.float()
    weight = mask.unsqueeze(-1).float()
    return ((states * weight).sum(1) / weight.sum(1)).cpu()


def _embed_pool(
    embedder: Embedder, pool: Pool, execution: Execution, store: ShardStore, progress: Progress | None
) -> Embeddings:
    def texts(rows: range) -> list[str]:
        return [sample_text(row, embedder.text) for row in pool.slice(rows)]

    grid = Grid(n_rows=len(pool), rows_per_shard=_ROWS_PER_SHARD)
    with workers(lambda: embedder, execution) as crew:
        map_shards(crew, texts, grid, store=store, size=pool.n_bytes, progress=progress)
    return _join(store, grid, pool)


def _to_table(vectors: list[torch.Tensor], *, n_tokens: int, n_truncated: int) -> pa.Table:
    """Vectors, scaled to length 1, and what was read."""
    unit = torch.nn.functional.normalize(torch.stack(vectors), dim=1).numpy()
    column = pa.FixedSizeListArray.from_arrays(pa.array(unit.reshape(-1), pa.float32()), unit.shape[1])
    counts = {"n_tokens": str(n_tokens), "n_truncated": str(n_truncated)}
    return pa.table({"vector": column}).replace_schema_metadata(counts)


def _join(store: ShardStore, grid: Grid, pool: Pool) -> Embeddings:
    vectors = np.empty((0, 0), np.float32)
    n_tokens = n_truncated = row = 0
    for table in grid.finished(store):
        column = table["vector"].combine_chunks()
        part = column.flatten().to_numpy().reshape(len(column), -1)
        if row == 0:
            vectors = store.array((len(pool), part.shape[1]))
        vectors[row : row + len(part)] = part
        row += len(part)
        n_tokens += int(table.schema.metadata[b"n_tokens"])
        n_truncated += int(table.schema.metadata[b"n_truncated"])
    assert row == len(pool), f"{row} vectors for {len(pool)} rows"
    return Embeddings(vectors, pool.fingerprint, n_tokens, n_truncated)
