"""What is secret in the environment is in nothing that a run writes or says."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from fuzzing.attempts import call
from run.tiny import make_model, rows, write_rows

SECRETS = {
    "HF_TOKEN": "hf_planted0Secret0Of0The0Hub", "HUGGING_FACE_HUB_TOKEN": "hf_planted0Second0Secret", "OPENAI_API_KEY": "sk-planted-secret-of-a-server",
    "QADS_API_KEY": "planted-secret-of-ours", "AWS_SECRET_ACCESS_KEY": "plantedSecretOfAStore", "WANDB_API_KEY": "planted5ecret5of5a5tracker",
    "HTTPS_PROXY": "", "PLANTED_URL": "https://planted-user:planted-password@example.org",
}  # fmt: skip
PLANTED = [value.encode() for value in SECRETS.values() if value]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run of every stage up to the page under a mask of the user's, with secrets around it; and all that was said."""
    folder = tmp_path_factory.mktemp("secrets")
    model, pool = make_model(folder / "tiny"), write_rows(folder / "pool.jsonl", rows(24))
    tiny = {"model": str(model), "dtype": "float32"}
    settings = {
        "pool": {"sources": str(pool)}, "budget": 4, "embedding": {"kind": "lm", **tiny}, "anchors": {"n": 3},
        "quality": {"sample": 12, "influence": tiny}, "execution": {"device": "cpu"},
    }  # fmt: skip
    (folder / "run.yaml").write_text(json.dumps(settings))
    before, mask = dict(os.environ), os.umask(0o027)
    os.environ.update(SECRETS)
    try:
        said = [call(*words) for words in (
            ("--debug", "run", folder / "run.yaml", "-o", folder / "run"), ("explain", folder / "run", "--not-picked", "--json"),
            ("check", pool, "--json"), ("run", folder / "none.yaml"), ("check", folder / "none.jsonl"),
        )]  # fmt: skip
    finally:
        os.environ.clear()
        os.environ.update(before)
        os.umask(mask)
    assert [code for code, _, _ in said] == [0, 0, 0, 2, 2], said
    return folder / "run", "".join(out + err for _, out, err in said)


def test_no_secret_of_the_environment_is_written_or_said(finished: tuple[Path, str]):
    run, said = finished
    files = [path for path in run.rglob("*") if path.is_file()]
    assert len(files) > 15
    for secret in PLANTED:
        assert secret.decode() not in said
        assert [path for path in files if secret in path.read_bytes()] == []


def test_what_a_run_makes_has_the_rights_that_the_user_gives(finished: tuple[Path, str]):
    run, _ = finished
    for path in (run, *run.rglob("*")):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o027, path
        assert not stat.S_IMODE(path.stat().st_mode) & 0o111 or path.is_dir(), path
