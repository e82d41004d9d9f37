"""Which layout of embeddings keeps neighbours, and what it costs.

    python benchmarks/projection.py runs/mine --rows 2000

Of the rows of RUN/embed (or of so many drawn by seed 0): seconds and processor time of each layout; trustworthiness
(Venna & Kaski 2001) of 2,000 rows with 15 neighbours; and of the 15 nearest rows of each of these, among all, the share
that is among the 15 and the 100 nearest on the map. UMAP is measured where it is installed (`pip install umap-learn`).
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness
from sklearn.neighbors import NearestNeighbors

from qads import TSNEProjection

_WATCHED, _NEIGHBOURS, _WIDER = 2_000, 15, 100


def two_axes(x: np.ndarray) -> np.ndarray:
    """Principal components."""
    return PCA(2, random_state=0).fit_transform(x)


def umap_of(x: np.ndarray, n_axes: int | None = None) -> np.ndarray:
    """UMAP as it comes, with a seed and therefore on one thread; of the first axes where a number is given."""
    import umap

    read = x if n_axes is None else PCA(n_axes, random_state=0).fit_transform(x)
    metric = "cosine" if n_axes is None else "euclidean"
    return umap.UMAP(random_state=0, n_neighbors=_NEIGHBOURS, metric=metric, n_jobs=1).fit_transform(read)


def tsne_as_it_comes(x: np.ndarray) -> np.ndarray:
    """OpenTSNE with its own numbers of rounds (250 and 500), on two threads."""
    import openTSNE

    read = PCA(50, random_state=0).fit_transform(x)
    return np.asarray(openTSNE.TSNE(n_jobs=2, random_state=0, negative_gradient_method="fft").fit(read))


def kept(x: np.ndarray, places: np.ndarray, rows: np.ndarray) -> tuple[float, float]:
    """Shares of the nearest rows of some that are still near."""
    found = NearestNeighbors(n_neighbors=_WIDER + 1).fit(places).kneighbors(places[rows], return_distance=False)
    similar = x[rows] @ x.T
    similar[np.arange(len(rows)), rows] = -np.inf
    true = np.argpartition(-similar, _NEIGHBOURS, axis=1)[:, :_NEIGHBOURS]
    shares = [
        np.mean([np.isin(t, f[f != row][:n]).mean() for t, f, row in zip(true, found, rows, strict=True)])
        for n in (_NEIGHBOURS, _WIDER)
    ]
    return float(shares[0]), float(shares[1])


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--rows", type=int)
    arguments = parser.parse_args()
    x = np.load(arguments.run / "embed" / "embeddings.npy").astype(np.float32)
    rng = np.random.default_rng(0)
    if arguments.rows:
        x = x[np.sort(rng.choice(len(x), arguments.rows, replace=False))]
    rows = np.sort(rng.choice(len(x), min(_WATCHED, len(x)), replace=False))
    layouts: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "two principal axes": two_axes,
        "TSNEProjection()": TSNEProjection(),
        "openTSNE as it comes, 50 axes": tsne_as_it_comes,
    }
    if importlib.util.find_spec("umap"):
        layouts |= {"UMAP": umap_of, "UMAP, 50 axes": lambda x: umap_of(x, 50)}
    print(f"{len(x):,} rows\n| layout | seconds | of processor | trustworthiness | kept, 15 | kept, 100 |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, layout in layouts.items():
        started, used = time.perf_counter(), time.process_time()
        places = layout(x).astype(np.float64)
        took = f"{time.perf_counter() - started:.0f} | {time.process_time() - used:.0f}"
        near, wide = kept(x, places, rows)
        trusted = trustworthiness(x[rows], places[rows], n_neighbors=_NEIGHBOURS)
        print(f"| {name} | {took} | {trusted:.3f} | {near:.3f} | {wide:.3f} |", flush=True)


if __name__ == "__main__":
    main()
