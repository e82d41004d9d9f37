"""A run directory holds finished stages only, each used again for the very same computation and for no other."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from qads.config import RunConfig, load_config
from qads.errors import ConfigError, CorruptError, DriftError, InputError, PoolError, RunError
from qads.report.evidence import open_run
from qads.run import OCCASIONAL, STAGES, estimate_run, read_json, read_status
from qads.run.plan import plan_stages
from run.tiny import rows, run, settings, write_rows

ALL = ["pool", "embed", "anchors", "influence", "scorer", "quality", "select", "mixture"]


def files(directory: Path) -> dict[str, tuple[int, int, str]]:
    """Every file of a run with inode, time and content."""
    return {
        str(path.relative_to(directory)): (
            path.stat().st_ino,
            path.stat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in directory.rglob("*")
        if path.is_file() and path.name not in (".lock", "config.json")
    }


@pytest.fixture(scope="module")
def config(model: Path, tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    pool = write_rows(tmp_path_factory.mktemp("pool") / "pool.jsonl", rows(30))
    return load_config(settings(model, pool))


@pytest.fixture(scope="module")
def finished(config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete run; for tests that leave it as it is."""
    directory = tmp_path_factory.mktemp("finished") / "run"
    run(config, directory)
    return directory


@pytest.fixture
def mine(config: RunConfig, finished: Path, tmp_path: Path) -> Path:
    """A complete run to spoil."""
    copy = tmp_path / "run"
    for path in finished.rglob("*"):
        if path.is_file():
            target = copy / path.relative_to(finished)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return copy


def test_every_stage_ends_with_a_manifest_of_its_files(finished: Path):
    for name in ALL:
        folder = finished / name
        manifest = json.loads((folder / "manifest.json").read_text())
        on_disk = {p.name for p in folder.iterdir()} - {"manifest.json", "plan.json"}
        assert set(manifest["files"]) == on_disk != set()
        for file, facts in manifest["files"].items():
            content = (folder / file).read_bytes()
            assert facts == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        assert manifest["stage"] == name
        assert {"fingerprint", "settings", "inputs", "seed", "seconds", "rows", "code", "packages"} <= set(manifest)


def test_the_manifest_is_written_last(finished: Path):
    for name in ALL:
        times = {p.name: p.stat().st_mtime_ns for p in (finished / name).iterdir()}
        assert max(times, key=lambda file: times[file]) == "manifest.json"


def test_the_stages_agree_about_rows(finished: Path):
    pool = pq.read_table(finished / "pool" / "pool.parquet")
    quality = np.load(finished / "quality" / "quality.npy")
    assert len(pool) == len(np.load(finished / "embed" / "embeddings.npy")) == len(quality) == 30
    real = pq.read_table(finished / "quality" / "quality.parquet")
    assert real["origin"].to_pylist().count("real") == len(np.load(finished / "anchors" / "candidates.npy")) == 20
    selection = pq.read_table(finished / "select" / "selection.parquet").to_pylist()
    train = [json.loads(line) for line in (finished / "mixture" / "train.jsonl").read_text().splitlines()]
    assert [row["id"] for row in train] == [pick["id"] for pick in selection]
    assert [row["qads"]["quality"] for row in train] == pytest.approx([quality[p["row"]] for p in selection])


def test_the_same_configuration_uses_everything_again(config: RunConfig, finished: Path):
    before = files(finished)
    assert run(config, finished).reused == ALL
    assert files(finished) == before


def test_the_same_configuration_in_another_directory_gives_the_same_bytes(
    config: RunConfig, finished: Path, tmp_path: Path
):
    run(config, tmp_path / "other")

    def contents(directory: Path) -> dict[str, str]:
        return {name: found[2] for name, found in files(directory).items() if "manifest" not in name}

    assert contents(tmp_path / "other") == contents(finished)


def test_what_changes_only_speed_is_no_drift(config: RunConfig, finished: Path, model: Path):
    faster = load_config(
        settings(model, Path(config.pool.sources[0]), execution={"device": "cpu", "max_tokens_per_batch": 64})
    )
    assert run(faster, finished).reused == ALL


