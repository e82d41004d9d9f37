"""The measured values of a comparison in one small file, and back, so that another machine can go on with it.

Kept are finished stages of cells and of untrained models: rows chosen, losses, values of items, manifests. Stages that
all cells share are computed anew, scores that were taken over once are taken over again, and reference answers, which
are the evaluation sets' own, are read from these. What comes back is what it was, by the SHA-256 in the manifests; that
takes the pyarrow that it was packed with. Stages that are there already stay.

    python experiments/keep.py pack OUT experiments/results/compare_small.tar.gz
    python experiments/keep.py unpack experiments/results/compare_small.tar.gz OUT
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from compare import DATA, EVALUATED
from qads import load_pool
from qads.datasets import atomic_path
from qads.evaluate.results import as_table
from qads.run import RunDirectory
from qads.run.context import write_table
from qads.run.sealed import read_json, write_json
from qads.run.shards import file_sha256


def finished_stages(root: Path) -> list[Path]:
    """All but those that cells share."""
    found = sorted(path.parent for path in root.rglob("manifest.json"))
    return [path for path in found if path.relative_to(root).parts[0] != "shared"]


def packed_bytes(path: Path, out: Path) -> bytes:
    """A file as it is kept."""
    if path.name == "manifest.json":
        content = placeless(path, out)
    elif path.name != "items.parquet":
        content = path.read_bytes()
    else:
        rows = pq.read_table(path)
        if rows["generation"].null_count < len(rows):
            sys.exit(f"{path}: holds what a model wrote to problems of the sets, which is not to be kept.")
        content = json.dumps(rows.drop_columns("reference").to_pylist()).encode()
    if str(out.resolve()).encode() in content:
        sys.exit(f"{path}: names a folder of this machine.")
    return content


def placeless(path: Path, out: Path) -> bytes:
    """A manifest that names weights, which are gone, as they lay to the experiment; sealed anew if that changes it."""
    manifest = read_json(path) or {}
    model = Path(str(manifest.get("model", "")))
    if not model.is_relative_to(out.resolve()):
        return path.read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        sealed = Path(folder, path.name)
        write_json(sealed, manifest | {"model": model.relative_to(out.resolve()).as_posix()}, sealed=True)
        return sealed.read_bytes()


def pack(out: Path, file: Path) -> None:
    """Write the file, whole or not at all; the same values make the same bytes."""
    stages = finished_stages(out)
    with atomic_path(file) as temporary, temporary.open("wb") as raw:
        with gzip.GzipFile("", "wb", mtime=0, fileobj=raw) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
            for path in sorted(path for stage in stages for path in stage.rglob("*") if path.is_file()):
                content = packed_bytes(path, out)
                entry = tarfile.TarInfo(path.relative_to(out).as_posix())
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    print(f"{file}: {file.stat().st_size:,} bytes, {sum(stage.name == 'evaluate' for stage in stages)} evaluations")


def restore(stage: Path, answers: dict[tuple[str, str], str | None]) -> None:
    """Give items their reference answers back, and check the files of a stage."""
    manifest = json.loads((stage / "manifest.json").read_text("utf-8"))
    items = stage / "items.parquet"
    if items.exists():
        rows = json.loads(items.read_text("utf-8"))
        items.unlink()
        write_table(as_table(row | {"reference": answers[row["set"], row["id"]]} for row in rows), items)
    for name, facts in manifest["files"].items():
        if file_sha256(stage / name) != facts["sha256"]:
            sys.exit(
                f"{stage.name}/{name}: is not what it was. It was written by pyarrow {manifest['packages']['pyarrow']},"
                f" and this is {pa.__version__}; or the evaluation sets have changed."
            )


def unpack(file: Path, out: Path) -> None:
    """Write the stages that are not there, when all of them have been checked."""
    pools = {name: load_pool(DATA / "eval" / f"{stem}.jsonl.gz") for name, stem in EVALUATED.items()}
    answers = {(name, row.id): row.answer for name, pool in pools.items() for row in pool}
    out.mkdir(parents=True, exist_ok=True)
    with RunDirectory(out).lock(), tempfile.TemporaryDirectory(dir=out, prefix=".unpacked-") as folder:
        with tarfile.open(file) as archive:
            archive.extractall(folder, filter="data")
        stages = finished_stages(Path(folder))
        for stage in stages:
            restore(stage, answers)
        new = [stage for stage in stages if not (out / stage.relative_to(folder) / "manifest.json").exists()]
        for stage in new:
            target = out / stage.relative_to(folder)
            shutil.rmtree(target, ignore_errors=True)  # What is there is not finished.
            target.parent.mkdir(parents=True, exist_ok=True)
            stage.rename(target)
    print(f"{out}: {len(new)} stages, {len(stages) - len(new)} were there already")


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
