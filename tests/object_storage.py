"""A server that speaks S3 on this machine, for tests: moto's, from an environment of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

SECRET = "a-secret-that-is-written-nowhere"
_ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class ObjectStorage:
    """Where the server listens."""

    url: str

    def environment(self) -> dict[str, str]:
        """What a program needs to find it."""
        keys = {"AWS_ACCESS_KEY_ID": "AKIATESTTESTTESTTEST", "AWS_SECRET_ACCESS_KEY": SECRET}
        return keys | {"AWS_ENDPOINT_URL": self.url, "AWS_REGION": "us-east-1"}

    def reset(self) -> None:
        """No buckets, and everyone may do everything."""
        self._post("reset", b"")
        self.allow(10**9)
        request = urllib.request.Request(f"{self.url}/pool", method="PUT")
        urllib.request.urlopen(request, timeout=20).close()

    def allow(self, n: int) -> None:
        """Let the next `n` requests through, and refuse those after them."""
        self._post("reset-auth", str(n).encode())

    def _post(self, what: str, content: bytes) -> None:
        plain = {"Content-Type": "text/plain"}
        request = urllib.request.Request(f"{self.url}/moto-api/{what}", content, plain, method="POST")
        urllib.request.urlopen(request, timeout=20).close()


@contextmanager
def serving() -> Generator[ObjectStorage]:
    """The server as long as the block runs; the test is skipped where there is none."""
    named = os.environ.get("QADS_TEST_S3_SERVER")
    program = named or shutil.which("moto_server") or shutil.which(_ROOT / ".venv-s3" / "bin" / "moto_server")
    if program is None:
        pytest.skip("no S3 server: make .venv-s3/.ready, or name moto_server by QADS_TEST_S3_SERVER")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [program, "-H", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )  # fmt: skip
    try:
        storage = ObjectStorage(f"http://127.0.0.1:{port}")
        _wait_for(storage.url)
        yield storage
    finally:
        server.kill()
        server.wait()


def _wait_for(url: str) -> None:
    until = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(f"{url}/moto-api/data.json", timeout=5).close()
            return
        except OSError:
            assert time.monotonic() < until, f"{url}: the server does not start"
            time.sleep(0.1)
