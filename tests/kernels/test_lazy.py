"""Laws of the lazy search: it is the scan, to the bit, in every column of the result.

The blocks are made tiny, so that some dozens of rows go through every part: waking, races, ties, chunks, tiles.
"""

from __future__ import annotations

import contextlib
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_info

import reference
from kernels.rows import KINDS, SHARES, WEIGHTS, hard_rows, pools, stored, weights
from qads.kernels import field, lazy, waking
from qads.kernels.bounds import BFloat16Product, BoundProduct, Float32Product
from qads.kernels.distance import GreedyPicks, greedy_scan, widened
from qads.kernels.lazy import greedy, greedy_lazy

PRODUCTS = st.sampled_from((BFloat16Product(), Float32Product()))


@contextlib.contextmanager
def blocks(race: int, chunk: int, tile: int, woken: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lazy, "_RACE", race)
        patch.setattr(waking, "_CHUNK", chunk)
        patch.setattr(field, "_TILE", tile)
        patch.setattr(waking, "_LEAST_WOKEN", woken)
        yield


BLOCKS = st.builds(blocks, st.integers(1, 9), st.integers(1, 9), st.sampled_from((3, 17, 64)), st.integers(1, 20))


def assert_same(picks: GreedyPicks, expected: GreedyPicks | reference.Picks) -> None:
    for name in GreedyPicks._fields:
        np.testing.assert_array_equal(getattr(picks, name), getattr(expected, name), err_msg=name)


def usable(x: np.ndarray, cosine: bool) -> bool:
    return cosine and bool((np.abs(widened(x)).max(axis=1) > 1e-140).all())


@given(
    x=pools(most=40), kind=WEIGHTS, share=SHARES, cosine=st.booleans(), product=PRODUCTS, n_threads=st.integers(1, 3),
    sizes=BLOCKS, data=st.data(),
)  # fmt: skip
def test_it_is_the_scan_to_the_bit(
    x: np.ndarray, kind: str, share: float | None, cosine: bool, product: BoundProduct, n_threads: int,
    sizes: contextlib.AbstractContextManager[None], data: st.DataObject,
) -> None:  # fmt: skip
    k = data.draw(st.integers(1, len(x)))
    start = data.draw(st.lists(st.integers(0, len(x) - 1), min_size=1, max_size=min(k, 12), unique=True))
    rule: dict[str, Any] = {"start": start, "k": k, "cosine": usable(x, cosine), "distance_share": share}
    weight = weights(len(x), kind)
    with sizes:
        picks = greedy_lazy(x, weight, **rule, product=product, n_threads=n_threads)
    assert_same(picks, greedy_scan(x, weight, **rule))


@given(
    x=pools(most=40), kind=WEIGHTS, share=SHARES, product=PRODUCTS, sizes=BLOCKS, vectors=st.booleans(), data=st.data()
)
def test_it_is_the_scan_where_centres_are_given(
    x: np.ndarray, kind: str, share: float | None, product: BoundProduct,
    sizes: contextlib.AbstractContextManager[None], vectors: bool, data: st.DataObject,
) -> None:  # fmt: skip
    rows = data.draw(st.lists(st.integers(0, len(x) - 1), min_size=1, max_size=12, unique=True))
    most = len(x) if vectors else len(x) - len(rows)
    if most == 0:
        return
    centres = np.array(rows)
    if vectors:
        wide = widened(x[rows]).astype(np.float64)
        centres = data.draw(st.sampled_from((wide, wide * 1.01, np.full_like(wide, 1e3))))
    rule: dict[str, Any] = {"start": [], "k": data.draw(st.integers(1, most)), "cosine": False}
    weight = weights(len(x), kind)
    with sizes:
        picks = greedy_lazy(x, weight, **rule, distance_share=share, given=centres, product=product, n_threads=2)
    assert_same(picks, greedy_scan(x, weight, **rule, distance_share=share, given=centres))
    assert vectors or not set(rows) & set(picks.indices.tolist())


@given(
    seed=st.integers(0, 10_000), kind=st.sampled_from(KINDS), quality=WEIGHTS, share=SHARES, product=PRODUCTS,
    sizes=BLOCKS,
)  # fmt: skip
def test_its_order_is_the_oracles(
    seed: int, kind: str, quality: str, share: float | None, product: BoundProduct,
    sizes: contextlib.AbstractContextManager[None],
) -> None:  # fmt: skip
    # In one dimension a sum has one term, so the oracle's distances are the kernel's, ties and all.
    rng = np.random.default_rng(seed)
    x = stored(hard_rows(kind, 25, 1, rng), "float32").astype(np.float64)
    q = weights(25, quality)
    weight = q if share is None else (1 - share) * q
    rule = {"combine": "product"} if share is None else {"combine": "sum", "w": 1 - share}
    expected = reference.kcenter_greedy(x, q, budget=25, scale="none", **rule)
    with sizes:
        picks = greedy_lazy(
            x, weight, start=[int(np.argmax(q))], k=25, cosine=False, distance_share=share, product=product
        )
    expected.gains[0] = np.nan
    assert_same(picks, expected)