def test_a_pool_that_moved_is_the_same_pool(config: RunConfig, mine: Path, tmp_path: Path, model: Path):
    moved = tmp_path / "elsewhere" / "pool.jsonl"
    moved.parent.mkdir()
    moved.write_bytes(Path(config.pool.sources[0]).read_bytes())
    assert run(load_config(settings(model, moved)), mine).reused == ALL


@pytest.mark.parametrize(
    ("override", "stage", "line"),
    [
        ("pool.kind=cot", "pool", 'pool.kind: was null, now "cot"'),
        ("embedding.max_length=32", "embed", "embedding.max_length: was 1024, now 32"),
        ("anchors.n=4", "anchors", "anchors.n: was 3, now 4"),
        ("seed=1", "anchors", "seed: was 0, now 1"),
        ("quality.sample=12", "anchors", "quality.sample: was 20, now 12"),
        ("quality.influence.max_length=512", "influence", "quality.influence.max_length: was null, now 512"),
        ("quality.influence.aggregate=win_rate", "scorer", 'quality.influence.aggregate: was "positive_gain", now "win_rate"'),
        ("quality.scorer.folds=4", "scorer", "quality.scorer.folds: was 5, now 4"),
        ("selection.alpha=2", "select", "selection.alpha: was 1.0, now 2.0"),
        ("budget=7", "select", "budget: was 6, now 7"),
        ("quality=null", "select", "inputs.quality: was "),
        ("output.format=alpaca", "mixture", 'output.format: was "jsonl", now "alpaca"'),
    ],
)  # fmt: skip
def test_drift_names_stage_and_setting_and_changes_nothing(
    config: RunConfig, finished: Path, model: Path, override: str, stage: str, line: str
):
    before = files(finished)
    changed = load_config(settings(model, Path(config.pool.sources[0])), [override])
    with pytest.raises(DriftError) as caught:
        run(changed, finished)
    assert f"stage '{stage}'" in str(caught.value)
    assert line in str(caught.value)
    assert f"--redo {stage}" in str(caught.value)
    assert files(finished) == before


def test_a_changed_source_is_drift_that_names_the_file(mine: Path, model: Path, tmp_path: Path):
    pool = write_rows(tmp_path / "pool.jsonl", rows(31))
    with pytest.raises(DriftError, match=r"stage 'pool'(.|\n)*inputs\.file pool: was \"\w+\", now \"\w+\""):
        run(load_config(settings(model, pool)), mine)


def test_the_order_of_the_sources_is_part_of_the_pool(tmp_path: Path, model: Path):
    a, b = (write_rows(tmp_path / f"{name}.jsonl", rows(15, seed=seed, prefix=name)) for seed, name in enumerate("ab"))
    forth = load_config(settings(model, a) | {"pool": {"sources": [str(a), str(b)]}})
    back = load_config(settings(model, a) | {"pool": {"sources": [str(b), str(a)]}})
    run(forth, tmp_path / "run", until="pool")
    with pytest.raises(DriftError, match=r'pool\.sources: was \["a", "b"\], now \["b", "a"\]'):
        run(back, tmp_path / "run", until="pool")


def test_a_partial_stage_of_other_settings_is_drift_too(config: RunConfig, mine: Path, model: Path):
    (mine / "influence" / "manifest.json").unlink()
    changed = load_config(settings(model, Path(config.pool.sources[0])), ["quality.influence.max_length=512"])
    with pytest.raises(DriftError, match="stage 'influence'"):
        run(changed, mine)
    drifted = {stage.name: stage.status for stage in estimate_run(changed, mine)}
    assert drifted["influence"] == "drifted"
    assert drifted["embed"] == "done"


