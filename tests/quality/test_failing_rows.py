"""A row that makes the model fail is listed with the reason, and the others have the scores that they have without it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import qads
from qads import Execution, OneShotInfluence
from qads.errors import ModelError
from qads.quality.stopping import UntilStandardError
from run.tiny import make_model, rows


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with one token of which it makes no number: a tilde."""
    folder = make_model(tmp_path_factory.mktemp("model") / "tiny")
    broken = AutoModelForCausalLM.from_pretrained(folder)
    (tilde,) = AutoTokenizer.from_pretrained(folder)("~", add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        broken.model.embed_tokens.weight[tilde] = float("nan")
    broken.save_pretrained(folder)
    return folder


def pool(n: int, *, broken: set[int], prefix: str = "r", seed: int = 0) -> qads.Pool:
    made = rows(n, prefix=prefix, seed=seed)
    return qads.Pool.from_rows(
        qads.Row(**row | {"problem": f"{row['problem']}~"} if number in broken else row)
        for number, row in enumerate(made)
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_the_model_fails_at_two_rows_in_the_midst_of_good_ones(
    model: Path, workers: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    method, anchors = OneShotInfluence(model=str(model), dtype="float32"), pool(3, broken=set(), prefix="a", seed=9)
    execution = Execution(device="cpu", workers=workers)
    good = method(pool(20, broken=set()), anchors)
    found = method(pool(20, broken={3, 17}), anchors, execution=execution)
    lost = np.isnan(found.one_shot).all(axis=1)
    assert np.flatnonzero(lost).tolist() == [3, 17]
    assert list(found.affected) == ["candidate r3", "candidate r17"]
    assert "the model fails at it, so it has no score: llama: gives nan" in found.affected["candidate r3"]
    assert "candidate r17: the model fails at it" in caplog.text
    np.testing.assert_allclose(found.one_shot[~lost], good.one_shot[~lost], atol=1e-6)
    again = method(pool(20, broken={3, 17}), anchors, known=found, execution=execution)
    assert (list(again.affected), again.n_reused) == (list(found.affected), 18 * 3)
    np.testing.assert_array_equal(again.one_shot, found.one_shot)


@pytest.mark.parametrize(("n", "broken"), [(9, {8}), (10, {8, 9}), (3, {1})])
def test_the_last_shard_may_hold_nothing_but_rows_that_the_model_fails_at(model: Path, n: int, broken: set[int]):
    method, anchors = OneShotInfluence(model=str(model), dtype="float32"), pool(3, broken=set(), prefix="a", seed=9)
    found = method(pool(n, broken=broken), anchors)
    assert set(np.flatnonzero(np.isnan(found.one_shot).all(axis=1)).tolist()) == broken
    assert list(found.affected) == [f"candidate r{i}" for i in sorted(broken)]


def test_no_further_round_asks_for_a_row_that_the_model_fails_at(model: Path):
    stopping = UntilStandardError(se=1e-9, start=4, panel=1)
    method = OneShotInfluence(model=str(model), dtype="float32", stopping=stopping)
    found = method(pool(9, broken={8}), pool(8, broken=set(), prefix="a", seed=9))
    assert [each.n_candidates for each in found.rounds] == [9, *[8] * (len(found.rounds) - 1)]
    assert len(found.rounds) > 1 and not found.pending.any()
    assert list(found.affected) == ["candidate r8"]


def test_a_model_that_fails_at_every_row_or_at_an_anchor_is_an_error(model: Path):
    method, anchors = OneShotInfluence(model=str(model), dtype="float32"), pool(3, broken=set(), prefix="a", seed=9)
    for n in (1, 8):
        with pytest.raises(ModelError, match="gives nan where a log-probability should be"):
            method(pool(n, broken=set(range(n))), anchors)
    with pytest.raises(ModelError, match="gives nan where a log-probability should be"):
        method(pool(8, broken=set()), pool(3, broken={1}, prefix="a", seed=9))
