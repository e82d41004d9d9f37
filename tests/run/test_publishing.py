from __future__ import annotations

from pathlib import Path

import pytest

import qads
from object_storage import SECRET
from qads.config import load_config
from qads.datasets.publishing import upload
from qads.errors import DriftError, InputError
from qads.run import RunDirectory, publish_run, run_pipeline
from run import tiny


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_model(tmp_path_factory.mktemp("model"))


def test_a_run_of_objects_is_that_of_the_files_and_a_changed_object_is_noticed(storage, model, tmp_path):
    local = tiny.write_rows(tmp_path / "rows.jsonl", tiny.rows(60))
    anchors = tiny.write_rows(tmp_path / "target.jsonl", tiny.rows(4, seed=9, prefix="a"))
    for file in (local, anchors):
        upload(file, f"s3://pool/{file.name}")
    wanted = run_pipeline(
        load_config(tiny.settings(model, local, anchors={"sources": str(anchors)})), tmp_path / "of-files"
    )
    settings = tiny.settings(model, "s3://pool/rows.jsonl", anchors={"sources": "s3://pool/target.jsonl"})
    out = "s3://pool/published"
    config = load_config(settings)
    found = run_pipeline(config, tmp_path / "of-objects")
    assert found.train_file.read_bytes() == wanted.train_file.read_bytes()

    publish_run(found, out)
    assert len(qads.load_pool(f"{out}/mixture/train.jsonl")) == 6
    written = b"".join(path.read_bytes() for path in (tmp_path / "of-objects").rglob("*") if path.is_file())
    assert SECRET.encode() not in written and b"AKIATEST" not in written

    assert tiny.run(config, tmp_path / "of-objects").computed == []
    upload(tiny.write_rows(tmp_path / "rows.jsonl", tiny.rows(61)), "s3://pool/rows.jsonl")
    with pytest.raises(DriftError, match='file rows: was "ETag'):
        run_pipeline(config, tmp_path / "of-objects")


class Replaces(tiny.Heard):
    """Puts another object in the place of the pool when its stage begins."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file

    def stage_started(self, name: str, number: int, n_stages: int) -> None:
        """After everything was planned."""
        upload(self.file, "s3://pool/rows.jsonl")


def test_an_object_that_is_replaced_while_a_run_reads_is_noticed(storage, model, tmp_path):
    upload(tiny.write_rows(tmp_path / "rows.jsonl", tiny.rows(40)), "s3://pool/rows.jsonl")
    other = tiny.write_rows(tmp_path / "other.jsonl", tiny.rows(41))
    config = load_config(tiny.settings(model, "s3://pool/rows.jsonl"))
    with pytest.raises(DriftError, match=r"what it reads was changed while the run was on(.|\n)*ETag"):
        run_pipeline(config, tmp_path / "run", until="pool", observer=Replaces(other))


def test_a_run_directory_is_on_a_disk():
    with pytest.raises(InputError, match=r"s3://bucket/run: a run directory must be on a disk"):
        RunDirectory(Path("s3://bucket/run"))
