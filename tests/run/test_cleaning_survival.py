"""A run that is killed while it cleans ends with the bytes of one that was not."""

from __future__ import annotations

from pathlib import Path

import pytest

from qads.config import RunConfig, load_config
from qads.errors import InputError
from qads.run import read_status, run_pipeline
from run.processes import started, wait_for, wait_until_stopped
from run.tiny import StopAt, rows, settings, write_rows, written

N_ROWS = 1100  # Embeddings are computed in shards of 1024 rows.


@pytest.fixture(scope="module")
def config(model: Path, tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    folder = tmp_path_factory.mktemp("pool")
    made = rows(N_ROWS)
    made += [row | {"id": f"copy of {row['id']}", "problem": row["problem"].upper()} for row in made[:20]]
    exam = write_rows(folder / "exam.jsonl", [row | {"source": "exam"} for row in made[100:110]])
    clean = {"duplicates": {"semantic": 0.001}, "against": str(exam)}
    return load_config(settings(model, write_rows(folder / "pool.jsonl", made), clean=clean), ["quality=null"])


def results(directory: Path) -> dict[str, bytes]:
    found = written(directory)
    names = {"pool.parquet", "dropped.parquet", "contaminated.parquet", "embeddings.npy"}
    assert set(found) >= {f"clean/{name}" for name in names} | {"embed/embeddings.npy", "mixture/train.jsonl"}
    return found


@pytest.fixture(scope="module")
def undisturbed(config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    directory = tmp_path_factory.mktemp("undisturbed") / "run"
    run_pipeline(config, directory)
    return results(directory)


@pytest.mark.parametrize(("at", "left"), [("started", "to do"), (1024, "partial"), ("finished", "done")])
def test_a_run_killed_while_it_cleans_ends_as_if_it_had_not_been(
    config: RunConfig, undisturbed: dict[str, bytes], tmp_path: Path, at: int | str, left: str
):
    directory = tmp_path / "run"
    with started(config, directory, StopAt("clean", at)) as process:
        wait_until_stopped(process)
        process.kill()
        process.join()
    assert {stage.name: stage.state for stage in read_status(directory).stages}["clean"] == left
    run_pipeline(config, directory)
    assert results(directory) == undisturbed


@pytest.mark.parametrize("sign", ["contaminated.parquet", "shards/00000.parquet", "joined.npy.partial", "pool.parquet"])
def test_a_run_killed_as_soon_as_a_file_of_cleaning_appears_ends_as_if_it_had_not_been(
    config: RunConfig, undisturbed: dict[str, bytes], tmp_path: Path, sign: str
):
    directory = tmp_path / "run"
    file, stage_done = directory / "clean" / sign, directory / "clean" / "manifest.json"
    with started(config, directory) as process:
        wait_for(lambda: file.exists() or stage_done.exists(), process)
        process.kill()
        process.join()
    run_pipeline(config, directory)
    assert results(directory) == undisturbed
    assert list(directory.rglob("*.partial")) == []


def test_a_cleaning_done_again_gives_the_same_bytes(config: RunConfig, undisturbed: dict[str, bytes], tmp_path: Path):
    run_pipeline(config, tmp_path / "run")
    run_pipeline(config, tmp_path / "run", redo=["clean"])
    assert results(tmp_path / "run") == undisturbed


def test_a_pool_that_is_all_of_the_evaluation_is_refused_and_leaves_no_finished_stage(model: Path, tmp_path: Path):
    pool = write_rows(tmp_path / "pool.jsonl", rows(12))
    whole = settings(model, pool, clean={"against": str(pool)})
    with pytest.raises(InputError, match="all 12 rows of the pool hold problems of the evaluation, so none is left"):
        run_pipeline(load_config(whole), tmp_path / "run")
    assert not (tmp_path / "run" / "clean" / "manifest.json").exists()
