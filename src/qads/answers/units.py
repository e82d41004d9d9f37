"""Units of numbers, currencies among them: which of them are the same."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["currency_in", "same_unit"]

_CURRENCIES = {
    "$": "dollar", "us": "dollar", "usd": "dollar", "€": "euro", "eur": "euro", "£": "pound", "¥": "yen",
    "₹": "rupee", "rs": "rupee", "inr": "rupee",
}  # fmt: skip
_CURRENCY = re.compile(r"[-+−–\s]*(?P<currency>[a-z]+|[$€£¥₹])", re.IGNORECASE)
_LONE_DOLLAR = re.compile(r"[^$]*(?<!\\)\$(?=\s?[\d.])[^$]*")
"""Two of them are LaTeX's."""

_LONG = {
    "degree": "° deg", "celsius": "c", "fahrenheit": "f",
    "meter": "m metre", "millimeter": "mm millimetre", "centimeter": "cm centimetre", "kilometer": "km kilometre",
    "inch": "", "foot": "ft feet", "yard": "yd", "mile": "mi",
    "gram": "g", "milligram": "mg", "kilogram": "kg", "ounce": "oz", "pound": "lb",
    "liter": "l litre", "milliliter": "ml millilitre",
    "second": "s sec", "minute": "min", "hour": "h hr",
    "dollar": "usd", "cent": "", "euro": "eur", "yen": "", "rupee": "rs inr",
}  # fmt: skip
"""A unit's name -> its other names."""
_NAMES = {short: name for name, shorts in _LONG.items() for short in (name, *shorts.split())}
_PHRASES = {"mph": "mile per hour", "kph": "kilometer per hour", "kmh": "kilometer per hour"}
_SINGULARS = ((r"s", ""), (r"(?<=[hosxz])es", ""), (r"ies", "y"))
"""Ends of a plural -> what may stand for them."""


def currency_in(text: str) -> str:
    r"""The currency that a number is written with, before its figures; empty where there is none.

    Of two dollar signs both are LaTeX's.

    >>> currency_in("$5"), currency_in("-£5"), currency_in("$5$"), currency_in("Rs. 5"), currency_in("5 dollars")
    ('dollar', 'pound', '', 'rupee', '')
    """
    if _LONE_DOLLAR.fullmatch(text):
        return "dollar"
    found = _CURRENCY.match(text)
    return "" if found is None or text.startswith("$") else _CURRENCIES.get(found["currency"].casefold(), "")


def same_unit(one: str, other: str, currencies: tuple[str, str] = ("", "")) -> bool:
    """Whether what follows two numbers can be one unit; where one has none it can.

    Names that a unit has are the same (``feet``, ``foot``, ``ft``), and so are singular and plural; a longer phrase
    may begin with the shorter. A currency written before a number is its unit where the other has a currency too, or
    a unit that is known (``$5`` is not ``5 cents``, and may be ``5 each``).

    Args:
        one: words after the first number, powers as ``cm^2``.
        other: the same after the second.
        currencies: written before them.
    """
    a, b = _words(one), _words(other)
    first, second = currencies
    if not (first and _is_known(a)) and not (second and _is_known(b)):  # Not "$0.50 cents", nor "$5 cm" of LaTeX cut.
        a, b = (
            [first, *a] if first and (second or _is_known(b)) else a,
            [second, *b] if second and (first or _is_known(a)) else b,
        )
    return all(_same_word(x, y) for x, y in zip(a, b, strict=False))


def _words(unit: str) -> list[str]:
    words = [each for word in unit.split() for each in _PHRASES.get(word, word).split()]
    if words and words[-1].partition("^")[0] == "in":  # "5 in", and not "5 in all".
        words[-1] = words[-1].replace("in", "inch")
    return words


def _is_known(words: Sequence[str]) -> bool:
    """Whether a unit begins with one of the table."""
    return bool(words) and not _forms(words[0].partition("^")[0]).isdisjoint(_LONG)


def _same_word(one: str, other: str) -> bool:
    (a, _, power), (b, _, other_power) = one.partition("^"), other.partition("^")
    return power == other_power and not _forms(a).isdisjoint(_forms(b))


def _forms(word: str) -> set[str]:
    """The word, what may be its singular, and the name of the unit that it is."""
    singulars = {re.sub(rf"{end}\Z", with_, word) for end, with_ in _SINGULARS if len(word) > 2}
    return {_NAMES.get(form, form) for form in (word, *singulars)}
