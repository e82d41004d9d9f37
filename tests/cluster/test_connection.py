"""Which Ray cluster is joined, and what is said where there is none; what follows a signal meanwhile."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from fuzzing.attempts import call
from qads.cluster import ClusterGreedy, Execution
from qads.cluster.connection import cluster
from qads.errors import ClusterError, InputError

pytestmark = pytest.mark.ray

NO_ADDRESSES = ["head", "10.0.0.1", "h:", "h:0", "h:65536", "h:6379/", "::1:6379", "[::1]", "a b:1", "ray://h", "http://h:8265", "LOCAL", ""]  # fmt: skip


@pytest.fixture(autouse=True)
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[ray]'")
    ray.shutdown()
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.fixture
def closed() -> Iterator[str]:
    """A place of this machine where nothing listens."""
    with socket.socket() as taken:
        taken.bind(("", 0))  # And nobody else comes to listen there.
        yield f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def silent() -> Iterator[str]:
    """A place of this machine where somebody listens and says nothing."""
    with socket.create_server(("", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def refused(address: str | None) -> str:
    """What is said of an address, soon."""
    began = time.monotonic()
    with pytest.raises(ClusterError) as found, cluster(address):
        raise AssertionError("there is no cluster")
    assert time.monotonic() - began < 15
    return str(found.value)


def test_an_address_where_nothing_listens_is_told_at_once(closed: str):
    for address in (closed, f"ray://{closed}"):
        assert re.fullmatch(
            rf"no Ray cluster can be used at address '{address}': .*Connection refused\. Start one there \(ray start "
            r"--head\), correct the address, or give local .*",
            refused(address),
        )


def test_an_unknown_machine_is_told_at_once():
    for host in ("no-such-host.invalid", "a..b", "x" * 64):
        assert refused(f"{host}:6379").startswith(f"no Ray cluster can be used at address '{host}:6379': ")


def test_without_an_address_the_environment_says_which_cluster(closed: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAY_ADDRESS", closed)
    for address in (None, "auto"):
        assert f"at RAY_ADDRESS '{closed}': " in refused(address)
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:8265")
    with (
        pytest.raises(InputError, match=r"^RAY_ADDRESS is 'http://127\.0\.0\.1:8265'; it must be auto "),
        cluster(None),
    ):
        raise AssertionError("that is no address")


@pytest.mark.parametrize("address", NO_ADDRESSES)
def test_what_is_no_address_is_refused_by_the_setting_and_by_the_selection(address: str):
    with pytest.raises(InputError, match=f"^execution.address is {re.escape(repr(address))}; it must be auto "):
        Execution(kind="ray", address=address)
    with pytest.raises(InputError, match=f"^address is {re.escape(repr(address))}; it must be auto "), cluster(address):
        raise AssertionError("that is no address")


@pytest.mark.parametrize("address", [None, "auto", "local", "h:1", "a-b.c_d:65535", "[::1]:1", "[fe80::1%eth0]:1", "ray://h:1", "ray://[::1]:1"])  # fmt: skip
def test_addresses_are_settings(address: str | None):
    assert Execution(kind="ray", address=address).address == address


def test_a_command_with_no_address_ends_as_with_any_bad_input(tmp_path: Path):
    pool = tmp_path / "pool.jsonl"
    pool.write_text('{"problem": "1 + 1", "solution": "2"}\n')
    for address in ("10.0.0.1", "head"):
        code, _, err = call(
            "select", pool, "--budget", 1, "--no-quality", "--ray", address, "-o", tmp_path / "out.jsonl"
        )
        assert code == 2 and f"execution.address is '{address}'; it must be auto" in err


def test_what_ray_says_against_an_address_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch):
    import ray
    from ray.exceptions import AuthenticationError

    for error in (ValueError("odd."), RuntimeError("Version mismatch"), AuthenticationError("who?")):

        def refuse(*, error: Exception = error, **_: object) -> None:
            raise error

        monkeypatch.setattr(ray, "init", refuse)
        with pytest.raises(ClusterError, match=r"at address 'auto': .+[^.]\. Start one there "), cluster("auto"):
            raise AssertionError("there is no cluster")
        with pytest.raises(ClusterError, match=r"^Ray cannot be started on this machine: "), cluster("local"):
            raise AssertionError("there is no cluster")


@pytest.mark.parametrize(
    ("address", "words"),
    [
        (None, "the Ray cluster that RAY_ADDRESS names, or else one that is started here"),
        ("auto", "the Ray cluster that RAY_ADDRESS names, or else the one that runs here"),
        ("local", "a Ray cluster that is started here"),
        ("h:1", "the Ray cluster at h:1"),
    ],
)
def test_the_sentence_says_which_cluster(address: str | None, words: str):
    described = Execution(kind="ray", workers=2, address=address).described
    assert described == f"Shards are computed by 2 workers on {words}."


def handler_of_mine(*_: object) -> None:
    raise AssertionError("no signal came")


def test_the_answer_to_sigterm_is_kept_where_ray_fails(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAY_TMPDIR", os.devnull)
    before = signal.signal(signal.SIGTERM, handler_of_mine)
    try:
        with pytest.raises(ClusterError, match=r"Ray cannot be started .* Not a directory"), cluster("local"):
            raise AssertionError("it has nowhere to be")
        assert signal.getsignal(signal.SIGTERM) is handler_of_mine
    finally:
        signal.signal(signal.SIGTERM, before)


WAITING = """
import logging, os, sys
import ray
from qads.cluster import connection
from qads.stopping import StopHandler, Stopped

