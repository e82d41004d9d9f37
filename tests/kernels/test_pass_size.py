"""Passes grow while they fit and gain speed, and no further."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kernels.architectures import model_of
from qads.kernels.likelihood import AnswerLikelihood
from qads.kernels.pass_size import find_pass_size, pass_speed
from qads.kernels.peak import matmul_peak


@given(fits=st.integers(1, 2**22), busy=st.integers(1, 2**22))
def test_the_size_found_fits_and_half_of_it_would_be_slower(fits: int, busy: int):
    tried: list[int] = []

    def speed(n: int) -> float | None:
        tried.append(n)
        return None if n > fits else min(n, busy)

    found = find_pass_size(speed)
    assert found <= fits and found <= 2**20
    assert found <= 4096 or busy >= 1.05 * found / 2
    assert 2 * found > fits or busy < 1.05 * found or found == 2**20 or found < 4096
    assert len(tried) == len(set(tried))
    assert max(tried) <= 4 * found or found < 4096


def test_a_gain_of_less_than_five_per_cent_is_none():
    assert find_pass_size({4096: 100.0, 8192: 104.9}.get) == 4096
    assert find_pass_size({4096: 100.0, 8192: 105.1, 16384: 105.2}.get) == 8192


def test_where_nothing_fits_one_token_is_left():
    assert find_pass_size(lambda _: None) == 1


@pytest.mark.parametrize("name", ["llama", "gpt2, learned positions", "bloom, ALiBi"])
@pytest.mark.parametrize("size", [1, 300, 4096])
def test_speed_is_measured_within_the_context_of_the_model(name: str, size: int):
    model = model_of(name)
    before = AnswerLikelihood(model, max_tokens_per_batch=64)  # The model is left as it was.
    speed = pass_speed(model, size, max_length=128)
    assert speed is not None and speed > 0
    assert before.max_tokens_per_batch == 64


def test_the_peak_is_a_positive_number_that_is_measured_once():
    assert matmul_peak(torch.device("cpu"), torch.float32) > 1e8
    assert matmul_peak(torch.device("cpu"), torch.float32) == matmul_peak(torch.device("cpu"), torch.float32)


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
def test_a_size_is_found_where_memory_really_runs_out():
    code = """
        import resource
        from kernels.architectures import model_of
        from qads.kernels.pass_size import find_pass_size, pass_speed

        model = model_of("gptj")  # Its scores [texts, heads, n, n] are the first to grow.
        assert pass_speed(model, 512, max_length=128)
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 40 * 2**20,) * 2)
        fits = {}

        def speed(n):  # Of a device that is never busy, so that memory alone decides.
            fits[n] = pass_speed(model, n, max_length=128) is not None
            return float(n) if fits[n] else None

        found = find_pass_size(speed, first=512)
        assert fits[found] and not fits[2 * found], fits
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
def test_a_device_that_is_nearly_full_has_a_peak_too():
    code = """
        import resource, torch
        from qads.kernels.peak import matmul_peak

        torch.ones(600, 600) @ torch.ones(600, 600)
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 24 * 2**20,) * 2)  # The third size needs twice as much.
        assert matmul_peak(torch.device("cpu"), torch.float32) > 0
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
