"""Runs with a stopping rule survive, say what they left out, and take over what another run has scored."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from qads.config import RunConfig, load_config
from qads.errors import ConfigError, CorruptError, DriftError, InputError, RunError
from qads.quality import Influence
from qads.run import run_pipeline
from run.test_survival import results, shards, started, wait_until_stopped
from run.tiny import StopAt, rows, run, settings, write_rows

RULE = {"kind": "standard-error", "se": 0.0002, "panel": 4}


@pytest.fixture(scope="module")
def config(model: Path, tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    pool = write_rows(tmp_path_factory.mktemp("pool") / "pool.jsonl", rows(120))
    whole = settings(model, pool, anchors={"n": 40})
    whole["quality"] = {"sample": 60, "influence": whole["quality"]["influence"] | {"stopping": RULE}}
    return load_config(whole)


def without_rule(config: RunConfig, **changes: object) -> RunConfig:
    raw = dataclasses.asdict(config) | changes
    raw["quality"]["influence"]["stopping"] = {"kind": "every-anchor"}
    return load_config(raw)


@pytest.fixture(scope="module")
def finished(config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete run; for tests that leave it as it is."""
    directory = tmp_path_factory.mktemp("finished") / "run"
    run_pipeline(config, directory)
    return directory


def manifest(directory: Path, stage: str = "influence") -> dict:
    return json.loads((directory / stage / "manifest.json").read_text())


def test_the_manifest_and_the_table_say_who_stopped_and_after_how_many_anchors(finished: Path):
    said = manifest(finished)
    found = Influence.from_table(pq.read_table(finished / "influence" / "influence.parquet"))
    table = pq.read_table(finished / "quality" / "quality_real.parquet").to_pydict()
    assert table["anchors_scored"] == found.n_scored.tolist()
    ends = {end: table["stopped"].count(end) for end in set(table["stopped"])}
    assert said["stopped"] == ends and {"early", "ran out"} <= set(ends)
    assert [end == "early" for end in table["stopped"]] == found.pending.any(axis=1).tolist()
    errors = np.array(table["standard_error"])
    assert (errors[[end == "early" for end in table["stopped"]]] <= 0.0002).all()
    assert (errors[[end == "ran out" for end in table["stopped"]]] > 0.0002).all()
    assert (
        said["pairs_scored"] == found.n_scored.sum() == sum(p["n_candidates"] * p["n_anchors"] for p in said["rounds"])
    )
    assert said["pairs_scored"] + said["pairs_left_out"] + said["pairs_own_problem_or_dropped"] == 60 * 40
    np.testing.assert_allclose(table["quality"], found.quality())


@pytest.mark.parametrize("at", [24, "later"])
def test_a_run_killed_in_the_middle_of_a_round_ends_as_if_it_had_not_been(
    config: RunConfig, finished: Path, tmp_path: Path, at: int | str
):
    first, second = manifest(finished)["rounds"][:2]
    done = 60 - second["n_candidates"] + 8 if at == "later" else at
    directory = tmp_path / "run"
    with started(config, directory, StopAt("influence", done)) as process:
        wait_until_stopped(process)
        process.kill()
        process.join()
    before = shards(directory, "influence")
    run_pipeline(config, directory)
    assert first["n_candidates"] == 60
    assert len(before) == 1 + 3 if at == 24 else len(before) == 1 + 8 + 1  # Zero-shot; 8 candidates a shard.
    assert results(directory) == results(finished)


def test_a_rule_is_part_of_what_a_run_is_and_no_rule_is_what_it_was(config: RunConfig, finished: Path, tmp_path: Path):
    other = load_config(dataclasses.asdict(config), ["quality.influence.stopping.se=0.5"])
    with pytest.raises(DriftError, match=r"quality\.influence\.stopping\.se: was 0\.0002, now 0\.5"):
        run(other, finished)
    with pytest.raises(DriftError, match=r"quality\.influence\.aggregate: was \"positive_gain\", now \"mean_gain\""):
        run(load_config(dataclasses.asdict(config), ["quality.influence.aggregate=mean_gain"]), finished)
    with pytest.raises(DriftError, match=r"quality\.influence\.stopping: was {.*}, now null"):
        run(without_rule(config), finished)


