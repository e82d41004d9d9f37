"""Bounds that rule pairs out: which centres cannot be the nearest of a row, by one product of bfloat16 matrices.

**The bound.** Let p_i be the point of row i (`distance.py: Points`), y_i = σ(p_i − μ) with a power of two σ and any
fixed μ (about the mean; it cancels, and short vectors make tight bounds), and y = b + r with b in bfloat16. Let the
canonical squared distances be accurate to a factor 1 ± ε. Centre j can be as near to row i as its nearest one so far,
at the squared distance m_i, only if |y_i − y_j|² ≤ (1 + 2ε) σ² m_i, that is if

    ⟨y_i, y_j⟩ − |y_j|²/2 + a_i ≥ 0,      a_i = ((1 + 2ε) σ² m_i − |y_i|²)/2.

Since ⟨y_i, y_j⟩ = ⟨b_i, b_j⟩ + ⟨r_i, b_j⟩ + ⟨y_i, r_j⟩, Cauchy–Schwarz bounds it from above by
⟨b_i, b_j⟩ + ρ_i (ν_j + ρ_j) + ν_i ρ_j with ρ ≥ |r| and ν ≥ |y|. So with six columns more,

    left_i  = [ b_i | ρ_i      ν_i  a_i↑  a_i↓  1          1          ]
    right_j = [ b_j | ν_j+ρ_j  ρ_j  1     1     −|y_j|²/2↑ −|y_j|²/2↓ ]

(↑↓: a number in two pieces of bfloat16), left_i · right_j < 0 rules the pair out.

**The product's own error.** Products of two bfloat16 numbers are exact in float32. Added in float32 in any order,
each addition off by at most 2⁻²³ of its result (fused, rounded to nearest or to odd), the sum of K terms t errs by at
most γ Σ|t|, γ = K 2⁻²³/(1 − K 2⁻²³). The terms are the columns above and Σ|b_ik b_jk| ≤ (ν_i+ρ_i)(ν_j+ρ_j), so it is
enough to enlarge ρ_i by γ(ν_i + 2ρ_i), ρ_j by γρ_j, and to move a_i and −|y_j|²/2 up by γ of their sizes. The
code takes twice that γ, which pays for the enlargement of what is enlarged. Every piece is rounded upwards. Nothing
underflows: what is smaller than 2⁻⁴⁰ in b counts as rest r, and pieces are 0 or more than 2⁻⁴¹, so partial sums are
multiples of 2⁻⁹⁶. a_i has 2⁻⁴⁰ to spare, so a pair that matters has a product > 0, and stays > 0 when the product is
rounded to bfloat16: its sign is all that is asked at first.

**As a row's distance falls.** If m_i has become m'_i since the product G was computed, a centre matters only if
G ≥ σ²(m_i − m'_i)/2, and the product rounded to bfloat16 is at least (1 − 2⁻⁸) times that (`Bounds.unit`).

**Rows out of range.** σ comes from a sample. A row with |y| > 2²⁰ gets b = 0 and a = 2⁶⁰: none of its pairs is ever
ruled out.
"""

from __future__ import annotations

import sys
from typing import Any, no_type_check

import llvmlite.binding as llvm
import numba
import numpy as np
from jaxtyping import Float, Float32, Int, UInt16

from qads.kernels.distance import Points, widened
from qads.kernels.kept import KEPT

__all__ = ["BFloat16Product", "BoundProduct", "Bounds", "Float32Product", "fast_product"]

_COLUMNS = 6
_TINY = 2.0**-40
_LARGEST = 2.0**20
_ALWAYS = 2.0**60
_WORTH_LOADING_TORCH = 5e10
_ONE = np.uint16(0x3F80)


