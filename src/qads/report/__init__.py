"""A finished run as one page that explains itself: what was chosen, why, and how far to believe it."""

from __future__ import annotations

from qads.report.analysis import ANALYSIS_FILES, analysis_findings, render_analysis, write_analysis
from qads.report.evidence import FinishedRun, open_run
from qads.report.experiment import EXPERIMENT_FILES, experiment_findings, render_experiment, write_experiment
from qads.report.experiment_tables import experiment_as_json
from qads.report.explanations import Explanation, explain_rows, rows_by_id, rows_not_picked
from qads.report.facts import report_settings
from qads.report.fidelity import OUT_OF_FOLD, STATISTICS, read_fidelity, render_fidelity, write_fidelity
from qads.report.page import write_report
from qads.report.runs_page import RunsReport, runs_as_json, write_runs_report
from qads.report.scored import open_scored_run, read_scores
from qads.report.tables import analysis_as_json, analysis_as_table

__all__ = [
    "ANALYSIS_FILES",
    "EXPERIMENT_FILES",
    "OUT_OF_FOLD",
    "STATISTICS",
    "Explanation",
    "FinishedRun",
    "RunsReport",
    "analysis_as_json",
    "analysis_as_table",
    "analysis_findings",
    "experiment_as_json",
    "experiment_findings",
    "explain_rows",
    "open_run",
    "open_scored_run",
    "read_fidelity",
    "read_scores",
    "render_analysis",
    "render_experiment",
    "render_fidelity",
    "report_settings",
    "rows_by_id",
    "rows_not_picked",
    "runs_as_json",
    "write_analysis",
    "write_experiment",
    "write_fidelity",
    "write_report",
    "write_runs_report",
]
