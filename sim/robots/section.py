# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The ``simulator`` section of a robot file, checked as it is read: a mistake is told with what to write."""

from __future__ import annotations

import difflib
import math
import numbers
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from apprentice.robot.spec import RobotFileError, RobotSpec

SCENE_KEYS = (
    'model', 'task', 'world', 'packages', 'joints', 'follow', 'actuators', 'gains', 'gripper', 'tip',
    'cameras', 'base', 'scene', 'remove', 'timestep', 'gravity_compensation',
)  # fmt: skip
GYM_KEYS = (
    'world', 'env', 'make', 'options', 'wrapper', 'wrapper_options', 'instruction', 'state', 'velocity',
    'action', 'rest', 'images', 'objects', 'success', 'progress', 'step_s', 'max_duration_s',
)  # fmt: skip
_ABSENT = object()


class Section:
    """What a robot file says of its simulation. Every method raises RobotFileError naming robot and key."""

    def __init__(self, spec: RobotSpec):
        self.spec, self.values = spec, spec.simulator

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def __getitem__(self, key: str) -> Any:
        return self.values[key]

    def get(self, key: str, default: Any = None) -> Any:
        return self.values.get(key, default)

    def error(self, text: str) -> RobotFileError:
        return RobotFileError(f'robot {self.spec.name!r}: simulator.{text}')

    def check_keys(self, known: Iterable[str], others: Mapping[str, Iterable[str]]) -> None:
        """Refuse keys that nobody reads; ``others``: kinds of simulation that read other keys."""
        known = sorted(known)
        for key in map(str, self.values):
            if key in known:
                continue
            close = difflib.get_close_matches(key, known, n=1, cutoff=0.8)
            if close:
                raise self.error(f'{key} is unknown; did you mean {close[0]!r}?')
            kinds = [kind for kind, keys in others.items() if key in keys]
            if kinds:
                raise self.error(f'{key} is for {kinds[0]}; leave it out. Known here: {known}')
            raise self.error(f'{key} is unknown; known: {known}')

    def mapping(self, key: str, known: Iterable[str] | None = None, value: Any = _ABSENT) -> dict[str, Any]:
        """A mapping, its keys checked (None: any); empty if absent. ``value``: one below, called ``key``."""
        given = self.values.get(key, {}) if value is _ABSENT else value
        if not isinstance(given, Mapping):
            raise self.error(f'{key} must be a mapping, got {given!r}')
        if known is not None:
            known = sorted(known)
            wrong = sorted({str(name) for name in given} - set(known))
            if wrong:
                raise self.error(f'{key}: unknown {wrong}; known: {known}')
        return dict(given)

    def vector(self, value: Any, length: int, what: str) -> np.ndarray:
        """So many finite numbers, float64 [length]."""
        try:
            array = np.array(value, np.float64)
        except (TypeError, ValueError):
            array = np.zeros(0)
        if array.shape != (length,) or not np.all(np.isfinite(array)):
            raise self.error(f'{what} must be {length} numbers, got {value!r}')
        return array

    def pair(self, value: Any, what: str) -> tuple[float, float]:
        """Two different numbers."""
        try:
            first, second = self.vector(value, 2, what).tolist()
        except RobotFileError:
            first = second = 0.0
        if first == second:
            raise self.error(f'{what} must be two different numbers, got {value!r}')
        return first, second

    def number(self, value: Any, what: str, positive: bool = True) -> float:
        """A finite number, by default a positive one."""
        usable = isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
        if not usable or (positive and not value > 0):
            hint = '; YAML reads this as text, write e.g. 1.0e+3' if _is_number(value) else ''
            raise self.error(f'{what} must be a {"positive " * positive}number, got {value!r}{hint}')
        return float(value)

    def whole(self, value: Any, what: str) -> int:
        """A whole number: a place in a vector."""
        if not isinstance(value, numbers.Integral) or isinstance(value, bool):
            raise self.error(f'{what} must be a whole number, got {value!r}')
        return int(value)


def _is_number(value: Any) -> bool:
    try:
        return isinstance(value, str) and math.isfinite(float(value))
    except ValueError:
        return False
