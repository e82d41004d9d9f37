"""What should not be in a pool: problems that repeat, and problems of the evaluation."""

from qads.clean.duplicates import Deduplication, Duplicates
from qads.clean.findings import Contamination, DuplicateGroup, PoolFindings, check_pool

__all__ = ["Contamination", "Deduplication", "DuplicateGroup", "Duplicates", "PoolFindings", "check_pool"]
