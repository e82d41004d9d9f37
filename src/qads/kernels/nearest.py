"""Which of some centres is the nearest of every row, after each of several prefixes of the centres; exactly.

The selector's own machinery does it (`field.py`): a product of low precision rules most pairs out, canonical float64
distances decide. So the distances are those that the selector saw, to the bit. Rows are taken a block at a time, hence
memory is bounded by the block and the centres, and x may be a memory map.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from qads.kernels.bounds import BoundProduct, fast_product
from qads.kernels.distance import Points, Rows
from qads.kernels.field import Field, Threads

__all__ = ["NearestCentres", "nearest_centres", "nearest_distances"]

_ROWS = 32768  # In a block; its bounds take two bytes a number.
_CHUNK = 256  # Centres that are shown at a time.


class NearestCentres(NamedTuple):
    """The nearest centre of every row, and how well each prefix of the centres covers the rows."""

    distances: Float[np.ndarray, " n"]
    """To the nearest of all centres."""
    nearest: Int[np.ndarray, " n"]
    """Number of that centre; the first of equals."""
    largest: Float[np.ndarray, " p"]
    """Of every prefix, the largest distance from a row to the nearest of its centres."""
    mean: Float[np.ndarray, " p"]
    """Of every prefix, the mean of those distances."""


def nearest_centres(
    x: Rows,
    centres: Int[np.ndarray, " k"],
    *,
    cosine: bool,
    prefixes: Sequence[int] = (),
    product: BoundProduct | None = None,
    on_rows: Callable[[int], None] | None = None,
) -> NearestCentres:
    """Find the nearest centre of every row.

    Args:
        x: rows, finite; of length > 0 each where `cosine`.
        centres: rows that are centres, in order; one at least.
        cosine: d = 1 − cos instead of the euclidean distance.
        prefixes: numbers of first centres to measure the coverage of, rising, each in 1..k.
        product: how bounds are computed; None for what is faster here. Changes nothing but the time.
        on_rows: called with the number of rows done.
    """
    return _nearest(x, np.asarray(x[centres]), cosine, prefixes, product, on_rows)


def _nearest(
    x: Rows, vectors: np.ndarray, cosine: bool, prefixes: Sequence[int], product: BoundProduct | None,
    on_rows: Callable[[int], None] | None,
) -> NearestCentres:  # fmt: skip
    n, k = len(x), len(vectors)
    found = NearestCentres(np.empty(n), np.empty(n, np.int64), np.zeros(len(prefixes)), np.zeros(len(prefixes)))
    product = product or fast_product(float(x.size) * k)
    with Threads(None, product) as threads:
        for start in range(0, n, _ROWS):
            rows = slice(start, min(start + _ROWS, n))
            field = Field(Points(x[rows], cosine=cosine), vectors, 0, product, threads)
            field.show_first()
            for at, prefix in enumerate((*prefixes, k)):
                _show_until(field, prefix)
                distances = _distances(field, cosine)
                if at < len(prefixes):
                    found.largest[at] = max(found.largest[at], distances.max())
                    found.mean[at] += distances.sum() / n
                else:
                    found.distances[rows], found.nearest[rows] = distances, field.near
            if on_rows:
                on_rows(rows.stop)
    return found


def nearest_distances(
    x: Rows, centres: Int[np.ndarray, " k"], *, of: Int[np.ndarray, " m"] | None = None
) -> Float[np.ndarray, " m"]:
    """Euclidean distance of every row, or of the rows `of`, to the nearest of the rows `centres`.

    The largest of all rows is the covering radius.
    """
    return _nearest(x if of is None else x[of], np.asarray(x[centres]), False, (), None, None).distances


def _show_until(field: Field, last: int) -> None:
    """Show all rows the centres up to the number `last`; all have seen the same ones before."""
    everyone, first = np.arange(len(field.points)), int(field.seen[0])
    while first < last:
        end = min(last, field.end_of(first, _CHUNK))
        field.show(everyone, first, end)
        first = end


def _distances(field: Field, cosine: bool) -> Float[np.ndarray, " n"]:
    """As `canonical.py: distance` has them, all at once."""
    return 0.5 * field.squared if cosine else np.sqrt(field.squared)
