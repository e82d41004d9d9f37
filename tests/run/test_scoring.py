"""What a run does with rows that have no quality, with none to predict, and with a scorer that was fitted before."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file, save_file

import qads
from qads.config import SavedScorer, load_config
from qads.errors import CorruptError, DriftError, InputError
from qads.pool import to_json
from qads.run import ensure_coverage, run_pipeline
from qads.run.plan import _scorer_files
from run.tiny import rows, run, settings, write_rows

LONG = " ".join(map(str, range(10_000, 10_600)))
"""More tokens than the context holds."""


def manifest(root: Path, stage: str) -> dict[str, Any]:
    return json.loads((root / stage / "manifest.json").read_text())


@pytest.fixture
def with_long_rows(model: Path, tmp_path: Path) -> dict[str, Any]:
    """A configuration whose pool has two rows that no model reads."""
    made = rows(30)
    for i in (4, 17):
        made[i] |= {"solution": LONG}
    whole = settings(model, write_rows(tmp_path / "pool.jsonl", made), budget=28)
    whole["quality"]["influence"]["too_long"] = "drop"
    return whole


@pytest.fixture(scope="module")
def fitted(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that fitted a scorer on a pool of its own."""
    folder = tmp_path_factory.mktemp("fitted")
    run(load_config(settings(model, write_rows(folder / "pool.jsonl", rows(40)))), folder / "run", until="scorer")
    return folder / "run"


def with_saved(model: Path, pool: Path, scorer: Path, **changes: Any) -> dict[str, Any]:
    saved = {"kind": "saved", "path": str(scorer), "allow": ["pool"]}
    return settings(model, pool) | {"quality": {"scorer": saved}} | changes


def test_a_row_without_quality_is_listed_counted_and_not_selected(with_long_rows: dict[str, Any], tmp_path: Path):
    root = tmp_path / "run"
    run(load_config(with_long_rows), root, until="mixture")
    quality = np.load(root / "quality" / "quality.npy")
    assert np.flatnonzero(np.isnan(quality)).tolist() == [4, 17]
    found = manifest(root, "quality")
    assert found["unscored"] == sum(found["unscored_reasons"].values()) == 2
    assert found["real"] + found["predicted"] == 28
    listed = [json.loads(line) for line in (root / "quality" / "unscored.jsonl").read_text().splitlines()]
    assert [(each["row"], each["id"]) for each in listed] == [(4, "r4"), (17, "r17")]
    assert all("context" in each["reason"] for each in listed)
    selected = pq.read_table(root / "select" / "selection.parquet")["row"].to_pylist()
    assert sorted(selected) == [i for i in range(30) if i not in (4, 17)]
    assert manifest(root, "select")["excluded_without_quality"] == 2


def test_a_row_without_quality_that_is_to_be_in_is_in(with_long_rows: dict[str, Any], tmp_path: Path):
    (tmp_path / "wanted.txt").write_text("r4\n")
    config = load_config(with_long_rows | {"budget": 3, "constraints": {"include": str(tmp_path / "wanted.txt")}})
    run(config, tmp_path / "run", until="select")
    selected = pq.read_table(tmp_path / "run" / "select" / "selection.parquet")
    assert selected["id"].to_pylist()[0] == "r4" and selected["quality_origin"].to_pylist()[0] == "none"
    assert selected["quality"].to_pylist()[0] is None and selected["quality"].null_count == 1
    found = ensure_coverage(tmp_path / "run")
    assert found.mean_quality is not None and np.isfinite(found.mean_quality).tolist() == [False, True, True]
    assert manifest(tmp_path / "run", "select")["excluded_without_quality"] == 1


def test_the_only_rows_without_quality_may_all_be_wanted(with_long_rows: dict[str, Any], tmp_path: Path):
    (tmp_path / "wanted.txt").write_text("r4\nr17\n")
    config = load_config(with_long_rows | {"budget": 4, "constraints": {"include": str(tmp_path / "wanted.txt")}})
    run(config, tmp_path / "run", until="select")
    selected = pq.read_table(tmp_path / "run" / "select" / "selection.parquet")
    assert selected["id"].to_pylist()[:2] == ["r4", "r17"] and selected["quality"].null_count == 2
    assert manifest(tmp_path / "run", "select")["excluded_without_quality"] == 0


def test_a_selector_that_picks_rows_as_a_whole_refuses_rows_without_quality(
    with_long_rows: dict[str, Any], tmp_path: Path
):
    config = load_config(with_long_rows | {"budget": 3, "selection": {"kind": "kmeans"}})
    with pytest.raises(InputError, match=r"2 rows have no quality \(quality/unscored.jsonl lists them\).*'kmeans'"):
        run(config, tmp_path / "run")


def test_where_every_row_is_labelled_nothing_is_fitted(model: Path, pool_file: Path, tmp_path: Path):
    anchors = write_rows(tmp_path / "anchors.jsonl", rows(4, seed=5, prefix="a"))
    whole = settings(model, pool_file, anchors={"sources": str(anchors)})
    root = tmp_path / "run"
    run(load_config(whole, ["quality.sample=99"]), root, until="quality")
    found = manifest(root, "scorer")
    assert found["labels"] == 30 and found["scorer"] is None and found["fidelity"] is None and found["tokens"] == 0
    assert not (root / "scorer" / "scorer.json").exists()
    table = pq.read_table(root / "quality" / "quality.parquet")
    assert set(table["origin"].to_pylist()) == {"real"} and table["low"].null_count == table["high"].null_count == 30
    assert manifest(root, "quality")["predicted"] == 0


