"""Selectors that look at rows within cells of k-means: laws that hold whatever the cells, and their definitions."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reference
from qads.errors import InputError
from qads.kernels.distance import Points
from qads.selection import D4, KMeansPrototypes, PrototypeDistance, SemDeDup
from qads.selection.cells import Cells, find_cells, members
from qads.selection.dedup import redundancy

laws = settings(deadline=None, max_examples=20)
SEEDS = st.integers(0, 10_000)
SOLVERS = st.sampled_from(["minibatch", "lloyd"])


def grid(seed: int, n: int = 24) -> np.ndarray:
    """Rows with duplicates and ties, none of them zero."""
    x = np.random.default_rng(seed).integers(-2, 3, size=(n, 3)).astype(np.float32)
    x[~x.any(axis=1)] = 1
    return x


def clumps(seed: int, n_clumps: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows in narrow, orthogonal clumps, shuffled; and the clump of each."""
    rng = np.random.default_rng(seed)
    clump = rng.permutation(np.repeat(np.arange(n_clumps), size))
    return np.eye(n_clumps)[clump] + 0.05 * rng.normal(size=(n_clumps * size, n_clumps)), clump


def middle_distances(x: np.ndarray) -> np.ndarray:
    """1 − cos of every row to the mean of all, as unit vectors."""
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    return 1 - reference.cosines(x, unit.mean(axis=0, keepdims=True))[:, 0]


@laws
@given(seed=SEEDS, n_cells=st.integers(1, 24), solver=SOLVERS)
def test_every_row_is_in_one_cell_which_lists_it_once_nearest_first(seed: int, n_cells: int, solver: Any) -> None:
    points = Points(grid(seed), cosine=True)
    cells = find_cells(points, np.arange(24), n_cells, seed=seed, solver=solver)
    listed = list(members(cells))
    assert sorted(row for cell in listed for row in cell.tolist()) == list(range(24))
    for cell in listed:
        assert len(set(cells.labels[cell].tolist())) == 1
        assert (np.diff(cells.distances[cell]) >= 0).all()


@pytest.mark.parametrize("solver", ["minibatch", "lloyd"])
def test_cells_find_clumps(solver: Any) -> None:
    x, clump = clumps(0, 6, 30)
    cells = find_cells(Points(x, cosine=True), np.arange(180), 6, seed=1, solver=solver)
    # k-means may split one clump and join two others, but for so few clumps from these seeds it does not.
    assert len({(int(a), int(b)) for a, b in zip(clump, cells.labels, strict=True)}) == 6


@pytest.mark.parametrize("solver", ["minibatch", "lloyd"])
def test_prototypes_are_the_row_nearest_to_the_middle_of_each_clump(solver: Any) -> None:
    x, clump = clumps(0, 6, 30)
    sel = KMeansPrototypes(solver=solver, seed=1)(x, budget=6)
    assert sorted(clump[sel.indices].tolist()) == list(range(6))
    if solver == "lloyd":  # Its middles are the means themselves.
        for row in sel.indices:
            rows = np.flatnonzero(clump == clump[row])
            assert rows[np.argmin(middle_distances(x[rows]))] == row


@laws
@given(seed=SEEDS, k=st.integers(1, 24), solver=SOLVERS)
def test_duplicates_are_taken_only_where_cells_stay_empty(seed: int, k: int, solver: Any) -> None:
    x = grid(seed)
    x = np.repeat(x[:6], 4, axis=0)
    sel = KMeansPrototypes(solver=solver, seed=seed)(x, budget=k)
    assert len(set(sel.indices.tolist())) == k


@laws
@given(seed=SEEDS, k=st.integers(1, 24), keep=st.sampled_from(["hard", "easy"]))
def test_in_one_cell_prototype_distance_is_the_distance_to_the_mean(seed: int, k: int, keep: Any) -> None:
    x = np.random.default_rng(seed).normal(size=(24, 3))
    sel = PrototypeDistance(keep=keep, n_cells=1, solver="lloyd")(x, budget=k)
    far = middle_distances(x) * (1 if keep == "hard" else -1)
    np.testing.assert_allclose(sel.gains, np.sort(far)[::-1][:k], atol=1e-5)
    assert (np.diff(sel.gains) <= 0).all()


