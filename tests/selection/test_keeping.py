"""Laws of picks that are kept on disk: a selection that was broken off goes on, and ends as if it had not been."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qads.errors import InputError
from qads.kernels import lazy
from qads.kernels.distance import GreedyPicks
from qads.selection import Constraints, Grouping, KCenterGreedy, Quota, TokenBudget, keeping

N = 400
ROWS = np.random.default_rng(0).normal(size=(N, 6)).astype(np.float32)
QUALITY = np.random.default_rng(1).integers(0, 30, size=N) / 30
SOURCES = ["a", "b", "c", "d"] * (N // 4)
QUOTAS = (Quota(value="a", maximum=9), Quota(value="b", minimum=70))
ASKED: dict[str, dict[str, Any]] = {
    "rows": {"budget": 150},
    "given": {"budget": 150, "given": np.arange(7)},
    "tokens": {"budget": TokenBudget(max_tokens=900, tokens=np.arange(N) % 11 + 1)},
    "quotas": {
        "budget": 150,
        "constraints": Constraints(groupings=(Grouping(name="source", values=SOURCES, quotas=QUOTAS),), exclude=[3, 4]),
    },
    "distance": {"budget": 150, "constraints": Constraints(min_distance=0.4, include=[5, 6])},
}


@pytest.fixture
def every_one_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "_WORTH_KEEPING", 0)
    monkeypatch.setattr(keeping, "_EVERY", 30)
    monkeypatch.setattr(lazy, "_RACE", 20)  # So that there are several bursts.


def stop_at(pick: int) -> Any:
    def progress(done: int, total: int) -> None:
        if done == pick:
            raise KeyboardInterrupt

    return progress


@pytest.mark.usefixtures("every_one_is_long")
@pytest.mark.parametrize("pick", [1, 60, 120])
@pytest.mark.parametrize("asked", ASKED.values(), ids=list(ASKED))
def test_what_was_broken_off_goes_on_and_ends_as_if_it_had_not_been(
    asked: dict[str, Any], pick: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    selector, kept = KCenterGreedy(), tmp_path / "picks.npz"
    expected = selector(ROWS, QUALITY, **asked)
    with pytest.raises(KeyboardInterrupt):
        selector(ROWS, QUALITY, **asked, checkpoint=kept, progress=stop_at(pick))
    there: list[GreedyPicks | None] = []
    load = keeping.Checkpoint.load
    monkeypatch.setattr(keeping.Checkpoint, "load", lambda self, k: there.append(found := load(self, k)) or found)
    found = selector(ROWS, QUALITY, **asked, checkpoint=kept)
    for name in ("indices", "gains", "distances", "nearest"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
    assert found.stopped == expected.stopped
    (before,) = there
    n_kept = 0 if before is None else len(before.indices)
    assert max(0, pick - 20) <= n_kept < pick, "the burst that was broken off is picked again, and no more"


@pytest.mark.usefixtures("every_one_is_long")
def test_what_is_finished_is_not_picked_again_and_serves_other_budgets(tmp_path: Path) -> None:
    selector, kept = KCenterGreedy(), tmp_path / "picks.npz"
    selector(ROWS, QUALITY, budget=150, checkpoint=kept)
    with np.load(kept) as file:
        columns = dict(file)
    columns["gains"][80] = 7.0  # Nothing computes this number.
    np.savez(kept, **columns)
    for budget in (100, 150, 200):
        found = selector(ROWS, QUALITY, budget=budget, checkpoint=kept)
        assert found.gains[80] == 7.0
        np.testing.assert_array_equal(found.indices, selector(ROWS, QUALITY, budget=budget).indices)


@pytest.mark.usefixtures("every_one_is_long")
def test_picks_of_another_selection_are_refused(tmp_path: Path) -> None:
    kept = tmp_path / "picks.npz"
    KCenterGreedy()(ROWS, QUALITY, budget=150, checkpoint=kept)
    with pytest.raises(InputError, match=r"^KCenterGreedy: the checkpoint .* of another selection, with other weight;"):
        KCenterGreedy(alpha=0.5)(ROWS, QUALITY, budget=150, checkpoint=kept)


def test_a_selection_of_a_moment_keeps_nothing(tmp_path: Path) -> None:
    KCenterGreedy()(ROWS, QUALITY, budget=300, checkpoint=tmp_path / "picks.npz")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("every_one_is_long")
def test_picks_are_written_once_in_so_many_while_it_selects(tmp_path: Path) -> None:
    seen: dict[int, int] = {}

    def look(done: int, total: int) -> None:
        with np.load(tmp_path / "picks.npz") if (tmp_path / "picks.npz").exists() else nullcontext({}) as file:
            seen[done] = len(file["indices"]) if file else 0

    KCenterGreedy()(ROWS, QUALITY, budget=150, checkpoint=tmp_path / "picks.npz", progress=look)
    behind = [done - kept for done, kept in seen.items()]
    assert max(behind) <= 30 + 20 + 20  # So many, the burst in which they were full, and the one that goes on.
    assert len(set(seen.values())) > 3
