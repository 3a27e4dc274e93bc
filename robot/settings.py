# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Settings as dataclasses, from the plain data of a YAML or JSON file."""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

Settings = TypeVar('Settings')


class SettingsError(ValueError):
    """A setting is unknown or of another kind; the message names it and what there is."""


def from_dict(kind: type[Settings], data: Mapping[str, Any], where: str = '') -> Settings:
    """A dataclass from a mapping: nested dataclasses too, lists as tuples, whole numbers as floats.

    Args:
        where: the name of the whole in error messages, such as ``policy.expert``.

    Raises SettingsError for an unknown field, for a value of another type and for one that the dataclass
    itself refuses (ValueError); an error of another class stays what it is.
    """
    if not isinstance(data, Mapping):
        raise SettingsError(f'{where or kind.__name__} is {data!r}; give a mapping')
    types = typing.get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    unknown = sorted(set(data) - set(names))
    if unknown:
        raise SettingsError(f'{where or kind.__name__} has no {unknown}; it has: {names}')
    prefix = f'{where}.' if where else ''
    values = {name: _value(types[name], value, f'{prefix}{name}') for name, value in data.items()}
    try:
        return kind(**values)
    except ValueError as error:  # of its __post_init__, which does not know where it stands
        if type(error) not in (ValueError, SettingsError):
            raise  # an error of its own kind
        raise SettingsError(f'{where}: {error}' if where else str(error)) from None


def _finite(value: float) -> str:
    return '' if math.isfinite(value) or math.isnan(value) else ', and a finite number'


def at_least(settings: object, least: float, *names: str) -> None:
    """Raise SettingsError for the first field of ``names`` that is below ``least`` or not finite."""
    for name in names:
        value = getattr(settings, name)
        if not (math.isfinite(value) and value >= least):
            raise SettingsError(f'{name} is {value}; give {least:g} or more{_finite(value)}')


def positive(settings: object, *names: str) -> None:
    """Raise SettingsError for the first field of ``names`` that is not above 0 or not finite."""
    for name in names:
        value = getattr(settings, name)
        if not (math.isfinite(value) and value > 0):
            raise SettingsError(f'{name} is {value}; give more than 0{_finite(value)}')


def fractions(settings: object, *names: str) -> None:
    """Raise SettingsError for the first field of ``names`` that is not from 0 to 1."""
    for name in names:
        value = getattr(settings, name)
        if not 0 <= value <= 1:
            raise SettingsError(f'{name} is {value}; give a number from 0 to 1')


def _value(kind: Any, value: Any, where: str) -> Any:
    options = [k for k in typing.get_args(kind) if k is not type(None)]
    origin = typing.get_origin(kind)
    if kind is Any:
        return value
    if origin is dict:
        if not isinstance(value, Mapping):
            raise SettingsError(f'{where} is {value!r}; give a mapping')
        return dict(value)
    if origin is typing.Literal:
        if value not in options:
            raise SettingsError(f'{where} is {value!r}; use one of {options}')
        return value
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise SettingsError(f'{where} is {value!r}; give a list')
        return tuple(_value(options[0], item, f'{where}[{i}]') for i, item in enumerate(value))
    if len(options) < len(typing.get_args(kind)):  # may be None
        return None if value is None else _value(options[0], value, where)
    if dataclasses.is_dataclass(kind):
        return value if isinstance(value, kind) else from_dict(kind, value, where)  # type: ignore[arg-type]
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(kind, type) and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
        raise SettingsError(f'{where} is {value!r}; give a value of type {kind.__name__}')
    return value