@pytest.mark.parametrize("stage", ALL)
def test_redo_computes_a_stage_and_all_that_follow_and_nothing_before(config: RunConfig, mine: Path, stage: str):
    (mine / "report").mkdir()
    (mine / "report" / "report.html").write_text("old")
    before = files(mine)
    heard = run(config, mine, redo=[stage])
    at = ALL.index(stage)
    assert (heard.reused, heard.computed) == (ALL[:at], ALL[at:])
    after = files(mine)
    kept = {name for name in before if name.split("/")[0] in ALL[:at]}
    assert {name for name in before if after.get(name) == before[name]} == kept
    assert not (mine / "report").exists()


def test_redo_with_other_settings_replaces_what_drifted(config: RunConfig, mine: Path, model: Path):
    changed = load_config(settings(model, Path(config.pool.sources[0])), ["budget=9"])
    assert run(changed, mine, redo=["select"]).computed == ["select", "mixture"]
    assert pq.read_table(mine / "select" / "selection.parquet").num_rows == 9


def test_redo_removes_nothing_when_an_earlier_stage_has_drifted(config: RunConfig, finished: Path, model: Path):
    before = files(finished)
    changed = load_config(settings(model, Path(config.pool.sources[0])), ["embedding.max_length=32"])
    with pytest.raises(DriftError, match="stage 'embed'"):
        run(changed, finished, redo=["select"])
    assert files(finished) == before


@pytest.mark.parametrize(
    "file",
    [
        "pool/pool.parquet",
        "embed/embeddings.npy",
        "influence/influence.parquet",
        "quality/quality.npy",
        "mixture/train.jsonl",
    ],
)
def test_a_flipped_byte_in_a_finished_file_is_found(config: RunConfig, mine: Path, file: str):
    content = bytearray((mine / file).read_bytes())
    content[len(content) // 2] ^= 1
    (mine / file).write_bytes(content)
    with pytest.raises(CorruptError, match=rf"{file}: has SHA-256 .* --redo {file.split('/')[0]}"):
        run(config, mine)


def test_a_missing_file_of_a_finished_stage_is_found(config: RunConfig, mine: Path):
    (mine / "quality" / "quality.npy").unlink()
    with pytest.raises(CorruptError, match=r"quality\.npy: has SHA-256 nothing"):
        run(config, mine)


DAMAGED_MANIFESTS = ["{", "[]", "\xff", "{}", '{"stage": "embed", "fingerprint": "1", "inputs": 3}']


@pytest.mark.parametrize("text", DAMAGED_MANIFESTS)
def test_a_damaged_manifest_is_an_error_that_names_it(config: RunConfig, mine: Path, text: str):
    (mine / "embed" / "manifest.json").write_text(text, encoding="latin-1")
    with pytest.raises(CorruptError, match=r"embed/manifest\.json.*--redo embed"):
        run(config, mine)


def test_the_manifest_of_another_stage_is_damage(config: RunConfig, mine: Path):
    (mine / "anchors" / "manifest.json").write_bytes((mine / "embed" / "manifest.json").read_bytes())
    for use in (lambda: run(config, mine), lambda: open_run(mine)):
        with pytest.raises(CorruptError, match=r"anchors/manifest\.json: is that of the stage 'embed'.*--redo anchors"):
            use()


def test_a_run_is_finished_before_anybody_has_looked_at_it(mine: Path):
    status = read_status(mine)
    assert {stage.name for stage in status.stages if stage.state == "to do"} == {"coverage", "projection", "report"}
    assert status.is_finished and not status.damaged


@pytest.mark.parametrize(
    ("folder", "advice"),
    [
        ("select", "--redo select"),
        ("coverage", "qads report .*/run"),
        ("validation/20-rows-seed-0-ab", "Remove .*/run/validation/20-.* qads validate-scorer .*/run$"),
    ],
)
def test_what_is_advised_where_a_manifest_is_damaged_can_be_done(tmp_path: Path, folder: str, advice: str):
    path = tmp_path / "run" / folder / "manifest.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")
    with pytest.raises(CorruptError, match=advice):
        read_json(path)


