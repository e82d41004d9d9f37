"""Laws of trainings that a launcher starts: what they learn is what is learnt here."""

from __future__ import annotations

import json
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from compare.tiny_experiment import Files
from qads.compare import Experiment, Results, run_experiment
from qads.errors import InputError, RunError
from qads.run import RunDirectory, read_json
from qads.run.telling import read_told

Finished = tuple[Experiment, Path, Results]
ONE = {"arm": ["qads"], "size": ["9-rows"], "seed": ["1"]}


STARTS_A_CHILD = "import subprocess, sys; sys.exit(subprocess.Popen([sys.executable, *sys.argv[1:]]).wait())"
"""A launcher that ends at once when it is asked to, and leaves its child to itself."""


def trained(root: Path) -> dict[str, Any]:
    (path,) = root.rglob("qads/seed-1/train/manifest.json")
    return read_json(path) or {}


def test_a_training_that_is_launched_leaves_what_one_here_does(
    files: Files, finished: Finished, tmp_path: Path
) -> None:
    (before,) = [
        read_json(path) or {} for path in finished[1].rglob("9-rows/qads/seed-1/train/manifest.json")
    ]  # fmt: skip
    run_experiment(files.experiment(), tmp_path / "out", only=ONE, launch=[sys.executable])
    after = trained(tmp_path / "out")
    assert after["fingerprint"] == before["fingerprint"]
    same = ("losses", "weights", "rows", "tokens", "answer_tokens", "steps", "flops", "texts_sha256", "seed")
    assert {name: after[name] for name in same} == {name: before[name] for name in same}
    assert after["launcher"] == [sys.executable] and set(after["files"]) == set(before["files"])
    assert set(after) == set(before) | {"launcher"}
    assert not list((tmp_path / "out").rglob("checkpoints")) and not list((tmp_path / "out").rglob("weights"))


@pytest.mark.long
@pytest.mark.slow
def test_two_processes_that_are_launched_learn_what_one_does(files: Files, finished: Finished, tmp_path: Path) -> None:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = str(found.getsockname()[1])
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", port]
    run_experiment(files.experiment(execution={"device": "cpu"}), tmp_path / "out", only=ONE, launch=launcher)
    (before,) = (read_json(path) or {} for path in finished[1].rglob("9-rows/qads/seed-1/train/manifest.json"))
    assert trained(tmp_path / "out")["losses"] == pytest.approx(before["losses"], abs=1e-5)


def test_a_launcher_that_fails_or_is_not_there_says_so_and_the_next_start_trains(files: Files, tmp_path: Path) -> None:
    experiment = files.experiment()
    with pytest.raises(InputError, match="--launch no-such-launcher: cannot be started"):
        run_experiment(experiment, tmp_path / "out", only=ONE, launch=["no-such-launcher"])
    with pytest.raises(
        RunError, match=r"(?s)ended with exit code 3; it had kept no checkpoint\. Its last words:\nno GPU here"
    ):
        broken = "import sys; sys.exit(print('no GPU here') or 3)"
        run_experiment(experiment, tmp_path / "out", only=ONE, launch=[sys.executable, "-c", broken])
    with pytest.raises(RunError, match="left no training"):
        run_experiment(experiment, tmp_path / "out", only=ONE, launch=[sys.executable, "-c", "pass"])
    assert run_experiment(experiment, tmp_path / "out", only=ONE).n_done == 1


def test_a_launched_training_that_fails_keeps_its_checkpoints_and_its_log(files: Files, tmp_path: Path) -> None:
    fails = (
        "import pathlib, sys; out = pathlib.Path(sys.argv[sys.argv.index('-o') + 1]); print('out of memory');"
        "(out / 'train/checkpoints/step-00000500').mkdir(parents=True); sys.exit(1)"
    )
    with pytest.raises(RunError, match=r"(?s)goes on from its last checkpoint, .*log.txt.*\nout of memory"):
        run_experiment(files.experiment(), tmp_path / "out", only=ONE, launch=[sys.executable, "-c", fails])
    (log,) = (tmp_path / "out").rglob("launched/log.txt")
    assert "out of memory" in log.read_text()
    assert list((tmp_path / "out").rglob("launched/trained/train/checkpoints/step-00000500"))


@pytest.mark.long
@pytest.mark.slow
def test_a_launched_training_ends_with_the_comparison_and_goes_on_from_its_checkpoint(
    files: Files, tmp_path: Path
) -> None:
    slow = files.settings(
        train={"steps": 800, "batch_size": 3, "learning_rate": 1e-3, "dtype": "float32"}, evaluate=None
    )
    (tmp_path / "e.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(slow))))
    command = [
        sys.executable, "-m", "qads", "compare", str(tmp_path / "e.yaml"), "--out", str(tmp_path / "out"),
        "--only", "arm=qads", "--only", "seed=1", "--launch", shlex.join([sys.executable, "-c", STARTS_A_CHILD]),
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not any(
            read_told(path.parent) for path in tmp_path.rglob("trained/.progress")
        ):
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 143
    assert list((tmp_path / "out").rglob("launched/trained/train/checkpoints/step-*"))
    (held,) = (tmp_path / "out").rglob("launched/trained")
    assert RunDirectory(held).owner is None, "nobody is left at it"
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    log = trained(tmp_path / "out")
    assert log["steps"] == len(log["losses"]) == 800
