"""What a model makes of rows, and scorers that read with one."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import qads
from qads.cluster import Execution, MemoryShards
from qads.errors import InputError
from qads.quality.scorers import reading
from qads.quality.scorers.rating import RowRater
from qads.quality.scorers.reading import LIKELIHOODS
from run.tiny import make_model, rows, write_rows

CPU = Execution(device="cpu")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_model(tmp_path_factory.mktemp("model") / "tiny"))


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> qads.Pool:
    return qads.load_pool([str(write_rows(tmp_path_factory.mktemp("pool") / "pool.jsonl", rows(40)))])


@pytest.fixture(scope="module")
def probe(model: str) -> qads.ProbeScorer:
    return qads.ProbeScorer(
        model=model, dtype="float32", reads=("likelihood", "states"), depths=(0.5, 1.0), families=("ridge",)
    )


def quality_of(pool: qads.Pool) -> np.ndarray:
    """Something that the text tells."""
    return np.array([len(row.problem) for row in pool]) / 100


def test_the_likelihood_of_a_solution_is_that_of_the_row_as_an_anchor(
    model: str, pool: qads.Pool, probe: qads.ProbeScorer
):
    found = probe.completed().read(pool, CPU)
    scoring = qads.OneShotInfluence(model=model, dtype="float32")
    expected = scoring(pool.take([0]), pool, execution=CPU).zero_shot
    np.testing.assert_allclose(
        found.likelihoods[:, LIKELIHOODS.index("solution given the problem")], expected, atol=1e-4
    )
    assert found.states.shape == (40, 4, 32) and np.isfinite(found.states).all()
    assert found.cost.tokens == int(np.exp(found.likelihoods[:, LIKELIHOODS.index("log tokens")]).round().sum())


def test_a_row_reads_alike_whatever_stands_beside_it(pool: qads.Pool, probe: qads.ProbeScorer):
    method = probe.completed()
    whole, alone = method.read(pool, CPU), method.read(pool.take([7]), CPU)
    np.testing.assert_allclose(whole.states[7], alone.states[0], atol=1e-4)
    np.testing.assert_allclose(whole.likelihoods[7], alone.likelihoods[0], atol=1e-4)


def test_a_row_that_the_model_cannot_read_has_no_number_and_a_reason(pool: qads.Pool, probe: qads.ProbeScorer):
    lengths = np.exp(probe.completed().read(pool, CPU).likelihoods[:, -1]).round()
    short = dataclasses.replace(probe, max_length=int(np.sort(lengths)[-6]))
    quality = quality_of(pool)
    fitted = short.fit(pool, quality, execution=CPU)
    found = fitted.prediction(pool, execution=CPU)
    unread = np.flatnonzero(lengths > short.max_length)
    assert 0 < len(unread) < 6 and fitted.n_labels == 40 - len(unread)
    assert sorted(found.reasons) == unread.tolist() == np.flatnonzero(np.isnan(found.quality)).tolist()
    assert all("tokens where the context of the model holds" in reason for reason in found.reasons.values())
    assert fitted.out_of_fold is not None and np.isnan(fitted.out_of_fold.predicted[unread]).all()


def test_a_row_of_which_the_model_makes_no_number_has_none_and_a_reason(
    pool: qads.Pool, tmp_path: Path, probe: qads.ProbeScorer
):
    folder = make_model(tmp_path / "broken")
    broken = AutoModelForCausalLM.from_pretrained(folder)
    (tilde,) = AutoTokenizer.from_pretrained(folder)("~", add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        broken.model.embed_tokens.weight[tilde] = float("nan")
    broken.save_pretrained(folder)
    some = qads.Pool.from_rows(
        dataclasses.replace(row, problem=f"{row.problem}~") if number in (3, 17) else row
        for number, row in enumerate(pool)
    )
    fitted = dataclasses.replace(probe, model=str(folder)).fit(some, quality_of(some), execution=CPU)
    found = fitted.prediction(some, execution=CPU)
    assert fitted.n_labels == 38 and np.flatnonzero(np.isnan(found.quality)).tolist() == [3, 17]
    assert set(found.reasons.values()) == {reading.NO_NUMBER} and sorted(found.reasons) == [3, 17]
    few = some.take(range(10))
    with pytest.raises(
        InputError, match=r"of 10 scored rows the model can read 9 \(of another: what the model gives is no"
    ):
        dataclasses.replace(probe, model=str(folder)).fit(few, quality_of(few), execution=CPU)
    asking = qads.LMScorer(model=str(folder), dtype="float32").completed()
    lm = asking.open_model(CPU)
    rated = RowRater(lm, asking.texts(lm), n_levels=2, max_tokens_per_batch=999)(some)
    assert rated.reasons == found.reasons
    assert np.flatnonzero(np.isnan(rated.probabilities).any(axis=1)).tolist() == [3, 17]


def test_a_folder_keeps_a_probe_and_another_model_is_refused(
    pool: qads.Pool, probe: qads.ProbeScorer, model: str, tmp_path: Path
):
    fitted = probe.fit(pool, quality_of(pool), execution=CPU)
    fitted.save(tmp_path / "scorer")
    again = qads.load_scorer(tmp_path / "scorer")
    np.testing.assert_array_equal(again.predict(pool, execution=CPU), fitted.predict(pool, execution=CPU))
    raw = json.loads((tmp_path / "scorer" / "scorer.json").read_text())
    raw["made_for"]["reader"]["model"] = "sha256:other"
    (tmp_path / "scorer" / "scorer.json").write_text(json.dumps(raw))
    other = qads.load_scorer(tmp_path / "scorer")
    with pytest.raises(InputError, match=r'model: reader model was "sha256:other", now (.|\n)*--allow-other model'):
        other.predict(pool, execution=CPU)
    assert np.isfinite(other.predict(pool, allow=("model",), execution=CPU)).all()


def test_finished_shards_of_a_prediction_are_not_computed_again(pool: qads.Pool, probe: qads.ProbeScorer):
    fitted, shards = probe.fit(pool, quality_of(pool), execution=CPU), MemoryShards()
    fitted.prediction(pool, execution=CPU, shards=shards)
    table = shards.tables[0]
    marked = pa.array(np.full(40, 9.0, np.float32))
    shards.tables[0] = table.set_column(table.column_names.index("quality"), "quality", marked)
    assert (fitted.predict(pool, execution=CPU, shards=shards) == 9.0).all()


def test_finished_shards_of_a_reading_are_not_read_again(
    pool: qads.Pool, probe: qads.ProbeScorer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(reading, "_ROWS_PER_SHARD", 16)
    shards, told, method = MemoryShards(), list[tuple[int, int]](), probe.completed()
    whole = method.read(pool, CPU, lambda *at: told.append(at), shards=shards)
    assert sorted(shards.tables) == [0, 1, 2] and told[0] == (0, 40) and told[-1] == (40, 40)
    kept = reading.Readings.from_table(shards.tables[1])
    np.testing.assert_array_equal(kept.states, whole.states[16:32])
    marked, of = dataclasses.replace(kept, states=kept.states + 9).to_table(), shards.tables[1].schema.metadata
    shards.tables[1] = marked.replace_schema_metadata(of)
    del shards.tables[2]
    again = method.read(pool, CPU, shards=shards)
    np.testing.assert_array_equal(again.states[16:32], whole.states[16:32] + 9)
    np.testing.assert_array_equal(again.states[32:], whole.states[32:])
    np.testing.assert_array_equal(again.likelihoods, whole.likelihoods)
    assert again.reasons == whole.reasons and again.cost.tokens == whole.cost.tokens


def test_a_shard_of_readings_is_kept_as_it_is_with_rows_that_could_not_be_read():
    states, likelihoods = np.full((2, 0, 32), np.nan, np.float32), np.array([[np.nan] * 8, [0.1] * 8])
    for given in (states, np.full((2, 4, 3), -0.0, np.float32)):
        found = reading.Readings(given, likelihoods, ("too long", None))
        again = reading.Readings.from_table(found.to_table())
        assert again.states.shape == given.shape and again.states.tobytes() == given.tobytes()
        assert again.likelihoods.tobytes() == likelihoods.tobytes() and again.reasons == ("too long", None)


@pytest.mark.slow
def test_processes_read_what_this_one_reads(pool: qads.Pool, probe: qads.ProbeScorer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reading, "_ROWS_PER_SHARD", 16)
    alone, two = (probe.completed().read(pool, each) for each in (CPU, Execution(device="cpu", workers=2)))
    np.testing.assert_array_equal(two.states, alone.states)
    np.testing.assert_array_equal(two.likelihoods, alone.likelihoods)
