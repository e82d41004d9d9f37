"""What a selection is worth to every group of anchors, by the quality that its sources were measured to have."""

from __future__ import annotations

import dataclasses
import json
import logging

import numpy as np
from jaxtyping import Int

from qads.config import SavedScorer
from qads.errors import QadsError
from qads.pool import to_json
from qads.quality import AnchorGroups
from qads.quality.fidelity import FidelityReport
from qads.run.context import Facts, StageContext
from qads.run.sealed import read_json

__all__ = ["worth_by_group"]

logger = logging.getLogger(__name__)


def worth_by_group(
    context: StageContext, chosen: Int[np.ndarray, " k"], out: Int[np.ndarray, " r"]
) -> list[Facts] | None:
    """What chosen rows are worth to each group of anchors beside those that could be chosen, for a manifest.

    Of a scorer that was fitted before it is what was measured then.

    Args:
        context: of the run.
        chosen: rows of the pool.
        out: rows of the pool that could not be chosen.

    Returns:
        A group each; None where nothing was really scored, quality is apart from style (whose share the measured
        qualities have), or a scorer that was fitted before does not tell.
    """
    groups = _anchor_groups(context)
    if groups is None:
        return None
    names, codes = context.pool.sources, context.pool.source_codes
    rows = [codes[chosen], np.delete(codes, np.setdiff1d(out, chosen))]
    counts = [dict(zip(names, np.bincount(each, minlength=len(names)).tolist(), strict=True)) for each in rows]
    return json.loads(to_json([dataclasses.asdict(each) for each in groups.worth(*counts)]))


def _anchor_groups(context: StageContext) -> AnchorGroups | None:
    quality = context.config.quality
    if quality is None or quality.style is not None:
        return None
    if not isinstance(quality.scorer, SavedScorer):
        found = read_json(context.stages["quality"].path / "anchor_groups.json")
        return None if found is None else AnchorGroups.from_json(found)
    path = quality.scorer.folder / "fidelity.json"
    try:
        report = read_json(path)
        return None if report is None else FidelityReport.from_json(report).groups
    except QadsError as error:
        logger.warning("what the selection is worth to each group of anchors is not told: %s: %s", path, error)
        return None
