"""Batches that were read are kept, so that a search that was killed reads the others only."""

from __future__ import annotations

import pyarrow as pa
import pytest

from qads import Decontamination, Deduplication, Pool, Row
from qads.clean import reading, searching
from qads.cluster import MemoryShards


class Noted(MemoryShards):
    """Remembers which shards were put there."""

    def __init__(self, kept: dict[int, pa.Table]) -> None:
        super().__init__(kept)
        self.computed: list[int] = []

    def put(self, index: int, table: pa.Table) -> None:
        """Keep one."""
        self.computed.append(index)
        super().put(index, table)


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Pool:
    for module in (reading, searching):
        monkeypatch.setattr(module, "_ROWS_PER_BATCH", 4)
    texts = [
        (f"Ann has {n} pears and eats {n % 3} of them at noon today.", f"{n - n % 3} are left.") for n in range(10)
    ]
    return Pool.from_rows(
        Row(id=f"{copy}{n}", source="s", problem=problem, solution=solution)
        for copy in "ab"
        for n, (problem, solution) in enumerate(texts)
    )


def test_keys_and_bands_that_are_there_are_not_read_again(pool: Pool):
    store = Noted({})
    whole = Deduplication()(pool, shards=store)
    assert store.computed == [0, 1, 2, 3, 4, 5, 6, 7], "five batches of all rows, three of those that others equal"
    left = Noted({index: table for index, table in store.tables.items() if index not in (3, 6)})
    again = Deduplication()(pool, shards=left)
    assert left.computed == [3, 6]
    assert (again.rows.tolist(), again.kept.tolist()) == (whole.rows.tolist(), whole.kept.tolist())


def test_batches_that_were_searched_are_not_searched_again(pool: Pool):
    store, exam = Noted({}), pool.take(range(3))
    whole = Decontamination()(pool, exam, shards=store)
    assert len(whole.rows) == 6
    left = Noted({index: table for index, table in store.tables.items() if index != 2})
    assert Decontamination()(pool, exam, shards=left).matches == whole.matches
    assert (store.computed, left.computed) == ([0, 1, 2, 3, 4], [2])
