"""A finished run as one page that explains itself: what was chosen, why, and how far to believe it."""

from __future__ import annotations

from qads.report.page import write_report

__all__ = ["write_report"]
