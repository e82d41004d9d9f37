"""One run, as YAML.

The configuration is the methods themselves: a section is a dataclass, its keys are the fields of that
dataclass, and `kind` picks the class where there are several. Unknown keys are errors that name the nearest
known one. Nothing in a configuration names a place that is written to: the run directory is the caller's to
choose.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, cast, get_args, get_origin, get_type_hints

import yaml
from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from qads.cluster import Execution
from qads.embed import Embedder, SentenceEmbedder
from qads.errors import ConfigError, InputError
from qads.pool import Kind
from qads.quality import OneShotInfluence, RidgeScorer
from qads.selection import KCenterGreedy, Selector, TopQuality

__all__ = [
    "AnchorsConfig",
    "OutputConfig",
    "PoolConfig",
    "QualityConfig",
    "RunConfig",
    "load_config",
    "parse_budget",
]

Sources = Annotated[tuple[str, ...], BeforeValidator(lambda v: (v,) if isinstance(v, str) else v)]
"""One source or several."""
_FORBID: Mapping[str, Any] = {"extra": "forbid"}


def parse_budget(value: object) -> int | float:
    """A budget as the user writes it: ``1000`` rows, ``0.1`` or ``10%`` of the pool.

    >>> parse_budget("10%"), parse_budget("0.1"), parse_budget("1000")
    (0.1, 0.1, 1000)

    Raises:
        ConfigError: it is neither a count of 1 at least nor a fraction in (0, 1].
    """
    text = str(value).strip().replace("_", "")
    try:
        if text.endswith("%"):
            # In decimal, since 14.3 / 100 is not the double nearest to 0.143.
            budget: int | float = float(Decimal(text[:-1]) / 100)
        else:
            budget = int(text) if text.lstrip("+-").isdigit() else float(text)
    except (ValueError, InvalidOperation):
        raise ConfigError(f"budget: {value!r} is neither a count (1000) nor a fraction (0.1, 10%).") from None
    if isinstance(budget, int) and budget < 1:
        raise ConfigError(f"budget: {value!r} is no number of rows; a count must be 1 at least.")
    if isinstance(budget, float) and not 0 < budget <= 1:
        raise ConfigError(
            f"budget: {value!r} is no share of a pool; a fraction must lie in (0, 1] (or (0%, 100%]), and a "
            "count must be a whole number (1000)."
        )
    return budget


@dataclass(frozen=True, kw_only=True)
class PoolConfig:
    """The candidate samples."""

    sources: Sources
    """Files, globs, folders, ``-`` or ``hf://owner/name``."""
    columns: dict[str, str] = field(default_factory=dict[str, str])
    """Field -> column, for shapes that are not recognised."""
    kind: Kind | None = None
    """Set for every row instead of detected."""
    on_bad_row: Literal["error", "skip"] = "error"
    """What a line that cannot be read does."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = _FORBID

    def __post_init__(self) -> None:
        if not self.sources or not all(self.sources):
            raise InputError(
                f"pool.sources is {list(self.sources)}; it must name files, folders, - or hf://owner/name."
            )


@dataclass(frozen=True, kw_only=True)
class AnchorsConfig:
    """The samples whose solutions should become likelier: the target skill."""

    sources: Sources = ()
    """Files of the user's own; empty means choosing from the pool."""
    columns: dict[str, str] = field(default_factory=dict[str, str])
    """Field -> column, for shapes that are not recognised."""
    n: int | None = None
    """How many are chosen from the pool, balanced over its sources of worked solutions; 16 unless said otherwise."""
    on_bad_row: Literal["error", "skip"] = "error"
    """What a line of the sources that cannot be read does."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = _FORBID

    def __post_init__(self) -> None:
        if self.n is not None and self.n < 1:
            raise InputError(f"anchors.n is {self.n}; there must be one anchor at least.")
        if self.n is not None and self.sources:
            raise InputError("anchors.n chooses from the pool, which anchors.sources replaces; give one of them.")

    @property
    def n_chosen(self) -> int:
        """Anchors to choose from the pool."""
        return 16 if self.n is None else self.n


@dataclass(frozen=True, kw_only=True)
class QualityConfig:
    """Real influence of a sample of the pool, and a scorer that predicts the rest."""

    sample: int = 256
    """Rows that are really scored, drawn evenly over the sources; the whole pool if it is not larger."""
    influence: OneShotInfluence = field(default_factory=OneShotInfluence)
    """How they are scored."""
    scorer: RidgeScorer = field(default_factory=RidgeScorer)
    """What predicts the others."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = _FORBID

    def __post_init__(self) -> None:
        if self.sample < 10:
            raise InputError(f"quality.sample is {self.sample}; the scorer needs 10 scored rows at least.")


