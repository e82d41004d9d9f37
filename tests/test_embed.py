"""Embedders: what a vector is, and that nothing but the row decides it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import qads
from qads.cluster import Execution, MemoryShards
from qads.errors import AlignmentError, InputError

ROWS = [
    qads.Row(
        id=str(i),
        source="made",
        problem=f"Problem {i}: what is {i} times {i + 1}?",
        solution="word " * (1 + 7 * i % 23),
    )
    for i in range(30)
]
POOL = qads.Pool.from_rows(ROWS)
EMBEDDERS = [qads.SentenceEmbedder(dtype="float32"), qads.LMEmbedder(dtype="float32", max_length=64)]


@pytest.mark.parametrize("embedder", EMBEDDERS, ids=lambda e: e.kind)
def test_vectors_are_float32_of_length_one_in_the_order_of_the_pool(embedder):
    found = embedder(POOL)
    assert found.vectors.dtype == np.float32 and len(found) == len(POOL)
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-5)
    order = np.random.default_rng(0).permutation(len(POOL))
    np.testing.assert_allclose(embedder(POOL.take(order)).vectors, found.vectors[order], atol=2e-5)


@pytest.mark.parametrize("embedder", EMBEDDERS, ids=lambda e: e.kind)
def test_the_batch_size_changes_no_vector(embedder):
    one = embedder(POOL, execution=Execution(max_tokens_per_batch=1))
    np.testing.assert_allclose(one.vectors, embedder(POOL).vectors, atol=2e-5)


def test_sentence_vectors_are_those_of_sentence_transformers():
    encoder = qads.open_encoder("minilm", dtype="float32").model
    theirs = encoder.encode([f"{r.problem}\n{r.solution}" for r in ROWS], normalize_embeddings=True)
    np.testing.assert_allclose(EMBEDDERS[0](POOL).vectors, theirs, atol=2e-5)


def test_language_model_vectors_are_the_mean_over_real_tokens_only():
    lm = qads.open_causal_lm("smollm2-135m", dtype="float32")
    found = EMBEDDERS[1](POOL).vectors
    for i in (0, 3, 29):
        ids = lm.tokenizer(f"{ROWS[i].problem}\n{ROWS[i].solution}", return_tensors="pt")["input_ids"][:, :64]
        state = lm.model(ids, output_hidden_states=True).hidden_states[-1][0].mean(0)
        np.testing.assert_allclose(found[i], torch.nn.functional.normalize(state, dim=0).numpy(), atol=2e-5)


def test_what_is_embedded_is_a_setting():
    problem = qads.SentenceEmbedder(dtype="float32", text="problem")
    longer = qads.Pool.from_rows(qads.Row(**(vars(r) | {"solution": r.solution + " more"})) for r in ROWS)
    np.testing.assert_allclose(problem(POOL).vectors, problem(longer).vectors, atol=1e-6)
    assert np.abs(EMBEDDERS[0](POOL).vectors - EMBEDDERS[0](longer).vectors).max() > 1e-3


def test_rows_longer_than_the_encoder_reads_are_counted():
    rows = [*ROWS, qads.Row(id="long", source="made", problem="p", solution="many words " * 400)]
    found = EMBEDDERS[0](qads.Pool.from_rows(rows))
    assert found.n_truncated == 1 and found.n_tokens > 256


def test_finished_shards_are_used_again():
    store = MemoryShards()
    first = EMBEDDERS[0](POOL, shards=store)
    again = qads.SentenceEmbedder(model="./not-here")(POOL, shards=store)
    np.testing.assert_array_equal(first.vectors, again.vectors)


def test_embeddings_of_another_pool_are_refused():
    found = EMBEDDERS[0](POOL)
    found.check_aligned(POOL)
    with pytest.raises(AlignmentError, match="--redo embed"):
        found.check_aligned(POOL.take([1, 0]))


def test_embeddings_go_into_a_selector_as_they_are():
    assert len(qads.KCenterGreedy()(EMBEDDERS[0](POOL), budget=4)) == 4


def test_a_length_of_nothing_is_refused():
    with pytest.raises(InputError, match="max_length is 0"):
        qads.LMEmbedder(max_length=0)
