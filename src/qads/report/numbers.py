"""Numbers as they are printed."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["digits_for", "number"]


def number(value: float | None, digits: int = 3) -> str:
    """A number with so many decimals and a true minus sign; a dash where there is none.

    >>> number(-0.5), number(None), number(float("nan")), number(1234.5, 1)
    ('−0.500', '–', '–', '1,234.5')
    """
    if value is None or not math.isfinite(value):
        return "–"
    text = f"{value:,.{digits}f}"
    return text.lstrip("-") if float(text.replace(",", "")) == 0 else text.replace("-", "−")


def digits_for(values: Sequence[float]) -> int:
    """Decimals that leave three significant digits of the greatest value."""
    greatest = max((abs(value) for value in values), default=1.0)
    return min(8, max(1, 2 - math.floor(math.log10(greatest)))) if greatest > 0 else 3
