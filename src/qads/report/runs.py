"""What several runs chose from the same rows, as numbers and short texts: finished runs -> `RunsFacts`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from jaxtyping import Bool, Float, Int

from qads.errors import InputError
from qads.kernels.correlation import centred, mean_ranks, pearson
from qads.kernels.nearest import nearest_distances
from qads.report.evidence import FinishedRun
from qads.report.passages import Passage, line
from qads.report.shared import SharedRows, share_rows

__all__ = ["Agreement", "Chosen", "Difference", "Overlap", "RunsFacts", "SourceChoice", "compare_runs", "run_names"]

MOST_RUNS = 6
"""More than so many cannot be told apart by colours."""
_NOT_CHOICE = ("execution", "report", "train", "evaluate", "output")
"""Sections of a configuration that change nothing of what is chosen."""
_ABSENT = object()


@dataclass(frozen=True)
class Chosen:
    """One run, on the rows that all share."""

    name: str
    directory: str
    kind: str
    """Of its selector."""
    n_pool: int
    n_picks: int
    n_shared_picks: int
    """Picks among the shared rows."""
    n_alone: int
    """Shared rows that it chose and no other."""
    size: int
    """Tokens of these picks where every run counted them, else characters."""
    radius: float | None
    """Largest distance of a shared row to the nearest of these picks, in the embeddings of the first run; None without
    picks."""
    mean_distance: float | None
    """Mean of those distances."""
    quality: tuple[float | None, ...]
    """Mean quality of these picks by the scores of every run; None where that has none."""
    fingerprint: str


@dataclass(frozen=True)
class Overlap:
    """Two runs' picks among the shared rows."""

    first: int
    second: int
    both: int
    either: int
    by_chance: float
    """Rows in both that draws of as many rows each would have on average."""

    @property
    def jaccard(self) -> float:
        """Rows in both of those in either; 1 where none is in either."""
        return self.both / self.either if self.either else 1.0


@dataclass(frozen=True)
class Agreement:
    """How two runs' qualities of the shared rows agree."""

    first: int
    second: int
    n_rows: int
    """That have a quality in both."""
    n_real: int
    """Really scored in both, of them."""
    pearson: float
    spearman: float
    within_source: float
    """Pearson's r after the mean of every source is taken from both."""


@dataclass(frozen=True)
class SourceChoice:
    """One source of the shared rows."""

    name: Passage
    rows: int
    picks: tuple[int, ...]
    """Of every run."""
    alone: tuple[int, ...]
    """That no other run chose."""
    by_all: int


