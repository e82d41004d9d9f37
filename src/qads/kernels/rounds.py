"""Greedy selection from shards, in rounds, exactly: the picks of `distance.py: greedy_scan`, to the bit.

    while rows are to be picked:
        every shard takes the last picks in and offers its best rows, with the best score outside them (`sharded.py`)
        the rows offered race: greedy picks among themselves, while the winner beats the best outside

Nobody outside the race can be better than the best outside was when it began, since scores only fall; so each winner
is what one machine would have picked. Every round picks a row at least: a shard wakes rows until what it keeps to
itself is no better than what it offers, or than a score that the next pick is known to reach. One exchange a round,
and not a pick, is what makes this worth its while over a network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Int

from qads.kernels.bounds import BoundProduct, Bounds
from qads.kernels.canonical import GREEDY, IN_ORDER, distance, race
from qads.kernels.distance import Given, GreedyPicks, Points, widened
from qads.kernels.field import Threads
from qads.kernels.limits import Limits
from qads.kernels.sharded import Centres, Offer, Request, Rival, Vectors, better, joined, points_of
from qads.kernels.waking import best

__all__ = ["ShardedGreedy", "Shards", "Traffic"]

_RACED = 2048  # Rows in a race; the square of it is computed.
_IN_ORDER = 256  # Rows that are asked for by number at a time.
_MESSAGE = 2**23  # Bytes of centres in a request.
_NO_ROWS = np.empty(0, np.int64)


class Shards(Protocol):
    """All shards of a pool, wherever they are."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def ask(self, request: Request, shards: Sequence[int]) -> list[Offer]:
        """Ask some of them, at the same time."""
        ...


@dataclass
class Traffic:
    """What went between the shards and the one that asks them."""

    n_requests: int = 0
    """How often shards were asked, all at once."""
    sent: int = 0
    """Bytes of the arrays that were sent, once for every shard."""
    received: int = 0
    """Bytes of the arrays that came back."""


