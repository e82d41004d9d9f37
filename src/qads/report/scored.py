"""The scores that a run left, as the analysis of sources reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from qads.analyze import RowScores
from qads.errors import RunError
from qads.quality import Influence
from qads.report.evidence import FinishedRun, open_run
from qads.run import labelled_file

__all__ = ["open_scored_run", "read_scores"]


def open_scored_run(root: Path) -> FinishedRun:
    """Open a run directory of which the stages up to `quality` are complete, or up to `embed` where it has none.

    Raises:
        RunError: it is no run directory, or a stage is missing.
        CorruptError: a file is not what its manifest says.
    """
    return open_run(root, until="quality")


def read_scores(run: FinishedRun) -> RowScores:
    """The real scores of a run, anchor by anchor, and its predictions.

    Sources are compared with what their style gives: where the run took that off, its predictions are of something else
    and are left out.

    Raises:
        RunError: the run has no quality.
    """
    if not run.is_scored:
        raise RunError(f"{run.root}: this run measured no quality. Analyse its pool without: qads analyze --no-quality")
    settings = run.config["quality"]["influence"]
    found = Influence.from_table(pq.read_table(run.root / "influence" / "influence.parquet"))
    quality = run.manifests["quality"]
    apart = quality.get("style") is not None
    return RowScores.of(
        found,
        np.load(labelled_file(run.root)),
        model=str(settings["model"]),
        aggregate=settings["aggregate"],
        predicted=None if apart else run.quality,
        facts={
            "agreement": None if apart else run.manifests["scorer"]["fidelity"],
            "predictions_apart_from_style": apart,
            "real": quality["real"],
            "predicted": quality["predicted"],
            "affected": len(run.manifests["influence"]["affected_rows"]),
        },
    )
