"""Embedders: what a vector is, and that nothing but the row decides it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

import qads
from qads.cluster import Execution, MemoryShards
from qads.errors import AlignmentError, InputError
from short_model import short_model

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
SENTENCES = qads.SentenceEmbedder(dtype="float32")


def of_a_language_model() -> qads.LMEmbedder:
    return qads.LMEmbedder(model=short_model(), dtype="float32", max_length=64)


@pytest.fixture(params=["sentence", "lm"])
def embedder(request: pytest.FixtureRequest) -> qads.SentenceEmbedder | qads.LMEmbedder:
    return SENTENCES if request.param == "sentence" else of_a_language_model()


def test_vectors_are_float32_of_length_one_in_the_order_of_the_pool(embedder):
    found = embedder(POOL)
    assert found.vectors.dtype == np.float32 and len(found) == len(POOL)
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-5)
    order = np.random.default_rng(0).permutation(len(POOL))
    np.testing.assert_allclose(embedder(POOL.take(order)).vectors, found.vectors[order], atol=2e-5)


def test_the_batch_size_changes_no_vector(embedder):
    one = embedder(POOL, execution=Execution(max_tokens_per_batch=1))
    np.testing.assert_allclose(one.vectors, embedder(POOL).vectors, atol=2e-5)


def test_sentence_vectors_are_those_of_sentence_transformers():
    encoder = qads.open_encoder("minilm", dtype="float32").model
    theirs = encoder.encode([f"{r.problem}\n{r.solution}" for r in ROWS], normalize_embeddings=True)
    np.testing.assert_allclose(SENTENCES(POOL).vectors, theirs, atol=2e-5)


def test_language_model_vectors_are_the_mean_over_real_tokens_only():
    lm = qads.open_causal_lm(short_model(), dtype="float32")
    found = of_a_language_model()(POOL).vectors
    for i in (0, 3, 29):
        ids = lm.tokenizer(f"{ROWS[i].problem}\n{ROWS[i].solution}", return_tensors="pt")["input_ids"][:, :64]
        state = lm.model(ids, output_hidden_states=True).hidden_states[-1][0].mean(0)
        np.testing.assert_allclose(found[i], torch.nn.functional.normalize(state, dim=0).numpy(), atol=2e-5)


def test_what_is_embedded_is_a_setting():
    problem = qads.SentenceEmbedder(dtype="float32", text="problem")
    longer = qads.Pool.from_rows(qads.Row(**(vars(r) | {"solution": r.solution + " more"})) for r in ROWS)
    np.testing.assert_allclose(problem(POOL).vectors, problem(longer).vectors, atol=1e-6)
    assert np.abs(SENTENCES(POOL).vectors - SENTENCES(longer).vectors).max() > 1e-3


def test_rows_longer_than_the_encoder_reads_are_counted():
    rows = [*ROWS, qads.Row(id="long", source="made", problem="p", solution="many words " * 400)]
    found = SENTENCES(qads.Pool.from_rows(rows))
    assert found.n_truncated == 1 and found.n_tokens > 256


def test_finished_shards_are_used_again():
    store = MemoryShards()
    first = SENTENCES(POOL, shards=store)
    again = qads.SentenceEmbedder(model="./not-here")(POOL, shards=store)
    np.testing.assert_array_equal(first.vectors, again.vectors)


def test_embeddings_of_another_pool_are_refused():
    found = SENTENCES(POOL)
    found.check_aligned(POOL)
    with pytest.raises(AlignmentError, match="--redo embed"):
        found.check_aligned(POOL.take([1, 0]))


def test_embeddings_go_into_a_selector_as_they_are():
    assert len(qads.KCenterGreedy()(SENTENCES(POOL), budget=4)) == 4


def test_a_length_of_nothing_is_refused():
    with pytest.raises(InputError, match="max_length is 0"):
        qads.LMEmbedder(max_length=0)


def vectors_of(pool: qads.Pool) -> qads.Embeddings:
    return qads.Embeddings(np.random.default_rng(0).random((len(pool), 3), np.float32), pool.fingerprint, 0, 0)


def test_embeddings_are_indexed_as_their_array_is():
    found = vectors_of(POOL)
    np.testing.assert_array_equal(found[[2, 0]], found.vectors[[2, 0]])
    np.testing.assert_array_equal(found[1:3], np.asarray(found)[1:3])
    assert (found.shape, found.dtype) == (found.vectors.shape, np.float32)


TAKEN_WITHOUT_CHECKED_ANNOTATIONS = """
import numpy as np, qads
texts = "abcdefghijkl"
rows = [qads.Row(id=c, source="st"[i % 2], problem=c, solution="1", kind="cot") for i, c in enumerate(texts)]
pool = qads.Pool.from_rows(rows)
emb = qads.Embeddings(np.random.default_rng(0).random((12, 3), np.float32), pool.fingerprint, 0, 0)
assert len(qads.choose_anchors(pool, emb, 4)) == 4
qads.analyze_sources(pool, embeddings=emb)
fitted = qads.ProbeScorer(reads=("embedding",), folds=2).fit(pool, np.arange(12.0), embeddings=emb)
assert fitted.predict(pool, emb).shape == (12,)
"""


def test_embeddings_go_where_an_array_of_the_pool_goes():
    subprocess.run([sys.executable, "-c", TAKEN_WITHOUT_CHECKED_ANNOTATIONS], check=True)


def test_cleaning_refuses_embeddings_of_another_pool():
    other = POOL.take([1, 0, *range(2, len(POOL))])
    with pytest.raises(AlignmentError, match="Embeddings: made for the pool"):
        qads.Deduplication(semantic=0.1)(other, embeddings=vectors_of(POOL))
    with pytest.raises(AlignmentError, match="Embeddings: made for the pool"):
        qads.Decontamination()(POOL, other, embeddings=vectors_of(POOL), evaluation_embeddings=vectors_of(POOL))
    assert qads.Deduplication(semantic=0.1)(POOL, embeddings=vectors_of(POOL)).kept_rows.size