@dataclass(frozen=True, kw_only=True)
class OutputConfig:
    """The file for the trainer."""

    format: Literal["jsonl", "parquet", "alpaca", "messages", "sharegpt"] = "jsonl"
    """Shape of a row."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = _FORBID


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything a run needs."""

    pool: PoolConfig
    """Candidates."""
    budget: Annotated[int | float, BeforeValidator(parse_budget)]
    """Rows to select: a count, or a fraction in (0, 1]; ``10%`` is a fraction."""
    embedding: Annotated[Embedder, Field(discriminator="kind")] = field(default_factory=SentenceEmbedder)
    """What "near" means."""
    anchors: AnchorsConfig = field(default_factory=AnchorsConfig)
    """The target skill."""
    quality: QualityConfig | None = field(default_factory=QualityConfig)
    """What a row is worth; null selects without quality."""
    selection: Annotated[Selector, Field(discriminator="kind")] = field(default_factory=KCenterGreedy)
    """Which rows to keep."""
    output: OutputConfig = field(default_factory=OutputConfig)
    """The file for the trainer."""
    execution: Execution = field(default_factory=Execution)
    """How fast, never what."""
    seed: int = 0
    """Seed of the draw of the scored sample."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = _FORBID

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise InputError(f"seed is {self.seed}; it must be a whole number ≥ 0.")
        if "-" in self.pool.sources and "-" in self.anchors.sources:
            raise InputError("pool.sources and anchors.sources both read standard input; only one of them can.")
        if self.quality is None and isinstance(self.selection, TopQuality):
            raise ConfigError(
                "selection.kind is 'top-quality', but quality is null (--no-quality): there is none to rank by. Take "
                "another kind (kcenter, random), or let quality be measured."
            )


_ADAPTER = TypeAdapter(RunConfig)


def load_config(source: Path | Mapping[str, Any], overrides: Sequence[str] = ()) -> RunConfig:
    """Read a configuration.

    Args:
        source: a YAML file, or what one would hold.
        overrides: ``a.b=c`` settings on top, values in YAML.

    Raises:
        ConfigError: a key or value is wrong; names it by its dotted path, and the nearest known key.
    """
    try:
        raw = _copied(_read_yaml(source) if isinstance(source, Path) else source)
    except RecursionError:
        raise ConfigError(f"{source}: is nested without end; an alias holds itself.") from None
    for override in overrides:
        _override(raw, override)
    _prepare_section(RunConfig, raw)
    try:
        return _ADAPTER.validate_python(raw)
    except ValidationError as error:
        lines = [_explain(raw, found) for found in error.errors()]
        where = f"{source}: " if isinstance(source, Path) else ""
        raise ConfigError((where if len(lines) == 1 else where and f"{where}\n") + "\n".join(lines)) from None


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in one mapping, of which YAML would take the last without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        found: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in found:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} stands here a second time", key.start_mark
                )
            found.add(str(key.value))
        return super().construct_mapping(node, deep)


def _parse_yaml(text: str, where: str) -> object:
    try:
        return yaml.load(text, _Loader)  # _Loader is a SafeLoader.
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        what = ", ".join(part for part in (error.context, error.problem) if part)
        raise ConfigError(f"{where}{place}: not valid YAML: {what}.") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: such as the date 2024-99-99.
        raise ConfigError(f"{where}: not valid YAML: {str(error).splitlines()[0]}.") from None


def _read_yaml(path: Path) -> Mapping[str, Any]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text (byte {error.start}).") from error
    raw = _parse_yaml(text, str(path))
    if not isinstance(raw, dict):
        found = "nothing" if raw is None else f"a {type(raw).__name__}"
        keys = ", ".join(_names(RunConfig))
        raise ConfigError(f"{path}: a mapping of {keys} was expected at the top, found {found}.")
    return cast(dict[str, Any], raw)


def _copied(raw: Mapping[Any, Any]) -> dict[str, Any]:
    """A copy in which nothing is shared, as YAML aliases would be, and every key is text."""
    return {
        str(key): _copied(cast(Mapping[Any, Any], value)) if isinstance(value, Mapping) else value
        for key, value in raw.items()
    }


def _override(raw: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    *parents, last = path.split(".")
    if not equals or not all((*parents, last)):
        raise ConfigError(f"--set {override}: expected PATH=VALUE, as in --set selection.alpha=0.5")
    section = raw
    for name in parents:
        if not isinstance(section.get(name), dict):
            section[name] = {}
        section = section[name]
    section |= _copied({last: _parse_yaml(text, f"--set {override}")})


def _names(cls: type) -> list[str]:
    return [field.name for field in dataclasses.fields(cls)]


def _section_classes(hint: object) -> list[type]:
    """The dataclasses that a field may hold, the default first."""
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    members = get_args(hint) if get_origin(hint) is not None or get_args(hint) else (hint,)
    return [m for m in members if isinstance(m, type) and dataclasses.is_dataclass(m)]


def _kind_of(cls: type) -> str | None:
    fields = dataclasses.fields(cls)
    return next((f.default for f in fields if f.name == "kind" and isinstance(f.default, str)), None)


def _chosen_class(hint: object, section: Mapping[str, Any]) -> type | None:
    classes = _section_classes(hint)
    chosen = next((c for c in classes if _kind_of(c) == section.get("kind")), None)
    return chosen or next(iter(classes), None)


def _prepare_section(cls: type, section: dict[str, Any], path: tuple[str, ...] = ()) -> None:
    """Write the default `kind` where a section has none, so that `selection: {alpha: 0.5}` is enough.

    Raises:
        ConfigError: a yes or no stands where a number must; Python would count it as 1 or 0.
    """
    hints = get_type_hints(cls, include_extras=True)
    for name, value in section.items():
        hint = hints.get(name)
        if isinstance(value, bool) and hint is not None and hint is not bool:
            raise ConfigError(f"{'.'.join((*path, name))}: {str(value).lower()} is not a value for it.")
        if isinstance(value, dict) and (classes := _section_classes(hint)):
            inner = cast(dict[str, Any], value)
            if (default := _kind_of(classes[0])) is not None:
                inner.setdefault("kind", default)
            _prepare_section(_chosen_class(hint, inner) or cls, inner, (*path, name))


def _explain(raw: Mapping[str, Any], found: ErrorDetails) -> str:
    """One line for one pydantic error: dotted path, what was wrong, what is possible."""
    cls, section, path = cast("type | None", RunConfig), cast(Any, raw), list[str]()
    unknown = found["type"] == "unexpected_keyword_argument"
    for part in found["loc"][: -1 if unknown else None]:
        if cls is not None and part not in _names(cls):
            continue  # A tag that pydantic puts into the path of a union.
        path.append(str(part))
        hint = get_type_hints(cls, include_extras=True)[str(part)] if cls is not None else None
        section = cast(Any, section.get(part, {}) if isinstance(section, Mapping) else {})
        cls = _chosen_class(hint, section) if isinstance(section, Mapping) else None
    if unknown and cls is not None:
        known = f"known{f' with kind {kind}' if (kind := _kind_of(cls)) else ''}: {', '.join(_names(cls))}."
        name = str(found["loc"][-1])
        return f"{'.'.join([*path, name])}: unknown key; {_nearest(name, _names(cls)) or known}"
    if found["type"] == "value_error":
        message, where = found["msg"].removeprefix("Value error, "), ".".join(path)
        return message if not where or message.startswith(where) else f"{where}: {message}"
    if found["type"].startswith("union_tag"):
        path.append("kind")
    return f"{'.'.join(path)}: {_complaint(found)}"


_EXPECTED = {
    "int": "a whole number",
    "float": "a number",
    "finite": "a finite number",
    "string": "a text",
    "bool": "true or false",
    "tuple": "a list",
    "dict": "a mapping of names to values",
    "dataclass": "a section: a mapping of settings",
    "model": "a section: a mapping of settings",
}
"""What a value must be, by the beginning of pydantic's name for the error."""


def _complaint(found: ErrorDetails) -> str:
    """What is wrong with a value, in our words."""
    kind, value = str(found["type"]), found["input"]
    if kind == "missing":
        return "is missing; it must be given."
    if kind in ("literal_error", "union_tag_invalid"):
        context = found.get("ctx", {})
        value = context.get("tag", value)
        choices = [text.strip("'") for text in re.split(", | or ", context.get("expected") or context["expected_tags"])]
        near = _nearest(str(value), choices)
        return f"{_short(value)} is none of {', '.join(choices)}{f'; {near}' if near else '.'}"
    expected = _EXPECTED.get(kind.split("_")[0])
    return f"must be {expected}, found {_short(value)}." if expected else f"{found['msg']}, found {_short(value)}."


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else ""


def _short(value: object) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