class ShardedGreedy:
    """One selection: the picks so far, and the shards that are asked for the next ones."""

    def __init__(
        self,
        shards: Shards,
        *,
        cosine: bool,
        distance_share: float | None,
        product: BoundProduct,
        threads: Threads,
    ) -> None:
        """A selection that has not begun.

        Args:
            shards: where the rows are; none of them has been asked anything.
            cosine: as in `greedy_scan`.
            distance_share: as there.
            product: how bounds inside a race are computed.
            threads: what computes them; the caller's, who closes it.
        """
        self.picks = GreedyPicks.empty(0)
        """The picks; `nearest` holds numbers of centres, the given ones first."""
        self.n_picked = 0
        self.traffic = Traffic()
        self._shards, self._cosine, self._distance_share = shards, cosine, distance_share
        self._product, self._threads = product, threads
        self._centres = Centres(0, np.empty((0, 0)))
        self._most, self._told, self._least = 0, 0, -np.inf
        self._share = -1.0 if distance_share is None else None

    def run(
        self,
        start: Sequence[int],
        *,
        k: int,
        given: Given | None = None,
        done: GreedyPicks | None = None,
        on_pick: Callable[[int], None] | None = None,
        on_round: Callable[[], None] | None = None,
    ) -> GreedyPicks:
        """Pick k rows.

        Args:
            start: as in `greedy_scan`.
            k: as there.
            given: as there.
            done: the first picks, at most k, as `picks` held them in a selection that was broken off.
            on_pick: called with the number of picks made, those of `done` included; in bursts.
            on_round: called after every burst; what is picked by then is final.

        Returns:
            The picks, as `greedy_scan` has them; fewer than k where the shards have no more rows that may be picked.
        """
        self._begin(start, k, given, done)
        reported, is_over = 0, False
        while True:
            for n in range(reported, self.n_picked):
                if on_pick:
                    on_pick(n + 1)
            reported = self.n_picked
            if on_round:
                on_round()
            if is_over or self.n_picked == k:
                return self.picks.finished(self.n_picked, self._most - k)
            if self.n_picked < len(start):
                self._pick(np.array(start[self.n_picked : self.n_picked + _IN_ORDER], np.int64))
            else:
                is_over = not self._pick_best()

    def _begin(self, start: Sequence[int], k: int, given: Given | None, done: GreedyPicks | None) -> None:
        """Let those centres join that are there already, or the first start row; find the share of the distance."""
        if done is None:  # The first row is picked by itself where there is nothing to compare it with.
            first = np.array(start[:1] if given is None else [], np.int64)
            done = GreedyPicks.empty(len(first))._replace(indices=first)
        self.picks, self.n_picked = GreedyPicks.empty(k), len(done.indices)
        for column, picked in zip(self.picks, done, strict=True):
            column[: self.n_picked] = picked
        self.picks.gains[: min(self.n_picked, len(start))] = np.nan  # Who kept them may not have said so yet.
        self._most = k + (0 if given is None else len(given))
        rows = done.indices if given is None or given.ndim == 2 else np.concatenate([given, done.indices])
        blocks = [rows[first : first + _IN_ORDER] for first in range(0, len(rows), _IN_ORDER)]
        # Fetched before any centre is told, so that no shard compares them with others yet.
        vectors = [self._asked_for(block).vectors for block in blocks]
        self._centres = self._room(given)
        for block, part in zip(blocks, vectors, strict=True):
            self._centres.add(block, part)
        if self._distance_share is not None:
            farthest = joined(self._ask(_NO_ROWS)).farthest
            self._share = self._distance_share / (distance(farthest, self._cosine) or 1.0)

    def _room(self, given: Given | None) -> Centres:
        """Room for all centres, with the given vectors in it."""
        stored = joined(self._ask(_NO_ROWS)).vectors.stored
        if given is None or given.ndim == 1:
            return Centres(self._most, stored)
        if given.dtype != stored.dtype:  # Of two types the one that holds the numbers of both.
            stored = stored.astype(np.result_type(widened(stored), widened(given)))
        centres = Centres(self._most, stored)
        centres.add(np.full(len(given), -1), Vectors(given, Points(given, cosine=self._cosine).scale))
        return centres

    def _pick(self, rows: Int[np.ndarray, " b"]) -> None:
        """Pick rows in their order."""
        n_won = self._race(self._asked_for(rows), None)
        self.picks.gains[self.n_picked - n_won : self.n_picked] = np.nan

    def _pick_best(self) -> bool:
        """Pick greedily while nobody outside the race can be better; returns whether there was a row to pick."""
        offer = joined(self._ask(None))
        if not len(offer.rows):
            return False
        chosen, rival = best(offer.scores, _RACED), offer.rival
        if not chosen.all():
            place = np.flatnonzero(~chosen)[offer.scores[~chosen].argmax()]
            rival = better(rival, (float(offer.scores[place]), int(offer.rows[place])))
        n_won = self._race(offer.some(np.flatnonzero(chosen)), rival)
        assert n_won, "the best of all rows was offered"
        return True

    def _race(self, offer: Offer, rival: Rival | None) -> int:
        """Pick from the rows: all in their order without a rival, else greedily; returns how many."""
        assert self._share is not None
        centres, points, done = self._centres, points_of(offer.vectors), self.n_picked
        bounds, at = Bounds(points), np.arange(len(points))
        for first, block in points.blocks():
            bounds.enclose(first, block, points.scale[first : first + len(block)])
        bounds.set_reach(at, offer.squared)
        right = bounds.right(at)
        bound = self._threads.one(lambda: self._product(right, self._product.prepared(bounds.left)))
        won, results = np.empty(len(at), np.int64), np.empty((3, len(at)))
        free = Limits(len(at), len(at))
        n_won = race(
            bound, points.take(at), offer.rows, rival or (0.0, 0), min(len(at), len(self.picks.indices) - done),
            IN_ORDER if rival is None else GREEDY, centres.n, bounds.unit, self._cosine, self._share,
            free.least_distance, free.groups_of(at), free.room, offer.weight, offer.squared, offer.near, offer.scores,
            won, results,
        )  # fmt: skip
        winners, part = offer.some(won[:n_won]), slice(done, done + n_won)
        self.picks.indices[part], self.picks.gains[part] = winners.rows, results[0, :n_won]
        self.picks.nearest[part] = results[2, :n_won]
        self.picks.distances[part] = [distance(value, self._cosine) for value in results[1, :n_won]]
        centres.add(winners.rows, winners.vectors)
        self._least = -np.inf if rival is None else float(offer.scores.max())
        self.n_picked += n_won
        return n_won

    def _asked_for(self, rows: Int[np.ndarray, " b"]) -> Offer:
        """Some rows by number, in their order."""
        offer = joined(self._ask(rows))
        order = np.argsort(offer.rows)
        return offer.some(order[np.searchsorted(offer.rows, rows, sorter=order)])

    def _ask(self, wanted: Int[np.ndarray, " w"] | None) -> list[Offer]:
        """The offers of all shards; one that was lost, and so knows no centre, is told all of them and asked again."""
        n_centres, n_shards = self._centres.n, len(self._shards)
        offers: dict[int, Offer] = {}
        known = dict.fromkeys(range(n_shards), self._told)
        while known:
            first = min(known.values())
            asked = [shard for shard, n in known.items() if n == first]
            request = self._request(first, n_centres, wanted)
            for shard, offer in zip(asked, self._shards.ask(request, asked), strict=True):
                self.traffic.received += offer.n_bytes
                known[shard] = offer.n_centres
                if offer.n_centres == n_centres:
                    offers[shard] = offer
                    del known[shard]
            self.traffic.n_requests += 1
            self.traffic.sent += request.n_bytes * len(asked)
        self._told = n_centres
        return [offers[shard] for shard in range(n_shards)]

    def _request(self, first: int, n_centres: int, wanted: Int[np.ndarray, " w"] | None) -> Request:
        x = self._centres.points.x
        last = min(n_centres, first + max(1, _MESSAGE // max(1, x.shape[1] * x.itemsize)))
        return Request(
            first=first, rows=self._centres.rows[first:last], centres=self._centres.vectors(first, last),
            n_centres=n_centres, most_centres=self._most, share=self._share, least=self._least, wanted=wanted,
        )  # fmt: skip
