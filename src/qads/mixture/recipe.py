"""What a mixture is made of: named parts, how much of each, and what the files look like."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, cast

from pydantic import BeforeValidator, Field

from qads.amounts import Amount, Tokens, parse_amount
from qads.choices import check_choices
from qads.datasets.handoff import HandoffFormat
from qads.errors import ConfigError, InputError
from qads.pool import Kind
from qads.prompts import ExemplarTemplate, Template, named_instructions
from qads.settings import read_settings

__all__ = ["Part", "Recipe", "Share", "Take", "load_recipe"]

_FORBID: Mapping[str, Any] = {"extra": "forbid"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Share:
    """A share of the whole mixture."""

    share: float
    """In (0, 1]."""

    def __str__(self) -> str:
        return f"share {self.share:g}"


Take = Literal["all"] | Amount | Share
"""All rows, a count, a fraction in (0, 1] of what is drawn from, tokens, or a share of the mixture."""


def parse_take(value: object) -> Take:
    """How much of a part, as the user writes it.

    >>> parse_take("all"), parse_take("10%"), parse_take("2M tokens"), parse_take({"share": "30%"})
    ('all', 0.1, Tokens(tokens=2000000), Share(share=0.3))

    Raises:
        ConfigError: it is none of these.
    """
    if isinstance(value, Share) or value == "all":
        return cast(Take, value)
    if isinstance(value, Mapping) and set(cast(Mapping[str, Any], value)) == {"share"}:
        share = parse_amount(cast(Mapping[str, Any], value)["share"])
        if not isinstance(share, float):
            raise ConfigError(f"share: {share} is no share of a mixture; it must be a fraction (0.3, 30%).")
        return Share(share)
    try:
        return parse_amount(value)
    except ConfigError as error:
        raise ConfigError(f"{error} Besides: all, or {{share: 30%}} of the mixture.") from None


def _parse_rows_or_tokens(value: object) -> object:
    if value is None:
        return None
    amount = parse_amount(value)
    if isinstance(amount, float):
        raise ConfigError(f"{value!r} is a fraction; a number of rows (1000) or tokens (2M tokens) is needed.")
    return amount


RowsOrTokens = Annotated[int | Tokens | None, BeforeValidator(_parse_rows_or_tokens)]
Files = Annotated[tuple[str, ...], BeforeValidator(lambda v: (v,) if isinstance(v, str) else v)]


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of a mixture: rows of a pool, or of a selection in the order in which they were picked."""

    pool: Files = ()
    """Files, globs, folders or ``hf://owner/name``; excludes ``selection``."""
    selection: str | None = None
    """A run directory, or a file that ``qads select`` wrote; excludes ``pool``."""
    take: Annotated[Take, BeforeValidator(parse_take)] = "all"
    """How much: ``all``, rows, a fraction, ``2M tokens``, or ``{share: 30%}`` of the mixture. A fraction is one of
    the rows of the pool; with a run directory, of the pool that the run selected from."""
    repeat: float = 1.0
    """Epochs: how often every row that is taken is in the mixture. 2.5 is twice, and the first half a third time."""
    max_repeat: float = 1.0
    """Epochs at most where a share of the mixture or a temperature asks for more rows than there are."""
    cap: RowsOrTokens = None
    """Rows or tokens at most, after repetition."""
    order: Literal["seed", "file"] | None = None
    """Which rows of a pool come first when not all are taken: drawn by the seed (default), or as in the files."""
    temperature: float | None = None
    """T of n_s^(1/T), by which the rows taken are shared out to the sources: 1 in proportion to their sizes, large T
    evenly; None draws without regard to sources."""
    columns: dict[str, str] = field(default_factory=dict[str, str])
    """Field -> column, for shapes of files that are not recognised."""
    kind: Kind | None = None
    """Set for every row of the files instead of detected."""
    on_bad_row: Literal["error", "skip"] = "error"
    """What a line that cannot be read does."""
    license: str | dict[str, str] | None = None
    """Licence of the part, or source -> licence; by default what the rows or a dataset card beside the files say."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = _FORBID

    def __post_init__(self) -> None:
        check_choices(self)
        if bool(self.pool) == (self.selection is not None) or not all(self.pool):
            raise InputError("a part is made either of a pool (files) or of a selection (a run directory or its file).")
        if "-" in self.pool:
            raise InputError("a pool of a mixture is read from files, not from standard input.")
        if self.selection is not None and self.order is not None:
            raise InputError("order is of pools; the rows of a selection come in the order in which they were picked.")
        for name in ("repeat", "max_repeat"):
            if not 0 < getattr(self, name) < 1e6:
                raise InputError(f"{name} is {getattr(self, name):g}; epochs must be a number above 0, as 1, 2 or 2.5.")
        if self.max_repeat < 1:
            raise InputError(f"max_repeat is {self.max_repeat:g}; it must be 1 (no row twice) at least.")
        _check_temperature(self.temperature)
        self._check_repetition()

    def _check_repetition(self) -> None:
        shared = isinstance(self.take, Share)
        if self.temperature is not None and self.repeat != 1:
            raise InputError(
                f"repeat is {self.repeat:g}, but temperature decides how often rows are repeated; give max_repeat, the "
                "epochs at most."
            )
        if shared and self.repeat != 1:
            raise InputError(
                f"repeat is {self.repeat:g}, but the take is a {self.take}, which says how many rows there are in the "
                "end; give max_repeat, the epochs at most."
            )
        if self.temperature is not None and isinstance(self.take, str | Tokens):
            raise InputError(
                f"temperature shares rows out to the sources, but take is {self.take}, which leaves none to choose; "
                "take a number of rows, a fraction, or a share of the mixture."
            )


def _check_temperature(temperature: float | None) -> None:
    if temperature is not None and not temperature >= 1:
        raise InputError(
            f"temperature is {temperature:g}; it must be 1 (in proportion to the sizes) at least; .inf is evenly."
        )


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A mixture of parts.

    >>> Recipe(parts={"all": Part(pool=("a.jsonl",))}).shares_of
    'rows'
    """

    parts: dict[str, Part]
    """Name -> part, in order."""
    name: str = "mixture"
    """What the dataset is called in its card and by trainers."""
    size: RowsOrTokens = None
    """Rows or tokens of the whole; by default what the parts come to."""
    unit: Literal["rows", "tokens"] | None = None
    """What shares are shares of; by default rows, or tokens where ``size`` is in tokens."""
    temperature: float | None = None
    """T of n_p^(1/T), by which ``size`` rows are shared out to parts of n_p rows; they take ``all`` then."""
    variants: dict[str, dict[str, Annotated[Take, BeforeValidator(parse_take)]]] = field(
        default_factory=dict[str, dict[str, Take]]
    )
    """Name -> part -> another ``take``: a family of mixtures in one folder, each a configuration of the dataset."""
    same_text: Literal["error", "drop", "keep"] = "error"
    """What a row does that an earlier part has taken already, word for word."""
    suffix: Annotated[dict[Kind, str], BeforeValidator(named_instructions)] = field(default_factory=dict[Kind, str])
    """Kind -> text put after its problems; ``instructions`` for those by which models are asked in an evaluation."""
    format: HandoffFormat = "messages"
    """Shape of a row."""
    file: Literal["jsonl", "parquet"] = "jsonl"
    """Type of the files."""
    keep_meta: bool = False
    """Whether the other columns of the sources go into the files, as JSON."""
    tokenizer: str | None = None
    """Model whose tokens are counted: alias, folder or hub id; by default characters are."""
    template: Annotated[Template, Field(discriminator="kind")] = field(default_factory=ExemplarTemplate)
    """How a row is a text, for tokens and for the format prompt-completion."""
    language: Files = ()
    """ISO 639 codes for the dataset card."""
    shuffle: bool = True
    """Whether rows of all parts are mixed; else the parts follow each other."""
    seed: int = 0
    """Of draws and shuffle."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = _FORBID

    def __post_init__(self) -> None:
        check_choices(self)
        if not self.parts:
            raise InputError("parts is empty; a mixture needs one part at least.")
        for name in (*self.parts, *self.variants, self.name):
            if not _NAME.fullmatch(name):
                raise InputError(f"{name!r} cannot be a name; letters, digits, and inside it . _ - can.")
        if self.seed < 0:
            raise InputError(f"seed is {self.seed}; it must be a whole number ≥ 0.")
        _check_temperature(self.temperature)
        if "default" in self.variants:  # `datasets` would open it in the place of the largest, or none.
            raise InputError("variants.default: is what the mixture of no variant is called; give another name.")
        for variant, takes in self.variants.items():
            if unknown := sorted(set(takes) - set(self.parts)):
                raise InputError(
                    f"variants.{variant}: there is no part {unknown[0]!r}; the parts are {', '.join(self.parts)}."
                )
            for name, take in takes.items():
                try:
                    replace(self.parts[name], take=take)
                except InputError as error:
                    raise InputError(f"variants.{variant}.{name}: {error}") from None
        self._check_units()

    @property
    def shares_of(self) -> Literal["rows", "tokens"]:
        """What shares are shares of."""
        return self.unit or ("tokens" if isinstance(self.size, Tokens) else "rows")

    @property
    def sources(self) -> tuple[str, ...]:
        """Every file, folder and location that is read."""
        return tuple(
            location for part in self.parts.values() for location in (*part.pool, *filter(None, [part.selection]))
        )

    def variant(self, name: str) -> dict[str, Take]:
        """How much of every part; `name` is one of `variants`, or ``default`` where there are none."""
        return {part: self.variants.get(name, {}).get(part, settings.take) for part, settings in self.parts.items()}

    def _check_units(self) -> None:
        if isinstance(self.size, Tokens) and self.unit == "rows":
            raise InputError(f"size is {self.size}, but unit is rows; leave unit out, or give size as rows.")
        if isinstance(self.size, int) and self.unit == "tokens":
            raise InputError(f"size is {self.size} rows, but unit is tokens; write size: {self.size} tokens.")
        takes = [take for name in self.variants or ("default",) for take in self.variant(name).values()]
        amounts = (self.size, *takes, *(part.cap for part in self.parts.values()))
        if self.tokenizer is None and (self.unit == "tokens" or any(isinstance(a, Tokens) for a in amounts)):
            raise InputError("tokens are asked for, but whose is not said; name a model under tokenizer.")
        if isinstance(self.size, Tokens) and not all(isinstance(take, Share) for take in takes):
            raise InputError(
                f"size is {self.size}, which parts of a fixed amount cannot meet to the token; give all parts as "
                "shares, or leave size out: it follows."
            )
        if self.shares_of == "tokens" and any(p.temperature is not None for p in self.parts.values()):
            raise InputError("temperature shares out rows; leave it out where shares are of tokens.")
        if self.temperature is None:
            return
        if self.size is None or self.shares_of == "tokens":
            raise InputError("temperature shares a number of rows out to the parts; give it as size: 10000.")
        if any(take != "all" for take in takes) or any(p.temperature is not None for p in self.parts.values()):
            raise InputError(
                "temperature decides how much of each part is taken; leave their take and temperature out."
            )
        if any(part.repeat != 1 or part.cap is not None for part in self.parts.values()):
            raise InputError("temperature decides how often rows are repeated; give max_repeat, not repeat or cap.")


def load_recipe(source: Path | str | Mapping[str, Any], overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe.

    Args:
        source: a YAML file, or what one would hold.
        overrides: ``a.b=c`` settings on top, values in YAML.

    Raises:
        ConfigError: a key or value is wrong; names it by its dotted path, and the nearest known key.
    """
    return read_settings(Recipe, source, overrides)
