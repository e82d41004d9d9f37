"""How much to select, as the user writes it: rows, a share of the pool, or tokens."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, DecimalException
from fractions import Fraction
from typing import Any, cast

import numpy as np

from qads.errors import ConfigError

__all__ = [
    "Amount",
    "Tokens",
    "duration",
    "exact_fraction",
    "parse_amount",
    "parse_budget",
    "parse_limit",
    "rows_of_fraction",
]

_TOKENS = re.compile(r"(?P<number>\d[\d_,]*(\.\d+)?)\s*(?P<unit>[kMB]?)[\s-]*tokens?", re.IGNORECASE)
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9}


@dataclass(frozen=True)
class Tokens:
    """A number of tokens of the training text."""

    tokens: int

    def __str__(self) -> str:
        return f"{self.tokens} tokens"


Amount = int | float | Tokens
"""Rows, a fraction of the pool in (0, 1], or tokens."""


def exact_fraction(value: float | np.floating[Any]) -> Fraction:
    """A float as the decimal it is written as."""
    return Fraction(str(value))


def rows_of_fraction(fraction: float | np.floating[Any], n_rows: int) -> int:
    """A fraction of some rows as a number of them, rounded half up.

    >>> rows_of_fraction(0.07, 100), rows_of_fraction(0.1, 1005)
    (7, 101)
    """
    return math.floor(exact_fraction(fraction) * n_rows + Fraction(1, 2))


def parse_budget(value: object) -> Amount | tuple[Amount, ...]:
    """A budget, or a list of several.

    >>> parse_budget("10%"), parse_budget("0.1"), parse_budget("1000"), parse_budget("2M tokens")
    (0.1, 0.1, 1000, Tokens(tokens=2000000))
    >>> parse_budget([1000, "5%"])
    (1000, 0.05)

    Raises:
        ConfigError: one is neither a count of 1 at least, nor a fraction in (0, 1], nor a number of tokens; the list
            has one twice, or mixes rows and tokens.
    """
    if not isinstance(value, list | tuple) or not value:
        return parse_amount(cast(object, value), "budget: ")
    amounts = tuple(parse_amount(each, "budget: ") for each in cast(list[object], value))
    if len(amounts) == 1:
        return amounts[0]
    if len(set(amounts)) < len(amounts):
        raise ConfigError(f"budget: {', '.join(map(str, amounts))}: one of them is there twice.")
    if len({isinstance(amount, Tokens) for amount in amounts}) > 1:
        raise ConfigError(
            f"budget: {', '.join(map(str, amounts))}: rows and tokens do not mix, since which one is larger only the "
            "selection shows. Give either, or make two runs."
        )
    return amounts


def parse_limit(value: object) -> int | float:
    """A limit of a group: rows, or a share of the budget.

    >>> parse_limit("20%"), parse_limit(100)
    (0.2, 100)

    Raises:
        ConfigError: it is neither a count of 0 at least nor a fraction in (0, 1].
    """
    limit = _rows_or_fraction(value, "", whole="budget")
    if isinstance(limit, int) and limit < 0:
        raise ConfigError(f"{_shown(value)} is no number of rows; a count must be 0 at least.")
    return limit


def parse_amount(value: object, where: str = "") -> Amount:
    """Rows, a fraction or tokens; `where` begins the message of an error.

    >>> parse_amount("30%"), parse_amount("5k tokens")
    (0.3, Tokens(tokens=5000))

    Raises:
        ConfigError: it is neither a count of 1 at least, nor a fraction in (0, 1], nor a number of tokens.
    """
    if isinstance(value, Tokens):
        return value
    if isinstance(value, Mapping) and "tokens" in value:  # As `config.json` of a run has it.
        value = f"{cast(Mapping[str, Any], value)['tokens']} tokens"
    if (match := _TOKENS.fullmatch(str(value).strip())) is not None:
        number = Decimal(re.sub("[_,]", "", match["number"])) * _UNITS[match["unit"].lower()]
        if number < 1 or number != int(number):
            raise ConfigError(
                f"{where}{_shown(value)} comes to {number} tokens; it must be a whole number, 1 at least."
            )
        return Tokens(int(number))
    budget = _rows_or_fraction(value, where, whole="pool", more=" nor tokens (2M tokens)")
    if isinstance(budget, int) and budget < 1:
        raise ConfigError(f"{where}{_shown(value)} is no number of rows; a count must be 1 at least.")
    return budget


def _rows_or_fraction(value: object, where: str, *, whole: str, more: str = "") -> int | float:
    text = str(value).strip().replace("_", "")
    try:
        if text.endswith("%"):
            # In decimal, since 14.3 / 100 is not the double nearest to 0.143.
            amount: int | float = float(Decimal(text[:-1]) / 100)
        else:
            amount = int(text) if text.lstrip("+-").isdigit() else float(text)
    except (ValueError, DecimalException):
        raise ConfigError(
            f"{where}{_shown(value)} is neither a count (1000) nor a fraction (0.1, 10%){more}."
        ) from None
    if isinstance(amount, float) and not 0 < amount <= 1:
        raise ConfigError(
            f"{where}{_shown(value)} is no share of a {whole}; a fraction must lie in (0, 1] (or (0%, 100%]), and a "
            "count must be a whole number (1000)."
        )
    return amount


def duration(seconds: float) -> str:
    """Time in the unit that reads best.

    >>> duration(2.04), duration(75), duration(600), duration(10_000)
    ('2.0 s', '75 s', '10.0 min', '2.8 h')
    """
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _shown(value: object) -> str:
    """A value as a message shows it: whoever wrote the file made it as long as he liked."""
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


_LONGEST_SHOWN = 80
"""Characters of a value beyond which a message does not go."""
