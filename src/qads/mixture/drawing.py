"""Which rows come first, and how many of each group: the same on every machine and for every version of a library.

A row's place in a draw or a shuffle is the SHA-256 of the seed, what is drawn for, and the row's id. So it depends on
nothing else: not on a generator's algorithm, not on the other rows. A pool that grows keeps the order of the rows it
had, and a smaller draw is the beginning of a larger one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from decimal import Context, Decimal
from fractions import Fraction

import numpy as np
import pyarrow as pa
from jaxtyping import Int, Shaped

from qads.amounts import exact_fraction
from qads.kernels.apportion import apportion
from qads.kernels.hashed import hashed

__all__ = ["cycled", "hash_order", "share_out", "temperature_weights", "text_keys"]

_ROWS_AT_A_TIME = 65536
_PRECISE = Context(prec=50)


def hash_order(ids: pa.ChunkedArray, *, seed: int, purpose: str) -> Int[np.ndarray, " n"]:
    """Positions in the order of the draw."""
    batches = (ids.slice(start, _ROWS_AT_A_TIME).to_pylist() for start in range(0, len(ids), _ROWS_AT_A_TIME))
    keys = hashed((name for batch in batches for name in batch), seed=seed, purpose=purpose)
    return np.argsort(keys, kind="stable")


def text_keys(table: pa.Table) -> Shaped[np.ndarray, " n"]:
    """Sixteen bytes of the SHA-256 of context, problem and solution: equal for rows that are the same text."""
    keys = bytearray()
    for start in range(0, table.num_rows, _ROWS_AT_A_TIME):
        part = table.slice(start, _ROWS_AT_A_TIME)
        columns = (part[name].to_pylist() for name in ("context", "problem", "solution"))
        for texts in zip(*columns, strict=True):
            keys += hashlib.sha256("\0".join(text or "" for text in texts).encode()).digest()[:16]
    return np.frombuffer(bytes(keys), dtype="S16")


def cycled(order: Int[np.ndarray, " n"], count: int) -> tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"]]:
    """`count` rows in order, from the beginning again when they are used up; and which time each is there (0, 1, …).

    >>> [part.tolist() for part in cycled(np.array([4, 2, 7]), 5)]
    [[4, 2, 7, 4, 2], [0, 0, 0, 1, 1]]
    """
    turn = np.arange(count)
    return order[turn % len(order)], turn // len(order)


def temperature_weights(sizes: Sequence[int], temperature: float) -> list[Fraction]:
    """n^(1/T), in decimal arithmetic that is the same on every machine.

    T = 1 is in proportion to the sizes, larger T raises the share of small groups, T = ∞ is evenly. Source: Raffel et
    al. 2020 (T5); Xue et al. 2021 (mT5) and Conneau et al. 2020 (XLM-R) with the exponent α = 1/T = 0.3.

    >>> [float(weight) for weight in temperature_weights([100, 10000], 2)]
    [10.0, 100.0]
    """
    exponent = Decimal(0) if temperature == float("inf") else _PRECISE.divide(Decimal(1), Decimal(str(temperature)))
    return [Fraction(_PRECISE.power(Decimal(size), exponent)) for size in sizes]


def share_out(
    total: int, sizes: Sequence[int], *, temperature: float, max_repeats: Sequence[float]
) -> list[int] | None:
    """Counts for groups in proportion to n^(1/T), none above its rows times its epochs at most.

    What a group cannot give the others give in proportion, as in UniMax (Chung et al. 2023). The counts add up to
    `total` exactly, by largest remainders; None where all groups together have fewer.

    >>> share_out(1000, [90, 900], temperature=float("inf"), max_repeats=[2, 1])
    [180, 820]
    """
    most = [int(exact_fraction(repeat) * size) for size, repeat in zip(sizes, max_repeats, strict=True)]
    if sum(most) < total:
        return None
    return apportion(total, temperature_weights(sizes, temperature), most)
