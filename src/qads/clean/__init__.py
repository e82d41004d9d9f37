"""What should not be in a pool: problems that repeat, and problems of the evaluation."""

from qads.clean.contamination import ContaminationReport, Decontamination, Match, Neighbour, Template
from qads.clean.findings import DuplicateGroup, PoolFindings, check_pool
from qads.clean.text import exact_key

__all__ = [
    "ContaminationReport",
    "Decontamination",
    "DuplicateGroup",
    "Match",
    "Neighbour",
    "PoolFindings",
    "Template",
    "check_pool",
    "exact_key",
]
