"""The mean of the best rows, of all groups and of all but one.

Rows carry weights: a row that stands for ten others takes ten places among the best. The place at the border is taken
in part. Inputs are checked by the caller.
"""

from __future__ import annotations

from typing import no_type_check

import numba
import numpy as np
from jaxtyping import Float, Int

from qads.kernels.kept import KEPT

__all__ = ["best_without_each"]


def best_without_each(
    order: Int[np.ndarray, "m k"],
    values: Float[np.ndarray, "m k"],
    codes: Int[np.ndarray, " k"],
    weights: Float[np.ndarray, " k"],
    places: float,
    n_groups: int,
) -> Float[np.ndarray, "m g1"]:
    """Mean value of the best `places` of the rows, for every column; at last of all rows, before it without each group.

    Args:
        order: for every column the rows from best to worst.
        values: for every column the value of each row.
        codes: group of every row, in 0..n_groups − 1.
        weights: places that every row takes, ≥ 0.
        places: how many places there are, > 0.
        n_groups: number of groups.

    Returns:
        [m, n_groups + 1]. Where the rows left do not fill the places, the empty places count as 0.
    """
    return _best(order, values, codes, weights, places, n_groups)


@numba.njit(cache=KEPT, nogil=True)
@no_type_check
def _best(
    order: np.ndarray, values: np.ndarray, codes: np.ndarray, weights: np.ndarray, places: float, n_groups: int
) -> np.ndarray:
    n_columns, n_rows = order.shape
    sums = np.zeros((n_columns, n_groups + 1))
    for j in range(n_columns):
        room = np.full(n_groups + 1, places)
        open_groups = n_groups + 1
        for position in range(n_rows):
            row = order[j, position]
            weight = weights[row]
            if weight == 0:
                continue
            for g in range(n_groups + 1):
                if room[g] > 0 and g != codes[row]:
                    taken = min(weight, room[g])
                    sums[j, g] += taken * values[j, row]
                    room[g] -= taken
                    if room[g] <= 0:
                        open_groups -= 1
            if open_groups == 0:
                break
    return sums / places
