"""Laws of an experiment's directory: each cell once, in any number of starts, killed or not."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from compare.tiny_experiment import ARMS, Files
from qads.compare import UNTRAINED, Experiment, Results, all_cells, read_progress, read_results, run_experiment
from qads.compare.cells import GridContext
from qads.compare.grid import all_settings
from qads.compare.shared import open_shared
from qads.compare.trials import train_manifest, training_of
from qads.errors import CorruptError, DriftError, InputError, LockedError, RunError
from qads.run import RunDirectory, SilentObserver, read_json
from run.tiny import Heard

Finished = tuple[Experiment, Path, Results]


def manifests(root: Path, stage: str) -> dict[str, str]:
    """Folder -> fingerprint of every finished stage of this name."""
    return {
        str(path.parent.relative_to(root)): (read_json(path) or {})["fingerprint"]
        for path in root.rglob(f"{stage}/manifest.json")
    }


@pytest.fixture
def copy(finished: Finished, tmp_path: Path) -> Path:
    shutil.copytree(finished[1], tmp_path / "copy")
    return tmp_path / "copy"


def test_every_cell_is_selected_trained_and_evaluated_once(finished: Finished) -> None:
    experiment, out, results = finished
    cells = all_cells(experiment)
    assert (results.n_done, results.n_cells) == (len(cells), len(cells)) == (12, 12)
    assert {name.removesuffix("/evaluate") for name in manifests(out / "cells", "evaluate")} == {
        str(cell.folder).removeprefix("cells/") for cell in cells
    }
    assert len(manifests(out / "cells", "select")) == 1 + 2 * 2 * 2  # QaDS chooses the same rows in every seed.
    assert len(manifests(out / "models", "evaluate")) == 1
    assert not list(out.rglob("weights"))


def test_training_and_selection_are_accounted_for(finished: Finished) -> None:
    _, out, results = finished
    arms = {arm.arm: arm for arm in results.settings[0].arms}
    assert arms["random"].selection_flops == 0
    assert arms["qads"].selection_flops == arms["like-qads"].selection_flops
    stages = {cost.stage: cost.flops for cost in arms["qads"].selection}
    assert list(stages) == ["embed", "influence", "scorer", "quality", "select"] and min(list(stages.values())[:4]) > 0
    (influence,) = ((read_json(path) or {})["flops"] for path in out.rglob("influence/manifest.json"))
    assert stages["influence"] == influence
    for arm in arms.values():
        assert arm.training.flops is not None and arm.training.flops > 0
        assert arm.total_flops == (arm.selection_flops or 0) + arm.training.flops
        assert {seed: each.training.steps for seed, each in arm.trials.items()} == {0: 3, 1: 3}
        assert sum(arm.composition.shares.values()) == pytest.approx(1)
        assert arm.ratio == 9 / 40


def test_a_step_of_an_arm_matched_in_tokens_has_as_many_as_one_of_the_arm_it_is_matched_to(finished: Finished) -> None:
    experiment, out, results = finished
    context = GridContext(experiment, out, open_shared(experiment, out), SilentObserver())
    rows, tokens = all_settings(experiment)
    qads = next(arm for arm in results.settings[0].arms if arm.arm == "qads").composition
    for arm in ("random", "qads", "like-qads"):
        assert training_of(context, rows.cell(experiment, arm, 0)).batch_tokens is None
        cell = tokens.cell(experiment, arm, 0)
        method = training_of(context, cell)
        assert method.batch_tokens == round(3 * qads.tokens / qads.rows)
        trained = train_manifest(context, cell) or {}
        assert trained["steps"] == method.plan(context.rows_pool(cell)).n_steps


def test_the_arm_that_tokens_are_matched_to_has_the_rows_that_it_has_matched_in_rows(finished: Finished) -> None:
    experiment, out, _ = finished
    context = GridContext(experiment, out, open_shared(experiment, out), SilentObserver())
    rows, tokens = (setting.cell(experiment, "qads", 1) for setting in all_settings(experiment))
    assert rows != tokens and rows.folder != tokens.folder
    assert context.select_stage(rows).path == context.select_stage(tokens).path
    assert not (out / tokens.arm_folder / "select").exists()


def test_an_arm_may_have_seeds_of_its_own(files: Files, finished: Finished, copy: Path) -> None:
    arms = ARMS | {"random": ARMS["random"] | {"seeds": [0, 1, 5, 6]}}
    more = run_experiment(files.experiment(match=["rows", "tokens"], arms=arms), copy)
    assert (more.n_done, more.n_cells) == (16, 16)
    for setting in more.settings:
        assert setting.seeds == {"random": (0, 1, 5, 6), "qads": (0, 1), "like-qads": (0, 1)}
        (measured,) = setting.measured
        every = [seed["one"].value for seed in measured.by_seed["random"]]
        assert measured.arms["random"]["one"].value == pytest.approx(np.mean(every)) and len(set(every)) == 4
        assert {o.n_seeds for o in measured.outcomes} == {2}


def test_what_is_compared_is_what_the_items_say(finished: Finished) -> None:
    experiment, _, results = finished
    (measured,) = results.settings[0].measured
    assert measured.measure == "answer_log_likelihood" and measured.n_items == {"one": 7, "two": 5}
    assert set(measured.arms) == {*ARMS, UNTRAINED} and measured.left_out == 0
    found = next(o for o in measured.outcomes if (o.arm, o.other, o.scope) == ("qads", "random", "one"))
    seeds = [measured.by_seed[arm][s]["one"].value for arm in ("qads", "random") for s in range(2)]
    assert found.difference.value == pytest.approx(np.mean(seeds[:2]) - np.mean(seeds[2:]))
    assert {(o.arm, o.other) for o in measured.outcomes} == set(experiment.pairs)
    assert (
        measured.arms["random"]["one"].value > measured.arms[UNTRAINED]["one"].value
    )  # It learns its own kind of text.
    assert np.diag(results.settings[0].overlap).tolist() == [1, 1, 1]


def test_a_second_start_computes_nothing_and_says_the_same(finished: Finished) -> None:
    experiment, out, results = finished
    heard = Heard()
    again = run_experiment(experiment, out, observer=heard)
    assert heard.computed == []
    assert again.settings[0].measured == results.settings[0].measured
    assert read_results(out, experiment).settings[1].measured == results.settings[1].measured


def test_a_grid_can_grow_and_be_computed_in_parts(files: Files, finished: Finished, copy: Path) -> None:
    grown = files.experiment(match=["rows", "tokens"], seeds=[0, 1, 2], arms=ARMS | {"top": {"selection": {"kind": "top-quality"}}})  # fmt: skip
    before = manifests(copy, "train")
    some = run_experiment(grown, copy, only={"arm": ["top"], "seed": ["0"]}, max_cells=1)
    assert len(manifests(copy, "train")) == len(before) + 1
    assert some.settings[0].seeds == dict.fromkeys(ARMS, (0, 1)) | {"top": (0,)}
    assert some.settings[1].unfinished == ("top",) and some.settings[1].seeds == dict.fromkeys(ARMS, (0, 1))
    tops = [o.verdict for o in some.settings[0].measured[0].outcomes if o.arm == "top"]
    assert tops and set(tops) == {"one seed: no claim"}
    assert before.items() <= manifests(copy, "train").items()
    assert read_progress(copy).n_done == some.n_done == 13 and some.n_cells == 3 * 8


def test_other_settings_of_training_are_a_drift_and_redo_trains_again(
    files: Files, finished: Finished, copy: Path
) -> None:
    other = files.experiment(match=["rows", "tokens"], train={"epochs": 2, "dtype": "float32"})
    with pytest.raises(DriftError, match=r"(?s)stage 'train' .*train.epochs: was 1.0, now 2.0"):
        run_experiment(other, copy)
    before = manifests(copy, "select")
    only = {"arm": ["qads"], "seed": ["1"], "size": ["9-rows"]}
    found = run_experiment(other, copy, only=only, redo=["train"])
    assert manifests(copy, "select") == before
    assert found.n_done == 1 and found.settings[0].seeds == {"qads": (1,)}  # What other settings left is not counted.
    trained = [read_json(path) or {} for path in copy.rglob("9-rows/qads/seed-*/train/manifest.json")]
    assert sorted(facts["settings"]["train"]["epochs"] for facts in trained) == [1, 2]


def test_an_unknown_stage_a_foreign_directory_and_a_second_process_are_refused(
    files: Files, finished: Finished, copy: Path, tmp_path: Path
) -> None:
    experiment = finished[0]
    with pytest.raises(InputError, match="--redo mixture: an experiment has the stages"):
        run_experiment(experiment, copy, redo=["mixture"])
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    with pytest.raises(RunError, match="is the directory of a run"):
        run_experiment(experiment, tmp_path / "run")
    with RunDirectory(copy).lock(), pytest.raises(LockedError):
        run_experiment(experiment, copy)
    with pytest.raises(RunError, match="is no experiment"):
        read_progress(tmp_path)


def test_selecting_alone_needs_no_training(files: Files, tmp_path: Path) -> None:
    results = run_experiment(files.experiment(train=None, evaluate=None), tmp_path / "out")
    assert results.n_done == results.n_cells == 6
    assert results.settings[0].measured == () and len(results.settings[0].arms) == 3
    assert not list((tmp_path / "out").rglob("train"))


def test_a_budget_in_tokens_is_one_for_every_arm(files: Files, tmp_path: Path) -> None:
    results = run_experiment(
        files.experiment(train=None, evaluate=None, budgets="900 tokens", tokens_of=None), tmp_path
    )
    (found,) = results.settings
    assert found.setting.size.name == "900-tokens"
    assert all(700 < arm.composition.tokens <= 900 and not arm.composition.stopped for arm in found.arms)
    assert read_progress(tmp_path).n_done == results.n_done == 6  # As the file of the directory has it.


def test_every_base_model_is_scored_by_itself_or_all_by_one(files: Files, tmp_path: Path) -> None:
    shutil.copytree(files.model, other := tmp_path / "other")
    settings = {"train": None, "evaluate": None, "models": [str(files.model), str(other)]}
    run_experiment(files.experiment(**settings), tmp_path / "each")
    run_experiment(files.experiment(**settings, scored_by=str(files.model)), tmp_path / "one")
    for name, n_runs in (("each", 2), ("one", 1)):
        assert len(list((tmp_path / name / "shared").iterdir())) == n_runs
        assert len(list((tmp_path / name / "models").iterdir())) == 2
    shared = [path.stat().st_ino for path in (tmp_path / "each" / "shared").rglob("embeddings.npy")]
    assert len(shared) == 2 and len(set(shared)) == 1  # Computed once, linked.


def test_weights_that_were_damaged_before_their_evaluation_are_not_evaluated(
    files: Files, finished: Finished, copy: Path
) -> None:
    kept = files.experiment(match=["rows", "tokens"], keep_models=True)
    only = {"arm": ["qads"], "seed": ["0"], "size": ["9-rows"]}
    run_experiment(kept, copy, only=only, redo=["train"])
    (weights,) = copy.rglob("weights")
    file = weights / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(CorruptError, match="--redo train"):
        run_experiment(kept, copy, only=only, redo=["evaluate"])
    shutil.rmtree(weights)  # Gone, it is trained again.
    run_experiment(kept, copy, only=only)
    assert list(copy.rglob("weights"))


def test_weights_that_are_left_of_finished_cells_are_told(
    files: Files, copy: Path, caplog: pytest.LogCaptureFixture
) -> None:
    experiment, only = files.experiment(match=["rows", "tokens"]), {"arm": ["qads"], "seed": ["0"]}
    left = copy / "cells" / next((copy / "cells").iterdir()).name / "9-rows" / "qads" / "seed-0" / "weights"
    left.mkdir()
    run_experiment(experiment, copy, only=only)
    assert "trained weights of 1 finished cells are there" in caplog.text and str(left) in caplog.text
    caplog.clear()
    run_experiment(dataclasses.replace(experiment, keep_models=True), copy, only=only)
    assert "weights" not in caplog.text and left.exists()


@pytest.mark.long
@pytest.mark.slow
def test_an_experiment_that_is_killed_again_and_again_ends_as_one_that_was_not(
    files: Files, finished: Finished, tmp_path: Path
) -> None:
    (tmp_path / "e.yaml").write_text(yaml.safe_dump(_plain(files.settings(match=["rows", "tokens"]))))
    out = tmp_path / "out"
    command = [sys.executable, "-m", "qads", "compare", str(tmp_path / "e.yaml"), "--out", str(out)]
    for n_stages in (4, 14):  # In the middle of the shared stages, and of the trainings.
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            while process.poll() is None and _n_stages(out) < n_stages:
                time.sleep(0.002)
            os.kill(process.pid, signal.SIGKILL)
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "All 12 cells are done." in ended.stdout
    experiment, whole, _ = finished
    for stage in ("select", "train", "evaluate"):
        assert manifests(out, stage) == manifests(whole, stage)
    for one, other in zip(
        read_results(out, experiment).settings, read_results(whole, experiment).settings, strict=True
    ):
        assert one.measured == other.measured


def _n_stages(out: Path) -> int:
    """Finished stages, without a look into folders that come and go."""
    places = ("shared/*/*/manifest.json", "cells/*/*/*/*/manifest.json", "cells/*/*/*/*/*/manifest.json")
    return sum(len(list(out.glob(place))) for place in places)


def _plain(settings: dict[str, object]) -> dict[str, object]:
    return {name: list(value) if isinstance(value, tuple) else _plain(value) if isinstance(value, dict) else value
            for name, value in settings.items()}  # fmt: skip