@pytest.mark.parametrize("text", DAMAGED_MANIFESTS)
def test_no_page_is_made_from_a_damaged_manifest(mine: Path, text: str):
    (mine / "anchors" / "manifest.json").write_text(text, encoding="latin-1")
    with pytest.raises(CorruptError, match=r"anchors/manifest\.json.*--redo anchors"):
        open_run(mine)


def test_until_stops_after_a_stage(config: RunConfig, tmp_path: Path):
    assert run(config, tmp_path / "run", until="embed").computed == ["pool", "embed"]
    states = {stage.name: stage.state for stage in read_status(tmp_path / "run").stages}
    assert states == dict.fromkeys([name for name in STAGES if name not in OCCASIONAL], "to do") | {
        "pool": "done",
        "embed": "done",
    }
    assert run(config, tmp_path / "run", until="anchors").reused == ["pool", "embed"]


def test_a_start_that_computes_nothing_does_not_rename_what_made_the_later_stages(
    config: RunConfig, mine: Path, model: Path, caplog: pytest.LogCaptureFixture
):
    pool, written = Path(config.pool.sources[0]), (mine / "config.json").read_bytes()
    changed = load_config(settings(model, pool), ["selection.alpha=2", "budget=7"])
    assert run(changed, mine, until="quality").computed == []
    assert (mine / "config.json").read_bytes() == written
    assert "config.json stays as it is" in caplog.text and "selection.alpha: was 1.0, now 2.0" in caplog.text
    faster = load_config(settings(model, pool), ["execution.max_tokens_per_batch=512"])
    run(faster, mine, until="quality")
    assert json.loads((mine / "config.json").read_text())["execution"]["max_tokens_per_batch"] == 512
    (mine / "config.json").unlink()
    with pytest.raises(DriftError, match="stage 'select'"):
        run(changed, mine, until="quality")


def test_nothing_is_computed_beside_a_later_stage_of_other_settings(model: Path, tmp_path: Path, pool_file: Path):
    target = write_rows(tmp_path / "target.jsonl", rows(3, seed=9, prefix="t"))
    whole = settings(model, pool_file, anchors={"sources": str(target)})
    run(load_config(whole), tmp_path / "run", until="influence")
    before = files(tmp_path / "run")
    changed = load_config(whole, ["embedding.max_length=32", "quality.influence.max_length=512"])
    with pytest.raises(
        DriftError, match=r"stage 'influence'(.|\n)*max_length: was null, now 512(.|\n)*--redo influence"
    ):
        run(changed, tmp_path / "run", redo=["embed"], until="embed")
    assert files(tmp_path / "run") == before
    assert run(changed, tmp_path / "run", redo=["embed", "influence"], until="embed").computed == ["embed"]
    assert not (tmp_path / "run" / "influence").exists()


