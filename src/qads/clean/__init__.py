"""What should not be in a pool: rows that repeat others, and problems of the evaluation."""

from qads.clean.contamination import ContaminationReport, Decontamination, Match
from qads.clean.duplicates import Deduplication, Duplicates
from qads.clean.findings import DuplicateGroup, PoolFindings, check_pool

__all__ = [
    "ContaminationReport",
    "Decontamination",
    "Deduplication",
    "DuplicateGroup",
    "Duplicates",
    "Match",
    "PoolFindings",
    "check_pool",
]
