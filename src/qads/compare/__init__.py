"""Strategies side by side: a grid of arms, sizes, base models and seeds, and what the differences are worth."""

from __future__ import annotations

from qads.compare.experiment import Arm, Experiment, JudgingConfig, load_experiment
from qads.compare.results import UNTRAINED, ArmResult, Measured, Results, SettingResult
from qads.compare.running import EXPERIMENT_FILE, read_results, run_experiment
from qads.compare.statistics import ALL_SETS, Estimate, Outcome, PairedItems, compare_arms, estimate_arm

__all__ = [
    "ALL_SETS",
    "EXPERIMENT_FILE",
    "UNTRAINED",
    "Arm",
    "ArmResult",
    "Estimate",
    "Experiment",
    "JudgingConfig",
    "Measured",
    "Outcome",
    "PairedItems",
    "Results",
    "SettingResult",
    "compare_arms",
    "estimate_arm",
    "load_experiment",
    "read_results",
    "run_experiment",
]
