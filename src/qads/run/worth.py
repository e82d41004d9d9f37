"""What a selection gives every group of anchors, by what its sources were measured to give."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping

import numpy as np

from qads.config import SavedScorer
from qads.pool import to_json
from qads.quality import AnchorGroups
from qads.quality.fidelity import FidelityReport
from qads.run.context import Facts, StageContext
from qads.run.sealed import read_json

__all__ = ["worth_by_group"]


def worth_by_group(context: StageContext, chosen: Mapping[str, int]) -> list[Facts] | None:
    """What the chosen rows of every source give each group of anchors beside those of the pool, for a manifest.

    Of a scorer that was fitted before it is what was measured then.

    Args:
        context: of the run.
        chosen: source -> rows that were chosen.

    Returns:
        A group each; None where nothing was really scored, or a scorer that was fitted before does not tell.
    """
    groups = _anchor_groups(context)
    if groups is None:
        return None
    counts = np.bincount(context.pool.source_codes, minlength=len(context.pool.sources))
    pool = dict(zip(context.pool.sources, counts.tolist(), strict=True))
    return json.loads(to_json([dataclasses.asdict(each) for each in groups.worth(chosen, pool)]))


def _anchor_groups(context: StageContext) -> AnchorGroups | None:
    quality = context.config.quality
    if quality is None:
        return None
    if not isinstance(quality.scorer, SavedScorer):
        found = read_json(context.stages["quality"].path / "anchor_groups.json")
        return None if found is None else AnchorGroups.from_json(found)
    report = read_json(quality.scorer.folder / "fidelity.json")
    return None if report is None else FidelityReport.from_json(report).groups
