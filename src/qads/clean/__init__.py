"""What should not be in a pool: rows that repeat others, and problems of the evaluation."""

from qads.clean.contamination import ContaminationReport, Decontamination, Match, Neighbour, Template
from qads.clean.duplicates import Deduplication, Duplicates
from qads.clean.findings import DuplicateGroup, NearDuplicate, PoolFindings, check_pool
from qads.clean.text import exact_key

__all__ = [
    "ContaminationReport",
    "Decontamination",
    "Deduplication",
    "DuplicateGroup",
    "Duplicates",
    "Match",
    "NearDuplicate",
    "Neighbour",
    "PoolFindings",
    "Template",
    "check_pool",
    "exact_key",
]
