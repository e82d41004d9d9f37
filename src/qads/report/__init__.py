"""A finished run as one page that explains itself: what was chosen, why, and how far to believe it."""

from __future__ import annotations

from qads.report.evidence import FinishedRun, open_run
from qads.report.explanations import Explanation, explain_rows, rows_by_id, rows_not_picked
from qads.report.page import write_report

__all__ = [
    "Explanation",
    "FinishedRun",
    "explain_rows",
    "open_run",
    "rows_by_id",
    "rows_not_picked",
    "write_report",
]
