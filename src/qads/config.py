"""One run, as YAML.

The configuration is the methods themselves: a section is a dataclass, its keys are the fields of that dataclass,
and `kind` picks the class where there are several. Unknown keys are errors that name the nearest known one.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, cast, get_args, get_origin, get_type_hints

import yaml
from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError

from qads.cluster import Execution
from qads.embed import Embedder, SentenceEmbedder
from qads.errors import ConfigError, InputError
from qads.pool import Kind
from qads.quality import OneShotInfluence, RidgeScorer
from qads.selection import KCenterGreedy, Selector

__all__ = ["AnchorsConfig", "OutputConfig", "PoolConfig", "QualityConfig", "RunConfig", "load_config", "parse_budget"]

Sources = Annotated[tuple[str, ...], BeforeValidator(lambda v: (v,) if isinstance(v, str) else v)]
"""One source or several."""
_FORBID: Mapping[str, Any] = {"extra": "forbid"}


def parse_budget(value: object) -> int | float:
    """A budget as the user writes it: ``1000`` rows, ``0.1`` or ``10%`` of the pool.

    >>> parse_budget("10%"), parse_budget("0.1"), parse_budget("1000")
    (0.1, 0.1, 1000)

    Raises:
        ConfigError: it is neither.
    """
    text = str(value).strip().replace("_", "")
    try:
        if text.endswith("%"):
            return float(text[:-1]) / 100
        return int(text) if text.lstrip("+-").isdigit() else float(text)
    except ValueError:
        raise ConfigError(f"budget: {value!r} is neither a count (1000) nor a fraction (0.1, 10%).") from None


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


@dataclass(frozen=True, kw_only=True)
class AnchorsConfig:
    """The samples whose solutions should become likelier: the target skill."""

    sources: Sources = ()
    """Files of the user's own; empty means choosing from the pool."""
    columns: dict[str, str] = field(default_factory=dict[str, str])
    """Field -> column, for shapes that are not recognised."""
    n: int = 16
    """How many are chosen from the pool, balanced over its sources of worked solutions."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = _FORBID

    def __post_init__(self) -> None:
        if self.n < 1:
            raise InputError(f"anchors.n is {self.n}; there must be one anchor at least.")


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


_ADAPTER = TypeAdapter(RunConfig)


def load_config(source: Path | Mapping[str, Any], overrides: Sequence[str] = ()) -> RunConfig:
    """Read a configuration.

    Args:
        source: a YAML file, or what one would hold.
        overrides: ``a.b=c`` settings on top, values in YAML.

    Raises:
        ConfigError: a key or value is wrong; names it by its dotted path, and the nearest known key.
    """
    raw = _read_yaml(source) if isinstance(source, Path) else _copy(source)
    for override in overrides:
        _override(raw, override)
    _fill_kinds(RunConfig, raw)
    try:
        return _ADAPTER.validate_python(raw)
    except ValidationError as error:
        where = f"{source}: " if isinstance(source, Path) else ""
        raise ConfigError(where + "\n".join(_explain(raw, found) for found in error.errors())) from None


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: a mapping was expected at the top, found {type(raw).__name__}.")
    return cast(dict[str, Any], raw)


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _copy(v) for k, v in cast(Mapping[Any, Any], value).items()}
    return value


def _override(raw: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise ConfigError(f"--set {override}: expected PATH=VALUE, as in --set selection.alpha=0.5")
    *parents, last = path.split(".")
    section = raw
    for name in parents:
        if not isinstance(section.get(name), dict):
            section[name] = {}
        section = section[name]
    try:
        section[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override}: the value is not valid YAML: {error}") from error


def _section_classes(hint: Any) -> list[type]:
    """The dataclasses that a field may hold, the default first."""
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    members = get_args(hint) if get_origin(hint) is not None or get_args(hint) else (hint,)
    return [m for m in members if isinstance(m, type) and dataclasses.is_dataclass(m)]


def _kind_of(cls: type) -> str | None:
    return next((f.default for f in dataclasses.fields(cls) if f.name == "kind" and isinstance(f.default, str)), None)


def _chosen_class(hint: Any, section: Mapping[str, Any]) -> type | None:
    classes = _section_classes(hint)
    return next((c for c in classes if _kind_of(c) == section.get("kind")), classes[0] if classes else None)


def _fill_kinds(cls: type, section: dict[str, Any]) -> None:
    """Write the default `kind` where a section has none, so that `selection: {alpha: 0.5}` is enough."""
    hints = get_type_hints(cls, include_extras=True)
    for name, value in section.items():
        if name in hints and isinstance(value, dict) and _section_classes(hints[name]):
            inner = cast(dict[str, Any], value)
            default = _kind_of(_section_classes(hints[name])[0])
            if default is not None:
                inner.setdefault("kind", default)
            _fill_kinds(_chosen_class(hints[name], inner) or cls, inner)


def _explain(raw: Mapping[str, Any], found: Any) -> str:
    """One line for one pydantic error: dotted path, what was wrong, what is possible."""
    cls, section, path = cast("type | None", RunConfig), cast(Any, raw), list[str]()
    for part in found["loc"]:
        if cls is not None and part not in (names := [f.name for f in dataclasses.fields(cls)]):
            if isinstance(section, Mapping) and part in section:
                near = difflib.get_close_matches(str(part), names, n=1, cutoff=0.5)
                hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}."
                return f"{'.'.join([*path, str(part)])}: unknown key; {hint}"
            continue  # A tag that pydantic puts into the path of a union.
        path.append(str(part))
        hint = get_type_hints(cls, include_extras=True)[part] if cls is not None else None
        section = section.get(part, {}) if isinstance(section, Mapping) else {}
        cls = _chosen_class(hint, section) if isinstance(section, Mapping) else None
    message = found["msg"].removeprefix("Value error, ")
    given = "" if found["type"] in ("missing", "value_error") else f" (found {found['input']!r})"
    where = ".".join(path)
    return f"{message}{given}" if message.startswith(where) else f"{where}: {message}{given}"
