"""Laws of selection from shards: it is the scan of one machine, to the bit, in every column of the result.

Offers, races and messages are made tiny, so that some dozens of rows go through every part. The shards are plain
objects here; `test_cluster.py` has them in processes of their own.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import jaxtyping
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.rows import SHARES, WEIGHTS, pools, stored, weights
from qads.kernels import field, rounds, sharded, waking
from qads.kernels.bounds import BFloat16Product, BoundProduct, Float32Product
from qads.kernels.distance import GreedyPicks, greedy_scan, widened
from qads.kernels.field import Threads
from qads.kernels.limits import Limits
from qads.kernels.rounds import ShardedGreedy
from qads.kernels.sharded import Offer, Request, Shard, borders

PRODUCTS = st.sampled_from((BFloat16Product(), Float32Product()))
N_SHARDS = st.sampled_from((1, 2, 3, 7))


class PlainShards:
    """Shards in this process; those named in `lost` are lost and begin anew before they are asked the nth time."""

    def __init__(
        self,
        x: np.ndarray,
        weight: np.ndarray,
        parts: Sequence[range],
        *,
        cosine: bool = False,
        product: BoundProduct,
        threads: Threads,
        lost: Sequence[tuple[int, int]] = (),
        out: np.ndarray | None = None,
    ) -> None:
        def new(part: range) -> Shard:
            rows = slice(part.start, part.stop)
            return Shard(
                x[rows], weight[rows], first_row=part.start, cosine=cosine, product=product, threads=threads,
                out=None if out is None else out[rows],
            )  # fmt: skip

        self.new, self.parts, self.lost = new, parts, list(lost)
        self.shards, self.n_asked = [new(part) for part in parts], 0
        self.requests: list[Request] = []

    def __len__(self) -> int:
        return len(self.shards)

    def ask(self, request: Request, shards: Sequence[int]) -> list[Offer]:
        self.requests.append(request)
        for at, shard in self.lost:
            if at == self.n_asked:
                self.shards[shard % len(self)] = self.new(self.parts[shard % len(self)])
        self.n_asked += 1
        return [self.shards[shard](request) for shard in shards]


def select(
    x: np.ndarray,
    weight: np.ndarray,
    *,
    start: Sequence[int],
    k: int,
    cosine: bool,
    distance_share: float | None,
    parts: Sequence[range],
    product: BoundProduct | None = None,
    lost: Sequence[tuple[int, int]] = (),
    out: np.ndarray | None = None,
    **more: Any,
) -> tuple[GreedyPicks, PlainShards, ShardedGreedy]:
    product = product or Float32Product()
    with Threads(2, product) as threads:
        shards = PlainShards(x, weight, parts, cosine=cosine, product=product, threads=threads, lost=lost, out=out)
        search = ShardedGreedy(shards, cosine=cosine, distance_share=distance_share, product=product, threads=threads)
        return search.run(start, k=k, **more), shards, search


@contextlib.contextmanager
def sizes(offered: int, raced: int, few: int, chunk: int, woken: int, message: int) -> Iterator[None]:
    """Tiny parts; shapes are not checked, since a thousand rounds of them would take all the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jaxtyping.config, "jaxtyping_disable", True)
        patch.setattr(sharded, "_OFFERED", offered)
        patch.setattr(sharded, "_FEW", few)
        patch.setattr(rounds, "_RACED", raced)
        patch.setattr(rounds, "_IN_ORDER", offered)
        patch.setattr(rounds, "_MESSAGE", message)
        patch.setattr(waking, "_CHUNK", chunk)
        patch.setattr(waking, "_LEAST_WOKEN", woken)
        patch.setattr(field, "_TILE", 17)
        yield


SIZES = st.builds(
    sizes, st.integers(1, 9), st.integers(1, 12), st.integers(1, 6), st.integers(1, 9), st.integers(1, 20),
    st.sampled_from((1, 300, 2000)),
)  # fmt: skip


@st.composite
def cuts(draw: st.DrawFn, n: int) -> list[range]:
    """Shards of any sizes, of one row too."""
    n_shards = min(n, draw(N_SHARDS))
    inner = draw(st.lists(st.integers(1, n - 1), max_size=n_shards - 1, unique=True)) if n_shards > 1 else []
    return [range(first, last) for first, last in itertools.pairwise([0, *sorted(inner), n])]


def assert_same(picks: GreedyPicks, expected: GreedyPicks) -> None:
    for name in GreedyPicks._fields:
        np.testing.assert_array_equal(getattr(picks, name), getattr(expected, name), err_msg=name)


def usable(x: np.ndarray, cosine: bool) -> bool:
    return cosine and bool((np.abs(widened(x)).max(axis=1) > 1e-140).all())


