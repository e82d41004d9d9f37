"""One run, as YAML.

The configuration is the methods themselves: a section is a dataclass, its keys are the fields of that
dataclass, and `kind` picks the class where there are several. Unknown keys are errors that name the nearest
known one. Nothing in a configuration names a place that is written to: the run directory is the caller's to
choose.
"""

from __future__ import annotations

from qads.amounts import Amount, Tokens, parse_budget, parse_limit
from qads.config.cleaning import CleanConfig
from qads.config.evaluating import (
    PROGRAMS_BY_HAND,
    EvaluateConfig,
    check_suffixes,
    suffix_settings,
)
from qads.config.limits import ANY_OTHER, ConstraintsConfig, QuotaConfig
from qads.config.loading import load_config
from qads.config.reporting import ReportConfig
from qads.config.scoring import QualityConfig, SavedScorer
from qads.config.sections import AnchorsConfig, OutputConfig, PoolConfig, RunConfig
from qads.config.training import TrainConfig

__all__ = [
    "ANY_OTHER",
    "PROGRAMS_BY_HAND",
    "Amount",
    "AnchorsConfig",
    "CleanConfig",
    "ConstraintsConfig",
    "EvaluateConfig",
    "OutputConfig",
    "PoolConfig",
    "QualityConfig",
    "QuotaConfig",
    "ReportConfig",
    "RunConfig",
    "SavedScorer",
    "Tokens",
    "TrainConfig",
    "check_suffixes",
    "load_config",
    "parse_budget",
    "parse_limit",
    "suffix_settings",
]
