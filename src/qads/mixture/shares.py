"""How large a mixture is, and how much of it each share comes to."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Literal

from qads.amounts import exact_fraction
from qads.errors import InputError
from qads.kernels.apportion import apportion
from qads.mixture.recipe import Share

__all__ = ["share_amounts"]


def share_amounts(
    shares: Mapping[str, Share], fixed: Mapping[str, int], size: int | None, *, unit: Literal["rows", "tokens"]
) -> dict[str, int]:
    """Rows or tokens of every share, by largest remainders, so that the whole comes out exactly.

    Without a size it follows: where the shares are S of the whole and the other parts come to F, it is F / (1 − S).

    Args:
        shares: name of a part -> its share of the whole.
        fixed: name of a part -> rows or tokens of it, where that is fixed.
        size: of the whole; None lets it follow.
        unit: what is counted.

    Raises:
        InputError: the shares leave no room for the other parts, nothing says how large the whole is, or fixed amounts
            and shares do not come to the size.

    >>> share_amounts({"general": Share(0.3)}, {"reasoning": 700}, None, unit="rows")
    {'general': 300}
    """
    whole = sum((exact_fraction(share.share) for share in shares.values()), Fraction(0))
    given, said = sum(fixed.values()), " + ".join(f"{name} {share.share:g}" for name, share in shares.items())
    if size is None:
        if whole >= 1 or not given:
            why = "leave nothing for the other parts" if given else "have no other part from which a size would follow"
            raise InputError(f"the shares ({said}) come to {float(whole):g} of the mixture and {why}. Give size.")
        size = int(given / (1 - whole) + Fraction(1, 2))
    elif abs(size - given - whole * size) >= 1:
        amounts = ", ".join(f"{name} {amount:,}" for name, amount in fixed.items()) or "none"
        raise InputError(
            f"size is {size:,} {unit}; the parts of fixed amount come to {given:,} ({amounts}) and the shares ({said}) "
            f"to {float(whole * size):,.0f}, together {float(given + whole * size):,.0f}. Change size, a share or an "
            "amount."
        )
    rest = size - given
    counts = apportion(rest, [exact_fraction(share.share) for share in shares.values()], [rest + 1] * len(shares))
    return dict(zip(shares, counts, strict=True))