@given(
    x=pools(most=40), kind=WEIGHTS, share=SHARES, cosine=st.booleans(), product=PRODUCTS, small=SIZES, data=st.data()
)
def test_it_is_the_scan_to_the_bit(
    x: np.ndarray, kind: str, share: float | None, cosine: bool, product: BoundProduct,
    small: contextlib.AbstractContextManager[None], data: st.DataObject,
) -> None:  # fmt: skip
    k = data.draw(st.integers(1, len(x)))
    start = data.draw(st.lists(st.integers(0, len(x) - 1), min_size=1, max_size=min(k, 12), unique=True))
    rule: dict[str, Any] = {"start": start, "k": k, "cosine": usable(x, cosine), "distance_share": share}
    weight = weights(len(x), kind)
    with small:
        picks, *_ = select(x, weight, **rule, parts=data.draw(cuts(len(x))), product=product)
    assert_same(picks, greedy_scan(x, weight, **rule))


@given(x=pools(most=40), kind=WEIGHTS, share=SHARES, small=SIZES, vectors=st.booleans(), data=st.data())
def test_it_is_the_scan_where_centres_are_given(
    x: np.ndarray, kind: str, share: float | None, small: contextlib.AbstractContextManager[None], vectors: bool,
    data: st.DataObject,
) -> None:  # fmt: skip
    rows = data.draw(st.lists(st.integers(0, len(x) - 1), min_size=1, max_size=12, unique=True))
    most = len(x) if vectors else len(x) - len(rows)
    if most == 0:
        return
    centres = np.array(rows)
    if vectors:  # In a type that is not the pool's, too.
        wide = widened(x[rows]).astype(np.float64)
        centres = data.draw(st.sampled_from((x[rows], wide, wide * 1.01, np.full_like(wide, 1e3, dtype=np.float16))))
    k = data.draw(st.integers(1, most))
    free = [row for row in range(len(x)) if vectors or row not in rows]
    start = data.draw(st.lists(st.sampled_from(free), max_size=min(k, 3), unique=True))
    rule: dict[str, Any] = {"start": start, "k": k, "cosine": False, "distance_share": share, "given": centres}
    weight = weights(len(x), kind)
    with small:
        picks, *_ = select(x, weight, **rule, parts=data.draw(cuts(len(x))))
    assert_same(picks, greedy_scan(x, weight, **rule))


@given(x=pools(most=30), kind=WEIGHTS, share=SHARES, given_rows=st.booleans(), small=SIZES, data=st.data())
def test_shards_that_are_lost_at_any_time_change_nothing(
    x: np.ndarray, kind: str, share: float | None, given_rows: bool, small: contextlib.AbstractContextManager[None],
    data: st.DataObject,
) -> None:  # fmt: skip
    lost = data.draw(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 6)), max_size=8))
    rule: dict[str, Any] = {"start": [len(x) // 2], "k": len(x), "cosine": False, "distance_share": share}
    if given_rows and len(x) > 2:
        rule |= {"start": [], "k": len(x) - 2, "given": np.array([len(x) - 1, 0])}
    weight = weights(len(x), kind)
    with small:
        picks, *_ = select(x, weight, **rule, parts=data.draw(cuts(len(x))), lost=lost)
    assert_same(picks, greedy_scan(x, weight, **rule))


@given(x=pools(most=30), kind=WEIGHTS, share=SHARES, given_rows=st.booleans(), small=SIZES, data=st.data())
def test_a_selection_that_was_broken_off_goes_on_from_any_pick(
    x: np.ndarray, kind: str, share: float | None, given_rows: bool, small: contextlib.AbstractContextManager[None],
    data: st.DataObject,
) -> None:  # fmt: skip
    start = data.draw(st.lists(st.integers(0, len(x) - 1), min_size=1, max_size=5, unique=True))
    rule: dict[str, Any] = {"start": start, "k": len(x), "cosine": False, "distance_share": share}
    given_rows = given_rows and len(x) > len(start)
    if given_rows:
        rule |= {"start": [], "k": len(x) - len(start), "given": np.array(start)}
    weight, parts = weights(len(x), kind), data.draw(cuts(len(x)))
    with small:
        whole, _, search = select(x, weight, **rule, parts=parts)
        n_done = data.draw(st.integers(0 if given_rows else 1, rule["k"]))
        done = GreedyPicks(*(column[:n_done].copy() for column in search.picks))
        rest, *_ = select(x, weight, **rule, parts=data.draw(cuts(len(x))), done=done)
    assert_same(rest, whole)


@given(
    x=pools(most=40), kind=WEIGHTS, share=SHARES, given_rows=st.booleans(), small=SIZES,
    lost=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 6)), max_size=4), data=st.data(),
)  # fmt: skip
def test_rows_that_are_out_are_never_picked_and_the_others_as_by_the_scan(
    x: np.ndarray, kind: str, share: float | None, given_rows: bool, small: contextlib.AbstractContextManager[None],
    lost: list[tuple[int, int]], data: st.DataObject,
) -> None:  # fmt: skip
    out = np.array(data.draw(st.lists(st.booleans(), min_size=len(x), max_size=len(x))))
    if out.all():
        return
    first = int(data.draw(st.sampled_from(np.flatnonzero(~out).tolist())))
    k = data.draw(st.integers(1, len(x)))  # More than there are, too.
    rule: dict[str, Any] = {"start": [first], "k": k, "cosine": False, "distance_share": share}
    if given_rows:
        rule |= {"start": [], "given": np.array([first])}
    weight = weights(len(x), kind)
    with small:
        picks, *_ = select(x, weight, **rule, parts=data.draw(cuts(len(x))), lost=lost, out=out)
    assert_same(picks, greedy_scan(x, weight, **rule, limits=Limits(len(x), k, out=np.flatnonzero(out))))


