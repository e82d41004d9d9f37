"""Fine-tuning on rows: `FineTuning` says how, `Trained` what came of it."""

from __future__ import annotations

from qads.train.accounts import StepLog, Trained, TrainingPlan
from qads.train.method import Checkpointing, FineTuning
from qads.train.presets import PRESETS
from qads.train.texts import Affected

__all__ = ["PRESETS", "Affected", "Checkpointing", "FineTuning", "StepLog", "Trained", "TrainingPlan"]
