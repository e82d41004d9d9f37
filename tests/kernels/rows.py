"""Rows that are hard to select from: what breaks careless distances, bounds and ties."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

DIMS = (1, 2, 9, 31, 32, 33, 70)
KINDS = ("grid", "cloud", "duplicates", "neighbours", "offset", "scales", "outlier", "tiny", "huge", "equal")


def hard_rows(kind: str, n: int, d: int, rng: np.random.Generator) -> np.ndarray:
    """Float64 rows [n, d] of a kind."""
    cloud = rng.normal(size=(n, d))
    if kind == "grid":  # Every squared distance is exact, and many tie.
        return rng.integers(-2, 3, size=(n, d)) * 2.0 ** rng.integers(-13, 14)
    if kind == "duplicates":
        return cloud[rng.integers(0, max(1, n // 4), size=n)]
    if kind == "neighbours":  # Equal but for the last digit of float32.
        base = cloud[rng.integers(0, min(n, 2), size=n)].astype(np.float32)
        return np.where(rng.random((n, d)) < 0.2, np.nextafter(base, np.float32(9)), base).astype(np.float64)
    if kind == "offset":  # The mean is 10⁴ times what the rows differ by.
        return cloud * 10.0 ** rng.integers(-4, 1) + 1e4
    if kind == "scales":
        return cloud * 10.0 ** rng.integers(-8, 9, size=(n, 1))
    if kind == "outlier":  # Beyond the range that the sample shows.
        cloud[rng.integers(0, n)] *= 1e12
        return cloud
    if kind == "tiny":
        return cloud * 1e-160 if rng.random() < 0.5 else cloud * 1e-42
    if kind == "huge":
        return cloud * 1e140 if rng.random() < 0.5 else cloud * 1e37
    return cloud if kind == "cloud" else np.ones((n, d))


def stored(x: np.ndarray, form: str) -> np.ndarray:
    """The rows as they may be stored, as far as they fit; bfloat16 as its bits."""
    with np.errstate(over="ignore", under="ignore"):
        if form == "bfloat16":
            bits = np.clip(x, -1e37, 1e37).astype(np.float32).view(np.uint32)
            return ((bits + 0x8000) >> 16).astype(np.uint16)
        if form == "float16":
            return np.clip(x, -6e4, 6e4).astype(np.float16)
        return np.clip(x, -1e38, 1e38).astype(np.float32) if form == "float32" else x


@st.composite
def pools(draw: st.DrawFn, most: int = 60) -> np.ndarray:
    """Stored rows of every kind, size and type."""
    rng = np.random.default_rng(draw(st.integers(0, 100_000)))
    n, d = draw(st.integers(1, most)), draw(st.sampled_from(DIMS))
    form = draw(st.sampled_from(("float64", "float32", "float16", "bfloat16")))
    return stored(hard_rows(draw(st.sampled_from(KINDS)), n, d, rng), form)


def weights(n: int, kind: str) -> np.ndarray:
    """Weights [n] of a kind."""
    rng = np.random.default_rng(n)
    return {
        "ones": np.ones(n),
        "zeros": np.zeros(n),
        "few": rng.integers(0, 4, size=n) / 4,
        "any": rng.random(n),
    }[kind]


WEIGHTS = st.sampled_from(("ones", "zeros", "few", "any"))
SHARES = st.sampled_from((None, 0.0, 0.25, 0.5, 1.0))
