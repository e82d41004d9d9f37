"""Plain values -> a dataclass of settings, and what is said about a mistake in them."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, reduce
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from qads.errors import ConfigError
from qads.settings.documents import check_extent, parse_yaml

__all__ = ["read_settings"]

Root = TypeVar("Root")

_MOST_MISTAKES = 20
"""How many are told at once."""


def read_settings(
    root: type[Root],
    source: Path | str | Mapping[str, Any],
    overrides: Sequence[str] = (),
    *,
    by_hand: Mapping[str, tuple[object, str]] | None = None,
) -> Root:
    """Read settings, strictly.

    Args:
        root: the dataclass that they are the fields of.
        source: a YAML file, or what one would hold.
        overrides: ``a.b=c`` settings on top, values in YAML.
        by_hand: dotted path -> a value that no file may give it, and what that does; it is said at every start.

    Raises:
        ConfigError: a key or value is wrong; names it by its dotted path, and the nearest known key.
    """
    source = Path(source) if isinstance(source, str) else source
    where = f"{source}: " if isinstance(source, Path) else ""
    given = _read_yaml(source, root) if isinstance(source, Path) else source
    check_extent(given, _values_in, where)
    raw = _copied(given)
    for override in overrides:
        _override(raw, override)
    check_extent(raw, _values_in, where)
    _check_texts(raw, where)
    _prepare_section(root, raw)
    try:
        settings: Root = _adapter(root).validate_python(raw)
    except ValidationError as error:
        mistakes = error.errors()
        lines = [_explain(root, raw, found) for found in mistakes[:_MOST_MISTAKES]]
        if len(mistakes) > _MOST_MISTAKES:
            lines.append(f"… and {len(mistakes) - _MOST_MISTAKES} more mistakes.")
        raise ConfigError((where if len(lines) == 1 else where and f"{where}\n") + "\n".join(lines)) from None
    if isinstance(source, Path):
        _check_by_hand(settings, by_hand or {}, overrides, where)
    return settings


def _check_by_hand(
    found: object, by_hand: Mapping[str, tuple[object, str]], overrides: Sequence[str], where: str
) -> None:
    """Refuse what a file asks for and only somebody who starts a command may: files are passed on, and untrusted.

    Raises:
        ConfigError: names the settings, and how they are said by hand.
    """
    said = [override.partition("=")[0].strip() for override in overrides]
    lines: list[str] = []
    for path, (value, what) in by_hand.items():
        asked = reduce(lambda section, name: getattr(section, name, None), path.split("."), found)
        if asked == value and not any(path == each or path.startswith(f"{each}.") for each in said):
            shown = f"{path}={str(value).lower()}"
            lines.append(
                f"{path} {what}, and no file may say so, since files are passed on. Take it out, or where you mean it "
                f"say it at every start: --set {shown}"
            )
    if lines:
        raise ConfigError((where if len(lines) == 1 else f"{where}\n") + "\n".join(lines))


def _values_in(value: object) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return cast(Mapping[Any, Any], value).values()
    return cast(Sequence[Any], value) if isinstance(value, list | tuple) else ()


def _check_texts(value: object, where: str, path: str = "") -> None:
    """Refuse characters that no file name, prompt or manifest can have.

    Raises:
        ConfigError: names the key.
    """
    if isinstance(value, str) and (found := _NO_TEXT.search(value)):
        raise ConfigError(f"{where}{path}: the text holds {found[0]!a}, which no text here can have; take it out.")
    if isinstance(value, Mapping):
        for key, inner in cast(Mapping[str, Any], value).items():
            _check_texts(key, where, f"{path} (a key)".strip())
            _check_texts(inner, where, f"{path}.{key}" if path else key)
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(cast(Sequence[Any], value)):
            _check_texts(inner, where, f"{path}.{number}")


_NO_TEXT = re.compile("[\x00\ud800-\udfff]")
"""NUL, and halves of a surrogate pair."""


@cache
def _adapter(root: type[Root]) -> TypeAdapter[Root]:
    return TypeAdapter(root)


def _read_yaml(path: Path, root: type) -> Mapping[str, Any]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text (byte {error.start}).") from error
    raw = parse_yaml(text, str(path))
    if not isinstance(raw, dict):
        found = "nothing" if raw is None else f"a {type(raw).__name__}"
        keys = ", ".join(_names(root))
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
        raise ConfigError(f"--set {override}: expected PATH=VALUE, the dotted path of a setting and what it is to be")
    section = raw
    for name in parents:
        if not isinstance(section.get(name), dict):
            section[name] = {}
        section = section[name]
    section |= _copied({last: parse_yaml(text, f"--set {override}")})


def _names(cls: type) -> list[str]:
    return [field.name for field in dataclasses.fields(cls)]


def _section_classes(hint: object) -> list[type]:
    """The dataclasses that a field may hold, the default first."""
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) is dict:
        return []  # Its values may be sections; it is none.
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
        if name in hints:
            _prepare_value(hints[name], value, (*path, name))


def _prepare_value(hint: object, value: object, path: tuple[str, ...]) -> None:
    if isinstance(value, bool) and hint is not bool:
        left_out = " To leave it out: null." if type(None) in get_args(hint) else ""
        raise ConfigError(f"{'.'.join(path)}: {str(value).lower()} is not a value for it.{left_out}")
    if not isinstance(value, dict):
        return
    inner = cast(dict[str, Any], value)
    if classes := _section_classes(hint):
        if (default := _kind_of(classes[0])) is not None:
            inner.setdefault("kind", default)
        _prepare_section(_chosen_class(hint, inner) or classes[0], inner, path)
    elif get_origin(hint) is dict:
        for key, each in inner.items():
            _prepare_value(get_args(hint)[1], each, (*path, key))


def _explain(root: type, raw: Mapping[str, Any], found: ErrorDetails) -> str:
    """One line for one pydantic error: dotted path, what was wrong, what is possible."""
    cls, section, path = cast("type | None", root), cast(Any, raw), list[str]()
    unknown = found["type"] == "unexpected_keyword_argument"
    hint: object = None
    for part in found["loc"][: -1 if unknown else None]:
        if part == "[key]" or (cls is not None and part not in _names(cls)):
            continue  # A mark of pydantic's: a key of a mapping, or the tag of a union.
        path.append(str(part))
        if cls is not None:
            hint = get_type_hints(cls, include_extras=True)[str(part)]
        else:  # An entry of a mapping has what its values have.
            hint = get_args(hint)[1] if get_origin(hint) is dict else None
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
