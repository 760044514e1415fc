"""From TOML or JSON data to frozen dataclasses, with errors that name the key and the nearest right one."""

from __future__ import annotations

import difflib
import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, field, fields, is_dataclass
from typing import Any, NamedTuple, NoReturn, TypeVar, cast, get_args, get_origin, get_type_hints

from features.errors import ConfigError

T = TypeVar("T")

_NAMES: dict[type, str] = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


class Place(NamedTuple):
    """Where a value stands: the file or recipe, and the section and key in it."""

    source: str
    path: str = ""

    def inside(self, key: str) -> Place:
        """The place of a key of the value that stands here."""
        return Place(self.source, f"{self.path}.{key}" if self.path else key)

    def refuse(self, problem: str) -> NoReturn:
        """Raise a ConfigError about the value that stands here."""
        message = f"{self.source}: {self.path or 'top level'} {problem}"
        raise ConfigError(message)


def setting(
    default: Any = MISSING,  # noqa: ANN401 - any setting's value
    *,
    choices: tuple[str, ...] = (),
    at_least: float | None = None,
    at_most: float | None = None,
) -> Any:  # noqa: ANN401 - as dataclasses.field
    """A dataclass field with the values that it takes.

    Args:
        default: Value where the key is missing; without one the key must be given.
        choices: The texts allowed.
        at_least: Smallest number allowed, for each element of a list too.
        at_most: Largest number allowed.
    """
    metadata = {"choices": choices, "at_least": at_least, "at_most": at_most}
    if default is MISSING:
        return field(metadata=metadata)
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def parse(kind: type[T], data: object, place: Place) -> T:
    """Make a dataclass from a mapping, checking keys, types and values.

    Args:
        kind: A dataclass of str, int, float, bool, `X | None`, `tuple[X, ...]`, `Mapping[str, X]` and other
            dataclasses.
        data: What a TOML or JSON reader gave.
        place: Where it was read, for the error.

    Raises:
        ConfigError: A key is unknown (the nearest right one is named) or missing, or a value is wrong.
    """
    if not isinstance(data, Mapping):
        place.refuse(f"is {data!r}; it must be a section with keys")
    known = {item.name: item for item in fields(cast("Any", kind))}
    for key in data:
        if key not in known:
            raise _unknown_key(key, list(known), place)
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    for name, item in known.items():
        if name in data:
            values[name] = _convert(hints[name], data[name], place.inside(name), item)
        elif item.default is MISSING and item.default_factory is MISSING:
            place.refuse(f"lacks the key {name!r}; add it")
    return kind(**values)


def nearest(word: str, known: list[str]) -> str:
    """`did you mean 'x'? ` where a known word is near, or an empty text."""
    matches = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"did you mean {matches[0]!r}? " if matches else ""


def _unknown_key(key: str, known: list[str], place: Place) -> ConfigError:
    section = f"section [{place.path}]" if place.path else "the top level"
    return ConfigError(
        f"{place.source}: unknown key {key!r} in {section}; {nearest(str(key), known)}(keys: {', '.join(known)})"
    )


def _convert(hint: Any, value: object, place: Place, item: Field[Any]) -> Any:  # noqa: ANN401 - by type hint
    if hint is Any:
        return value
    if is_dataclass(hint):
        return parse(cast("type[Any]", hint), value, place)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is types.UnionType:
        inner = next(part for part in arguments if part is not types.NoneType)
        return None if value is None else _convert(inner, value, place, item)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            place.refuse(f"is {value!r}; it must be a list")
        return tuple(
            _convert(arguments[0], part, Place(place.source, f"{place.path}[{index}]"), item)
            for index, part in enumerate(value)
        )
    if origin is Mapping:
        if not isinstance(value, Mapping):
            place.refuse(f"is {value!r}; it must be a section with keys")
        return {str(key): _convert(arguments[1], part, place.inside(str(key)), item) for key, part in value.items()}
    return _checked(_scalar(hint, value, place), place, item.metadata)


def _scalar(hint: type, value: object, place: Place) -> Any:  # noqa: ANN401 - by type hint
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        place.refuse(f"is {value!r}; it must be {_NAMES[hint]}")
    return value


def _checked(value: Any, place: Place, limits: types.MappingProxyType[Any, Any]) -> Any:  # noqa: ANN401
    choices = limits.get("choices") or ()
    if choices and value not in choices:
        place.refuse(f"is {value!r}; {nearest(str(value), list(choices))}it must be one of {', '.join(choices)}")
    low, high = limits.get("at_least"), limits.get("at_most")
    # Written so that NaN, which no comparison holds for, is refused.
    if (low is not None and not value >= low) or (high is not None and not value <= high):
        span = " and ".join([f"at least {low}"] * (low is not None) + [f"at most {high}"] * (high is not None))
        place.refuse(f"is {value!r}; it must be {span}")
    return value
