"""How much of each part: takes, shares, temperature, repetition and caps; what cannot be had is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int, Shaped

from qads.amounts import Tokens, exact_fraction, rows_of_fraction
from qads.errors import InputError
from qads.mixture.counting import TokenCounter
from qads.mixture.drawing import cycled, hash_order, share_out, temperature_weights, text_keys
from qads.mixture.parts import LoadedPart
from qads.mixture.recipe import Recipe, Share, Take
from qads.mixture.shares import share_amounts

__all__ = ["Orders", "Taken", "take_parts"]

Rows = tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"]]
"""Positions in a part, and which time each is there."""


@dataclass(frozen=True, eq=False)
class Taken:
    """What is taken of one part."""

    rows: Int[np.ndarray, " k"]
    """Positions in the part."""
    copies: Int[np.ndarray, " k"]
    """Which time the row is there: 0, 1, …."""
    asked: Take
    n_available: int
    """Rows that could have been taken."""
    n_same_text: int
    """Rows that could not, since an earlier part had taken the same text."""


def take_parts(
    recipe: Recipe, variant: str, parts: Mapping[str, LoadedPart], orders: Orders, counter: TokenCounter | None
) -> dict[str, Taken]:
    """What is taken of every part, in the order of the recipe.

    Parts of a fixed amount come first, then shares; each in the order of the recipe.

    Raises:
        InputError: the amounts cannot be had; says the arithmetic.
    """
    taking, takes = _Taking(recipe, parts, orders, counter), recipe.variant(variant)
    if recipe.temperature is not None:
        found = taking.by_temperature(recipe.temperature)
    else:
        found = {name: taking.fixed(name, take) for name, take in takes.items() if not isinstance(take, Share)}
        found |= taking.shares({name: take for name, take in takes.items() if isinstance(take, Share)}, found)
    return {name: found[name] for name in takes}


@dataclass(eq=False)
class Orders:
    """The order in which rows of a part are taken and what their texts are, found once for all variants."""

    seed: int
    _orders: dict[str, Int[np.ndarray, " n"]] = field(default_factory=dict[str, Int[np.ndarray, " n"]])
    _keys: dict[str, Shaped[np.ndarray, " n"]] = field(default_factory=dict[str, Shaped[np.ndarray, " n"]])

    def order(self, part: LoadedPart) -> Int[np.ndarray, " n"]:
        """Positions, the first to be taken first."""
        if part.name not in self._orders:
            drawn = not part.is_selection and part.settings.order != "file"
            purpose = f"draw {part.name}"
            order = hash_order(part.table["id"], seed=self.seed, purpose=purpose) if drawn else np.arange(len(part))
            self._orders[part.name] = order
        return self._orders[part.name]

    def keys(self, part: LoadedPart) -> Shaped[np.ndarray, " n"]:
        """`text_keys` of the part."""
        if part.name not in self._keys:
            self._keys[part.name] = text_keys(part.table)
        return self._keys[part.name]


@dataclass(frozen=True, eq=False)
class _Offer:
    """Rows of a part that can be taken, in order."""

    part: LoadedPart
    order: Int[np.ndarray, " a"]
    n_same_text: int

    @property
    def most(self) -> int:
        """Rows at most, with the epochs that a share may take."""
        return int(exact_fraction(self.part.settings.max_repeat) * len(self.order))

    def __str__(self) -> str:
        same = f" ({self.n_same_text:,} more are rows of an earlier part)" if self.n_same_text else ""
        return f"{len(self.order):,} rows{same}"


class _Taking:
    """Takes parts one after the other, and remembers their texts."""

    def __init__(
        self, recipe: Recipe, parts: Mapping[str, LoadedPart], orders: Orders, counter: TokenCounter | None
    ) -> None:
        self._recipe, self._parts, self._orders, self._counter = recipe, parts, orders, counter
        self._seen = np.empty(0, "S16")

    def fixed(self, name: str, take: Take) -> Taken:
        """A part of which the recipe says how much."""
        offer = self._offer(name)
        settings, k = offer.part.settings, self._rows_of_take(take, offer)
        if not 1 <= k <= len(offer.order):
            raise InputError(_too_much(take, k, offer))
        if settings.temperature is not None:
            found = self._by_source(offer, min(k, settings.cap) if isinstance(settings.cap, int) else k)
        else:
            found = cycled(offer.order[:k], int(exact_fraction(settings.repeat) * k))
        rows, copies = self._capped(offer, found)
        if not len(rows):
            raise InputError(
                f"parts.{name}: take {take}, repeat {settings.repeat:g} and cap {settings.cap} leave no row of "
                f"{offer}. Leave the part out, or take more."
            )
        return self._taken(offer, take, (rows, copies))

    def shares(self, shares: Mapping[str, Share], fixed: Mapping[str, Taken]) -> dict[str, Taken]:
        """The parts that are shares of the whole."""
        size, in_tokens = self._recipe.size, self._recipe.shares_of == "tokens"
        size = size.tokens if isinstance(size, Tokens) else size
        given = {
            name: int(self._tokens(self._parts[name], taken.rows).sum()) if in_tokens else len(taken.rows)
            for name, taken in fixed.items()
        }
        if shares:
            amounts = share_amounts(shares, given, size, unit=self._recipe.shares_of)
            return {name: self._share(name, share, amounts[name]) for name, share in shares.items()}
        if size is not None and size != sum(given.values()):
            listed = " + ".join(f"{name} {amount:,}" for name, amount in given.items())
            raise InputError(
                f"size is {size:,} rows, but the parts come to {sum(given.values()):,} ({listed}). Leave size out, or "
                "give a part as a share of the mixture."
            )
        return {}

    def by_temperature(self, temperature: float) -> dict[str, Taken]:
        """All parts, in proportion to their sizes to the power of 1/T."""
        size, offers = self._recipe.size, list[_Offer]()
        assert isinstance(size, int), "the recipe was checked"
        for name in self._parts:
            offers.append(offer := self._offer(name))
            if not len(offer.order):
                raise InputError(_too_much("all", 0, offer))
            self._note(offer, offer.order)
        counts = share_out(
            size, [len(offer.order) for offer in offers], temperature=temperature,
            max_repeats=[offer.part.settings.max_repeat for offer in offers],
        )  # fmt: skip
        if counts is None:
            most = " + ".join(f"{o.part.name} {o.most:,} (max_repeat {o.part.settings.max_repeat:g})" for o in offers)
            raise InputError(f"size is {size:,} rows, but the parts have at most {most}. Raise max_repeat.")
        if 0 in counts:
            name = offers[counts.index(0)].part.name
            raise InputError(f"parts.{name}: comes to no row of {size:,} at temperature {temperature:g}. Raise size.")
        return {
            offer.part.name: Taken(*cycled(offer.order, count), "all", len(offer.order), offer.n_same_text)
            for offer, count in zip(offers, counts, strict=True)
        }

    def _share(self, name: str, share: Share, amount: int) -> Taken:
        offer, unit = self._offer(name), self._recipe.shares_of
        settings, count = offer.part.settings, amount
        if unit == "tokens" and len(offer.order):
            count = self._require_counter().rows_within(offer.part, offer.order, amount)
        what = f"parts.{name}: its {share} of the mixture is {amount:,} {unit}"
        what += f", {count:,} rows" if unit == "tokens" else ""
        if not 1 <= count <= offer.most:
            raise InputError(
                f"{what}; it has {offer}, with max_repeat {settings.max_repeat:g} {offer.most:,} at most. Change the "
                "share, raise max_repeat, or give more files."
            )
        found = cycled(offer.order, count) if settings.temperature is None else self._by_source(offer, count)
        if len(self._capped(offer, found)[0]) < count:
            raise InputError(f"{what}, more than its cap, {settings.cap}. Lower the share, or raise the cap.")
        return self._taken(offer, share, found)

    def _rows_of_take(self, take: Take, offer: _Offer) -> int:
        """Distinct rows of a take that is no share."""
        if take == "all":
            return len(offer.order)
        if isinstance(take, Tokens):
            within = (
                self._require_counter().rows_within(offer.part, offer.order, take.tokens) if len(offer.order) else 0
            )
            if within < len(offer.order):
                return within
            if (total := int(self._tokens(offer.part, offer.order).sum())) < take.tokens:
                raise InputError(
                    f"parts.{offer.part.name}: take is {take}, but there are {total:,} in {offer}. Take less."
                )
            return len(offer.order)
        assert not isinstance(take, str | Share)
        return rows_of_fraction(take, offer.part.n_pool) if isinstance(take, float) else take

    def _offer(self, name: str) -> _Offer:
        part = self._parts[name]
        order = self._orders.order(part)
        if self._recipe.same_text != "drop" or not len(self._seen):
            return _Offer(part, order, 0)
        kept = order[~np.isin(self._orders.keys(part)[order], self._seen)]
        return _Offer(part, kept, len(order) - len(kept))

    def _by_source(self, offer: _Offer, count: int) -> Rows:
        """`count` rows, in proportion to the sizes of the sources to the power of 1/T."""
        settings = offer.part.settings
        assert settings.temperature is not None
        codes = offer.part.table["source"].combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
        groups = [
            group for code in range(int(codes.max()) + 1) if len(group := offer.order[codes[offer.order] == code])
        ]
        counts = share_out(
            count, [len(group) for group in groups], temperature=settings.temperature,
            max_repeats=[settings.max_repeat] * len(groups),
        )  # fmt: skip
        if counts is None:
            raise InputError(
                f"parts.{offer.part.name}: {count:,} rows are more than its {len(groups)} sources have with max_repeat "
                f"{settings.max_repeat:g}, rounded down for each. Raise it, or take less."
            )
        pairs = [cycled(group, n) for group, n in zip(groups, counts, strict=True)]
        rows, copies = (np.concatenate(each) for each in zip(*pairs, strict=True))
        if not isinstance(settings.cap, Tokens):
            return rows, copies
        # How many rows a cap in tokens leaves is known once it has cut, so every beginning has the sources' shares.
        weights = temperature_weights([len(group) for group in groups], settings.temperature)
        due = np.concatenate([(np.arange(n) + 0.5) / float(weight) for n, weight in zip(counts, weights, strict=True)])
        turn = np.argsort(due, kind="stable")
        return rows[turn], copies[turn]

    def _capped(self, offer: _Offer, found: Rows) -> tuple[Int[np.ndarray, " c"], Int[np.ndarray, " c"]]:
        rows, copies = found
        cap = offer.part.settings.cap
        if isinstance(cap, Tokens):
            cap = int(np.searchsorted(np.cumsum(self._tokens(offer.part, rows)), cap.tokens, side="right"))
        return rows[:cap], copies[:cap]

    def _taken(self, offer: _Offer, take: Take, found: Rows) -> Taken:
        self._note(offer, found[0])
        return Taken(*found, take, len(offer.order), offer.n_same_text)

    def _note(self, offer: _Offer, rows: Int[np.ndarray, " k"]) -> None:
        """Remember the texts; refuse those that are there already, unless they may be."""
        if self._recipe.same_text == "keep" or len(self._parts) == 1:
            return
        rows = np.unique(rows)
        mine = self._orders.keys(offer.part)[rows]
        again = np.flatnonzero(np.isin(mine, self._seen))
        if len(again):
            example = offer.part.table["id"][int(rows[again[0]])].as_py()
            raise InputError(
                f"parts.{offer.part.name}: {len(again):,} of its rows are word for word rows of an earlier part (such "
                f"as {example!r}). same_text: drop leaves them out here, keep has them twice."
            )
        self._seen = np.concatenate([self._seen, mine])

    def _tokens(self, part: LoadedPart, rows: Int[np.ndarray, " k"]) -> Int[np.ndarray, " k"]:
        return self._require_counter().tokens(part, rows)

    def _require_counter(self) -> TokenCounter:
        assert self._counter is not None, "a recipe that counts tokens names a tokenizer"
        return self._counter


def _too_much(take: Take, k: int, offer: _Offer) -> str:
    part = offer.part
    of = (
        f" of the {part.n_pool:,} rows that were selected from" if part.is_selection and isinstance(take, float) else ""
    )
    more = "Select with a larger budget" if part.is_selection else "Give more files or repeat them"
    return f"parts.{part.name}: take {take}{of} is {k:,} rows, and there are {offer}. Take 1 to that many. {more}."
