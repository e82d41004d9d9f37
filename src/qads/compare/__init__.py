"""Strategies side by side: a grid of arms, sizes, base models and seeds, and what the differences are worth."""

from __future__ import annotations

from qads.compare.estimate import CellEstimate, ExperimentEstimate, estimate_experiment
from qads.compare.experiment import UNTRAINED, Arm, Experiment, JudgingConfig, load_experiment
from qads.compare.grid import Cell, all_cells, only_cells
from qads.compare.progress import ArmProgress, ExperimentProgress, read_progress
from qads.compare.results import ArmResult, Measured, Results, SettingResult, TrainingFacts
from qads.compare.running import EXPERIMENT_FILE, read_results, run_experiment
from qads.compare.statistics import ALL_SETS, Estimate, Outcome, PairedItems, Verdict, compare_arms, estimate_arm

__all__ = [
    "ALL_SETS",
    "EXPERIMENT_FILE",
    "UNTRAINED",
    "Arm",
    "ArmProgress",
    "ArmResult",
    "Cell",
    "CellEstimate",
    "Estimate",
    "Experiment",
    "ExperimentEstimate",
    "ExperimentProgress",
    "JudgingConfig",
    "Measured",
    "Outcome",
    "PairedItems",
    "Results",
    "SettingResult",
    "TrainingFacts",
    "Verdict",
    "all_cells",
    "compare_arms",
    "estimate_arm",
    "estimate_experiment",
    "load_experiment",
    "only_cells",
    "read_progress",
    "read_results",
    "run_experiment",
]