@pytest.mark.parametrize("options", [{"until": "train"}, {"redo": ["embed", "train"]}, {"until": "../x"}])
def test_an_unknown_stage_is_refused_and_nothing_is_touched(config: RunConfig, tmp_path: Path, options: dict[str, Any]):
    with pytest.raises(ConfigError, match=r"unknown stage '.*'; this run has pool, embed, anchors"):
        run(config, tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_a_stage_that_this_run_does_not_have_is_unknown(config: RunConfig, tmp_path: Path, model: Path):
    without = load_config(settings(model, Path(config.pool.sources[0]), quality=None))
    with pytest.raises(ConfigError, match="unknown stage 'influence'; this run has pool, embed, select, mixture"):
        run(without, tmp_path / "run", redo=["influence"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no rows"),
        ("{broken", "pool.jsonl"),
        ('{"problem": "x", "solution": ""}\n', "none of the 1 rows can serve"),
    ],
)
def test_a_pool_that_cannot_be_read_leaves_nothing_behind(model: Path, tmp_path: Path, text: str, message: str):
    pool = tmp_path / "pool.jsonl"
    pool.write_text(text)
    with pytest.raises(PoolError, match=message):
        run(load_config(settings(model, pool)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_missing_source_or_model_leaves_nothing_behind(model: Path, tmp_path: Path, pool_file: Path):
    with pytest.raises(PoolError, match="no such file"):
        run(load_config(settings(model, tmp_path / "nothing.jsonl")), tmp_path / "run")
    with pytest.raises(InputError, match="no such file or folder"):
        run(load_config(settings(tmp_path / "no-model", pool_file)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_stage_that_fails_leaves_nothing_that_looks_done(model: Path, tmp_path: Path, pool_file: Path):
    config = load_config(settings(model, pool_file, anchors={"n": 31}))
    with pytest.raises(InputError, match="31 asked for, but the pool has 30"):
        run(config, tmp_path / "run")
    states = {stage.name: stage.state for stage in read_status(tmp_path / "run").stages}
    assert states == dict.fromkeys([name for name in STAGES if name not in OCCASIONAL], "to do") | {
        "pool": "done",
        "embed": "done",
    }
    assert not (tmp_path / "run" / "anchors").exists()
    assert run(load_config(settings(model, pool_file)), tmp_path / "run").reused == ["pool", "embed"]


def test_a_budget_larger_than_the_pool_is_refused_before_the_models_run(model: Path, tmp_path: Path, pool_file: Path):
    with pytest.raises(InputError, match="budget is 31 rows but the pool has 30"):
        run(load_config(settings(model, pool_file, budget=31)), tmp_path / "run")
    assert not (tmp_path / "run" / "embed").exists()


def test_a_file_where_the_directory_should_be_is_an_error_of_ours(config: RunConfig, tmp_path: Path):
    (tmp_path / "run").write_text("mine")
    with pytest.raises(RunError, match="cannot be used as a run directory: File exists"):
        run(config, tmp_path / "run")
    assert (tmp_path / "run").read_text() == "mine"


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is where not even root can write")
def test_a_directory_that_cannot_be_written_is_an_error_of_ours(config: RunConfig):
    with pytest.raises(RunError, match="/proc/self/run: cannot be used as a run directory"):
        run(config, Path("/proc/self/run"))


def test_a_run_inside_its_own_source_is_refused(model: Path, tmp_path: Path):
    write_rows(tmp_path / "data.jsonl", rows(30))
    for source in (tmp_path, tmp_path / "**" / "*.jsonl"):
        with pytest.raises(InputError, match=r"lies in the source .* would read it as candidates"):
            run(load_config(settings(model, source)), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert run(load_config(settings(model, tmp_path / "*.jsonl")), tmp_path / "run", until="pool").computed == ["pool"]


def test_another_aggregate_needs_no_new_scores(config: RunConfig, mine: Path, model: Path):
    changed = load_config(settings(model, Path(config.pool.sources[0])), ["quality.influence.aggregate=win_rate"])
    assert run(changed, mine, redo=["scorer"]).computed == ["scorer", "quality", "select", "mixture"]
    gains = pq.read_table(mine / "influence" / "influence.parquet").to_pandas().groupby("candidate", sort=False)["gain"]
    real = pq.read_table(mine / "quality" / "quality_real.parquet").to_pydict()
    expected = gains.apply(lambda g: (g.dropna() > 0).mean())
    assert real["candidate"] == expected.index.to_list()
    assert real["quality"] == pytest.approx(expected.to_list())


def test_redo_keeps_scores_that_do_not_read_the_stage(model: Path, tmp_path: Path, pool_file: Path):
    target = write_rows(tmp_path / "target.jsonl", rows(3, seed=9, prefix="t"))
    config = load_config(settings(model, pool_file, anchors={"sources": str(target)}))
    run(config, tmp_path / "run")
    heard = run(config, tmp_path / "run", redo=["embed"])
    assert (heard.reused, heard.computed) == (
        ["pool", "anchors", "influence"],
        ["embed", "scorer", "quality", "select", "mixture"],
    )
    run(config, tmp_path / "run", redo=["embed"], until="embed")
    states = {stage.name: stage.state for stage in read_status(tmp_path / "run").stages}
    assert [name for name in ALL if states[name] == "done"] == ["pool", "embed", "anchors", "influence"]


def test_a_stage_asks_for_no_model_of_a_later_one(model: Path, tmp_path: Path, pool_file: Path):
    config = load_config(settings(model, pool_file), ["quality.influence.model=/no/such/model"])
    assert run(config, tmp_path / "run", until="embed").computed == ["pool", "embed"]
    with pytest.raises(InputError, match="/no/such/model"):
        run(config, tmp_path / "run", until="influence")


def test_code_that_comes_with_a_model_is_part_of_the_plan(config: RunConfig, model: Path):
    pool = config.pool.sources
    trusting = load_config(settings(model, Path(pool[0])), ["execution.trust_remote_code=true"])
    before, now = (plan_stages(c, pool, ()) for c in (config, trusting))
    assert {name for name in ALL if before[name].settings != now[name].settings} == {"embed", "influence", "scorer"}


def test_the_manifest_of_a_model_stage_says_how_it_was_computed(finished: Path):
    found = {name: json.loads((finished / name / "manifest.json").read_text()).get("execution") for name in ALL}
    how = {"device": "cpu", "max_tokens_per_batch": 2048}
    assert found == dict.fromkeys(ALL) | dict.fromkeys(("embed", "influence", "scorer", "quality"), how)


def test_anchors_that_take_the_whole_pool_leave_nothing_to_score(model: Path, tmp_path: Path):
    pool = write_rows(tmp_path / "pool.jsonl", rows(3))
    config = load_config(settings(model, pool, budget=1))
    assert {s.name: s.rows for s in estimate_run(config, tmp_path / "run")}["influence"] == 0
    with pytest.raises(InputError, match=r"all 3 rows of the pool were chosen as anchors.*--anchors FILE"):
        run(config, tmp_path / "run")
    more = load_config(settings(model, pool, budget=1, anchors={"n": 10}))
    assert {s.name: s.rows for s in estimate_run(more, tmp_path / "run")}["influence"] == 0


def test_anchors_that_cannot_be_read_stop_the_run_before_the_models(model: Path, tmp_path: Path, pool_file: Path):
    target = write_rows(tmp_path / "target.jsonl", rows(4, seed=9, prefix="t"))
    target.write_text(target.read_text() + "{broken\n")
    whole = settings(model, pool_file, anchors={"sources": str(target)})
    with pytest.raises(PoolError, match=r"target\.jsonl:5"):
        run(load_config(whole), tmp_path / "run")
    assert not (tmp_path / "run" / "embed").exists()
    skipping = load_config(whole, ["anchors.on_bad_row=skip"])
    assert run(skipping, tmp_path / "run", until="anchors").reused == ["pool"]
    aside = [json.loads(line) for line in (tmp_path / "run" / "anchors" / "rejected.jsonl").read_text().splitlines()]
    assert [row["content"] for row in aside] == ["{broken"]
    manifest = json.loads((tmp_path / "run" / "anchors" / "manifest.json").read_text())
    assert manifest["anchors_rejected_reasons"] == {aside[0]["reason"]: 1}


@pytest.mark.parametrize("given", ["own", "chosen"])
def test_anchors_of_the_user_or_of_the_pool(model: Path, tmp_path: Path, pool_file: Path, given: str):
    target = write_rows(tmp_path / "target.jsonl", rows(4, seed=9, prefix="t"))
    anchors = {"sources": str(target)} if given == "own" else {"n": 4}
    run(load_config(settings(model, pool_file, anchors=anchors)), tmp_path / "run", until="anchors")
    found = pq.read_table(tmp_path / "run" / "anchors" / "anchors.parquet")["id"].to_pylist()
    candidates = np.load(tmp_path / "run" / "anchors" / "candidates.npy")
    ids = pq.read_table(tmp_path / "run" / "pool" / "pool.parquet")["id"].take(candidates).to_pylist()
    assert len(found) == 4
    assert set(found).isdisjoint(ids)
    assert all(name.startswith("t" if given == "own" else "r") for name in found)