logging.basicConfig(format="%(message)s")
connection._SILENCE = float(sys.argv[2])
handler = StopHandler(grace=60, say=lambda text: os.write(2, f"{text}\\n".encode()))
init = ray.init
def told(**settings):
    os.write(2, b"at it\\n")
    init(**settings)
ray.init = told
try:
    with connection.cluster(sys.argv[1]):
        pass
except Stopped:
    os.write(2, b"stopped\\n")
    sys.exit(handler.exit_code)
"""


def waiting(address: str, silence: float) -> subprocess.Popen[str]:
    """A driver that tells how it waits for a cluster."""
    command = [sys.executable, "-c", WAITING, address, str(silence)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def until(process: subprocess.Popen[str], words: str) -> str:
    """The line that holds the words."""
    assert process.stderr is not None
    return next(line for line in process.stderr if words in line)


def test_what_listens_and_is_no_cluster_is_told_while_it_is_waited_for(silent: str):
    with waiting(silent, 0.5) as process:
        assert f"Ray (address '{silent}') has given no answer for 0.5 seconds and is waited for" in until(
            process, "no answer"
        )
        process.kill()


@pytest.mark.slow
def test_a_sigterm_while_ray_begins_stops_as_one_at_any_other_time():
    with waiting("local", 60.0) as process:
        until(process, "at it")
        time.sleep(0.3)  # Ray's own answer to SIGTERM is in its place, and its processes are not all there.
        process.terminate()
        until(process, "stopped")
        assert process.wait() == 128 + signal.SIGTERM


ALONE = """
import ray
from qads.cluster.connection import cluster

with cluster(None):
    print(ray.get_runtime_context().gcs_address)
"""


@pytest.mark.slow
def test_without_an_address_no_file_in_a_shared_folder_says_which_cluster(closed: str):
    with TemporaryDirectory(dir="/tmp") as folder:  # Sockets allow for no long paths.
        planted = Path(folder) / "ray" / "ray_current_cluster"
        planted.parent.mkdir()
        planted.write_text(closed)
        done = subprocess.run(
            [sys.executable, "-c", ALONE], env=os.environ | {"RAY_TMPDIR": folder}, timeout=120,
            capture_output=True, text=True,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() not in ("", closed)


def test_a_selection_says_what_its_cluster_is_missing(closed: str):
    import numpy as np

    method = ClusterGreedy(address=closed)
    with pytest.raises(ClusterError, match=r"at address '127\.0\.0\.1:"):
        method(np.ones((4, 2), np.float32), np.ones(4, np.float32), start=[0], k=2, cosine=False, distance_share=None)
