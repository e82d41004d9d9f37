"""The dataset card beside the selected rows of a run: what was chosen from what, how, and under which licences."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from qads.config import QualityConfig, SavedScorer
from qads.mixture.card import hub_license, plain, size_category
from qads.mixture.licenses import licenses_of
from qads.pool import Pool
from qads.quality import load_scorer
from qads.run.context import StageContext

__all__ = ["selection_card"]


def selection_card(context: StageContext, chosen: Pool, files: Mapping[str, int]) -> str:
    """The text of `README.md`, by which `datasets.load_dataset` opens the folder.

    Args:
        context: of the run, its selection made.
        chosen: the rows of the largest budget.
        files: file for trainers -> its rows, the largest first.
    """
    from huggingface_hub import DatasetCardData  # Takes a while to import.

    by_source = licenses_of(context.pool, None, context.sources)
    licenses = sorted({hub_license(by_source[name]) for name in chosen.sources})
    names = {file: PurePath(file).stem if number else "default" for number, file in enumerate(files)}
    header = DatasetCardData(
        license=licenses[0] if len(licenses) == 1 else licenses,
        size_categories=[size_category(len(chosen))],
        task_categories=["text-generation"],
        pretty_name="Rows chosen by qads",
        tags=["qads", "sft"],
        configs=[
            {"config_name": name, "data_files": [{"split": "train", "path": file}]} for file, name in names.items()
        ],
    )
    return f"---\n{header.to_yaml(line_break=None)}\n---\n\n{_body(context, chosen, files, by_source)}"


def _body(context: StageContext, chosen: Pool, files: Mapping[str, int], licenses: Mapping[str, str | None]) -> str:
    config, rows = context.config, context.pool.rows_by_source()
    counted = {name: len(each) for name, each in chosen.rows_by_source().items()}
    lines = [
        "# Rows chosen by qads", "",
        f"{len(chosen):,} of {len(context.pool):,} rows, in the order in which they were picked, chosen by "
        f"`{config.selection.kind}` {_by_quality(config.quality)}; seed {config.seed}. Column `qads`: the reason "
        "of every row. `manifest.json` has the settings of every stage before it by their fingerprints.", "",
        "| source | rows | chosen | of all chosen | licence |", "|---|---:|---:|---:|---|",
        *(
            _line(name, len(rows[name]), n, f"{n / len(chosen):.1%}", licenses[name] or "unknown")
            for name, n in sorted(counted.items(), key=lambda item: -item[1])
        ), "",
    ]  # fmt: skip
    if len(files) > 1:
        lines += ["Every smaller file is the beginning of the largest.", ""]
        lines += [*(f"* `{name}`: {n:,} rows" for name, n in files.items()), ""]
    lines += [
        "Licences are carried over from the sources as they state them; `unknown` means that nothing stated one. Check "
        "them before you publish.", "",
    ]  # fmt: skip
    return "\n".join(lines)


def _by_quality(quality: QualityConfig | None) -> str:
    """Who says what the rows are worth; of a scorer that was fitted before what it says itself."""
    if quality is None:
        return "without regard to quality"
    if not isinstance(quality.scorer, SavedScorer):
        return f"with the quality that {plain(quality.influence.model)} says they have as examples"
    fitted = load_scorer(quality.scorer.folder)
    model = plain(str(fitted.made_for.influence.get("model", "not named")))
    return (
        f"with the quality that a scorer ({fitted.kind}) predicts, which was fitted before on {fitted.n_labels:,} rows "
        f"(the model that scored them: {model})"
    )


def _line(*cells: Any) -> str:
    return "| " + " | ".join(f"{cell:,}" if isinstance(cell, int) else plain(str(cell)) for cell in cells) + " |"
