"""Laws of rows that no arm may choose: they count nowhere, and what names them is a part of what was selected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compare.tiny_experiment import ARMS, Files
from qads import write_pool
from qads.compare import estimate_experiment, run_experiment
from qads.compare.cells import GridContext
from qads.compare.choosing import sources_by_quality
from qads.compare.grid import all_cells
from qads.compare.shared import open_shared
from qads.errors import ConfigError, DriftError, InputError
from qads.run import SilentObserver

SELECT: dict[str, Any] = {"train": None, "evaluate": None}
MORE: dict[str, Any] = {
    "best": {"selection": {"kind": "random"}, "best_sources": 1},
    "top": {"selection": {"kind": "top-quality"}},
    "within": {"selection": {"kind": "kcenter"}, "quality": "within-source"},
    "shuffled": {"selection": {"kind": "kcenter"}, "quality": "shuffled"},
}


def write_ids(path: Path, ids: list[str]) -> str:
    path.write_text("".join(f"{name}\n" for name in ids), "utf-8")
    return str(path)


def test_no_arm_chooses_them_in_rows_or_in_tokens(files: Files, tmp_path: Path) -> None:
    whole = files.experiment(**SELECT, arms=ARMS | MORE, match=["rows", "tokens"])
    run_experiment(whole, tmp_path / "whole")
    (run,) = open_shared(whole, tmp_path / "whole").values()
    # Of every source the best rows, which all arms that read quality would take.
    best = [rows[np.argsort(-run.quality[rows])[: len(rows) // 2]] for rows in run.pool.rows_by_source().values()]
    out = np.concatenate(best)
    named = write_ids(tmp_path / "out.txt", run.pool.take(out).strings("id"))
    experiment = files.experiment(**SELECT, arms=ARMS | MORE, match=["rows", "tokens"], exclude=named)
    run_experiment(experiment, tmp_path / "part", reuse=[str(run.root)])
    context = GridContext(experiment, tmp_path / "part", open_shared(experiment, tmp_path / "part"), SilentObserver())
    before = GridContext(whole, tmp_path / "whole", {whole.models[0]: run}, SilentObserver())
    for cell, other in zip(all_cells(experiment), all_cells(whole), strict=True):
        assert len(context.rows(cell)) and not np.isin(context.rows(cell), out).any(), str(cell)
        if cell.arm == "top":
            assert np.isin(before.rows(other), out).any(), "the law would hold of itself"


def test_the_best_sources_are_those_of_the_rows_that_are_left(files: Files, tmp_path: Path) -> None:
    arms = {"best": MORE["best"], "random": ARMS["random"]}
    whole = files.experiment(**SELECT, arms=arms, tokens_of=None, budgets=2)
    run_experiment(whole, tmp_path / "out")
    (run,) = open_shared(whole, tmp_path / "out").values()
    first, second, *_ = sources_by_quality(run.pool, run.quality)
    rows = run.pool.rows_by_source()[first]
    named = write_ids(tmp_path / "out.txt", run.pool.take(rows).strings("id"))
    found = files.experiment(**SELECT, arms=arms, tokens_of=None, budgets=2, exclude=named)
    run_experiment(found, tmp_path / "next", reuse=[str(run.root)])
    context = GridContext(found, tmp_path / "next", open_shared(found, tmp_path / "next"), SilentObserver())
    chosen = [context.rows_pool(cell).sources for cell in all_cells(found) if cell.arm == "best"]
    assert chosen == [[second]] * len(found.seeds)


def test_what_cleaning_took_out_may_be_named(files: Files, tmp_path: Path) -> None:
    experiment = files.experiment(**SELECT, clean={"against": [f"own={tmp_path / 'own.jsonl'}"]})
    (pool,) = (run.pool for run in _shared(files, tmp_path).values())
    write_pool(pool.take([3]), tmp_path / "own.jsonl")
    named = write_ids(tmp_path / "out.txt", pool.take([3, 4]).strings("id"))
    experiment = files.experiment(**SELECT, clean={"against": [f"own={tmp_path / 'own.jsonl'}"]}, exclude=named)
    run_experiment(experiment, tmp_path / "out")
    (run,) = open_shared(experiment, tmp_path / "out").values()
    assert run.pool.take(run.excluded).strings("id") == pool.take([4]).strings("id")
    assert estimate_experiment(experiment, tmp_path / "out").cells


def _shared(files: Files, tmp_path: Path) -> Any:
    experiment = files.experiment(**SELECT)
    run_experiment(experiment, tmp_path / "first")
    return open_shared(experiment, tmp_path / "first")


def test_other_names_are_another_selection(files: Files, tmp_path: Path) -> None:
    (run,) = _shared(files, tmp_path).values()
    ids, out = run.pool.strings("id"), tmp_path / "out"
    experiment = files.experiment(**SELECT, exclude=write_ids(tmp_path / "names.txt", ids[:2]))
    run_experiment(experiment, out)
    write_ids(tmp_path / "names.txt", ids[:3])
    with pytest.raises(DriftError, match=r"exclude names"):
        run_experiment(experiment, out)
    run_experiment(experiment, out, redo=["select"])


@pytest.mark.parametrize(
    ("n_out", "budget", "message"),
    [
        (35, 9, "arm random, 9-rows: budget: only 5 rows can be selected: 40 in the pool − 35 excluded; the budget is 9"),
        (35, "9K tokens", "all 5 rows that may be chosen have"),
    ],
)  # fmt: skip
def test_too_many_are_told_before_anything_is_scored(
    files: Files, tmp_path: Path, n_out: int, budget: Any, message: str
) -> None:
    (run,) = _shared(files, tmp_path).values()
    named = write_ids(tmp_path / "names.txt", run.pool.strings("id")[:n_out])
    experiment = files.experiment(**SELECT, exclude=named, budgets=budget, tokens_of=None)
    for start in (estimate_experiment, run_experiment):
        with pytest.raises(InputError, match=message):
            start(experiment, tmp_path / "out")


def test_a_name_that_is_no_row_is_told(files: Files, tmp_path: Path) -> None:
    experiment = files.experiment(**SELECT, exclude=write_ids(tmp_path / "names.txt", ["nobody"]))
    for start in (estimate_experiment, run_experiment):
        with pytest.raises(InputError, match="no row of the pool has the id 'nobody'"):
            start(experiment, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_selector_that_cannot_leave_rows_out_is_refused(files: Files, tmp_path: Path) -> None:
    arms = ARMS | {"facility": {"selection": {"kind": "facility-location"}}}
    with pytest.raises(ConfigError, match="facility-location"):
        files.experiment(arms=arms, exclude=write_ids(tmp_path / "names.txt", ["a"]))
