"""A stage that opened models leaves none of them in memory, whatever refers to what in them."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compare.tiny_experiment import make_files
from qads.compare import run_experiment
from qads.models import held, open_causal_lm
from qads.run import SilentObserver
from run.tiny import make_model


@pytest.fixture(autouse=True)
def no_collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Python collects nothing by itself, and every model is worth it."""
    monkeypatch.setattr(held, "_WORTH_BYTES", 1)
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class _Counting(SilentObserver):
    """How many models there are when stages end, beside those that were there before."""

    def __init__(self) -> None:
        self.before, self.found = set(map(id, held._opened.models)), dict[str, int]()

    def stage_finished(self, name: str, manifest: Any, *, reused: bool) -> None:
        self.found[name] = len(set(map(id, held._opened.models)) - self.before)


def test_stages_that_train_and_evaluate_leave_no_model(tmp_path: Path) -> None:
    pytest.importorskip("trl")
    counting = _Counting()
    run_experiment(make_files(tmp_path).experiment(), tmp_path / "out", max_cells=2, observer=counting)
    assert sum("train" in name for name in counting.found) >= 2
    assert not any(counting.found.values()), counting.found


def test_a_model_that_is_used_stays_and_one_that_is_not_goes(tmp_path: Path) -> None:
    before = set(map(id, held._opened.models))
    model = str(make_model(tmp_path / "model"))
    kept, left = open_causal_lm(model, dtype="float32"), open_causal_lm(model, dtype="float32")
    left.model.itself = [left.model]  # As a model that was trained, or whose attention was exchanged.
    del left
    held.give_back_models()
    assert {id(each) for each in held._opened.models} - before == {id(kept.model)}
