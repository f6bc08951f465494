"""JSON to frozen dataclasses, read strictly: what is not as declared is an error and never a guess."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")


def read(kind: type[T], body: object) -> T:
    """Build a dataclass from a JSON object; fields that it does not declare are ignored.

    Raises:
        ValueError: A field is missing or not of its type; the text names the field and quotes nothing.
    """
    if not isinstance(body, Mapping):
        raise ValueError("no JSON object")  # noqa: TRY004 - one error for every odd body
    hints = get_type_hints(kind)
    found: dict[str, Any] = {}
    for field in fields(cast("Any", kind)):  # every kind is a dataclass
        if field.name in body:
            found[field.name] = _value(hints[field.name], body[field.name], field.name)
        elif field.default is MISSING:
            raise ValueError(f"{field.name} is missing")
    return kind(**found)


def _value(kind: Any, value: object, name: str) -> object:  # noqa: ANN401 - a type hint
    arguments = get_args(kind)
    match get_origin(kind):
        case origin if origin in {Union, UnionType}:
            one = next(argument for argument in arguments if argument is not NoneType)
            found = None if value is None else _value(one, value, name)
        case origin if origin is tuple:
            entries = _checked(isinstance(value, list), value, name)
            found = tuple(_value(arguments[0], entry, name) for entry in entries)
        case origin if origin is Mapping:
            entries = _checked(isinstance(value, Mapping), value, name)
            found = {key: _value(arguments[1], entry, name) for key, entry in entries.items()}
        case origin if origin is Literal:
            found = _checked(isinstance(value, str) and value in arguments, value, name)
        case _:
            found = read(cast("type[Any]", kind), value) if is_dataclass(kind) else _plain(kind, value, name)
    return found


def _plain(kind: Any, value: object, name: str) -> object:  # noqa: ANN401 - a type hint
    if kind is float:
        return float(_checked(isinstance(value, int | float) and not isinstance(value, bool), value, name))
    return _checked(type(value) is kind, value, name)


def _checked(right: bool, value: Any, name: str) -> Any:  # noqa: ANN401 - any JSON
    if not right:
        raise ValueError(f"{name} is not as documented")
    return value