def test_labels_are_kept_as_measured_and_the_rest_has_an_interval(model: Path, pool_file: Path, tmp_path: Path):
    root = tmp_path / "run"
    run(load_config(settings(model, pool_file)), root, until="quality")
    quality = np.load(root / "quality" / "quality.npy")
    table = pq.read_table(root / "quality" / "quality.parquet")
    np.testing.assert_array_equal(table["quality"].to_numpy(), quality)
    real = dict(
        zip(*(pq.read_table(root / "quality" / "quality_real.parquet")[name].to_pylist() for name in ("candidate", "quality")), strict=True)
    )  # fmt: skip
    assert len(real) == 20
    for each in table.to_pylist():
        assert (each["origin"] == "real") == (each["id"] in real) == (each["low"] is None)
        if each["id"] in real:
            assert each["quality"] == pytest.approx(real[each["id"]], rel=1e-6)
        else:
            assert each["low"] <= each["quality"] <= each["high"]
    held_out = pq.read_table(root / "scorer" / "held_out.parquet")
    assert held_out["id"].to_pylist() == list(real)
    assert set(held_out.column_names) == {
        "id", "source", "real", "predicted", "low", "high", "fold", "cluster", "source_mean", "length",
    }  # fmt: skip


def test_with_a_scorer_that_was_fitted_before_nothing_is_scored(
    fitted: Path, model: Path, pool_file: Path, tmp_path: Path
):
    config, root = load_config(with_saved(model, pool_file, fitted)), tmp_path / "run"
    assert run(config, root).computed == ["pool", "embed", "quality", "select", "mixture"]
    assert {path.name for path in root.iterdir() if path.is_dir()}.isdisjoint({"anchors", "influence", "scorer"})
    found = manifest(root, "quality")
    assert (
        found["real"] == 0 and found["predicted"] == 30 and found["settings"]["quality"]["scorer"]["allow"] == ["pool"]
    )
    loaded = qads.load_scorer(fitted / "scorer")
    card = (root / "mixture" / "README.md").read_text()
    assert "a scorer (probe) predicts, which was fitted before on 20 rows" in card
    assert f"the model that scored them: {loaded.made_for.influence['model']})" in card and str(model) not in card
    pool = qads.load_pool([str(pool_file)])
    alone = loaded.predict(pool, np.load(root / "embed" / "embeddings.npy"), allow=("pool",),
                           execution=config.execution)  # fmt: skip
    np.testing.assert_allclose(np.load(root / "quality" / "quality.npy"), alone, rtol=1e-5)
    assert run(config, root).computed == []


def worth_of(root: Path, groups: dict[str, Any], out: Sequence[int] = ()) -> list[dict[str, Any]]:
    """What the rows that a run chose are worth to groups of anchors, counted again from its files."""
    sources = pq.read_table(root / "pool" / "pool.parquet", columns=["source"])["source"].to_pylist()
    picked = pq.read_table(root / "select" / "selection.parquet")["row"].to_pylist()
    chosen = Counter(sources[row] for row in picked)
    pool = Counter(source for row, source in enumerate(sources) if row not in out)
    found = qads.AnchorGroups.from_json(groups).worth(chosen, pool)
    return json.loads(to_json([dataclasses.asdict(each) for each in found]))


