"""The measured values of a comparison in one small file, and back, so that another machine can go on with it.

Kept are finished stages of cells and of untrained models: rows chosen, losses, values of items, manifests. Stages that
all cells share are computed anew, scores that were taken over once are taken over again, and reference answers, which
are the evaluation sets' own, are read from these. What comes back is what it was, by the SHA-256 in the manifests.

    python experiments/keep.py pack OUT experiments/results/compare_small.tar.gz
    python experiments/keep.py unpack experiments/results/compare_small.tar.gz OUT
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import os
import tarfile
from pathlib import Path

import pyarrow.parquet as pq

from qads import load_pool
from qads.evaluate.results import as_table
from qads.run.context import write_table

DATA = Path(os.environ.get("QADS_TEST_DATA", "../shared/data"))
SETS = {"gsm8k": "gsm8k_test", "math500": "math500", "aqua": "aqua_test"}


def kept_files(out: Path) -> list[Path]:
    """Files of all finished stages but the shared ones."""
    stages = [path.parent for path in out.rglob("manifest.json") if path.relative_to(out).parts[0] != "shared"]
    return sorted(path for stage in stages for path in stage.rglob("*") if path.is_file())


def pack(out: Path, file: Path) -> None:
    """Write the file; the same values make the same bytes."""
    with file.open("wb") as raw, gzip.GzipFile("", "wb", mtime=0, fileobj=raw) as packed:
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for path in kept_files(out):
                content = path.read_bytes()
                if path.name == "items.parquet":
                    rows = pq.read_table(path)
                    assert rows["generation"].null_count == len(rows), f"{path}: holds texts of the evaluation sets"
                    content = json.dumps(rows.drop_columns("reference").to_pylist()).encode()
                assert str(out.resolve()).encode() not in content, f"{path}: names a folder of this machine"
                entry = tarfile.TarInfo(path.relative_to(out).as_posix())
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    print(f"{file}: {file.stat().st_size:,} bytes, {len(list(out.rglob('evaluate/manifest.json')))} evaluations")


def unpack(file: Path, out: Path) -> None:
    """Write the stages that are not there; check all of them."""
    pools = {name: load_pool(DATA / "eval" / f"{stem}.jsonl.gz") for name, stem in SETS.items()}
    answers = {(name, row.id): row.answer for name, pool in pools.items() for row in pool}
    with tarfile.open(file) as archive:
        archive.extractall(out, filter="data")
        names = [out / entry.name for entry in archive]
    for path in names:
        if path.name == "items.parquet":
            rows = json.loads(path.read_text("utf-8"))
            path.unlink()
            write_table(as_table(row | {"reference": answers[row["set"], row["id"]]} for row in rows), path)
    for path in names:
        if path.name == "manifest.json":
            for name, facts in json.loads(path.read_text("utf-8"))["files"].items():
                found = hashlib.sha256((path.parent / name).read_bytes()).hexdigest()
                assert found == facts["sha256"], f"{path.parent / name}: is not what it was"


def main() -> None:
    """One of the two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("pack", "unpack"))
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    args = parser.parse_args()
    {"pack": pack, "unpack": unpack}[args.action](args.source, args.target)


if __name__ == "__main__":
    main()
