"""Pools of a few sources and scores that are made, so that what is true of them is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from qads import Pool, Row, RowScores

FACTS = {"aggregate": "positive_gain"}


def make_pool(sizes: Mapping[str, int]) -> Pool:
    """Sources of these sizes, their rows mixed."""
    left, rows = dict(sizes), []
    while left:
        for name in list(left):
            left[name] -= 1
            if not left[name]:
                del left[name]
            number = len(rows)
            rows.append(
                Row(
                    id=f"r{number}",
                    source=name,
                    problem=f"{number}?",
                    solution=f"Add {number}. It is {number}.\n#### {number}",
                    kind="cot",
                )
            )
    return Pool.from_rows(rows)


def make_scores(
    pool: Pool, means: Mapping[str, float], *, per_source: int = 40, m: int = 12, seed: int = 0,
    noise: Sequence[float] = (0.05, 0.02, 0.05), model: str = "m",
) -> RowScores:  # fmt: skip
    """Rows of every source scored on the same anchors: mean of the source + row + anchor + rest."""
    rng = np.random.default_rng(seed)
    of_row, of_anchor, rest = noise
    rows = np.sort(
        np.concatenate([rng.choice(r, min(per_source, len(r)), replace=False) for r in pool.rows_by_source().values()])
    )
    base = np.array([means[name] for name in pool.sources])[pool.source_codes[rows]]
    terms = base[:, None] + of_row * rng.normal(size=(len(rows), 1)) + of_anchor * rng.normal(size=m)
    terms = terms + rest * rng.normal(size=terms.shape)
    groups = tuple("ab"[j % 2] for j in range(m))
    return RowScores(
        model=model, rows=rows, terms=terms, anchor_groups=groups, anchors=tuple(f"t{j}" for j in range(m)), facts=FACTS
    )
