"""Numbers as solutions write them: with commas, currency, units, percent, as fractions, mixed or in powers of ten."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from qads.answers.latex import without_latex
from qads.answers.units import currency_in, same_unit

__all__ = ["SCALES", "Number", "last_number", "read_number", "same_number"]

_LONGEST = 120
SCALES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
"""Word -> power of ten."""
_SCALE = "|".join(SCALES)
_MOST_DIGITS = 60
_MOST_TENS = 300
_RELATIVE = Fraction(1, 10_000)
_ROUNDING = Fraction(1, 10**9)
_ROUNDED = Fraction(1, 100)

_DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?![\d,])|\d+)"
_NUMBER = re.compile(
    rf"(?P<sign>[-+−–]?)\s*(?:usd?|rs\.?|eur|inr)?\s*[$€£¥₹]?\s*(?P<second>[-+−]?)"
    rf"(?:(?P<mixed>{_DIGITS})\s+(?P<upper>\d+)\s*/\s*(?P<lower>\d+)"
    rf"|\(?(?P<top>[-−]?{_DIGITS}(?:\.\d+)?)\)?\s*/\s*\(?(?P<bottom>{_DIGITS}(?:\.\d+)?)\)?"
    rf"|(?P<whole>{_DIGITS})?(?:\.(?P<decimals>\d*))?(?:\s*(?:e|[×x*·]\s*10\s*\^)\s*\(?(?P<power>[-+−]?\d+)\)?)?)"
    r"(?:\s*(?P<percent>%|percent\b|per\s?cent\b))?(?P<unit>.*)",
    re.IGNORECASE,
)
_UNIT = re.compile(
    r"(?P<space>\s*)(?P<words>(?:°\s?)?(?:[a-z]+\.?(?:[\s/-]+[a-z]+\.?|\s?\^\(?[23]\)?|[²³]|[23](?!\w)|\(s\))*)?)\s*",
    re.IGNORECASE,
)
_NO_UNIT = frozenset(
    "pi i e sqrt log ln sin cos tan sec csc cot exp or and to mod choose over below x y z n k t".split()
)
_NO_FIRST_UNIT = frozenset("squared cubed factorial halves".split())
"""Words that are units, or part of one, only after another: 5 m squared, and not 5 squared."""
_SHORT_UNITS = frozenset("g h l m s".split())
"""Letters that are units after a space: 5 m, and not 5 x."""
_POWERS = str.maketrans({"²": "^2", "³": "^3"})
_POWER = re.compile(r"(?:\s?\^\(?|(?<=[a-z]))([23])\)?")
_SQUARE = re.compile(r"\b(?:square|sq)\b\.?\s+(?P<word>[a-z]+)|\b(?P<after>[a-z]+)\s+squared\b")
_CUBIC = re.compile(r"\b(?:cubic|cu)\b\.?\s+(?P<word>[a-z]+)|\b(?P<after>[a-z]+)\s+cubed\b")
_LAST = re.compile(
    rf"(?<![\w.])[-−]?[$€£]?{_DIGITS}(?:\.\d+)?(?:\s*/\s*\d+)?%?(?:\s(?:{_SCALE})s?\b)*|(?<![\w.])[-−]?\.\d+%?"
)
_MINUS = str.maketrans("−–", "--")


@dataclass(frozen=True)
class Number:
    """A number that was read."""

    value: Fraction
    is_decimal: bool
    """Written with more than zeros after a decimal point, or with a power of ten: perhaps rounded."""
    decimals: int
    """Figures after the point, written without a power of ten or a word for one; negative where such a power leaves
    the last figures open (1.2 million: -5)."""
    is_percent: bool
    unit: str
    """What follows it, in lower case; empty where nothing does."""
    currency: str = ""
    """The currency that stands before it (``dollar``); empty where none does."""


def read_number(text: str) -> Number | None:
    r"""The number that a text is, whatever unit or currency it has; None where it is something else.

    >>> read_number("$1,250.50").value, read_number(r"\frac{3}{4}").value, read_number("2 1/2 hours").unit
    (Fraction(2501, 2), Fraction(3, 4), 'hours')
    >>> read_number("3x"), read_number("1, 2"), read_number("no idea")
    (None, None, None)
    """
    if len(text) > _LONGEST:
        return None
    plain = " ".join(without_latex(text.strip(" $").rstrip(" .$")).split()).rstrip(" .").translate(_MINUS)
    found = _NUMBER.fullmatch(plain)
    if found is None or (found["sign"] and found["second"]) or not any(map(found.__getitem__, _PARTS)):
        return None
    value, unit = _value(found), _unit(found["unit"])
    if value is None or unit is None:
        return None
    scale, unit = _scaled(unit)
    negative = "-" in (found["sign"], found["second"])
    shown = (found["decimals"] or "").rstrip("0")
    power = int((found["power"] or "0").translate(_MINUS)) + scale
    return Number(
        (-value if negative else value) * 10**scale,
        is_decimal=bool(shown) or found["power"] is not None,
        decimals=len(found["decimals"] or "") - power,
        is_percent=found["percent"] is not None,
        unit=unit,
        currency=currency_in(text.strip()) or currency_in(plain),
    )


_PARTS = ("mixed", "top", "whole", "decimals")


def _value(found: re.Match[str]) -> Fraction | None:
    """The number without its sign; None where it is too long, divides by zero, or has a power out of all reason."""
    figures = {name: (found[name] or "").replace(",", "").translate(_MINUS) for name in found.groupdict()}
    if sum(map(len, figures.values())) - len(figures["unit"]) > _MOST_DIGITS:
        return None
    if figures["mixed"]:
        return None if not int(figures["lower"]) else _mixed(figures)
    if figures["top"]:
        below = Fraction(figures["bottom"])
        return Fraction(figures["top"]) / below if below else None
    power = int(figures["power"] or 0)
    if abs(power) > _MOST_TENS:
        return None
    return Fraction(f"{figures['whole'] or '0'}.{figures['decimals'] or '0'}") * Fraction(10) ** power


def _mixed(figures: dict[str, str]) -> Fraction:
    return int(figures["mixed"]) + Fraction(int(figures["upper"]), int(figures["lower"]))


def _unit(text: str) -> str | None:
    """What follows a number, if it can be a unit; None where it makes another thing of the number, as x does in 3x."""
    if not text.strip(" ."):
        return ""
    found = _UNIT.fullmatch(text.rstrip(" ."))
    if found is None:
        return None
    words = re.findall(r"[a-z]+|°", found["words"].lower())
    attached = len(words[0]) == 1 and words[0] != "°"
    if attached and not (found["space"] and words[0] in _SHORT_UNITS):
        return None
    if words[0] in _NO_FIRST_UNIT or not (attached or _NO_UNIT.isdisjoint(words)):
        return None
    return _raised(found["words"].lower())


def _raised(words: str) -> str:
    """Words of a unit, its powers in one form: `square cm`, `cm squared`, `cm²`, `cm2` and `cm^(2)` are `cm^2`.

    A slash is `per`.
    """
    plain = words.translate(_POWERS).replace("/", " per ")
    for pattern, power in ((_SQUARE, 2), (_CUBIC, 3)):
        plain = pattern.sub(rf"\g<word>\g<after>^{power}", plain)
    return " ".join(re.findall(r"[a-z]+(?:\^[23])?|°", _POWER.sub(r"^\1", plain)))


def _scaled(unit: str) -> tuple[int, str]:
    """The power of ten that a unit begins with, as "hundred thousand dollars" does, and the unit without it."""
    words, power = unit.split(), 0
    while words and (scale := SCALES.get(words[0].removesuffix("s"))) is not None:
        words, power = words[1:], power + scale
    return power, " ".join(words)


def same_number(found: Number, reference: Number) -> bool:
    """Whether a number is the one that was asked for.

    Whole numbers and fractions must be equal. Where one of the two is a decimal, that is perhaps rounded: they may
    differ by 10⁻⁴ of the larger, but by no more than 0.01 or half a unit of the last figure shown, whichever is more;
    or one may be the other rounded to two decimals or more. Where 0 was asked for, what the arithmetic of a program
    leaves of it, 10⁻⁹ at most, is 0. A percent sign on one side only may be left out or carried out (12% is 12, and is
    0.12). Where both have a unit, it is the same; so is a currency.

    >>> def same(a, b): return same_number(read_number(a), read_number(b))
    >>> same("1/3", "0.33"), same("0.34", "0.33"), same("10000.9", "10000"), same("50%", "0.5"), same("5 cm", "5 cm^2")
    (True, False, False, True, False)
    """
    if not same_unit(found.unit, reference.unit, (found.currency, reference.currency)):
        return False
    if found.is_percent == reference.is_percent:
        return _near(found, reference, Fraction(1))
    share = Fraction(1, 100) if found.is_percent else Fraction(100)
    return _near(found, reference, Fraction(1)) or _near(found, reference, share)


def _near(found: Number, reference: Number, factor: Fraction) -> bool:
    value, wanted = found.value * factor, reference.value
    if value == wanted:
        return True
    if not (found.is_decimal or reference.is_decimal):
        return False
    apart = abs(value - wanted)
    shown = min(number.decimals for number in (found, reference) if number.is_decimal)
    most = max(_ROUNDED, _last_figure(shown) / 2)
    if apart <= min(_RELATIVE * max(abs(value), abs(wanted)), most) or (not wanted and apart <= _ROUNDING):
        return True
    return _is_rounded(found, apart / factor) or _is_rounded(reference, apart)


def _is_rounded(number: Number, apart: Fraction) -> bool:
    """Whether a number can be one that is so far from it, rounded: to two decimals and two figures at least."""
    unit = _last_figure(number.decimals)
    return number.decimals >= 2 and abs(number.value) >= 10 * unit and 2 * apart <= unit


def _last_figure(decimals: int) -> Fraction:
    """What one unit of the last of so many figures after the point is."""
    return Fraction(10) ** -decimals


def last_number(text: str) -> str | None:
    """The last number in a text, as it stands there.

    >>> last_number("She pays 3 times $1,200, which is $3,600 in all.")
    '$3,600'
    """
    found = _LAST.findall(text)
    return found[-1] if found else None
