"""The rows of files, of a mixture, or of a run, as they are to be trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from qads.datasets import expand_sources, load_pool, source_identity
from qads.errors import InputError
from qads.pool import Pool, Progress
from qads.prompts import ExemplarTemplate
from qads.run.sealed import read_json
from qads.train import FineTuning

__all__ = ["TrainingFiles", "find_training_files"]


@dataclass(frozen=True)
class TrainingFiles:
    """What is trained on."""

    locations: tuple[str, ...]
    """Files, globs, folders or hub names."""
    rendered_by: Mapping[str, Any] | None = None
    """The template that has made texts of the rows already; None where they are problems and solutions."""

    @property
    def identities(self) -> dict[str, str]:
        """Name of every file -> SHA-256, of a hub dataset its commit."""
        return {file.name: source_identity(file.location) for file in expand_sources(list(self.locations))}

    def load(
        self,
        *,
        columns: Mapping[str, str] | None = None,
        on_bad_row: Literal["error", "skip"] = "error",
        progress: Progress | None = None,
    ) -> Pool:
        """The rows."""
        return load_pool(list(self.locations), columns=columns, on_bad_row=on_bad_row, progress=progress)

    def method(self, method: FineTuning) -> FineTuning:
        """The method, which leaves texts as they are where the rows are texts already.

        Raises:
            InputError: they were made by another template than that of the method.
        """
        if self.rendered_by is None:
            return method
        template = method.template
        if not isinstance(template, ExemplarTemplate) or ExemplarTemplate(**dict(self.rendered_by)) != template:
            raise InputError(
                f"{self.locations[0]}: the mixture holds texts (format prompt-completion) of the template "
                f"{dict(self.rendered_by)}, but train.template is {template}. Say the same in both places, or mix with "
                "format: messages, whose rows become texts when they are trained on."
            )
        return replace(method, template=replace(template, question="", answer=""))


def find_training_files(sources: Sequence[str]) -> TrainingFiles:
    """What sources stand for: a mixture for its rows, a run for the file that it has made, files for themselves.

    Raises:
        InputError: a mixture has several variants, or its texts cannot be trained on as they are.
    """
    locations: list[str] = []
    rendered: list[Mapping[str, Any]] = []
    for source in sources:
        path = Path(source).expanduser()
        if (made := _run_file(path)) is not None:
            locations.append(str(made))
        elif (mixture := _mixture(path)) is not None:
            locations.append(str(_mixture_file(path, *mixture)))
            recipe = mixture[1]["recipe"]
            rendered += [recipe["template"]] if recipe["format"] == "prompt-completion" else []
        else:
            locations.append(source)
    if not rendered:
        return TrainingFiles(tuple(locations))
    if len(rendered) < len(locations) or any(each != rendered[0] for each in rendered):
        raise InputError(
            "train: a mixture of texts (format prompt-completion) cannot be trained on together with rows that are "
            "none. Mix with format: messages."
        )
    if rendered[0]["kind"] != "exemplar":
        raise InputError(
            f"{locations[0]}: holds texts of a chat template without what opens a conversation. Mix with "
            "format: messages."
        )
    return TrainingFiles(tuple(locations), rendered[0])


def _run_file(path: Path) -> Path | None:
    """The largest file for trainers in a run directory."""
    manifest = read_json(path / "mixture" / "manifest.json") if path.is_dir() else None
    if manifest is None or manifest.get("stage") != "mixture":
        return None
    return path / "mixture" / manifest["train_file"]


def _mixture(path: Path) -> tuple[Path, dict[str, Any]] | None:
    """The mixture that a path is, or is a file or folder of, with its manifest."""
    for folder in (path, *path.absolute().parents[:3]):
        if folder.is_dir() and (folder / "manifest.json").is_file():
            if not _speaks_of_mixture(folder / "manifest.json"):
                return None
            found = read_json(folder / "manifest.json") or {}
            return (folder, found) if found.get("what") == "qads mixture" else None
    return None


def _speaks_of_mixture(manifest: Path) -> bool:
    """Whether it may be ours: many programs call a file so. One that cannot be read is for `read_json` to tell."""
    try:
        return b"qads mixture" in manifest.read_bytes()
    except OSError:
        return True


def _mixture_file(path: Path, root: Path, manifest: Mapping[str, Any]) -> Path:
    """The file that a path stands for within its mixture."""
    files = {name: root / each["file"] for name, each in manifest["mixtures"].items()}
    asked = path.absolute()
    chosen = [file for file in map(Path.absolute, files.values()) if asked in (file, *file.parents)]
    if len(chosen) != 1:
        raise InputError(
            f"{path}: the mixture has {len(files)} variants ({', '.join(files)}); name one by its folder, "
            f"{next(iter(files.values())).parent}."
        )
    return chosen[0]
