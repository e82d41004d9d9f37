"""YAML -> plain values, within limits that no configuration comes near."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from itertools import chain, islice
from typing import Any

import yaml

from qads.errors import ConfigError

__all__ = ["check_extent", "parse_yaml"]

_DEEPEST = 32
"""Levels of nesting; ours go down to six."""
_MOST_VALUES = 200_000
"""Values of a whole configuration, what an alias stands for counted every time: a few lines of aliases can stand for
more than any memory holds."""


def parse_yaml(text: str, where: str) -> object:
    """The one document of a YAML text as plain values: mappings, lists, texts, numbers, true, false and null.

    Args:
        text: YAML.
        where: named in messages.

    Raises:
        ConfigError: it is no such document; with line and column.
    """
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - _Loader is a SafeLoader.
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    except RecursionError:
        raise ConfigError(f"{where}: is nested too deep to be read.") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        what = ", ".join(part for part in (error.context, error.problem) if part)
        raise ConfigError(f"{where}{place}: not valid YAML: {what}.") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: such as a number of 5,000 figures.
        raise ConfigError(f"{where}: not valid YAML: {str(error).splitlines()[0]}.") from None


def check_extent(root: object, inner: Callable[[Any], Iterable[Any]], where: str) -> None:
    """Refuse what is nested deeper or is larger than a configuration can be; the work is bounded by the limits.

    Args:
        root: values, or nodes of YAML.
        inner: gives what a value or node directly holds.
        where: put before the message.

    Raises:
        ConfigError: says which limit.
    """
    level, n_values = [root], 0
    for _ in range(_DEEPEST):
        n_values += len(level)
        if n_values > _MOST_VALUES:
            raise ConfigError(
                f"{where}holds more than {_MOST_VALUES:,} values, what aliases stand for counted; cut it."
            )
        level = list(islice(chain.from_iterable(map(inner, level)), _MOST_VALUES + 1))
        if not level:
            return
    raise ConfigError(f"{where}is nested more than {_DEEPEST} levels deep; no setting is. An alias may hold itself.")


class _Loader(yaml.SafeLoader):
    """Reads what JSON has, and refuses what would be taken for something else without a word.

    A key that stands twice in one mapping, of which YAML takes the last; 017, which is fifteen to it, and 1:30, which
    is ninety; and its tags: a set has no order. Dates and ``=`` are the texts that they look like.
    """

    def get_single_node(self) -> Any:
        """The whole document, which is not built where an alias would make it endless."""
        node = super().get_single_node()
        check_extent(node, _nodes_in, "")
        return node

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """A number as everybody reads it."""
        if re.fullmatch("[-+]?0[0-7_]+|.*:.*", node.value):
            raise yaml.constructor.ConstructorError(
                None, None,
                f"{node.value} is {super().construct_yaml_int(node)} to YAML; write that, or quotes around a text",
                node.start_mark,
            )  # fmt: skip
        return super().construct_yaml_int(node)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        found: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in found:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} stands here a second time", key.start_mark
                )
            found.add(str(key.value))
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0].rpartition(":")[2] not in ("timestamp", "value")]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.yaml_constructors = {
    tag: construct
    for tag, construct in yaml.SafeLoader.yaml_constructors.items()
    if tag is None or tag.rpartition(":")[2] in ("null", "bool", "int", "float", "str", "seq", "map")
}
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


def _nodes_in(node: object) -> Iterable[Any]:
    if isinstance(node, yaml.MappingNode):
        return chain.from_iterable(node.value)
    return node.value if isinstance(node, yaml.SequenceNode) else ()
