"""Whether compiled functions can be kept for the next process.

Numba keeps them beside their source, else in the user's cache or where ``NUMBA_CACHE_DIR`` says, and refuses to define
a function at all where none of these can be written to. There functions are compiled anew in every process.
"""

from __future__ import annotations

import numba

__all__ = ["KEPT"]


def _anything() -> int:
    return 0


def _are_kept() -> bool:
    try:
        numba.njit(cache=True)(_anything)  # Looks for a place; nothing is compiled.
    except RuntimeError:
        return False
    return True


KEPT = _are_kept()
"""What functions of this package are compiled with as ``cache``."""
