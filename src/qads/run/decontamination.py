"""Problems of the evaluation in what a run reads: found, told, and taken out or refused as the configuration says."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Int

from qads.clean import ContaminationReport
from qads.config import CleanConfig
from qads.datasets.benchmarks import load_evaluation
from qads.errors import InputError
from qads.pool import Pool

__all__ = ["OwnAnchors", "contamination_facts", "evidence", "read_evaluation", "refuse_contamination", "rows_left"]

_EXCERPT = 300
_TOLD = 3


@dataclass(frozen=True, eq=False)
class OwnAnchors:
    """Anchors of the user's own, without those that are problems of the evaluation."""

    pool: Pool
    contamination: ContaminationReport | None
    """None where no evaluation set was given."""

    @classmethod
    def checked(cls, anchors: Pool, config: CleanConfig | None, evaluation: Pool | None) -> OwnAnchors:
        """Look at the anchors as at the pool.

        Raises:
            InputError: as `refuse_contamination`.
        """
        if config is None or evaluation is None:
            return cls(anchors, None)
        found = config.contamination(anchors, evaluation)
        refuse_contamination(found, config, what="anchors")
        left = rows_left(len(anchors), found, config)
        return cls(replace(anchors.take(left), rejected=anchors.rejected), found)


def read_evaluation(config: CleanConfig | None) -> Pool | None:
    """The evaluation sets; None where there are none to look for.

    Raises:
        PoolError: a file is missing or cannot be read.
    """
    return load_evaluation(config.against) if config and config.against else None


def refuse_contamination(found: ContaminationReport, config: CleanConfig, *, what: str) -> None:
    """Stop where rows that hold problems of the evaluation may not be, or where no others are.

    Args:
        found: the rows that hold some.
        config: what to do about them.
        what: what to call the rows in a message.

    Raises:
        InputError: there are some, and the configuration says that this is an error; or nothing else would be left.
    """
    if len(found.rows) and config.on_contamination == "error":
        told = "\n".join(
            f"  {m.id} = {m.evaluation_id} of {m.evaluation_source} ({m.kind}, overlap {m.overlap:.2f})"
            for m in found.matches[:_TOLD]
        )
        raise InputError(
            f"clean: {len(found.rows)} of {found.n_rows} {what} hold problems of the evaluation, and on_contamination "
            f"is error. The first:\n{told}\nAll of them: qads check … --against …; to go on without them: "
            "on_contamination: remove."
        )
    if len(found.rows) == found.n_rows and config.on_contamination == "remove":
        raise InputError(f"clean: all {found.n_rows} {what} hold problems of the evaluation, so none is left.")


def rows_left(n_rows: int, found: ContaminationReport | None, config: CleanConfig) -> Int[np.ndarray, " k"]:
    """The rows that contamination leaves."""
    rows = np.arange(n_rows)
    return np.delete(rows, found.rows) if found and config.on_contamination == "remove" else rows


def evidence(found: ContaminationReport) -> pa.Table:
    """A row a match; of the evaluation's text the beginning only, so that no copy of the set lies about."""
    columns: dict[str, list[Any]] = {
        "id": [m.id for m in found.matches],
        "source": [m.source for m in found.matches],
        "part": [m.part for m in found.matches],
        "kind": [m.kind for m in found.matches],
        "overlap": [m.overlap for m in found.matches],
        "evaluation_source": [m.evaluation_source for m in found.matches],
        "evaluation_id": [m.evaluation_id for m in found.matches],
        "evaluation_part": [m.evaluation_part for m in found.matches],
        "text": [m.problem for m in found.matches],
        "evaluation_excerpt": [m.evaluation_problem[:_EXCERPT] for m in found.matches],
    }
    kinds = {"overlap": pa.float64()}
    return pa.table({name: pa.array(values, kinds.get(name, pa.large_string())) for name, values in columns.items()})


def contamination_facts(
    found: ContaminationReport | None, config: CleanConfig | None, evaluation: Pool | None
) -> dict[str, Any]:
    """What a manifest says of it; null where no evaluation set was given."""
    if found is None or config is None or evaluation is None:
        return {"contamination": None}
    by_set: dict[str, Counter[str]] = {name: Counter() for name in found.n_evaluation}
    for (_, against, kind), n in found.counts.items():
        by_set[against][kind] += n
    return {
        "contamination": {
            "action": config.on_contamination,
            "rows": len(found.rows),
            "evaluation_rows": dict(found.n_evaluation),
            "evaluation_rejected": len(evaluation.rejected),
            "rows_by_set": {name: dict(counts) for name, counts in by_set.items()},
        }
    }
