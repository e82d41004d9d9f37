"""What the text of a row shows without a model: lengths, numbers, formulas, how the answer is given.

Influence follows style, and much of style lies on the surface; a probe that is not given it would have to find it again
in the states of a model. Counts enter as log(1 + count), shares as they are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from qads.pool import KINDS, Pool, Row

__all__ = ["SURFACE", "surface_features"]

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_SENTENCE_END = re.compile(r"[.!?](?:\s|$)")
_OPTION = re.compile(r"\(?\b[A-E][).:]\s")
_WORD = re.compile(r"\w+")


def _log(count: float) -> float:
    return math.log1p(count)


def _share(text: str, holds: Callable[[str], bool]) -> float:
    return sum(map(holds, text)) / max(1, len(text))


SURFACE: dict[str, Callable[[Row], float]] = {
    "problem characters": lambda row: _log(len(row.problem)),
    "problem words": lambda row: _log(len(_WORD.findall(row.problem))),
    "problem numbers": lambda row: _log(len(_NUMBER.findall(row.problem))),
    "options in the problem": lambda row: _log(len(_OPTION.findall(row.problem))),
    "solution characters": lambda row: _log(len(row.solution)),
    "solution words": lambda row: _log(len(_WORD.findall(row.solution))),
    "solution lines": lambda row: _log(row.solution.count("\n")),
    "solution sentences": lambda row: _log(len(_SENTENCE_END.findall(row.solution))),
    "solution numbers": lambda row: _log(len(_NUMBER.findall(row.solution))),
    "equations": lambda row: _log(row.solution.count("=")),
    "LaTeX commands": lambda row: _log(row.solution.count("\\")),
    "dollar signs": lambda row: _log(row.solution.count("$")),
    "share of digits": lambda row: _share(row.solution, str.isdigit),
    "share of capitals": lambda row: _share(row.solution, str.isupper),
    "share of signs": lambda row: _share(row.solution, lambda c: not c.isalnum() and not c.isspace()),
    "ends with a digit": lambda row: float(row.solution.rstrip()[-1:].isdigit()),
    "boxed answer": lambda row: float("\\boxed" in row.solution),
    "hash answer": lambda row: float("####" in row.solution),
    "stated answer": lambda row: float("answer is" in row.solution.casefold()),
    "final answer known": lambda row: float(row.answer is not None),
    "earlier turns": lambda row: _log(len(row.context)),
    **{f"kind {kind}": lambda row, kind=kind: float(row.kind == kind) for kind in KINDS},
}
"""Name -> what it is of a row."""


def surface_features(pool: Pool) -> Float[np.ndarray, "n s"]:
    """The numbers of `SURFACE` for every row.

    >>> import qads
    >>> row = qads.Row(id="a", source="s", problem="1 + 1?", solution="1 + 1 = 2", kind="cot")
    >>> features = surface_features(qads.Pool.from_rows([row]))[0]
    >>> round(float(features[list(SURFACE).index("equations")]), 2)
    0.69
    """
    return np.array([[measure(row) for measure in SURFACE.values()] for row in pool], np.float32).reshape(
        -1, len(SURFACE)
    )
