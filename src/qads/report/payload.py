"""Arrays and JSON inside a page: compressed, and in letters that no markup is made of."""

from __future__ import annotations

import base64
import gzip
from typing import Any

import numpy as np

from qads.pool import to_json

__all__ = ["as_base64", "packed", "quantised"]


def packed(value: Any) -> str:
    """JSON, compressed, in base64: nothing in it can end the element that holds it. Equal values, equal text.

    >>> import base64, gzip
    >>> gzip.decompress(base64.b64decode(packed({"a": 1}))).decode()
    '{"a":1}'
    """
    return base64.b64encode(gzip.compress(to_json(value).encode(), 9, mtime=0)).decode()


def as_base64(values: np.ndarray) -> str:
    """An array, little-endian."""
    return base64.b64encode(np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()).decode()


def quantised(values: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Numbers as 16 bits between their least and greatest; value = least + step · number.

    >>> numbers, least, step = quantised(np.array([1.0, 2.0, 3.0]))
    >>> (least + step * numbers).round(3).tolist()
    [1.0, 2.0, 3.0]
    """
    least, most = (float(values.min()), float(values.max())) if len(values) else (0.0, 0.0)
    step = (most - least) / 65_535 or 1.0
    return np.rint((values - least) / step).astype(np.uint16), least, step