class Bounds:
    """The left factors of some rows, and right factors of them on demand."""

    def __init__(self, points: Points, like: Bounds | None = None) -> None:
        """Room for the rows of `points`, measured as those of `like` are; fill it with `enclose`."""
        n, d = points.x.shape
        width = -(-(d + _COLUMNS) // 8) * 8
        self.left: UInt16[np.ndarray, "n w"] = np.zeros((n, width), np.uint16)
        self.squares: Float32[np.ndarray, " n"] = np.empty(n, np.float32)
        """Lower bounds of |y|²; −1 for rows out of range."""
        self.n_dims = d
        self.gamma = 2 * width * 2.0**-23 / (1 - width * 2.0**-23)
        self.mean, self.power = (like.mean, like.power) if like else _frame(points)
        # ε = (d + 64) · 2⁻⁵² and, where squares underflow, d of the smallest number.
        self.growth = 0.5 * self.power**2 * (1 + (d + 64) * 2.0**-51)
        self.spare = _TINY + self.power**2 * d * 2.0**-1073
        self.unit = 0.5 * self.power**2 * (1 - 2.0**-8)

    def enclose(self, start: int, block: Float[np.ndarray, "b d"], scale: Float[np.ndarray, " b"]) -> None:
        """Compute the factors of a block of stored rows, the first of them row `start`."""
        part = slice(start, start + len(block))
        _enclose(block, scale, self.mean, self.power, self.gamma, self.left[part], self.squares[part])

    def set_reach(self, rows: Int[np.ndarray, " m"], squared: Float[np.ndarray, " n"]) -> None:
        """Make the products of some rows ask for centres within their squared distances."""
        _set_reach(rows, squared, self.squares, self.n_dims, self.growth, self.spare, self.gamma, self.left)

    def right(self, rows: Int[np.ndarray, " c"]) -> UInt16[np.ndarray, "c w"]:
        """The right factors of some rows."""
        right = self.left[rows]
        _turn(right, self.squares[rows], self.n_dims, self.gamma)
        return right


def _frame(points: Points) -> tuple[Float[np.ndarray, " d"], float]:
    """μ and σ from a sample: σ · (the largest coordinate) is about 1."""
    sample = points.take(np.arange(0, len(points), max(1, len(points) // 1024)))
    mean = sample.mean(axis=0)
    spread = float(np.abs(sample - mean).max())
    exponent = 0 if spread == 0 else int(np.clip(np.frexp(spread)[1], -450, 500))
    return mean, float(np.ldexp(1.0, -exponent))


class BFloat16Product:
    """Bounds by torch's product of bfloat16 matrices, padded with zeros to few shapes, 32 × 32 at least.

    What is smaller torch may compute by other means than oneDNN, and those may add in bfloat16.
    """

    def prepared(self, right: UInt16[np.ndarray, "c w"]) -> Any:
        """The right factors in the form that the product takes."""
        import torch

        return torch.from_numpy(_padded(right).view(np.int16)).view(torch.bfloat16).T

    def __call__(self, left: UInt16[np.ndarray, "m w"], right: Any) -> Int[np.ndarray, "m c"]:
        """The products left · rightᵀ, as bits."""
        import torch

        product = torch.from_numpy(_padded(left).view(np.int16)).view(torch.bfloat16) @ right
        return product.view(torch.int16).numpy()[: len(left)]


class Float32Product:
    """The same by NumPy in float32, twice as slow."""

    def prepared(self, right: UInt16[np.ndarray, "c w"]) -> Any:
        """The right factors in the form that the product takes."""
        return widened(right).T

    def __call__(self, left: UInt16[np.ndarray, "m w"], right: Any) -> Int[np.ndarray, "m c"]:
        """The products left · rightᵀ, as bits."""
        return (widened(left) @ right).view(np.int32)


BoundProduct = BFloat16Product | Float32Product


def _padded(factors: UInt16[np.ndarray, "m w"]) -> UInt16[np.ndarray, "p w"]:
    """With rows of zeros: 32, 64, 128 or a multiple of 256, since oneDNN compiles a kernel for every new shape."""
    n = len(factors)
    size = -(-n // 256) * 256 if n > 128 else max(32, 1 << (n - 1).bit_length())
    if size == n:
        return factors
    out = np.zeros((size, factors.shape[1]), np.uint16)
    out[:n] = factors
    return out


def fast_product(work: float) -> BoundProduct:
    """The product that is faster here: bfloat16 where the processor multiplies it and torch adds it in float32.

    Args:
        work: numbers of x times picks; where they are few, loading torch would take longer.
    """
    features = llvm.get_host_cpu_features()
    hardware = features.get("avx512bf16") or features.get("amx-bf16")
    if hardware and ("torch" in sys.modules or work >= _WORTH_LOADING_TORCH):
        product = BFloat16Product()
        # A sum in bfloat16, which some builds of torch fall back to, would lose every product but the first.
        terms = np.full((64, 512), 0x3D00, np.uint16)  # 2⁻⁵
        terms[:, 0] = _ONE
        sums = widened(product(terms, product.prepared(terms)).view(np.uint16))
        if np.abs(sums / (1 + 511 * 2.0**-10) - 1).max() <= 2.0**-8:
            return product
    return Float32Product()


@numba.njit(cache=KEPT)
@no_type_check
def _value(bits: int) -> float:
    return np.uint32(np.uint32(bits) << np.uint32(16)).view(np.float32)


@numba.njit(cache=KEPT)
@no_type_check
def _nearest(value: float) -> int:
    """The nearest bfloat16, as bits; 0 for what is below the smallest piece."""
    bits = np.float32(value).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    return np.uint16(rounded if abs(value) >= _TINY else 0)


@numba.njit(cache=KEPT)
@no_type_check
def _above(value: float) -> int:
    """A bfloat16 that is no smaller, as bits."""
    if value < _TINY:
        if value > 0:
            value = _TINY
        elif value > -_TINY:
            return np.uint16(0)
    value += abs(value) * 2.0**-20  # Rounding to float32 takes off less.
    bits = np.float32(value).view(np.uint32)
    return np.uint16((bits + np.uint32(0xFFFF if value > 0 else 0)) >> np.uint32(16))


@numba.njit(cache=KEPT)
@no_type_check
def _split(value: float, out: np.ndarray, place: int) -> None:
    """Two pieces whose sum is no smaller."""
    out[place] = _nearest(value)
    out[place + 1] = _above(value - np.float64(_value(out[place])))


@numba.njit(cache=KEPT, fastmath={"reassoc"})
@no_type_check
def _sum_of_squares(values: np.ndarray) -> float:
    total = 0.0
    for j in range(len(values)):  # Over the values themselves the loop is not vectorised.
        total += values[j] * values[j]
    return total


@numba.njit(cache=KEPT, nogil=True)
@no_type_check
def _enclose(
    block: np.ndarray,
    scale: np.ndarray,
    mean: np.ndarray,
    power: float,
    gamma: float,
    left: np.ndarray,
    squares: np.ndarray,
) -> None:
    d = block.shape[1]
    y, rest = np.empty(d), np.empty(d)
    for i in range(len(block)):
        s, factors = scale[i], left[i]
        for j in range(d):
            y[j] = (np.float64(block[i, j]) * s - mean[j]) * power
        for j in range(d):
            factors[j] = _nearest(y[j])
        for j in range(d):
            rest[j] = y[j] - np.float64(_value(factors[j]))
        square = _sum_of_squares(y)
        left[i, d + 4] = left[i, d + 5] = _ONE
        if square < _LARGEST * _LARGEST:
            nu = np.sqrt(square) * (1 + 2.0**-20)
            rho = np.sqrt(_sum_of_squares(rest)) * (1 + 2.0**-20) + nu * 2.0**-50
            left[i, d] = _above(rho + gamma * (nu + 2 * rho))
            left[i, d + 1] = _above(nu)
            squares[i] = square * (1 - 2.0**-20)
        else:
            left[i, :d] = 0
            left[i, d] = left[i, d + 1] = 0
            left[i, d + 2] = _nearest(_ALWAYS)
            squares[i] = -1


@numba.njit(cache=KEPT, nogil=True)
@no_type_check
def _set_reach(
    rows: np.ndarray,
    squared: np.ndarray,
    squares: np.ndarray,
    d: int,
    growth: float,
    spare: float,
    gamma: float,
    left: np.ndarray,
) -> None:
    for i in rows:
        if squares[i] >= 0:
            reach = growth * squared[i] - 0.5 * squares[i]
            _split(min(reach + gamma * abs(reach) + spare, _ALWAYS), left[i], d + 2)


@numba.njit(cache=KEPT, nogil=True)
@no_type_check
def _turn(factors: np.ndarray, squares: np.ndarray, d: int, gamma: float) -> None:
    """Turn left factors into right ones, in place."""
    for i in range(len(factors)):
        rho, nu = np.float64(_value(factors[i, d])), np.float64(_value(factors[i, d + 1]))
        factors[i, d] = _above(nu + rho)
        factors[i, d + 1] = _above(rho * (1 + gamma))
        factors[i, d + 2] = factors[i, d + 3] = _ONE
        if squares[i] >= 0:
            _split(-0.5 * np.float64(squares[i]) * (1 - gamma), factors[i], d + 4)
        else:
            factors[i, d + 4], factors[i, d + 5] = _nearest(_ALWAYS), 0
