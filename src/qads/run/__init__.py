"""Stages of a run in their order, each resumable, in one directory."""

from __future__ import annotations

from qads.run.coverage import ensure_coverage, read_coverage
from qads.run.directory import Manifest, RunDirectory, StageDirectory, StagePlan, labelled_file, pool_file
from qads.run.estimate import StageEstimate, estimate_evaluation, estimate_run
from qads.run.evaluating import Evaluated, evaluate_model, summary_json
from qads.run.kinds import Kind, TaskStatus, kinds_in, read_task_status
from qads.run.observing import Observer, SilentObserver
from qads.run.pipeline import OCCASIONAL, STAGES, RunResult, run_pipeline
from qads.run.projection import Plane, ensure_projection, has_projection
from qads.run.publishing import publish_run
from qads.run.sealed import ON_DEMAND, read_json, read_stage_record
from qads.run.selecting import count_tokens
from qads.run.sharing import share_stages
from qads.run.status import RunStatus, StageStatus, read_status, stages_of_run
from qads.run.training import estimate_training, train_files
from qads.run.validation import Validation, validate_scorer

__all__ = [
    "OCCASIONAL",
    "ON_DEMAND",
    "STAGES",
    "Evaluated",
    "Kind",
    "Manifest",
    "Observer",
    "Plane",
    "RunDirectory",
    "RunResult",
    "RunStatus",
    "SilentObserver",
    "StageDirectory",
    "StageEstimate",
    "StagePlan",
    "StageStatus",
    "TaskStatus",
    "Validation",
    "count_tokens",
    "ensure_coverage",
    "ensure_projection",
    "estimate_evaluation",
    "estimate_run",
    "estimate_training",
    "evaluate_model",
    "has_projection",
    "kinds_in",
    "labelled_file",
    "pool_file",
    "publish_run",
    "read_coverage",
    "read_json",
    "read_stage_record",
    "read_status",
    "read_task_status",
    "run_pipeline",
    "share_stages",
    "stages_of_run",
    "summary_json",
    "train_files",
    "validate_scorer",
]