@laws
@given(seed=SEEDS, n_cells=st.integers(1, 8), keep=st.sampled_from(["hard", "easy", "random"]))
def test_redundancy_is_the_likeness_to_an_earlier_row_of_the_cell(seed: int, n_cells: int, keep: Any) -> None:
    x = grid(seed)
    points = Points(x, cosine=True)
    cells = find_cells(points, np.arange(24), n_cells, seed=seed, solver="minibatch")
    key = {
        "hard": -cells.distances,
        "easy": cells.distances,
        "random": np.random.default_rng(seed).permutation(24),
    }[keep]
    order = sorted(range(24), key=lambda row: (key[row], row))
    expected = reference.redundancies(x, cells.labels.tolist(), order)
    np.testing.assert_allclose(redundancy(points, cells, keep=keep, seed=seed), expected, atol=1e-11)


def test_blocks_of_a_cell_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).normal(size=(100, 3))
    points = Points(x, cosine=True)
    cells = find_cells(points, np.arange(100), 2, seed=0, solver="lloyd")
    whole = redundancy(points, cells, keep="hard", seed=0)
    monkeypatch.setattr("qads.selection.dedup._BLOCK", 7)
    np.testing.assert_allclose(redundancy(points, cells, keep="hard", seed=0), whole, atol=1e-11)


def test_a_cell_that_holds_all_rows_takes_no_memory() -> None:
    points = Points(np.random.default_rng(0).normal(size=(8_000, 4)), cosine=True)
    cells = Cells(np.zeros(8_000, np.int64), np.arange(8_000.0), 1)
    tracemalloc.start()
    redundancy(points, cells, keep="easy", seed=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6  # A block against all rows before it is 65 MB alone.


@laws
@given(seed=SEEDS, k=st.integers(1, 24))
def test_semdedup_keeps_what_one_threshold_keeps(seed: int, k: int) -> None:
    x = np.random.default_rng(seed).normal(size=(24, 3))
    sel = SemDeDup(seed=seed)(x, budget=k)
    left = np.setdiff1d(np.arange(24), sel.indices)
    gains = SemDeDup(seed=seed)(x, budget=24)
    worth = np.empty(24)
    worth[gains.indices] = gains.gains
    assert not len(left) or worth[sel.indices].min() >= worth[left].max()


def test_semdedup_drops_exact_duplicates_first() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 8))
    doubled = np.concatenate([x, x])
    sel = SemDeDup()(doubled, budget=30)
    assert sorted((sel.indices % 30).tolist()) == list(range(30))
    assert (sel.indices < 30).all()  # Of equal rows the lowest stays.


@laws
@given(seed=SEEDS, k=st.integers(1, 18))
def test_d4_prunes_the_middle_of_what_semdedup_keeps(seed: int, k: int) -> None:
    x = np.random.default_rng(seed).normal(size=(24, 3))
    kept = np.sort(SemDeDup(n_cells=1, solver="lloyd")(x, budget=18).indices)
    far = middle_distances(x[kept])
    sel = D4(n_cells=1, solver="lloyd")(x, budget=k)
    assert set(sel.indices.tolist()) <= set(kept.tolist())
    np.testing.assert_allclose(sel.gains, np.sort(far)[::-1][:k], atol=1e-5)


def test_a_budget_that_d4_cannot_reach_is_refused_with_the_arithmetic() -> None:
    with pytest.raises(InputError, match=r"D4: the budget is 20 rows but dedup_share 0\.75 keeps 18 of 24 before"):
        D4()(grid(0), budget=20)
    assert len(D4(dedup_share=0.84)(grid(0), budget=20)) == 20


@pytest.mark.parametrize("selector", [PrototypeDistance, SemDeDup, D4])
def test_more_cells_than_rows_or_none_are_refused(selector: Any) -> None:
    with pytest.raises(InputError, match=rf"{selector.__name__}: n_cells is 0; there must be one at least"):
        selector(n_cells=0)
    with pytest.raises(InputError, match=rf"{selector.__name__}: n_cells is 25 but there are \d+ rows"):
        selector(n_cells=25)(grid(0), budget=3)


@pytest.mark.parametrize("selector", [KMeansPrototypes, PrototypeDistance, SemDeDup, D4])
def test_a_row_without_direction_is_refused(selector: Any) -> None:
    x = grid(0)
    x[5] = 0
    with pytest.raises(InputError, match=rf"{selector.__name__}: row 5 of the embeddings is zero"):
        selector()(x, budget=3)
