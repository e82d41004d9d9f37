"""Scores extended by more anchors or candidates: the same as computed at once, of the same texts and model only."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import qads
from qads.cluster import Execution, MemoryShards
from qads.errors import AlignmentError, InputError
from qads.quality import Influence, OneShotInfluence
from run.tiny import make_model, rows

CPU = Execution(device="cpu")


def pool(n: int, *, seed: int = 0, prefix: str = "r") -> qads.Pool:
    return qads.Pool.from_rows(qads.Row(**row) for row in rows(n, seed=seed, prefix=prefix))


CANDIDATES, ANCHORS = pool(20), pool(24, seed=1, prefix="a")


@pytest.fixture(scope="module")
def method(tmp_path_factory: pytest.TempPathFactory) -> OneShotInfluence:
    return OneShotInfluence(model=str(make_model(tmp_path_factory.mktemp("model") / "tiny")), dtype="float32")


@pytest.fixture(scope="module")
def whole(method: OneShotInfluence) -> Influence:
    return method(CANDIDATES, ANCHORS, execution=CPU)


@pytest.mark.parametrize(
    ("candidates", "anchors"), [(range(20), range(10)), (range(7), range(24)), (range(3, 12), range(5, 15)), ((), ())]
)
def test_an_extension_is_what_is_computed_at_once(
    method: OneShotInfluence, whole: Influence, candidates: range, anchors: range
):
    if len(candidates):
        known = method(CANDIDATES.take([*candidates][::-1]), ANCHORS.take([*anchors][::-1]), execution=CPU)
        extended = method(CANDIDATES, ANCHORS, known=known, execution=CPU)
    else:
        extended = method(CANDIDATES, ANCHORS, known=(), execution=CPU)
    np.testing.assert_allclose(extended.one_shot, whole.one_shot, atol=1e-5)
    np.testing.assert_allclose(extended.zero_shot, whole.zero_shot, atol=1e-5)
    assert extended.n_reused == len(candidates) * len(anchors)
    assert extended.n_tokens < whole.n_tokens or not len(candidates)
    assert (extended.candidate_ids, extended.anchor_ids) == (whole.candidate_ids, whole.anchor_ids)


def test_what_is_taken_over_is_the_very_number_and_only_the_rest_costs_tokens(
    method: OneShotInfluence, whole: Influence
):
    again = method(CANDIDATES, ANCHORS, known=whole, execution=CPU)
    np.testing.assert_array_equal(again.one_shot, whole.one_shot)
    np.testing.assert_array_equal(again.zero_shot, whole.zero_shot)
    assert (again.n_tokens, again.n_reused) == (0, 20 * 24)
    half = method(CANDIDATES, ANCHORS.take(range(12)), execution=CPU)
    rest = method(CANDIDATES, ANCHORS.take(range(12, 24)), execution=CPU)
    assert method(CANDIDATES, ANCHORS, known=half, execution=CPU).n_tokens == rest.n_tokens
    both = method(CANDIDATES, ANCHORS, known=[half, rest], execution=CPU)
    assert (both.n_tokens, both.n_reused) == (0, 20 * 24)


def test_scores_that_went_through_a_table_can_be_extended(method: OneShotInfluence, whole: Influence, tmp_path: Path):
    pq.write_table(whole.to_table(), tmp_path / "influence.parquet")
    back = Influence.from_table(pq.read_table(tmp_path / "influence.parquet"))
    assert back.origin == whole.origin
    assert method(CANDIDATES, ANCHORS, known=back, execution=CPU).n_tokens == 0


def test_rows_are_known_by_their_text_and_not_by_their_name(method: OneShotInfluence, whole: Influence):
    renamed = qads.Pool.from_rows(dataclasses.replace(row, id=f"new {row.id}") for row in CANDIDATES)
    found = method(renamed, ANCHORS, known=whole, execution=CPU)
    assert found.n_tokens == 0 and found.candidate_ids[0] == "new r0"


def test_another_text_under_the_same_name_is_refused_by_name(method: OneShotInfluence, whole: Influence):
    changed = qads.Pool.from_rows(
        dataclasses.replace(row, solution="Other.") if row.id == "r3" else row for row in CANDIDATES
    )
    with pytest.raises(InputError, match="candidate r3: the earlier scores have another text under the same id"):
        method(changed, ANCHORS, known=whole, execution=CPU)
    with pytest.raises(InputError, match="anchor a0, anchor a1, anchor a2, anchor a3, anchor a4 and 19 more: "):
        others = (dataclasses.replace(row, problem=row.problem + " Now?") for row in ANCHORS)
        method(CANDIDATES, qads.Pool.from_rows(others), known=whole, execution=CPU)


def test_another_model_precision_or_template_is_refused_by_what_differs(
    method: OneShotInfluence, whole: Influence, tmp_path: Path
):
    other_model = make_model(tmp_path / "other")
    config = other_model / "generation_config.json"
    config.write_text(config.read_text().replace("{", '{"max_length": 7,', 1))
    for changed, line in (
        (dataclasses.replace(method, dtype="bfloat16"), 'dtype: was "float32", now "bfloat16"'),
        (dataclasses.replace(method, template=qads.ExemplarTemplate(question="Q: ")), 'template.question: was "Question: ", now "Q: "'),
        (dataclasses.replace(method, model=str(other_model)), 'model: was "'),
    ):  # fmt: skip
        with pytest.raises(InputError, match=r"known\[0\] was scored in another way") as caught:
            changed(CANDIDATES, ANCHORS, known=whole, execution=CPU)
        assert line in str(caught.value)


def test_scores_that_do_not_say_where_they_are_from_or_were_cut_are_refused(method: OneShotInfluence, whole: Influence):
    with pytest.raises(InputError, match="does not say what its scores were made from"):
        method(CANDIDATES, ANCHORS, known=dataclasses.replace(whole, origin=None), execution=CPU)
    part = dataclasses.replace(whole, one_shot=whole.one_shot[:3], candidate_ids=whole.candidate_ids[:3])
    with pytest.raises(AlignmentError, match=r"has scores \[3, 24\], but says what \[20, 24\] were made from"):
        method(CANDIDATES, ANCHORS, known=part, execution=CPU)


def test_a_row_that_is_cut_to_fit_other_anchors_is_computed_again(method: OneShotInfluence):
    long = qads.Row(id="long", source="s", problem="Tell " * 40, solution="Yes.")
    candidates = qads.Pool.from_rows([*CANDIDATES.take([0, 1]), long])
    cutting = dataclasses.replace(method, max_length=240, too_long="truncate_problem")
    longer = dataclasses.replace(ANCHORS[0], id="longer", solution=ANCHORS[0].solution + " Done now.")
    known = cutting(candidates, ANCHORS.take([0]), execution=CPU)
    assert "candidate long" in known.affected
    both = qads.Pool.from_rows([ANCHORS[0], longer])
    extended, at_once = cutting(candidates, both, known=known, execution=CPU), cutting(candidates, both, execution=CPU)
    assert extended.n_reused == 2
    np.testing.assert_allclose(extended.one_shot, at_once.one_shot, atol=1e-5)


@pytest.mark.parametrize(
    "rule", [qads.UntilStandardError(se=0.0001, panel=2), qads.UntilRankStable(panel=2, tolerance=0.5)]
)
def test_a_rule_asks_for_the_same_pairs_whatever_is_known(method: OneShotInfluence, whole: Influence, rule: object):
    racing = dataclasses.replace(method, stopping=rule)  # type: ignore[arg-type]
    alone = racing(CANDIDATES, ANCHORS, execution=CPU)
    assert 0 < alone.pending.sum()
    there = ~np.isnan(alone.one_shot)
    np.testing.assert_allclose(alone.one_shot[there], whole.one_shot[there], atol=1e-5)
    helped = racing(CANDIDATES, ANCHORS, known=whole, execution=CPU)
    np.testing.assert_array_equal(helped.pending, alone.pending)
    assert (helped.n_tokens, helped.n_reused) == (0, there.sum())
    extended = method(CANDIDATES, ANCHORS, known=alone, execution=CPU)
    np.testing.assert_allclose(extended.one_shot, whole.one_shot, atol=1e-5)
    assert extended.n_reused == there.sum() and not extended.pending.any()


def test_tokens_of_rounds_count_the_example_once_a_round(method: OneShotInfluence, whole: Influence):
    racing = dataclasses.replace(method, stopping=qads.UntilStandardError(se=1e-9))
    rounds = racing(CANDIDATES, ANCHORS, execution=CPU)
    assert [(part.n_candidates, part.n_anchors) for part in rounds.rounds] == [(20, 8)] * 3

    def prefixes(candidates: qads.Pool) -> int:
        """Tokens of header and example of every candidate, and of the header alone."""
        first, second, both = (
            method(candidates, ANCHORS.take(chosen), execution=CPU).n_tokens for chosen in ([0], [1], [0, 1])
        )
        return first + second - both

    everyone = prefixes(CANDIDATES)
    header = prefixes(CANDIDATES.take(range(10))) + prefixes(CANDIDATES.take(range(10, 20))) - everyone
    assert rounds.n_tokens == whole.n_tokens + 2 * (everyone - header)
    np.testing.assert_allclose(rounds.one_shot, whole.one_shot, atol=1e-5)


def test_finished_shards_of_rounds_are_used_and_those_of_other_pairs_are_not(method: OneShotInfluence):
    racing = dataclasses.replace(method, stopping=qads.UntilStandardError(se=0.0001, panel=2))
    store = MemoryShards()
    first = racing(CANDIDATES, ANCHORS, execution=CPU, shards=store)
    kept = dict(store.tables)
    again = dataclasses.replace(racing, model="not/here")(CANDIDATES, ANCHORS, execution=CPU, shards=store)
    np.testing.assert_array_equal(first.one_shot, again.one_shot)
    assert all(store.tables[index] is table for index, table in kept.items())
    last = max(kept)
    store.tables[last] = kept[1]  # As if another set of candidates had gone on.
    mended = racing(CANDIDATES, ANCHORS, execution=CPU, shards=store)
    assert store.tables[last].equals(kept[last])
    np.testing.assert_array_equal(mended.one_shot, first.one_shot)