# Sizes as they are.


def pool_of(form: str, n: int = 3000, d: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """Clustered rows with duplicates in other shards, and weights of which many are equal."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(40, d))
    x = stored(centres[rng.integers(0, 40, size=n)] + 0.5 * rng.normal(size=(n, d)), form)
    x[n // 2 : n // 2 + n // 15] = x[: n // 15]
    return x, rng.integers(0, 50, size=n) / 50


@pytest.mark.parametrize("n_shards", [2, 3, 7])
@pytest.mark.parametrize("share", [None, 0.5])
@pytest.mark.parametrize("form", ["float64", "float16", "bfloat16"])
def test_blocks_of_their_real_size_give_the_scan_too(form: str, share: float | None, n_shards: int) -> None:
    x, weight = pool_of(form)
    rule: dict[str, Any] = {"start": [7, 2999], "k": 600, "cosine": False, "distance_share": share}
    for product in (BFloat16Product(), Float32Product()):
        picks, *_ = select(x, weight, **rule, parts=borders(3000, n_shards), product=product, lost=[(3, 1), (5, 0)])
        assert_same(picks, greedy_scan(x, weight, **rule))


def test_equal_rows_in_all_shards_are_picked_from_the_lowest() -> None:
    picks, _, search = select(
        np.ones((4000, 3)), np.ones(4000), start=[2500], k=3999, cosine=False, distance_share=None,
        parts=borders(4000, 3),
    )  # fmt: skip
    assert picks.indices.tolist() == [2500, *(row for row in range(3999) if row != 2500)]
    assert search.traffic.n_requests <= 3999 / 500 + 3  # A mass tie costs no round a pick.


def test_sorting_the_pool_by_quality_gives_other_shards_nothing_to_do() -> None:
    x, weight = pool_of("float32")
    order = np.argsort(-weight, kind="stable")
    x, weight = x[order], np.where(np.arange(3000) < 1000, weight[order], 0.0)
    rule: dict[str, Any] = {"start": [0], "k": 900, "cosine": False, "distance_share": None}
    picks, shards, _ = select(x, weight, **rule, parts=borders(3000, 3))
    assert_same(picks, greedy_scan(x, weight, **rule))
    idle = shards.shards[1:]
    assert all(shard(shards.requests[-1]).rows.size == 0 for shard in idle)


def test_a_round_makes_many_picks_and_messages_stay_small() -> None:
    x, weight = pool_of("float32")
    _, shards, search = select(
        x, weight, start=[0], k=600, cosine=False, distance_share=None, parts=borders(3000, 3)
    )  # fmt: skip
    assert search.traffic.n_requests < 600 / 10
    centres = sum(len(request.rows) for request in shards.requests)
    assert centres <= 600  # Every pick is told once, by the last request but those of the last race.
    row = 48 * 4 + 8 + 8 + 8
    assert search.traffic.sent <= 3 * (centres * row + 8 * search.traffic.n_requests)


def test_every_pick_is_reported_once_and_rounds_are_final() -> None:
    x, weight = pool_of("float32", n=300)
    rule: dict[str, Any] = {"start": [1, 2], "k": 200, "cosine": False, "distance_share": None}
    seen: list[int] = []
    seen_rounds: list[np.ndarray] = []
    product = Float32Product()
    with Threads(1, product) as threads:
        shards = PlainShards(x, weight, borders(300, 2), product=product, threads=threads)
        search = ShardedGreedy(shards, cosine=False, distance_share=None, product=product, threads=threads)

        def keep() -> None:
            seen_rounds.append(search.picks.indices[: search.n_picked].copy())

        with sizes(offered=30, raced=50, few=10, chunk=64, woken=100, message=2000):
            picks = search.run([1, 2], k=200, on_pick=seen.append, on_round=keep)
    assert seen == list(range(1, 201))
    assert len(seen_rounds) > 5
    for picked in seen_rounds:
        np.testing.assert_array_equal(picked, picks.indices[: len(picked)])
    assert_same(picks, greedy_scan(x, weight, **rule))


def test_the_inputs_are_only_read() -> None:
    x, weight = pool_of("float32", n=300)
    x.flags.writeable = weight.flags.writeable = False
    picks, *_ = select(x, weight, start=[0], k=300, cosine=False, distance_share=None, parts=borders(300, 3))
    assert sorted(picks.indices.tolist()) == list(range(300))


@given(n=st.integers(1, 200), n_shards=st.integers(1, 250))
def test_borders_are_even_and_no_shard_is_empty(n: int, n_shards: int) -> None:
    parts = borders(n, n_shards)
    assert [row for part in parts for row in part] == list(range(n))
    assert len(parts) == min(n, n_shards)
    assert {len(part) for part in parts} <= {n // len(parts), n // len(parts) + 1} - {0}
