"""What an experiment's file may say, and which cells come of it."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import pytest

from qads.compare import all_cells, load_experiment, only_cells
from qads.compare.grid import Size
from qads.errors import ConfigError
from qads.train import PRESETS

ARMS: dict[str, Any] = {
    "random": {"selection": {"kind": "random"}},
    "qads": {},
    "like-qads": {"selection": {"kind": "random"}, "source_shares_of": "qads"},
    "all": {"selection": {"kind": "random"}, "budget": "100%"},
}


def given(**changes: Any) -> dict[str, Any]:
    return {"pool": {"sources": "pool.jsonl"}, "arms": ARMS, "budgets": 60, "seeds": [0, 1]} | changes


def test_a_cell_is_an_arm_a_size_a_model_and_a_seed() -> None:
    cells = all_cells(load_experiment(given(budgets=[60, "10%"], models=["a", "b"])))
    assert len(cells) == len(set(cells)) == 2 * 2 * (3 * 2 + 1)  # The whole pool is the same for both budgets.
    assert {str(cell.folder) for cell in cells if cell.arm == "qads" and cell.seed == 1 and cell.model == "a"} == {
        "cells/a/60-rows/qads/seed-1", "cells/a/10-percent/qads/seed-1",
    }  # fmt: skip


@pytest.mark.parametrize(("train", "once"), [({}, False), ({"batch_tokens": 900}, True), (None, True)])
def test_the_arm_that_tokens_are_matched_to_is_trained_once_for_both_where_steps_are_the_same(
    train: dict[str, int] | None, once: bool
) -> None:
    asked = given(match=["rows", "tokens"], tokens_of="qads", train=train) | (
        {} if train is not None else {"evaluate": None}
    )
    cells = all_cells(load_experiment(asked))
    sizes = {arm: {cell.size.name for cell in cells if cell.arm == arm} for arm in ARMS}
    both = {"60-rows", "tokens-of-60-rows"}
    assert sizes == {"random": both, "qads": {"60-rows"} if once else both, "like-qads": both, "all": {"100-percent"}}


def test_a_part_of_the_seeds_comes_before_the_rest() -> None:
    seeds = [cell.seed for cell in all_cells(load_experiment(given()))]
    assert seeds == sorted(seeds)


def test_all_arms_are_compared_with_the_reference_and_an_arm_with_its_random_rows_of_the_same_shares() -> None:
    pairs = load_experiment(given(contrasts={"all": ["qads"]})).pairs
    assert pairs == (
        ("qads", "random"), ("like-qads", "random"), ("all", "random"), ("qads", "like-qads"), ("all", "qads"),
    )  # fmt: skip


def test_cells_are_asked_for_by_their_parts() -> None:
    cells = all_cells(load_experiment(given()))
    assert {c.arm for c in only_cells(cells, {"arm": ["qads"], "seed": ["1"]})} == {"qads"}
    with pytest.raises(ConfigError, match="--only arm=quads: there are all, like-qads, qads, random"):
        only_cells(cells, {"arm": ["quads"]})
    with pytest.raises(ConfigError, match="--only colour=…: cells have arm, size, model, seed"):
        only_cells(cells, {"colour": ["red"]})


@pytest.mark.parametrize(
    ("arm", "changes", "message"),
    [
        ({"selecton": {}}, {}, "arms.x.selecton: unknown key; did you mean 'selection'"),
        ({"selection": {"alpah": 1}}, {}, "arms.x.selection.alpah: unknown key; did you mean 'alpha'"),
        ({"source_shares_of": "quads"}, {}, "arms.x.source_shares_of: 'quads' is no arm; there are random, qads"),
        ({"source_shares_of": "like-qads"}, {}, "like-qads has no shares of its own"),
        ({"source_shares_of": "x"}, {}, "x has no shares of its own"),
        ({"source_shares_of": "qads", "best_sources": 2}, {}, "source_shares_of and best_sources exclude each other"),
        ({"selection": {"kind": "facility-location"}, "best_sources": 2}, {}, "picks rows as a whole"),
        ({"best_sources": 0}, {}, "best_sources is 0"),
        ({"constraints": {"exclude": "ids.txt"}}, {}, "named by the experiment: exclude: FILES"),
        ({"constraints": {"quotas": {"kind": {"cot": {"share": 0.5}}}}, "source_shares_of": "qads"}, {}, "give one"),
        ({"selection": {"kind": "top-quality"}, "quality": "none"}, {}, "ranks by nothing else"),
        ({}, {"quality": None}, "arms.qads: needs quality, but quality is null"),
        ({}, {"reference": "randon"}, "reference: 'randon' is no arm"),
        ({}, {"contrasts": {"qads": ["y"]}}, "contrasts.qads: 'y' is no arm"),
        ({}, {"match": ["tokens"]}, "tokens_of: match has tokens; name the arm"),
        ({}, {"match": ["tokens"], "tokens_of": "like-qads"}, "tokens_of: like-qads has no number of tokens"),
        ({}, {"seeds": [1, 1]}, "seeds: .*none twice"),
        ({}, {"seeds": []}, "seeds: there must be one at least"),
        ({"seeds": [0, 3, 3]}, {}, r"arms.x.seeds: \[0, 3, 3\]: .*none twice"),
        ({"selection": {"kind": "random", "seed": 5}}, {}, "arms.x.selection.seed: .* say seeds: of the experiment"),
        ({}, {"train": {"seed": 7}}, "train.seed: .* say seeds: of the experiment"),
        ({}, {"train": {}, "evaluate": {"sets": "gsm8k", "revision": "v2"}}, "evaluate.revision: .* leave it"),
        ({}, {"evaluate": {"sets": "gsm8k"}}, "evaluate: there is nothing to evaluate, since train is null"),
        ({}, {"train": {"model": "other"}}, "say it as models: other"),
        ({}, {"train": {}, "evaluate": {"sets": "gsm8k", "template": {"kind": "chat"}}}, "Say the same in both"),
        ({}, {"quality": {"influence": {"model": "other"}}}, "say it as scored_by: other"),
        ({}, {"pool": {"sources": "-"}}, "read from files"),
    ],
)
def test_what_cannot_be_carried_out_is_refused_by_name(
    arm: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        load_experiment(given(arms=ARMS | {"x": arm}, **changes))


def test_a_name_that_is_no_folder_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'\.\./x' is no name for a folder"):
        load_experiment(given(arms=ARMS | {"../x": {}}))


def test_an_arm_is_not_called_what_the_base_model_is_called() -> None:
    with pytest.raises(ConfigError, match="arms: 'untrained' is what results call the base model"):
        load_experiment(given(arms=ARMS | {"untrained": {}}))


@pytest.mark.parametrize("models", [["org/a", "org--a"], ["a", "./a"], [".."]])
def test_base_models_that_would_share_a_folder_are_refused(models: list[str]) -> None:
    with pytest.raises(ConfigError, match="need a folder each"):
        all_cells(load_experiment(given(models=models, scored_by="x")))


def test_shares_that_differ_have_names_that_differ() -> None:
    names = [Size(share).name for share in (0.1, 0.07, 0.1234567, 0.1234568)]
    assert names == ["10-percent", "7-percent", "12.34567-percent", "12.34568-percent"]


def test_an_arm_sees_quality_where_its_selector_reads_it() -> None:
    arms = load_experiment(given()).arms
    assert (arms["qads"].sees, arms["random"].sees, arms["qads"].needs_quality) == ("measured", "none", True)
    assert arms["random"].draws and not arms["qads"].draws


def test_anchors_beside_a_saved_scorer_serve_the_arms_that_look_for_what_is_near_them() -> None:
    arms = {"random": {"selection": {"kind": "random"}}, "near": {"selection": {"kind": "nearest-to-anchors"}}}
    saved = {"scorer": {"kind": "saved", "path": "fitted"}}
    found = load_experiment(given(quality=saved, anchors={"sources": "a.jsonl"}, arms=arms))
    configs = {arm: found.run_config(each.selection, 1, "m") for arm, each in found.arms.items()}
    assert {arm: each.anchors.sources for arm, each in configs.items()} == {"random": (), "near": ("a.jsonl",)}


def test_every_experiment_that_is_kept_is_read(tmp_path: Path) -> None:
    folder = Path(__file__).parents[2]
    found = [*folder.glob("experiments/compare*.yaml"), folder / "examples" / "compare.yaml"]
    assert len(found) >= 7
    for path in found:
        text = string.Template(path.read_text(encoding="utf-8")).substitute(QADS_TEST_DATA="data", QADS_INPUTS="inputs")
        (file := tmp_path / path.name).write_text(
            text, encoding="utf-8"
        )  # As a file, which gives less leave than values.
        experiment = load_experiment(file)
        assert experiment.reference == "random" and len(experiment.seeds) >= 3 and experiment.evaluate is not None
        if path.stem.endswith("_full"):
            settings, asked = PRESETS["qads-paper"], experiment.train
            assert {name: getattr(asked, name) for name in settings} == settings, path.name
