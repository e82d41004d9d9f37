"""Laws of what an experiment asks for: told before anything is scored, and never trained twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import qads
from compare.tiny_experiment import ARMS, Files
from qads.compare import estimate_experiment, load_experiment, read_progress, read_results, run_experiment
from qads.compare.cells import count_row_tokens
from qads.errors import ConfigError, InputError
from run.tiny import Heard

SELECT: dict[str, Any] = {"train": None, "evaluate": None}


def arms(**more: dict[str, Any]) -> dict[str, Any]:
    """The arms of the tiny experiment and another."""
    return {"arms": ARMS | {"more": {"selection": {"kind": "random"}} | more["more"]}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"budgets": 41}, "arm random, 41-rows: budget: budget is 41 rows but the pool has 40"),
        ({"budgets": [9, 0.001]}, "arm random, 0.1-percent: .* of 40 rows, which is none"),
        (arms(more={"budget": 50}), "arm more, 50-rows: .* 50 rows but the pool has 40"),
        (arms(more={"best_sources": 4}), "arms.more.best_sources is 4, but the pool has 3 sources"),
        (
            arms(more={"constraints": {"quotas": {"source": {"small": {"at_least": 7}}}}}),
            "arm more, 9-rows: budget: 7 rows of source=small are asked for, but only 6 are open",
        ),
        (
            arms(more={"selection": {"kind": "kcenter", "start": "random", "n_start": 10}}),
            "arm more, 9-rows: selection.n_start is 10, but the budget comes to 9 rows",
        ),
    ],
)
def test_what_no_scores_could_mend_is_refused_before_anything_is_written(
    files: Files, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    experiment, out = files.experiment(**SELECT | changes), tmp_path / "out"
    with pytest.raises(InputError, match=message):
        estimate_experiment(experiment, out)
    with pytest.raises(InputError, match=message):
        run_experiment(experiment, out)
    assert not out.exists()


def test_models_are_asked_for_programs_as_they_were_in_training_or_not_at_all(files: Files, tmp_path: Path) -> None:
    settings = files.settings(execution={"device": "cpu", "allow_code_execution": True})
    settings["evaluate"] |= {"generate": True, "method": "pot-cot"}
    experiment, out = load_experiment(settings), tmp_path / "out"  # An older directory can be read.
    message = "evaluate.suffix puts .* of the kind pot, but train.suffix puts ''"
    with pytest.raises(ConfigError, match=message):
        estimate_experiment(experiment, out)
    with pytest.raises(ConfigError, match=message):
        run_experiment(experiment, out)
    assert not out.exists()
    settings["train"] |= {"suffix": "instructions"}
    assert estimate_experiment(load_experiment(settings), out).cells


def test_tokens_are_counted_as_rows_are_trained_on(files: Files) -> None:
    rows = [qads.Row(id=kind, source="s", problem="2 + 2?", solution="4", kind=kind) for kind in ("cot", "pot")]
    plain, asked = (
        count_row_tokens(files.experiment(train=train), str(files.model), qads.Pool.from_rows(rows))
        for train in ({"epochs": 1}, {"epochs": 1, "suffix": "instructions"})
    )
    assert asked[0] == plain[0] and asked[1] > plain[1]


def test_a_budget_of_more_tokens_than_there_are_is_refused_before_anything_is_embedded(
    files: Files, tmp_path: Path
) -> None:
    experiment, heard = files.experiment(**SELECT, budgets="1M tokens", tokens_of=None), Heard()
    message = "arm random, 1000000-tokens: budget is 1,000,000 tokens, but all 40 rows of the pool have"
    with pytest.raises(InputError, match=message):
        estimate_experiment(experiment, tmp_path / "out")
    with pytest.raises(InputError, match=message):
        run_experiment(experiment, tmp_path / "out", observer=heard)
    assert "embed" not in heard.computed
    with pytest.raises(InputError, match="not one row fits"):
        estimate_experiment(files.experiment(**SELECT, budgets="3 tokens", tokens_of=None), tmp_path / "out")


def test_a_later_start_that_asks_for_too_much_is_refused_too(files: Files, tmp_path: Path) -> None:
    run_experiment(files.experiment(**SELECT), tmp_path / "out")
    with pytest.raises(InputError, match="arm random, 41-rows"):
        run_experiment(files.experiment(**SELECT, budgets=[9, 41]), tmp_path / "out")


def test_two_budgets_of_the_same_rows_are_one_that_is_told(files: Files, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = run_experiment(files.experiment(**SELECT, budgets=4), out)
    assert first.notes == ()
    both = files.experiment(**SELECT, budgets=["10%", 4, 9])
    told = "Budgets 0.1 and 4 are the same 4 of 40 rows: computed once, as 4-rows"
    assert estimate_experiment(both, out).notes == (told,)
    found = run_experiment(both, out)
    assert found.notes == read_results(out, both).notes == (told,)
    assert found.n_cells == 2 * first.n_cells and {s.setting.size.name for s in found.settings} == {"4-rows", "9-rows"}
    assert read_progress(out).n_cells == found.n_cells
    size = {"size": ["10-percent"]}  # As it stands in the file.
    assert len(estimate_experiment(both, out, only=size).cells) == len(estimate_experiment(both, out).cells) // 2
    assert run_experiment(both, out, only=size).n_done == found.n_done


def test_a_training_that_does_not_reach_all_of_its_rows_is_told(files: Files, tmp_path: Path) -> None:
    train = {"steps": 2, "batch_size": 3, "dtype": "float32"}
    found = estimate_experiment(files.experiment(train=train), tmp_path / "out")
    assert found.notes == ("train.steps 2 of 3 rows are 6 rows: of 9 that are selected 3 are never trained on",)


def test_an_experiment_without_arms_is_told_so(files: Files) -> None:
    with pytest.raises(ConfigError, match="arms: there is none; name what is compared"):
        files.experiment(arms={})


def test_a_start_that_is_refused_leaves_no_folder(files: Files, tmp_path: Path) -> None:
    experiment = files.experiment(**SELECT, anchors={"sources": str(tmp_path / "nowhere.jsonl")})
    with pytest.raises(InputError):
        run_experiment(experiment, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_training_under_an_adapter_is_estimated_at_two_passes_not_three(files: Files, tmp_path: Path) -> None:
    train = files.settings()["train"]
    whole, adapter = (
        estimate_experiment(files.experiment(train=train | more), tmp_path / "out").cells
        for more in ({}, {"lora": {"rank": 4}})
    )
    for full, light in zip(whole, adapter, strict=True):
        assert full.flops and light.flops and light.flops / full.flops == pytest.approx(2 / 3)