def test_another_run_is_extended_by_what_it_left_out(config: RunConfig, finished: Path, tmp_path: Path):
    run_pipeline(without_rule(config), tmp_path / "alone", until="influence")
    run_pipeline(without_rule(config), tmp_path / "extended", until="influence", reuse=[finished])
    alone, extended, before = (manifest(d) for d in (tmp_path / "alone", tmp_path / "extended", finished))
    assert extended["fingerprint"] == alone["fingerprint"]
    assert extended["pairs_reused"] == before["pairs_scored"] and extended["tokens"] < alone["tokens"]
    assert extended["reused"] == [
        {
            "directory": str(finished),
            "fingerprint": before["fingerprint"],
            "influence.parquet sha256": before["files"]["influence.parquet"]["sha256"],
        }
    ]
    one, other = (
        Influence.from_table(pq.read_table(tmp_path / name / "influence" / "influence.parquet"))
        for name in ("alone", "extended")
    )
    np.testing.assert_allclose(one.one_shot, other.one_shot, atol=1e-5)


def test_a_larger_sample_scores_the_new_rows_alone(config: RunConfig, finished: Path, tmp_path: Path):
    larger = load_config(dataclasses.asdict(config), ["quality.sample=70"])
    run_pipeline(larger, tmp_path / "run", until="influence", reuse=[finished])
    assert 0 < manifest(tmp_path / "run")["pairs_reused"] <= manifest(finished)["pairs_scored"]


def test_runs_that_cannot_be_extended_are_refused_before_anything_is_made(
    config: RunConfig, finished: Path, tmp_path: Path
):
    copy = tmp_path / "copy"
    for name in ("manifest.json", "influence.parquet"):
        (copy / "influence").mkdir(parents=True, exist_ok=True)
        (copy / "influence" / name).write_bytes((finished / "influence" / name).read_bytes())
    spoiled = bytearray((copy / "influence" / "influence.parquet").read_bytes())
    spoiled[len(spoiled) // 2] ^= 1
    (copy / "influence" / "influence.parquet").write_bytes(spoiled)
    (tmp_path / "experiment" / "shared" / "a-model" / "influence").mkdir(parents=True)
    other = load_config(dataclasses.asdict(config), ["quality.influence.template.question=Q"])
    plain = dataclasses.replace(config, quality=None)
    for configuration, reuse, error, message in (
        (config, tmp_path / "nowhere", RunError, "has no finished stage influence"),
        (config, tmp_path / "experiment", RunError, "give one of the runs in it: .*/experiment/shared/a-model"),
        (config, copy, CorruptError, "has SHA-256 .* so its scores are not taken over"),
        (other, finished, InputError, 'template.question: was "Question: ", now "Q"'),
        (plain, finished, InputError, "nothing is scored"),
        (config, tmp_path / "run", InputError, "is the directory of this run itself"),
    ):
        with pytest.raises(error, match=message):
            run_pipeline(configuration, tmp_path / "run", reuse=[reuse])
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("stopping", "message"),
    [
        ({"kind": "standard-error", "se": 0}, "quality.influence.stopping: UntilStandardError: se is 0"),
        ({"kind": "standard-error"}, "quality.influence.stopping.se: is missing"),
        ({"kind": "standard-eror"}, "quality.influence.stopping.kind: 'standard-eror' is none of .*did you mean 'standard-error'"),
        ({"kind": "rank-stable", "level": 3}, "quality.influence.stopping.level: unknown key; did you mean 'levels'?"),
    ],
)  # fmt: skip
def test_an_impossible_rule_is_refused_by_its_path(model: Path, stopping: dict, message: str):
    whole = settings(model, Path("pool.jsonl"))
    whole["quality"]["influence"]["stopping"] = stopping
    with pytest.raises(ConfigError, match=message):
        load_config(whole)
