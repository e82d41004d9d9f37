"""What others offer for the same job, as contenders of `selection.py`; a package that is not installed is left out.

    pip install k-center divsel fpsample      # scikit-learn is there already

A contender makes `task.k` picks, whatever they are: `k-center` draws its first pick itself, `divsel` maximises another
objective (GIST: quality plus the least distance within the subset), `fpsample` and `k-center` know no quality.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from sklearn.metrics import pairwise_distances

__all__ = ["RIVALS", "Rival", "installed"]


class Job(Protocol):
    """What a contender is given."""

    @property
    def x(self) -> np.ndarray: ...
    @property
    def weight(self) -> np.ndarray: ...
    @property
    def k(self) -> int: ...
    @property
    def start(self) -> int: ...


@dataclass(frozen=True)
class Rival:
    """A contender and what it can do."""

    run: Callable[[Any], np.ndarray]
    package: str
    """Module that it needs."""
    weighted: bool
    """Knows quality."""
    by_the_step: bool = True
    """Does the same work at every pick, so that a few of them tell how long all take."""
    most_work: float = np.inf
    """Rows × picks up to which it is run."""


def kcenter_scikit_learn(job: Job) -> np.ndarray:
    """K-center Greedy over scikit-learn's pairwise distances, one new centre at a time."""
    nearest = np.full(len(job.x), np.inf)
    picks = [job.start]
    for _ in range(job.k - 1):
        new = pairwise_distances(job.x, job.x[picks[-1]][None])[:, 0]
        np.minimum(nearest, new, out=nearest)
        score = job.weight * nearest
        score[picks] = -np.inf
        picks.append(int(np.argmax(score)))
    return np.array(picks)


def k_center(job: Job) -> np.ndarray:
    """The package `k-center` (Rust, Gonzalez)."""
    estimator = importlib.import_module("k_center").KCenter(n_clusters=job.k, random_state=0)
    estimator.fit(job.x)
    return np.asarray(estimator.center_indices_)


def divsel(job: Job) -> np.ndarray:
    """The package `divsel` (Rust, GIST) with quality as its utility."""
    module = importlib.import_module("divsel")
    return np.asarray(module.gist_select(job.x, job.weight, k=job.k, lam=1.0, metric="euclidean"))


def fpsample(job: Job) -> np.ndarray:
    """The package `fpsample` (C++, farthest points); its bucket methods stop at 8 dimensions, this one does not."""
    return np.asarray(importlib.import_module("fpsample").fps_sampling(job.x, job.k, start_idx=job.start))


RIVALS = {
    "scikit-learn kCenterGreedy": Rival(kcenter_scikit_learn, "sklearn", weighted=True),
    "k-center (Rust)": Rival(k_center, "k_center", weighted=False),
    "fpsample (C++)": Rival(fpsample, "fpsample", weighted=False),
    "divsel (Rust; GIST)": Rival(divsel, "divsel", weighted=True, by_the_step=False, most_work=1e8),
}


def installed() -> dict[str, Rival]:
    """Those whose package is here."""
    return {name: rival for name, rival in RIVALS.items() if importlib.util.find_spec(rival.package)}
