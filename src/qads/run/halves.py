"""What halves of the anchors say of the labelled rows, for a scorer that is to be judged on anchors of others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from qads.quality.fidelity import OtherAnchors, half_qualities, halves_of_anchors, on_other_anchors
from qads.quality.scorers import FittedScorer
from qads.run.labels import Labels

__all__ = ["AnchorHalves"]


@dataclass(frozen=True, eq=False)
class AnchorHalves:
    """Halves of the anchors, each followed by its complement."""

    qualities: Float[np.ndarray, "h k"]
    """What each says of every labelled row."""
    sources: Int[np.ndarray, " k"]
    n_anchors: int
    """Of the smallest half."""

    @classmethod
    def of(cls, labels: Labels) -> AnchorHalves | None:
        """Of the labels of a run; None where anchors are few, or rows were not all scored on both halves."""
        if labels.terms is None:
            return None
        halves = halves_of_anchors(labels.influence.anchor_groups)
        qualities = half_qualities(labels.terms, halves)
        if not len(halves) or not np.isfinite(qualities[:, np.isfinite(labels.quality)]).all():
            return None
        return cls(qualities, np.asarray(labels.rows.source_codes), int(halves.sum(axis=1).min()))

    def compared(self, fitted: FittedScorer) -> OtherAnchors | None:
        """How well a scorer that was fitted on a half predicts the other; None where it was fitted on none."""
        if len(fitted.also) < len(self.qualities):
            return None
        predicted, folds = (np.stack([getattr(each, name) for each in fitted.also]) for name in ("predicted", "fold"))
        return on_other_anchors(self.qualities, predicted, folds, self.sources, n_anchors=self.n_anchors)
