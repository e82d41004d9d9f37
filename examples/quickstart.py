"""From rows to a selection in a minute on a CPU: `python examples/quickstart.py`."""

from __future__ import annotations

import numpy as np

import qads
from qads.demo import make_demo_anchors, make_demo_rows

pool = qads.Pool.from_rows(qads.Row(**row) for row in make_demo_rows(n_rows=200))
anchors = qads.Pool.from_rows(qads.Row(**row) for row in make_demo_anchors(n_anchors=4))

embeddings = qads.SentenceEmbedder()(pool)

scored = qads.stratified_sample(pool, 24)
influence = qads.OneShotInfluence()(pool.take(scored), anchors)
scorer = qads.ProbeScorer().fit(pool.take(scored), influence.quality(), embeddings=embeddings.vectors[scored])
quality = scorer.predict(pool, embeddings.vectors)

selection = qads.KCenterGreedy()(embeddings, quality, budget=0.1)
for step, row in enumerate(selection.indices[:5]):
    sample = pool[int(row)]
    print(f"{step}  {sample.source:<10} quality {quality[row]:.3f}  {sample.problem[:70]}")
print(f"{len(selection)} of {len(pool)} rows; mean quality {np.mean(quality[selection.indices]):.3f} "
      f"against {quality.mean():.3f} in the pool")  # fmt: skip