@dataclass(frozen=True)
class Difference:
    """A setting that is not the same in all runs."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class RunsFacts:
    """Everything but the single rows."""

    chosen: tuple[Chosen, ...]
    shared: SharedRows
    picked: Bool[np.ndarray, "r s"]
    """Which shared row each run chose."""
    counted_in: str
    """``tokens`` or ``characters``."""
    settings: tuple[Difference, ...]
    stages: tuple[Difference, ...]
    """Stages whose fingerprints differ."""
    versions: tuple[Difference, ...]
    overlaps: tuple[Overlap, ...]
    agreements: tuple[Agreement, ...]
    sources: tuple[SourceChoice, ...]
    by_all: int
    by_none: int

    @property
    def names(self) -> tuple[str, ...]:
        """Of the runs."""
        return tuple(each.name for each in self.chosen)


def run_names(runs: Sequence[FinishedRun]) -> tuple[str, ...]:
    """What the runs are called: the names of their directories, with as much before them as tells them apart.

    Raises:
        InputError: there are fewer than two, too many, or one is there twice.
    """
    paths = [run.root.resolve() for run in runs]
    if not 2 <= len(paths) <= MOST_RUNS:
        raise InputError(f"{len(paths)} runs are to be compared; it must be 2 to {MOST_RUNS}.")
    if len(set(paths)) < len(paths):
        raise InputError("a run is given twice; compare it with another one.")
    depth = 1
    while len({path.parts[-depth:] for path in paths}) < len(paths):
        depth += 1
    return tuple("/".join(path.parts[-depth:]) for path in paths)


def compare_runs(runs: Sequence[FinishedRun]) -> RunsFacts:
    """Read what is the same in them and what is not.

    Args:
        runs: two or more; the first one's embeddings measure coverage.

    Raises:
        InputError: they share no row, or are too few or too many.
    """
    names, shared = run_names(runs), share_rows(runs)
    picked = np.stack([_picked(run, rows) for run, rows in zip(runs, shared.positions, strict=True)])
    sizes, counted_in = _sizes(runs, shared)
    times = picked.sum(axis=0)
    return RunsFacts(
        chosen=tuple(_chosen(runs, i, names[i], shared, picked, sizes) for i in range(len(runs))),
        shared=shared,
        picked=picked,
        counted_in=counted_in,
        settings=tuple(_differences([_flat(_choosing(run.config)) for run in runs])),
        stages=tuple(_differences([_fingerprints(run) for run in runs])),
        versions=tuple(_differences([_versions(run) for run in runs])),
        overlaps=tuple(_overlap(picked, i, j) for i, j in itertools.combinations(range(len(runs)), 2)),
        agreements=tuple(
            found
            for i, j in itertools.combinations(range(len(runs)), 2)
            if (found := _agreement(runs, shared, i, j)) is not None
        ),
        sources=_sources(runs[0], shared, picked),
        by_all=int((times == len(runs)).sum()),
        by_none=int((times == 0).sum()),
    )


def _picked(run: FinishedRun, rows: Int[np.ndarray, " s"]) -> Bool[np.ndarray, " s"]:
    chosen = np.zeros(len(run.pool), np.bool_)
    chosen[run.picks] = True
    return chosen[rows]


def _chosen(
    runs: Sequence[FinishedRun], i: int, name: str, shared: SharedRows, picked: Bool[np.ndarray, "r s"],
    sizes: Int[np.ndarray, " s"],
) -> Chosen:  # fmt: skip
    run, mine = runs[i], picked[i]
    radius = mean = None
    if mine.any():
        vectors = runs[0].embeddings if shared.is_one_pool else np.asarray(runs[0].embeddings[shared.positions[0]])
        distances = nearest_distances(np.asarray(vectors), np.flatnonzero(mine))
        radius, mean = float(distances.max()), float(distances.mean())
    return Chosen(
        name=name, directory=str(run.root), kind=str(run.manifests["select"]["settings"]["selection"]["kind"]),
        n_pool=len(run.pool), n_picks=len(run.picks), n_shared_picks=int(mine.sum()),
        n_alone=int((mine & (picked.sum(axis=0) == 1)).sum()), size=int(sizes[mine].sum()), radius=radius,
        mean_distance=mean,
        quality=tuple(
            _mean(None if other.quality is None else other.quality[shared.positions[j]][mine])
            for j, other in enumerate(runs)
        ),
        fingerprint=str(run.manifests["select"]["fingerprint"]),
    )  # fmt: skip


def _mean(values: Float[np.ndarray, " k"] | None) -> float | None:
    known = np.empty(0) if values is None else values[np.isfinite(values)]
    return float(known.mean(dtype=np.float64)) if len(known) else None


def _sizes(runs: Sequence[FinishedRun], shared: SharedRows) -> tuple[Int[np.ndarray, " s"], str]:
    """How long every shared row is: in the tokens of the first run that counted them, else in characters."""
    for run, rows in zip(runs, shared.positions, strict=True):
        if "tokens" in run.manifests:
            return np.load(run.root / "tokens" / "tokens.npy")[rows], "tokens"
    pool, rows = runs[0].pool, shared.positions[0]
    lengths = [len(a) + len(b) for a, b in zip(pool.strings("problem"), pool.strings("solution"), strict=True)]
    return np.array(lengths, np.int64)[rows], "characters"


def _overlap(picked: Bool[np.ndarray, "r s"], i: int, j: int) -> Overlap:
    a, b = picked[i], picked[j]
    return Overlap(i, j, int((a & b).sum()), int((a | b).sum()), float(a.sum()) * float(b.sum()) / len(a))


def _agreement(runs: Sequence[FinishedRun], shared: SharedRows, i: int, j: int) -> Agreement | None:
    """None where one of them has no quality, or they have fewer than three rows in common."""
    first, second = runs[i].quality, runs[j].quality
    if first is None or second is None:
        return None
    a, b = (q[rows].astype(np.float64) for q, rows in ((first, shared.positions[i]), (second, shared.positions[j])))
    known = np.isfinite(a) & np.isfinite(b)
    if known.sum() < 3:
        return None
    codes = np.unique(runs[0].pool.source_codes[shared.positions[0]][known], return_inverse=True)[1]
    real = _is_real(runs[i])[shared.positions[i]] & _is_real(runs[j])[shared.positions[j]]
    a, b = a[known], b[known]
    return Agreement(
        i, j, len(a), int((real & known).sum()), pearson(a, b), pearson(mean_ranks(a), mean_ranks(b)),
        pearson(centred(a, codes), centred(b, codes)),
    )  # fmt: skip


def _is_real(run: FinishedRun) -> Bool[np.ndarray, " n"]:
    return np.array([origin == "real" for origin in run.origins or ()], np.bool_)


def _sources(first: FinishedRun, shared: SharedRows, picked: Bool[np.ndarray, "r s"]) -> tuple[SourceChoice, ...]:
    """Every source of the shared rows, as the first run calls it; that with the most picks first."""
    codes, times = first.pool.source_codes[shared.positions[0]], picked.sum(axis=0)
    found: list[SourceChoice] = []
    for code, name in enumerate(first.pool.sources):
        here = codes == code
        if here.any():
            alone = here & (times == 1)
            found.append(
                SourceChoice(
                    line(name), int(here.sum()), tuple(int((mine & here).sum()) for mine in picked),
                    tuple(int((mine & alone).sum()) for mine in picked), int((here & (times == len(picked))).sum()),
                )
            )  # fmt: skip
    return tuple(sorted(found, key=lambda each: (-sum(each.picks), -each.rows)))


def _choosing(config: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: value for name, value in config.items() if name not in _NOT_CHOICE}


def _fingerprints(run: FinishedRun) -> dict[str, object]:
    return {name: str(manifest["fingerprint"])[:12] for name, manifest in run.manifests.items()}


def _versions(run: FinishedRun) -> dict[str, object]:
    manifest = run.manifests["mixture"]
    return {"qads": manifest.get("code"), **manifest.get("packages", {})}


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    """Dotted name -> value."""
    found: dict[str, object] = {}
    for name, each in value.items():
        if isinstance(each, Mapping) and each:
            found |= _flat(cast(Mapping[str, Any], each), f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = each
    return found


def _differences(values: Sequence[Mapping[str, object]]) -> Iterator[Difference]:
    """What is not the same in all of them."""
    for name in dict.fromkeys(name for each in values for name in each):
        found = [each.get(name, _ABSENT) for each in values]
        if any(one != found[0] for one in found[1:]):
            yield Difference(name, tuple("–" if one is _ABSENT or one is None else str(one) for one in found))
