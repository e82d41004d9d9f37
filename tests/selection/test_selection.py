"""Laws of a selection: rows in order, each with its reason."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from qads.errors import AlignmentError, InputError
from qads.pool import Selection

COLUMNS = ("indices", "gains", "distances", "nearest", "quality")


def selection(**changed: Any) -> Selection:
    columns: dict[str, Any] = {
        "indices": np.array([4, 0, 2]),
        "gains": np.array([1.0, 0.5, 0.25]),
        "distances": np.array([np.inf, 3.0, 2.0]),
        "nearest": np.array([-1, 0, 1]),
        "quality": np.array([0.9, 0.1, 0.5]),
    }
    return Selection(**(columns | {"n_rows": 5, "method": "kcenter"} | changed))


def test_the_length_of_a_selection_is_its_number_of_picks() -> None:
    assert len(selection()) == 3


@pytest.mark.parametrize("k", [0, 1, 2, 3])
def test_a_head_is_the_first_picks_with_all_their_columns(k: int) -> None:
    whole = selection()
    head = whole.head(k)
    assert len(head) == k
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(head, name), getattr(whole, name)[:k])
    assert (head.n_rows, head.method, head.prefix_closed) == (5, "kcenter", True)


def test_a_head_of_a_head_is_a_head() -> None:
    np.testing.assert_array_equal(selection().head(2).head(1).indices, selection().head(1).indices)


@pytest.mark.parametrize("k", [-1, 4])
def test_a_head_longer_than_the_selection_is_refused(k: int) -> None:
    with pytest.raises(InputError, match=rf"asked for {k} picks of a selection of 3"):
        selection().head(k)


def test_a_head_of_a_selection_that_is_not_prefix_closed_is_refused() -> None:
    with pytest.raises(InputError, match=r"kcenter: a smaller budget is another selection.*k=2"):
        selection(prefix_closed=False).head(2)


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_of_different_length_are_refused(name: str) -> None:
    short = getattr(selection(), name)[:2]
    # A run-time checker of array shapes, where one is installed, objects before the selection itself does.
    with pytest.raises((AlignmentError, TypeError)):
        selection(**{name: short})


def test_tokens_are_a_column_too() -> None:
    whole = selection(tokens=np.array([5, 0, 2]), stopped="7 of 8 tokens: the next pick would exceed them")
    assert (whole.n_tokens, whole.head(2).n_tokens, selection().n_tokens) == (7, 5, None)
    assert whole.head(3).stopped == whole.stopped and whole.head(2).stopped is None
    with pytest.raises((AlignmentError, TypeError)):
        selection(tokens=np.array([5, 0]))


def test_misaligned_columns_are_an_alignment_error_with_the_lengths() -> None:
    whole = selection()
    object.__setattr__(whole, "gains", whole.gains[:2])
    with pytest.raises(AlignmentError, match=r"different lengths \[2, 3\]"):
        whole.__post_init__()


def test_a_selection_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        selection().n_rows = 3
