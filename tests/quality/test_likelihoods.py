"""How likely every solution is, given its problem and alone, against plain passes."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

import qads
from qads.cluster import Execution, MemoryShards
from qads.errors import InputError, TooLongError
from qads.quality import AnswerLikelihoods, OneShotInfluence
from reference import likelihoods_with_and_without_problem
from run.tiny import make_model, rows
from short_model import short_model

CPU = Execution(device="cpu")
POOL = qads.Pool.from_rows(
    [
        qads.Row(id="a", source="s", problem="A box holds 4 rows of 6 eggs. How many eggs?", solution="4 * 6 = 24 eggs."),
        qads.Row(id="b", source="s", problem="Name a colour.", solution="Blue."),
        qads.Row(id="c", source="s", problem="Zähle von eins bis drei 🙂", solution="eins, zwei, drei …\n"),
        qads.Row(id="d", source="s", problem="Half of 18 is what?", solution=" leading space, then 18 / 2 = 9"),
    ]
)  # fmt: skip


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_model(tmp_path_factory.mktemp("model") / "tiny"))


@pytest.fixture(scope="module")
def opening(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same model with a tokenizer that begins every text with its BOS token."""
    folder = make_model(tmp_path_factory.mktemp("model") / "opening")
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    tokenizer._tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    tokenizer.save_pretrained(folder)
    return str(folder)


def plain(model: str, pool: qads.Pool) -> np.ndarray:
    lm = qads.open_causal_lm(model, dtype="float32", device="cpu")
    texts = [(f"Question: {row.problem}\nAnswer: {row.solution}", row.solution) for row in pool]
    return np.array([likelihoods_with_and_without_problem(lm.model, lm.tokenizer, *text) for text in texts])


@pytest.mark.parametrize("name", ["short", "tiny", "opening"])
def test_likelihoods_are_those_of_plain_passes(name: str, request: pytest.FixtureRequest):
    model = short_model() if name == "short" else request.getfixturevalue(name)
    found = AnswerLikelihoods(model=model, dtype="float32")(POOL, execution=CPU)
    np.testing.assert_allclose(found, plain(model, POOL), atol=1e-4)


def test_a_problem_that_holds_the_answer_makes_it_likelier():
    row = qads.Row(id="a", source="s", problem="Say: seven green apples on a wooden table.", solution="seven green apples on a wooden table.")  # fmt: skip
    given_problem, alone = AnswerLikelihoods(dtype="float32")(qads.Pool.from_rows([row]), execution=CPU)[0]
    assert given_problem > alone + 1


def test_with_a_header_the_first_number_is_the_zero_shot_score_of_an_anchor(opening: str):
    pool = qads.Pool.from_rows(qads.Row(**row) for row in rows(6))
    found = AnswerLikelihoods(model=opening, dtype="float32")(pool, execution=CPU)
    influence = OneShotInfluence(model=opening, dtype="float32")(pool.take([0]), pool, execution=CPU)
    np.testing.assert_allclose(found[:, 0], influence.zero_shot, atol=1e-5)


def test_numbers_do_not_depend_on_the_company_of_a_row(tiny: str):
    pool = qads.Pool.from_rows(qads.Row(**row) for row in rows(20))
    method = AnswerLikelihoods(model=tiny, dtype="float32")
    whole = method(pool, execution=CPU)
    small = method(pool, execution=Execution(device="cpu", max_tokens_per_batch=1))
    np.testing.assert_allclose(small, whole, atol=1e-5)
    np.testing.assert_allclose(method(pool.take([7]), execution=CPU), whole[[7]], atol=1e-5)


def test_a_run_that_was_killed_goes_on(tiny: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("qads.quality.likelihoods._ROWS_PER_SHARD", 4)
    pool = qads.Pool.from_rows(qads.Row(**row) for row in rows(10))
    store = MemoryShards()
    whole = AnswerLikelihoods(model=tiny, dtype="float32")(pool, execution=CPU, shards=store)
    assert len(store.tables) == 3
    kept = dict(store.tables)
    again = AnswerLikelihoods(model="not/here")(pool, execution=CPU, shards=store)
    np.testing.assert_array_equal(again, whole)
    del store.tables[1]
    repaired = AnswerLikelihoods(model=tiny, dtype="float32")(pool, execution=CPU, shards=store)
    np.testing.assert_array_equal(repaired, whole)
    assert store.tables[0] is kept[0] and store.tables[2] is kept[2]


def test_rows_that_cannot_be_scored_are_nan_and_counted(tiny: str, caplog: pytest.LogCaptureFixture):
    pool = qads.Pool.from_rows(
        [
            qads.Row(id="ok", source="s", problem="One apple?", solution="One plum."),
            qads.Row(id="empty", source="s", problem="One apple?", solution=""),
            qads.Row(id="long", source="s", problem="apple " * 600, solution="plum " * 600),
        ]
    )
    with caplog.at_level(logging.WARNING, "qads"):
        found = AnswerLikelihoods(model=tiny, dtype="float32", max_length=200)(pool, execution=CPU)
    assert np.isfinite(found[0]).all() and np.isnan(found[1:]).all()
    assert "1 of 3 rows have no likelihood: longer than the context of 200 tokens" in caplog.text
    assert "1 of 3 rows have no likelihood: the solution has no token that can be predicted" in caplog.text
    with pytest.raises(TooLongError, match=r"row 'long' has .* tokens where 200 fit"):
        AnswerLikelihoods(model=tiny, dtype="float32", max_length=200, too_long="error")(pool, execution=CPU)


def test_a_context_that_the_model_lacks_is_refused(tiny: str):
    with pytest.raises(InputError, match=r"max_length is 5000, but .* sees 1024 tokens"):
        AnswerLikelihoods(model=tiny, max_length=5000)(POOL, execution=CPU)


def test_no_rows_have_no_likelihoods():
    assert AnswerLikelihoods(model="not/here")(POOL.take([]), execution=CPU).shape == (0, 2)


def test_likelihoods_rank_rows(tiny: str):
    found = AnswerLikelihoods(model=tiny, dtype="float32")(POOL, execution=CPU)
    sel = qads.PerplexityRanking(part="low")(np.ones((4, 1)), budget=2, likelihoods=found)
    assert sel.indices.tolist() == np.argsort(-found[:, 0])[:2].tolist()