@settings(deadline=None, max_examples=25)  # The oracle is slow.
@given(seed=st.integers(0, 10_000), quality=WEIGHTS, share=SHARES, vectors=st.booleans(), sizes=BLOCKS)
def test_after_given_centres_its_order_is_the_oracles(
    seed: int, quality: str, share: float | None, vectors: bool, sizes: contextlib.AbstractContextManager[None]
) -> None:
    rng = np.random.default_rng(seed)
    x, q = hard_rows("grid", 25, 3, rng), weights(25, quality)
    centres = hard_rows("grid", 4, 3, rng) if vectors else rng.choice(25, 4, replace=False)
    weight = q if share is None else (1 - share) * q
    rule = {"combine": "product"} if share is None else {"combine": "sum", "w": 1 - share}
    expected = reference.kcenter_after(x, q, centres, budget=21, **rule)
    options: dict[str, Any] = {"start": [], "k": 21, "cosine": False, "distance_share": share, "given": centres}
    with sizes:
        assert_same(greedy_lazy(x, weight, **options), expected)
    assert_same(greedy_scan(x, weight, **options), expected)


@pytest.mark.parametrize("share", [None, 0.5])
@pytest.mark.parametrize("form", ["float64", "float32", "float16", "bfloat16"])
def test_blocks_of_their_real_size_give_the_scan_too(form: str, share: float | None) -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(40, 48))
    x = stored(centres[rng.integers(0, 40, size=3000)] + 0.5 * rng.normal(size=(3000, 48)), form)
    x[1500:1700] = x[:200]
    rule: dict[str, Any] = {"start": [7, 2999], "k": 600, "cosine": False, "distance_share": share}
    weight = rng.integers(0, 50, size=3000) / 50
    expected = greedy_scan(x, weight, **rule)
    for product in (BFloat16Product(), Float32Product()):
        for n_threads in (1, 2):
            assert_same(greedy_lazy(x, weight, **rule, product=product, n_threads=n_threads), expected)


def test_the_faster_way_is_chosen_by_size_and_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight = np.random.default_rng(0).normal(size=(300, 8)), np.ones(300)
    rule: dict[str, Any] = {"start": [0], "k": 200, "cosine": False, "distance_share": None}
    small = greedy(x, weight, **rule)
    monkeypatch.setattr(lazy, "_WORTH_IT", 0)
    monkeypatch.setattr(lazy, "greedy_scan", None)  # Not used any more.
    assert_same(greedy(x, weight, **rule), small)


def test_every_pick_is_reported_once() -> None:
    seen: list[int] = []
    x = np.random.default_rng(0).normal(size=(50, 3))
    greedy_lazy(x, np.ones(50), start=(1, 2), k=40, cosine=False, distance_share=None, on_pick=seen.append)
    assert seen == list(range(1, 41))


@pytest.mark.parametrize("product", [BFloat16Product(), Float32Product()])
def test_an_interrupt_gets_through_and_the_pools_stay_as_they_were(product: BoundProduct) -> None:
    def stop(done: int) -> None:
        if done == 30:
            raise KeyboardInterrupt

    before = torch.get_num_threads(), [pool["num_threads"] for pool in threadpool_info()]
    x = np.random.default_rng(0).normal(size=(300, 8))
    with pytest.raises(KeyboardInterrupt):
        greedy_lazy(x, np.ones(300), start=[0], k=300, cosine=False, distance_share=None, on_pick=stop, product=product)
    assert (torch.get_num_threads(), [pool["num_threads"] for pool in threadpool_info()]) == before


def test_the_inputs_are_only_read() -> None:
    x, weight = np.random.default_rng(0).normal(size=(300, 5)), np.ones(300)
    x.flags.writeable = weight.flags.writeable = False
    assert len(greedy_lazy(x, weight, start=[0], k=300, cosine=False, distance_share=None).indices) == 300


def test_a_memory_map_costs_half_of_float32_and_64_bytes_a_row(tmp_path: Path) -> None:
    n, d = 60_000, 64
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(n, d)).astype(np.float16))
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    weight = np.random.default_rng(1).random(n)
    rule: dict[str, Any] = {"start": [0], "k": 60, "cosine": False, "distance_share": None}
    greedy_lazy(x[:500], weight[:500], **rule)  # Compiled before the memory is watched.
    tracemalloc.start()
    greedy_lazy(x, weight, **rule, n_threads=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * n * d + 64 * n + 4e6  # The last for one tile.