def test_what_a_selection_gives_each_group_of_anchors_is_told_as_it_was_measured(
    fitted: Path, model: Path, pool_file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    run(load_config(settings(model, pool_file, anchors={"n": 6})), tmp_path / "own", until="select")
    groups = json.loads((tmp_path / "own" / "quality" / "anchor_groups.json").read_text())
    told = manifest(tmp_path / "own", "select")["worth"]
    assert told == worth_of(tmp_path / "own", groups)
    assert sum(each["n_anchors"] for each in told) == 6 and all(each["low"] < each["high"] for each in told)
    # Quality apart from style has nothing of what a source gives.
    styled = load_config(settings(model, pool_file, anchors={"n": 6}), ["quality.style={by: source, min_mates: 2}"])
    run(styled, tmp_path / "styled", until="select")
    assert manifest(tmp_path / "styled", "select")["worth"] is None
    # A scorer that was fitted before tells what was measured for it; one that kept nothing of that, nothing.
    run(load_config(with_saved(model, pool_file, fitted)), tmp_path / "saved", until="select")
    groups = json.loads((fitted / "scorer" / "fidelity.json").read_text())["groups"]
    assert manifest(tmp_path / "saved", "select")["worth"] == worth_of(tmp_path / "saved", groups)
    bare = tmp_path / "bare"
    shutil.copytree(fitted / "scorer", bare, ignore=shutil.ignore_patterns("*manifest.json"))
    for content, named in ((None, ""), ("{", "not valid JSON"), ('{"groups": []}', "fidelity report")):
        (bare / "fidelity.json").unlink()
        if content is not None:
            (bare / "fidelity.json").write_text(content)
        caplog.clear()
        root = tmp_path / f"untold {named}"
        run(load_config(with_saved(model, pool_file, bare)), root, until="select")
        assert manifest(root, "select")["worth"] is None
        assert named in caplog.text and ("is not told" in caplog.text) == (content is not None)
        (bare / "fidelity.json").touch()


def test_rows_that_could_not_be_chosen_are_none_of_those_that_random_rows_are_drawn_from(
    model: Path, pool_file: Path, tmp_path: Path
):
    (tmp_path / "out.txt").write_text("r0\nr1\nr2\n")
    constraints = {"exclude": [str(tmp_path / "out.txt")]}
    without = load_config(settings(model, pool_file, anchors={"n": 6}, constraints=constraints))
    run(without, tmp_path / "run", until="select")
    groups = json.loads((tmp_path / "run" / "quality" / "anchor_groups.json").read_text())
    assert manifest(tmp_path / "run", "select")["worth"] == worth_of(tmp_path / "run", groups, out=(0, 1, 2))


def test_another_scorer_in_its_place_is_drift_and_a_copy_is_none(
    fitted: Path, model: Path, pool_file: Path, tmp_path: Path
):
    root, copy = tmp_path / "run", tmp_path / "copy"
    run(load_config(with_saved(model, pool_file, fitted)), root, until="quality")
    copy.mkdir()
    for name in ("scorer.json", "scorer.safetensors"):
        (copy / name).write_bytes((fitted / "scorer" / name).read_bytes())
    moved = load_config(with_saved(model, pool_file, copy))
    assert run(moved, root, until="quality").computed == []
    numbers = json.loads((copy / "scorer.json").read_text())
    (copy / "scorer.json").write_text(json.dumps(numbers | {"labels": 7}))
    with pytest.raises(DriftError, match=r"(?s)scorer\.json: was .*--redo quality"):
        run(moved, root, until="quality")
    assert run(moved, root, until="quality", redo=["quality"]).computed == ["quality"]
    (copy / "scorer.safetensors").write_bytes(b"nothing")
    with pytest.raises(CorruptError, match="its scorer cannot be read"):
        run(moved, root, until="quality", redo=["quality"])


def test_other_weights_of_the_model_that_reads_the_rows_are_drift_even_where_they_are_allowed(
    fitted: Path, model: Path, pool_file: Path, tmp_path: Path
):
    root, file = tmp_path / "run", model / "model.safetensors"
    whole = with_saved(model, pool_file, fitted)
    whole["quality"]["scorer"]["allow"] = ["pool", "model"]
    whole["embedding"] = whole["embedding"] | {"model": str(shutil.copytree(model, tmp_path / "embeds"))}
    config, before = load_config(whole), file.read_bytes()
    run(config, root, until="quality")
    try:
        save_file({name: each + np.float32(0.05) for name, each in load_file(file).items()}, file, {"format": "pt"})
        with pytest.raises(
            DriftError, match=r"(?s)stage 'quality'.*quality\.scorer\.reader.*model: was .*--redo quality"
        ):
            run(config, root, until="quality")
        assert run(config, root, until="quality", redo=["quality"]).computed == ["quality"]
    finally:
        file.write_bytes(before)


@pytest.mark.parametrize("weights", ["adapter/adapter_model.safetensors", "model/model.safetensors"])
def test_the_weights_of_a_saved_scorer_are_a_part_of_it(tmp_path: Path, weights: str):
    (tmp_path / "scorer.json").write_text("{}")
    (tmp_path / weights).parent.mkdir()
    found: list[dict[str, str]] = []
    for content in ("one", "other"):
        (tmp_path / weights).write_text(content)
        found.append(_scorer_files(SavedScorer(path=str(tmp_path))))
    assert [set(each) for each in found] == [{"scorer.json", weights}] * 2 and found[0] != found[1]
    (tmp_path / "manifest.json").write_text(json.dumps({"files": {weights: {"sha256": found[0][weights]}}}))
    with pytest.raises(CorruptError, match="the file was changed or damaged, so that nothing is predicted with it"):
        _scorer_files(SavedScorer(path=str(tmp_path)))


def test_a_place_that_holds_no_scorer_is_named_before_anything_runs(model: Path, pool_file: Path, tmp_path: Path):
    config = load_config(with_saved(model, pool_file, tmp_path / "nowhere"))
    with pytest.raises(InputError, match=r"nowhere holds no scorer\. Give the run that fitted one"):
        run_pipeline(config, tmp_path / "run")
    assert not (tmp_path / "run" / "pool").exists()


def test_another_pool_is_refused_before_it_is_embedded(model: Path, fitted: Path, pool_file: Path, tmp_path: Path):
    config = load_config(with_saved(model, pool_file, fitted), ["quality.scorer.allow=[]"])
    with pytest.raises(InputError, match="pool: was"):
        run_pipeline(config, tmp_path / "run", until="quality")
    assert not (tmp_path / "run" / "embed").exists()
