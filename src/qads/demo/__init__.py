"""A pool with planted flaws, and anchors for it, made on the spot: the pipeline runs without a download.

Every text is made here from templates and a seed: a skill draws a problem with the plan of its solution
(`skills`, `task`), a style writes it down (`styles`), and `corpus` plants the flaws and assembles the rows.

Example:
    >>> from qads.demo import make_demo_anchors, make_demo_rows
    >>> len(make_demo_rows(n_rows=100)), len(make_demo_anchors())
    (100, 16)
"""

from qads.demo.corpus import FLAWS, SOURCES, make_demo_anchors, make_demo_rows
from qads.demo.skills import SKILLS

__all__ = ["FLAWS", "SKILLS", "SOURCES", "make_demo_anchors", "make_demo_rows"]
