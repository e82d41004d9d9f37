"""What influence says of the rows that were scored: the labels that a scorer is fitted on."""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Bool, Float

from qads.config import QualityConfig
from qads.errors import InputError
from qads.kernels.correlation import pearson
from qads.pool import Pool
from qads.quality import AnchorGroups, Influence, stopping_outcomes
from qads.run.context import StageContext, nullable

__all__ = ["Labels"]

_FEWEST = 10
"""Labels that a scorer needs."""


class Labels:
    """Quality of the scored rows, apart from their style where that is asked for."""

    def __init__(self, config: QualityConfig, rows: Pool, measured: Influence) -> None:
        self.config, self.rows = config, rows
        self.measured = measured
        """The scores as they are."""

    @classmethod
    def of(cls, context: StageContext) -> Labels:
        """What the stage `influence` left."""
        assert context.config.quality is not None
        table = pq.read_table(context.stages["influence"].path / "influence.parquet")
        return cls(context.config.quality, context.pool.take(context.labelled), Influence.from_table(table))

    @cached_property
    def styles(self) -> tuple[str, ...]:
        """Style of every row: its source, unless styles are found by surface."""
        style = self.config.style
        return tuple(self.rows.strings("source")) if style is None else style.styles(self.rows)

    @cached_property
    def influence(self) -> Influence:
        """The scores that quality is made of."""
        style = self.config.style
        return self.measured if style is None else style(self.measured, self.rows, self.styles)

    @property
    def terms(self) -> Float[np.ndarray, "k m"] | None:
        """What quality is the mean of; None where a stopping rule left anchors out, since then rows differ in them."""
        return None if self.measured.pending.any() else self.influence.terms(self.config.aggregate)

    @cached_property
    def quality(self) -> Float[np.ndarray, " k"]:
        """Of every row; NaN where no anchor could score it, or too few rows are of its style.

        Raises:
            InputError: too few rows are left.
        """
        quality = self.influence.quality(self.config.aggregate)
        lost = int(self.without_mates.sum())
        if (style := self.config.style) and lost and (left := int(np.isfinite(quality).sum())) < _FEWEST:
            raise InputError(
                f"quality.style: {lost} of {len(quality)} scored rows have fewer than {style.min_mates} others of "
                f"their {style.by} to compare with, which leaves {left}. Take styles by surface (--style surface), "
                "fewer of them (quality.style.n_clusters), or score more rows (--sample)."
            )
        return quality

    @cached_property
    def without_mates(self) -> Bool[np.ndarray, " k"]:
        """Rows that were scored and have no quality, since too few others are of their style."""
        return (self.influence.n_scored == 0) & (self.measured.n_scored > 0)

    @property
    def are_level(self) -> bool:
        """Whether the mean of every source is 0 by construction; that of some rows is then minus that of the others."""
        return self.config.style is not None and self.config.style.by == "source"

    @cached_property
    def anchor_groups(self) -> AnchorGroups:
        """Gains of sources on groups of anchors, with their style."""
        return AnchorGroups.of(
            self.measured, self.rows.strings("source"), styles=self.styles, aggregate=self.config.aggregate
        )

    def table(self) -> pa.Table:
        """A row a label."""
        rule, aggregate = self.config.influence, self.config.aggregate
        columns = {
            "candidate": pa.array(self.measured.candidate_ids),
            "source": pa.array(self.rows.strings("source")),
            "quality": nullable(self.quality),
        }
        if self.config.style is not None:
            columns |= {
                "quality_plain": nullable(self._plain),
                "style": pa.array(self.styles),
            }
        columns |= {
            "standard_error": nullable(self.influence.standard_error(aggregate)),
            "anchors_scored": pa.array(self.measured.n_scored),
            "stopped": pa.array(stopping_outcomes(rule.stopping, self.measured, rule.aggregate), pa.string()),
        }
        groups = self.influence.by_group(aggregate)
        return pa.table(columns | {f"quality on {name}": nullable(values) for name, values in groups.items()})

    def style_facts(self) -> dict[str, Any] | None:
        """What was made of styles, for a manifest; None where quality is the plain one."""
        if self.config.style is None:
            return None
        styles, known = np.array(self.styles, dtype=object), np.isfinite(self.quality)
        agreement = pearson(self._plain[known], self.quality[known]) if known.any() else float("nan")
        return {
            "by": self.config.style.by,
            "aggregate": self.config.aggregate,
            "rows": dict(Counter(self.styles)),
            "without_mates": dict(Counter(styles[self.without_mates].tolist())),
            "pearson_with_plain": agreement if np.isfinite(agreement) else None,
        }

    @cached_property
    def _plain(self) -> Float[np.ndarray, " k"]:
        return self.measured.quality(self.config.influence.aggregate)
