# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Fields of messages from another machine: what each may be, and arrays as maps of dtype, shape and bytes.

A check takes a value as msgpack gives it and the name of the field, and returns the value or raises
ProtocolError. Nothing is made before its size is known to be right, and error texts quote little.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

DTYPES: dict[str, np.dtype[Any]] = {
    'uint8': np.dtype('u1'),
    'float32': np.dtype('<f4'),
    'float64': np.dtype('<f8'),
}
LARGEST_SIDE = 1 << 14  # pixels, rows or columns of an array
_DEEPEST = 8  # levels of a plain value

Check = Callable[[Any, str], Any]


class ProtocolError(ValueError):
    """A message is cut off, too long or not of the agreed form; the text names the field."""


def to_wire(value: Any, where: str) -> Any:
    """Dataclasses as maps, arrays as maps of dtype, shape and little-endian bytes; the rest as it is."""
    if dataclasses.is_dataclass(value):
        fields = dataclasses.fields(value)
        return {f.name: to_wire(getattr(value, f.name), f'{where}.{f.name}') for f in fields}
    if isinstance(value, np.ndarray):
        dtype = DTYPES.get(value.dtype.name)
        if dtype is None:
            raise ProtocolError(f'{where} is an array of {value.dtype}; use one of {list(DTYPES)}')
        rows = np.ascontiguousarray(value, dtype)
        data = rows.reshape(-1).view(np.uint8).data if rows.size else b''
        return {'dtype': dtype.name, 'shape': list(value.shape), 'data': data}
    if isinstance(value, dict):
        return {key: to_wire(item, f'{where}.{brief(key)}') for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_wire(item, where) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def brief(value: Any) -> str:
    """A value for an error text; a stranger's megabytes are counted, not quoted."""
    if isinstance(value, (bytes, memoryview, list, dict)):
        return f'{type(value).__name__} of {len(value)}'
    return f'{value[:60]!r}' if isinstance(value, str) else f'{value!r:.60}'


def integer(low: int, high: int) -> Check:
    def check(value: Any, where: str) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ProtocolError(f'{where} is {brief(value)}; give a whole number, {low} to {high}')
        return value

    return check


def number(low: float, high: float) -> Check:
    def check(value: Any, where: str) -> float:
        real = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not real or not low <= value <= high:  # NaN is not
            raise ProtocolError(f'{where} is {brief(value)}; give a number, {low:g} to {high:g}')
        return float(value)

    return check


def text(longest: int, options: tuple[str, ...] = ()) -> Check:
    def check(value: Any, where: str) -> str:
        if not isinstance(value, str) or len(value) > longest:
            raise ProtocolError(f'{where} is {brief(value)}; give a text of at most {longest} characters')
        if options and value not in options:
            raise ProtocolError(f'{where} is {brief(value)}; use one of {list(options)}')
        return value

    return check


def array(dtypes: tuple[str, ...], dimensions: int) -> Check:
    """Arrays of so many dimensions, finite; a read-only view of the message's bytes."""
    fields = {'dtype': text(10, dtypes), 'shape': _shape(dimensions), 'data': _data}

    def check(value: Any, where: str) -> np.ndarray:
        given = exactly(value, fields, where)
        dtype, size = DTYPES[given['dtype']], len(given['data'])
        wanted = math.prod(given['shape']) * dtype.itemsize
        if size != wanted:
            raise ProtocolError(
                f'{where} has {size} bytes, but {given["shape"]} of {dtype.name} need {wanted}'
            )
        view = np.frombuffer(given['data'], dtype).reshape(given['shape'])
        if dtype.kind == 'f' and not np.all(np.isfinite(view)):
            raise ProtocolError(f'{where} holds numbers that are not finite')
        return view

    return check


def _shape(dimensions: int) -> Check:
    side = integer(0, LARGEST_SIDE)

    def check(value: Any, where: str) -> list[int]:
        if not isinstance(value, list) or len(value) != dimensions:
            raise ProtocolError(f'{where} is {brief(value)}; give {dimensions} sizes')
        return [side(item, where) for item in value]

    return check


def _data(value: Any, where: str) -> bytes | memoryview:
    if not isinstance(value, (bytes, memoryview)):
        raise ProtocolError(f'{where} is {brief(value)}; give bytes')
    return value


def optional(check: Check) -> Check:
    """None, or what ``check`` says."""
    return lambda value, where: None if value is None else check(value, where)


def by_name(check: Check) -> Check:
    """A map whose keys are texts and whose values are what ``check`` says."""

    def check_all(value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise ProtocolError(f'{where} is {brief(value)}; give a map of names')
        return {key: check(item, f'{where}.{brief(key)}') for key, item in value.items()}

    return check_all


def plain(value: Any, where: str, level: int = 0) -> Any:
    """Texts, numbers, nothing, and lists and maps of those."""
    if level > _DEEPEST:
        raise ProtocolError(f'{where} is more than {_DEEPEST} levels deep')
    if isinstance(value, dict):
        return by_name(lambda item, name: plain(item, name, level + 1))(value, where)
    if isinstance(value, list):
        return [plain(item, where, level + 1) for item in value]
    if value is None or isinstance(value, (str, int, float)):
        return value
    raise ProtocolError(f'{where} is {brief(value)}; give texts and numbers')


def exactly(value: Any, checks: dict[str, Check], where: str) -> dict[str, Any]:
    """A map of these fields, each as its check says."""
    if not isinstance(value, dict):
        raise ProtocolError(f'{where} is {brief(value)}; give a map of {sorted(checks)}')
    for wrong, names in (('lacks', set(checks) - set(value)), ('has an unknown', set(value) - set(checks))):
        if names:
            raise ProtocolError(f'{where} {wrong} {min(brief(name) for name in names)}')
    return {name: check(value[name], f'{where}.{name}') for name, check in checks.items()}
