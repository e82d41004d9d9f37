"""One-shot influence against the pair-by-pair definition, and its laws."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

import qads
from qads.cluster import Execution, MemoryShards
from qads.errors import AlignmentError, InputError, ModelError, TooLongError
from qads.quality import AGGREGATES, Influence, OneShotInfluence
from reference import mean_answer_log_likelihood
from short_model import short_model


def row(name: str, problem: str, solution: str, **fields: object) -> qads.Row:
    return qads.Row(id=name, source=str(fields.pop("source", "made")), problem=problem, solution=solution, **fields)  # type: ignore[arg-type]


CANDIDATES = qads.Pool.from_rows(
    [
        row("c0", "A box holds 4 rows of 6 eggs. How many eggs?", "4 * 6 = 24 eggs.\n#### 24"),
        row("c1", "Name a colour.", "Blue."),
        row("c2", "Zähle von eins bis drei – bitte 🙂", "eins, zwei, drei …"),
        row("c3", "Many plain words stand here in a row, " * 12, "and more of them follow. " * 12),
        row("c4", "What is $\\frac{1}{2} + \\frac{1}{2}$?", "Both halves make a whole: \\boxed{1}."),
    ]
)
ANCHORS = qads.Pool.from_rows(
    [
        row("a0", "A crate holds 3 rows of 5 jars. How many jars?", "3 * 5 = 15 jars.\n#### 15", source="one"),
        row("a1", "Half of 18 is what?", " leading space, then 18 / 2 = 9", source="one"),
        row("a2", "a BOX holds 4 rows of 6 eggs: how many eggs", "There are 24.", source="two"),
        row("a3", "¿Cuánto es 2+2?", "Son 4. ", source="two", context=({"role": "user", "content": "Hola"}, {"role": "assistant", "content": "¡Hola!"})),
    ]
)  # fmt: skip


def method(**settings: Any) -> OneShotInfluence:
    """Of the embedded model cut short, in float32."""
    return OneShotInfluence(**{"model": short_model(), "dtype": "float32"} | settings)


@pytest.fixture(scope="module")
def model() -> object:
    return qads.open_causal_lm(short_model(), dtype="float32")


@pytest.fixture(scope="module")
def found() -> Influence:
    return method()(CANDIDATES, ANCHORS)


def exemplar(sample: qads.Row) -> str:
    turns = "".join(
        f"Question: {t['content']}" if t["role"] == "user" else f"\nAnswer: {t['content']}\n\n" for t in sample.context
    )
    return f"{turns}Question: {sample.problem}\nAnswer: {sample.solution}"


def test_scores_are_those_of_the_pair_by_pair_definition(model, found: Influence):
    lm, tokenizer = model.model, model.tokenizer
    for j, anchor in enumerate(ANCHORS):
        alone = mean_answer_log_likelihood(lm, tokenizer, [exemplar(anchor)], anchor.solution)
        assert found.zero_shot[j] == pytest.approx(alone, abs=1e-4)
        for i, candidate in enumerate(CANDIDATES):
            blocks = [exemplar(candidate) + "\n\n", exemplar(anchor)]
            expected = mean_answer_log_likelihood(lm, tokenizer, blocks, anchor.solution)
            if (i, j) == (0, 2):
                assert np.isnan(found.one_shot[i, j])
            else:
                assert found.one_shot[i, j] == pytest.approx(expected, abs=1e-4)


@pytest.mark.slow
def test_scores_of_real_rows_by_the_whole_model_are_those_of_the_definition(test_data):
    names = ("gsm8k_train", "tabmwp_pot")
    pools = [qads.load_pool(test_data / "pool" / f"{name}.jsonl.gz") for name in names]
    rng = np.random.default_rng(0)
    candidates = qads.Pool.from_rows(pool[int(i)] for pool in pools for i in rng.choice(len(pool), 1))
    anchors = qads.Pool.from_rows(pool[int(i)] for pool in pools[:1] for i in rng.choice(len(pool), 1))
    model = qads.open_causal_lm("smollm2-135m", dtype="float32")
    real = OneShotInfluence(dtype="float32")(candidates, anchors)
    for i, candidate in enumerate(candidates):
        for j, anchor in enumerate(anchors):
            blocks = [exemplar(candidate) + "\n\n", exemplar(anchor)]
            expected = mean_answer_log_likelihood(model.model, model.tokenizer, blocks, anchor.solution)
            assert real.one_shot[i, j] == pytest.approx(expected, abs=1e-4)


def test_a_candidate_is_never_scored_on_an_anchor_with_its_own_problem(found: Influence):
    own = np.isnan(found.one_shot)
    assert own.sum() == 1 and own[0, 2]
    assert np.isfinite(found.quality()).all()
    assert found.to_table()["gain"].null_count == 1


def test_scores_do_not_depend_on_batches_or_on_the_order_of_the_rows(found: Influence):
    small = method()(CANDIDATES, ANCHORS, execution=Execution(max_tokens_per_batch=1))
    np.testing.assert_allclose(small.one_shot, found.one_shot, atol=1e-5)
    back = method()(CANDIDATES.take([4, 3, 2, 1, 0]), ANCHORS.take([3, 2, 1, 0]))
    np.testing.assert_allclose(back.one_shot[::-1, ::-1], found.one_shot, atol=1e-5)


def test_finished_shards_are_not_computed_again(found: Influence):
    store = MemoryShards()
    first = method()(CANDIDATES, ANCHORS, shards=store)
    kept = dict(store.tables)
    again = method(model="not/here")(CANDIDATES, ANCHORS, shards=store)
    assert all(store.tables[index] is table for index, table in kept.items())
    np.testing.assert_array_equal(first.one_shot, again.one_shot)


@pytest.mark.parametrize(
    ("short", "alike"), [(True, 0.95), pytest.param(False, 0.99, marks=[pytest.mark.long, pytest.mark.slow])]
)
def test_bfloat16_agrees_with_float32_about_the_gains(short: bool, alike: float):
    of = {"model": short_model() if short else "smollm2-135m"}
    coarse, fine = (method(**of, dtype=dtype)(CANDIDATES, ANCHORS).gains for dtype in ("bfloat16", "float32"))
    scored = np.isfinite(fine)
    assert np.abs(coarse - fine)[scored].mean() < 0.05
    assert np.corrcoef(coarse[scored], fine[scored])[0, 1] > alike


def test_chat_template_scores_the_answers_of_the_definition(model):
    chat = method(template=qads.ChatTemplate())(CANDIDATES.take([0, 4]), ANCHORS.take([0]))
    anchor, render = ANCHORS[0], model.tokenizer.apply_chat_template

    def turns(sample: qads.Row) -> list[dict[str, str]]:
        return [
            {"role": "user", "content": sample.problem},
            {"role": "assistant", "content": sample.solution},
        ]

    for i, candidate in enumerate((CANDIDATES[0], CANDIDATES[4])):
        text = render([*turns(candidate), *turns(anchor)], tokenize=False).removesuffix("<|im_end|>\n")
        expected = mean_answer_log_likelihood(model.model, model.tokenizer, [text], anchor.solution)
        assert chat.one_shot[i, 0] == pytest.approx(expected, abs=1e-4)
    text = render(turns(anchor), tokenize=False).removesuffix("<|im_end|>\n")
    expected = mean_answer_log_likelihood(model.model, model.tokenizer, [text], anchor.solution)
    assert chat.zero_shot[0] == pytest.approx(expected, abs=1e-4)


def test_what_does_not_fit_is_an_error_that_lists_the_rows():
    with pytest.raises(
        TooLongError, match=r"1 rows do not fit a context of 200 tokens:\n  candidate c3: \d+ tokens where"
    ):
        OneShotInfluence(max_length=200)(CANDIDATES, ANCHORS)


def test_dropped_rows_are_listed_and_have_no_quality():
    dropped = method(max_length=200, too_long="drop")(CANDIDATES, ANCHORS)
    assert list(dropped.affected) == ["candidate c3"] and dropped.affected["candidate c3"].endswith("dropped")
    assert np.isnan(dropped.quality()[3]) and np.isfinite(dropped.quality()[[0, 1, 2, 4]]).all()


def test_a_cut_problem_is_listed_and_keeps_its_end(model):
    cut = method(max_length=200, too_long="truncate_problem")(CANDIDATES, ANCHORS)
    assert "problem cut on the left" in cut.affected["candidate c3"]
    assert np.isfinite(cut.quality()[3])


def test_an_anchor_may_take_half_of_the_context():
    with pytest.raises(TooLongError, match="anchor c3: "):
        OneShotInfluence(max_length=300)(ANCHORS, CANDIDATES)


def test_the_aggregates_are_their_formulas():
    gains = np.array([[0.2, -0.4, 0.0, np.nan], [np.nan] * 4, [1.0, 2.0, 3.0, 4.0]])
    infl = Influence(gains, np.zeros(4), ("a", "b", "c"), ("w", "x", "y", "z"), ("s", "s", "t", "t"))
    expected = {
        "positive_gain": (0.2 / 3, 2.5),
        "mean_gain": (-0.2 / 3, 2.5),
        "win_rate": (1 / 3, 1.0),
        "relative": (np.expm1([0.2, -0.4, 0.0]).mean(), np.expm1([1, 2, 3, 4]).mean()),
    }
    assert set(expected) == set(AGGREGATES)
    for name, (first, last) in expected.items():
        quality = infl.quality(name)
        assert quality[0] == pytest.approx(first) and quality[2] == pytest.approx(last) and np.isnan(quality[1])
    assert infl.standard_error("mean_gain")[2] == pytest.approx(np.std([1, 2, 3, 4], ddof=1) / 2)
    assert infl.by_group("mean_gain")["s"][0] == pytest.approx(-0.1)
    assert np.isnan(infl.standard_error("mean_gain")[1])


def test_quality_is_by_the_aggregate_of_the_method_also_out_of_a_table():
    gains = np.array([[0.2, -0.4], [1.0, 3.0]])
    plain = Influence(gains, np.zeros(2), ("a", "b"), ("x", "y"), ("s", "t"))
    assert plain.quality().tolist() == plain.quality("positive_gain").tolist()
    assert "aggregate" not in str(plain.to_table().schema.metadata)  # Tables of the default are what they were.
    for aggregate in AGGREGATES:
        found = dataclasses.replace(plain, aggregate=aggregate)
        again = Influence.from_table(found.to_table())
        for each in (found, again):
            assert each.quality().tolist() == plain.quality(aggregate).tolist()
            assert each.standard_error().tolist() == plain.standard_error(aggregate).tolist()
            assert each.by_group()["t"].tolist() == plain.by_group(aggregate)["t"].tolist()
            assert each.quality("win_rate").tolist() == plain.quality("win_rate").tolist()


def test_scores_carry_the_aggregate_of_their_method():
    scoring = method(aggregate="win_rate")
    assert scoring(CANDIDATES.take([0, 1]), ANCHORS.take([0])).aggregate == "win_rate"


def test_an_unknown_aggregate_or_model_is_refused_by_name(no_shape_checks):
    with pytest.raises(InputError, match="golden_score"):
        OneShotInfluence(aggregate="golden_score")  # type: ignore[arg-type]
    infl = Influence(np.zeros((1, 1)), np.zeros(1), ("a",), ("x",), ("s",))
    for ask in (infl.quality, infl.terms, infl.standard_error, infl.by_group):
        with pytest.raises(InputError, match="aggregate is 'positive'; it must be one of 'positive_gain'"):
            ask("positive")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="aggregate is 'positive'"):
        dataclasses.replace(infl, aggregate="positive")  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="no such file"):
        OneShotInfluence(model="./nowhere")(CANDIDATES, ANCHORS)


@pytest.mark.parametrize("which", ["candidates", "anchors"])
def test_nothing_to_score_is_an_error_that_counts_both(which: str):
    none = CANDIDATES.take([])
    pools = (none, ANCHORS) if which == "candidates" else (CANDIDATES, none)
    for call in (method(), method().expected_cost):
        with pytest.raises(InputError, match=f"{len(pools[0])} candidates and {len(pools[1])} anchors"):
            call(*pools)


@pytest.mark.parametrize("too_long", ["drop", "truncate_problem"])
def test_where_no_anchor_or_no_candidate_fits_nothing_is_scored_in_silence(too_long):
    scoring = method(too_long=too_long, max_length=8)
    with pytest.raises(InputError, match=rf"too_long {too_long} leaves no anchor of 4 .*the first: \d+ tokens where"):
        scoring.expected_cost(CANDIDATES, ANCHORS)
    long = qads.Pool.from_rows([row("c5", "Count.", "one and two and three " * 60)])
    scoring = method(too_long=too_long, max_length=120)
    with pytest.raises(InputError, match=f"too_long {too_long} leaves no candidate of 1 "):
        scoring.expected_cost(long, ANCHORS)


def test_shards_of_other_rows_or_another_template_are_not_taken_for_these(found: Influence):
    store = MemoryShards()
    scoring = method()
    scoring(CANDIDATES.take([0, 1]), ANCHORS, shards=store)
    second = scoring(CANDIDATES.take([2, 4]), ANCHORS, shards=store)
    np.testing.assert_allclose(second.one_shot, found.one_shot[[2, 4]], atol=1e-4)
    other = method(template=qads.ExemplarTemplate(question="Q: "))
    assert (other(CANDIDATES.take([2, 4]), ANCHORS, shards=store).zero_shot != second.zero_shot).all()


def test_a_token_that_the_model_has_not_is_an_error_that_names_it(tmp_path, no_shape_checks):
    lm = qads.open_causal_lm("smollm2-135m", dtype="float32")
    lm.tokenizer.add_tokens(["<|mine|>"])
    lm.tokenizer.save_pretrained(tmp_path)
    lm.model.save_pretrained(tmp_path)
    own = qads.Pool.from_rows([row("c9", "Say <|mine|>.", "Mine.")])
    with pytest.raises(ModelError, match=r"makes the token '<\|mine\|>' \(49152\), but the model knows 49152 tokens"):
        OneShotInfluence(model=str(tmp_path), dtype="float32")(own, ANCHORS)


def test_a_context_larger_than_the_models_is_refused():
    with pytest.raises(InputError, match="max_length is 9000, but smollm2-135m sees 8192 tokens"):
        OneShotInfluence(max_length=9000)(CANDIDATES, ANCHORS)


def test_a_solution_without_a_token_of_its_own_is_refused():
    bare = qads.ExemplarTemplate(question="", answer="")
    anchor = qads.Pool.from_rows([row("tiny", "b", "erry is red")])
    with pytest.raises(InputError, match="anchor 'tiny': its solution has no token of its own"):
        OneShotInfluence(template=bare)(CANDIDATES, anchor)


def test_scores_come_back_from_their_table():
    scores = Influence(
        np.array([[-1.0, np.nan, -3.0], [np.nan, np.nan, np.nan]]), np.array([-1.5, -1.0, np.nan]),
        ("a", "b"), ("x", "y", "z"), ("s", "s", "t"),
    )  # fmt: skip
    found = Influence.from_table(scores.to_table())
    for name in ("one_shot", "zero_shot"):
        np.testing.assert_array_equal(getattr(found, name), getattr(scores, name))
    for name in ("candidate_ids", "anchor_ids", "anchor_groups"):
        assert getattr(found, name) == getattr(scores, name)


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize(
    "wrong",
    [
        {"one_shot": np.zeros((2, 2))},
        {"zero_shot": np.zeros(1)},
        {"candidate_ids": ("a",)},
        {"anchor_ids": ("x", "y")},
        {"anchor_groups": ("s",)},
        {"left_out": np.zeros((2, 1), bool)},
    ],
)
def test_scores_of_other_candidates_or_anchors_than_are_named_are_refused(wrong: dict[str, Any]):
    right = {
        "one_shot": np.zeros((2, 3)), "zero_shot": np.zeros(3), "candidate_ids": ("a", "b"),
        "anchor_ids": ("x", "y", "z"), "anchor_groups": ("s", "s", "t"), "left_out": np.zeros((2, 3), bool),
    }  # fmt: skip
    assert Influence(**right).quality().tolist() == [0.0, 0.0]
    with pytest.raises(AlignmentError, match=r"Influence: one-shot scores, .* must describe the same ones"):
        Influence(**(right | wrong))


def test_scores_on_other_anchors_are_not_joined():
    one = Influence(np.array([[-1.0, -2.0]]), np.array([-1.5, -1.0]), ("a",), ("x", "y"), ("s", "s"))
    other = dataclasses.replace(one, one_shot=one.one_shot - 1, candidate_ids=("b",))
    both = Influence.joined([one, other])
    assert both.candidate_ids == ("a", "b") and both.one_shot.tolist() == [[-1.0, -2.0], [-2.0, -3.0]]
    with pytest.raises(AlignmentError, match=r"joined: scores on the anchors x, y, … and on x, z, …"):
        Influence.joined([one, dataclasses.replace(other, anchor_ids=("x", "z"))])


@pytest.mark.parametrize(("candidates", "anchors"), [(("a", "a"), ("x",)), (("a",), ("x", "x"))])
def test_ids_that_are_there_twice_are_refused(candidates: tuple[str, ...], anchors: tuple[str, ...]):
    m = len(anchors)
    with pytest.raises(InputError, match="is there more than once; ids must differ"):
        Influence(np.zeros((len(candidates), m)), np.zeros(m), candidates, anchors, ("s",) * m)
