"""What each rule for duplicates takes out of the real sets: `python experiments/duplicates.py --data ../shared/data`.

One line a setting; whole sets, no sample and no seed. With `--semantic MODEL` the sets are embedded, and rows that go
at each radius counted.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path

import qads

_RULES = {
    "exact": qads.Deduplication(near=None),
    "near 0.9": qads.Deduplication(near=0.9),
    "near 0.8": qads.Deduplication(),
    "near 0.7": qads.Deduplication(near=0.7),
    "near 0.8, 5 words": qads.Deduplication(shingle=5),
    "near 0.8, any numbers": qads.Deduplication(numbers="any"),
    "near 0.6": qads.Deduplication(near=0.6),
    "near 0.6, any numbers": qads.Deduplication(near=0.6, numbers="any"),
}
_TEMPLATES = ("gsm8k_train", "math_train", "tabmwp_pot", "svamp_train_cot_reft", "tal_scq5k_en_train", "p3_t0_sample")
_RADII = (0.005, 0.01, 0.02, 0.05, 0.1)


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--semantic", default=None, help="model that embeds")
    parser.add_argument("--sets", nargs="*", default=_TEMPLATES)
    options = parser.parse_args()
    pool = qads.load_pool([str(options.data / "pool" / f"{name}.jsonl.gz") for name in options.sets], on_bad_row="skip")
    sources = pool.strings("source")
    if options.semantic:
        vectors = qads.SentenceEmbedder(model=options.semantic)(pool)
        for radius in _RADII:
            found = qads.Deduplication(semantic=radius)(pool, embeddings=vectors)
            print(radius, found.n_by_reason, Counter(sources[row] for row in found.rows[found.reasons == "semantic"]))
        return
    for name, rule in _RULES.items():
        start = time.perf_counter()
        found = rule(pool)
        gone = Counter(sources[row] for row in found.rows)
        print(f"{name:24} {time.perf_counter() - start:6.1f} s", [gone[source] for source in pool.sources], flush=True)


if __name__ == "__main__":
    main()
