"""What commands write to object storage."""

from __future__ import annotations

import json

import pytest

from cli.conftest import parsed
from qads import load_pool
from qads.datasets.publishing import upload
from run.tiny import rows, write_rows


@pytest.mark.usefixtures("storage")
def test_a_selection_and_a_mixture_go_from_storage_to_storage(qads, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    upload(write_rows(tmp_path / "rows.jsonl", rows(40)), "s3://pool/in/rows.jsonl")
    found = qads(
        "select", "s3://pool/in", "--budget", "5", "--budget", "3", "--no-quality", "-o", "s3://pool/out/picked.json",
        *tiny[:6], "--set", "report.projection=null",
    )  # fmt: skip
    assert found.code == 0, found.err
    assert len(load_pool("s3://pool/out/picked.json")) == 5 and len(load_pool("s3://pool/out/picked-3.json")) == 3
    assert (tmp_path / "picked.json.qads" / "select" / "manifest.json").exists()
    recipe = {
        "name": "m",
        "same_text": "drop",
        "parts": {"a": {"selection": "s3://pool/out/picked.json"}, "b": {"pool": "s3://pool/in/*"}},
    }
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    mixed = qads("mix", "recipe.yaml", "-o", "s3://pool/mixture")
    assert mixed.code == 0, mixed.err
    assert len(load_pool("s3://pool/mixture/data/train.jsonl")) == 40


@pytest.mark.usefixtures("storage")
def test_where_a_run_is_published_is_told_to_people_and_in_the_json(qads, pool, tiny, tmp_path):
    config = {"pool": {"sources": str(pool)}, "budget": 3, "quality": None, "report": {"projection": None}}
    (tmp_path / "run.yaml").write_text(json.dumps(config))
    run = ("run", tmp_path / "run.yaml", "--out", tmp_path / "run", *tiny[:6], "--publish", "s3://pool/published")
    assert "Published: s3://pool/published\n" in qads(*run).out
    assert parsed(qads(*run, "--json").out)["published"] == "s3://pool/published"


def test_what_needs_a_disk_says_so_before_it_begins(qads, pool, tiny):
    refused = qads("embed", pool, "--out", "s3://bucket/run", *tiny[:6])
    assert refused.code == 2 and "s3://bucket/run: a run directory must be on a disk" in refused.err
