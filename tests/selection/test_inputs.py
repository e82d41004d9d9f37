"""Laws of what selectors accept: any array of real numbers, only read; all else is refused by name."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import reference
from qads.errors import AlignmentError, InputError
from qads.selection import KCenterGreedy, RandomSelection, TopQuality
from qads.selection.budget import resolve_budget
from qads.selection.inputs import checked_embeddings, checked_quality, scaled_quality

# Multiples of 1/4 up to 8, so that float16 and bfloat16 hold the very same numbers as float64.
X = np.random.default_rng(0).integers(-32, 33, size=(30, 11)) / 4
QUALITY = np.random.default_rng(1).integers(0, 64, size=30) / 64
EXPECTED = KCenterGreedy()(X, QUALITY, budget=30)


def mapped(x: np.ndarray, folder: Path, *, order: str = "C") -> np.ndarray:
    np.save(folder / "x.npy", np.asarray(x, dtype=np.float32, order=order))
    return np.load(folder / "x.npy", mmap_mode="r")


FORMS: dict[str, Callable[[np.ndarray, Path], Any]] = {
    "float64": lambda x, _: x,
    "float32": lambda x, _: x.astype(np.float32),
    "float16": lambda x, _: x.astype(np.float16),
    "big-endian float64": lambda x, _: x.astype(">f8"),
    "long double": lambda x, _: x.astype(np.longdouble),
    "memory-mapped": mapped,
    "memory-mapped, Fortran order": lambda x, folder: mapped(x, folder, order="F"),
    "Fortran order": lambda x, _: np.asfortranarray(x),
    "every second column": lambda x, _: np.repeat(x, 2, axis=1)[:, ::2],
    "backwards twice": lambda x, _: x[::-1].copy()[::-1],
    "list of lists": lambda x, _: x.tolist(),
    "torch float32": lambda x, _: torch.tensor(x, dtype=torch.float32),
    "torch float64": lambda x, _: torch.tensor(x),
    "torch float16": lambda x, _: torch.tensor(x, dtype=torch.float16),
    "torch bfloat16": lambda x, _: torch.tensor(x, dtype=torch.bfloat16),
    "torch with gradient": lambda x, _: torch.tensor(x, requires_grad=True),
    "torch, transposed": lambda x, _: torch.tensor(x.T.copy()).T,
}


@pytest.mark.parametrize("form", FORMS)
def test_the_form_of_the_embeddings_changes_nothing(form: str, tmp_path: Path) -> None:
    sel = KCenterGreedy()(FORMS[form](X, tmp_path), QUALITY, budget=30)
    np.testing.assert_array_equal(sel.indices, EXPECTED.indices)
    np.testing.assert_array_equal(sel.distances, EXPECTED.distances)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64])
def test_integers_are_embeddings_too(dtype: type) -> None:
    x = (4 * X + 64).astype(dtype)
    sel = KCenterGreedy()(x, QUALITY, budget=30)
    np.testing.assert_array_equal(sel.indices, EXPECTED.indices)
    np.testing.assert_array_equal(sel.distances, 4 * EXPECTED.distances)


@pytest.mark.parametrize(
    "quality",
    [QUALITY.astype(np.float32), QUALITY.tolist(), torch.tensor(QUALITY), torch.tensor(QUALITY).bfloat16()],
    ids=["float32", "list", "torch", "torch bfloat16"],
)
def test_the_form_of_the_quality_changes_nothing(quality: Any) -> None:
    np.testing.assert_array_equal(KCenterGreedy()(X, quality, budget=30).indices, EXPECTED.indices)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_in_order_are_not_copied(dtype: type) -> None:
    x = X.astype(dtype)
    assert np.shares_memory(checked_embeddings(x, method="M"), x)


def test_bfloat16_in_order_is_not_copied_but_read_as_its_bits() -> None:
    x = torch.tensor(X, dtype=torch.bfloat16)
    checked = checked_embeddings(x, method="M")
    assert checked.dtype == np.uint16 and np.shares_memory(checked, x.view(torch.int16).numpy())
    x[4, 2] = float("nan")
    with pytest.raises(InputError, match="row 4 of the embeddings holds nan in dimension 2"):
        checked_embeddings(x, method="M")


@pytest.mark.parametrize("dtype", [">f8", np.longdouble, np.int64, np.int16])
def test_wide_numbers_keep_their_digits(dtype: Any) -> None:
    assert checked_embeddings(np.ones((2, 2), dtype), method="M").dtype == np.float64


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_is_named(value: float) -> None:
    method, x = KCenterGreedy(), X.copy()
    x[[17, 23], [5, 0]] = value
    message = rf"^{type(method).__name__}: row 17 of the embeddings holds {value} in dimension 5"
    with pytest.raises(InputError, match=message):
        method(x, QUALITY, budget=3)


def test_a_late_bad_row_is_found_at_its_own_place() -> None:
    x = np.zeros((20_000, 1), dtype=np.float32)
    x[19_998] = np.nan
    with pytest.raises(InputError, match=r"row 19998 of the embeddings holds nan"):
        checked_embeddings(x, method="M")


def test_numbers_whose_squares_overflow_are_refused() -> None:
    with pytest.raises(InputError, match=r"row 1 of the embeddings holds 1e\+200 .* at most 1e\+150"):
        checked_embeddings([[0.0], [1e200]], method="M")
    assert len(KCenterGreedy()([[-1e150], [1e150]], [0.0, 1e150], budget=2)) == 2


@pytest.mark.parametrize(
    ("embeddings", "found"),
    [
        (np.ones(4), r"shape \(4,\)"),
        (np.ones((2, 2, 2)), r"shape \(2, 2, 2\)"),
        (np.ones((0, 3)), r"shape \(0, 3\)"),
        (np.ones((3, 0)), r"shape \(3, 0\)"),
        ([], r"shape \(0,\)"),
        (np.array([[1.0, None]], dtype=object), "type object"),
        (np.ones((2, 2), dtype=bool), "type bool"),
        (np.ones((2, 2), dtype=complex), "type complex128"),
        ([["a", "b"]], "type <U1"),
        ([[1.0], [1.0, 2.0]], "type list cannot be read as an array"),
        (torch.empty(2, 2, device="meta"), "type Tensor cannot be read as an array"),
        (None, "type object"),
    ],
)
def test_what_is_no_array_of_rows_is_refused(embeddings: Any, found: str) -> None:
    with pytest.raises(InputError, match=rf"^M: embeddings (have|of) .*{found}"):
        checked_embeddings(embeddings, method="M")


@pytest.mark.parametrize(
    ("quality", "message"),
    [
        (np.ones((4, 1)), r"quality has shape \(4, 1\) .* one number a row"),
        (3.0, r"quality has shape \(\) .* one number a row"),
        (np.array([1, 2, None, 4], dtype=object), r"type object; it must be one number a row"),
        (["a", "b", "c", "d"], r"type <U1; it must be one number a row"),
        ([1.0, [2.0], 3.0, 4.0], r"quality of type list cannot be read as an array"),
        ([1.0, 2.0, np.nan, np.inf], r"quality of row 2 is nan; every row needs a finite number"),
        ([1.0, 2.0, 3.0, -np.inf], r"quality of row 3 is -inf; every row needs a finite number"),
        ([1.0, 1e200, 3.0, 4.0], r"quality of row 1 is 1e\+200; .* at most 1e\+150"),
    ],
)
def test_what_is_no_quality_is_refused(quality: Any, message: str) -> None:
    with pytest.raises(InputError, match=f"^M: .*{message}"):
        checked_quality(quality, 4, method="M")


@pytest.mark.parametrize("method", [KCenterGreedy(), RandomSelection(), TopQuality()])
def test_misaligned_lengths_say_both_and_what_to_do(method: Any) -> None:
    message = (
        f"{type(method).__name__}: quality has 29 rows but embeddings have 30; both must be aligned to one "
        "pool. Recompute: qads run … --redo quality"
    )
    with pytest.raises(AlignmentError, match=f"^{re.escape(message)}$"):
        method(X, QUALITY[:29], budget=3)


def test_refusals_are_value_errors() -> None:
    with pytest.raises(ValueError):
        KCenterGreedy()(X, QUALITY, budget=31)


@given(
    values=st.lists(st.integers(-5, 5) | st.floats(-1e6, 1e6), min_size=1, max_size=20),
    scale=st.sampled_from(("rank", "minmax")),
)
@settings(deadline=None)
def test_scaled_quality_is_the_definition(values: list[float], scale: Any) -> None:
    q = scaled_quality(np.array(values, dtype=np.float64), scale, method="M")
    np.testing.assert_array_equal(q, reference.scaled(values, scale))
    assert q.min() >= 0 and q.max() <= 1


# Budgets.


@pytest.mark.parametrize("budget", [1, 7, 100, np.int64(7), np.uint8(7), np.int32(100)])
def test_a_whole_number_is_a_count(budget: int) -> None:
    count = resolve_budget(budget, 100, method="M")
    assert count == budget and type(count) is int


@pytest.mark.parametrize(
    ("fraction", "n_rows", "count"),
    [
        (0.07, 100, 7),  # 7.000000000000001 in binary
        (0.29, 100, 29),  # 28.999999999999996 in binary
        (0.57, 100, 57),  # 56.99999999999999 in binary
        (0.145, 100, 15),  # 14.499999999999998 in binary; half goes up
        (0.285, 100, 29),  # 28.499999999999996 in binary
        (0.1, 1005, 101),
        (0.1, 1004, 100),
        (0.5, 1, 1),
        (0.5, 3, 2),
        (1.0, 77, 77),
        (1e-6, 10_000_000, 10),
        (0.4999999999, 3, 1),
        (0.49999999999, 10**11, 49999999999),
        (np.float64(0.29), 100, 29),
        (np.float32(0.29), 100, 29),  # 0.28999999165534973 in binary
        (np.float32(0.1), 1005, 101),
        (np.float16(0.3), 100, 30),
    ],
)
def test_a_float_is_a_fraction_as_it_is_written(fraction: float, n_rows: int, count: int) -> None:
    assert resolve_budget(fraction, n_rows, method="M") == count


@given(
    fraction=st.floats(0, 1, exclude_min=True) | st.decimals("0.001", 1, places=3).map(float),
    n_rows=st.integers(1, 10**9),
)
def test_a_fraction_is_rounded_half_up_from_its_decimals(fraction: float, n_rows: int) -> None:
    count = reference.rounded_half_up(repr(fraction), n_rows)
    if count:
        assert resolve_budget(fraction, n_rows, method="M") == count
    else:
        with pytest.raises(InputError, match="is none; it must come to one row"):
            resolve_budget(fraction, n_rows, method="M")


@pytest.mark.parametrize("budget", [True, False, np.True_, "10", "10%", None, 1j, [3]])
def test_what_is_no_number_is_no_budget(budget: Any) -> None:
    message = re.escape(f"M: budget is {budget!r}; it must be a count of rows or a fraction in (0, 1].")
    with pytest.raises(InputError, match=message):
        resolve_budget(budget, 10, method="M")


@pytest.mark.parametrize("budget", [0, -1, 11, np.int64(11)])
def test_a_count_outside_the_pool_is_refused(budget: int) -> None:
    message = rf"M: budget is {budget} rows but the pool has 10; it must lie in 1\.\.10"
    with pytest.raises(InputError, match=message):
        resolve_budget(budget, 10, method="M")


@pytest.mark.parametrize("budget", [0.0, -0.5, 1.0000001, 5.0, np.nan, np.inf, -np.inf, np.float32(2)])
def test_a_fraction_outside_its_range_is_refused(budget: float) -> None:
    message = rf"M: budget is {re.escape(str(budget))}; as a fraction it must lie in \(0, 1\]"
    with pytest.raises(InputError, match=message):
        resolve_budget(budget, 10, method="M")


def test_a_fraction_of_no_row_is_refused() -> None:
    with pytest.raises(InputError, match=r"M: budget is 0\.01 of 10 rows, which is none; it must come to one row"):
        resolve_budget(0.01, 10, method="M")


def test_masked_values_are_missing_and_refused() -> None:
    masked = np.ma.masked_array([0.1, 0.9, 0.5], mask=[False, True, False])
    with pytest.raises(InputError, match=r"^M: quality hold masked values"):
        checked_quality(masked, 3, method="M")
    np.testing.assert_array_equal(checked_quality(np.ma.masked_array([0.1, 0.9]), 2, method="M"), [0.1, 0.9])
