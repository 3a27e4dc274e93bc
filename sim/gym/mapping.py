# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Between the vectors of a Gymnasium environment and the joints and cameras of a robot file.

The ``simulator`` section of the robot file says where each joint is found in the observation, which entry of
the action moves it, and how; docs/robots.md shows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from apprentice.robot.spec import RobotFileError, RobotSpec

KINDS = ('relative', 'absolute')


def fault(spec: RobotSpec, text: str) -> RobotFileError:
    return RobotFileError(f'robot {spec.name!r}: simulator.{text}')


def mapping(spec: RobotSpec, what: str, value: Any, known: Iterable[str]) -> dict[str, Any]:
    """A mapping of the section, its keys checked."""
    if not isinstance(value, Mapping):
        raise fault(spec, f'{what} must be a mapping, got {value!r}')
    wrong = sorted({str(key) for key in value} - set(known))
    if wrong:
        raise fault(spec, f'{what}: unknown {wrong}; known: {sorted(known)}')
    return dict(value)


def pair(spec: RobotSpec, what: str, value: Any) -> tuple[float, float]:
    """Two different numbers."""
    try:
        first, second = (float(number) for number in value)
    except (TypeError, ValueError):
        first = second = np.nan
    if not np.isfinite([first, second]).all() or first == second:
        raise fault(spec, f'{what} must be two different numbers, got {value!r}')
    return first, second


def look_up(spec: RobotSpec, what: str, observation: Any, key: str) -> Any:
    """An entry of nested mappings by its dotted name; the whole observation for an empty one."""
    found = observation
    for name in key.split('.') if key else ():
        if not isinstance(found, Mapping) or name not in found:
            there = sorted(found) if isinstance(found, Mapping) else f'an array of shape {np.shape(found)}'
            raise fault(spec, f'{what}: the environment gives no {key!r}; there is: {there}')
        found = found[name]
    return found


class Readings:
    """One number of the observation for each of some names, in a unit of ours.

    Each is ``{key: entry of the observation, index: place in it, values: [at lower, at upper]}``; ``values``
    translates to the joint's range, without it the number is taken as it is.
    """

    def __init__(self, spec: RobotSpec, what: str):
        self._spec, self._what = spec, what
        given = mapping(spec, what, spec.simulator.get(what, {}), spec.joint_names)
        self._rules: list[tuple[int, str, int, float, float]] = []
        for number, joint in enumerate(spec.joints):
            if joint.name not in given:
                continue
            where = f'{what}.{joint.name}'
            rule = mapping(spec, where, given[joint.name], ('key', 'index', 'values'))
            scale, offset = 1.0, 0.0
            if 'values' in rule:
                low, high = pair(spec, f'{where}.values', rule['values'])
                scale = (joint.upper - joint.lower) / (high - low)
                offset = joint.lower - scale * low
            self._rules.append((number, str(rule.get('key', '')), int(rule.get('index', 0)), scale, offset))

    def __bool__(self) -> bool:
        return bool(self._rules)

    def read(self, observation: Any, out: np.ndarray) -> None:
        """Fill ``out`` [dim] where there is a reading."""
        for number, key, index, scale, offset in self._rules:
            values = np.ravel(look_up(self._spec, self._what, observation, key))
            if not -len(values) <= index < len(values):
                name = self._spec.joint_names[number]
                raise fault(
                    self._spec, f'{self._what}.{name}: index {index} of {len(values)} numbers {key!r}'
                )
            out[number] = offset + scale * float(values[index])


class Commands:
    """The environment's action from a setpoint.

    Each joint has ``{index: entry of the action, kind, scale, damping, values}``.

    ``relative``: the action is what is missing, ``(setpoint - position) / scale - damping * velocity``:
    a step of the tool (``scale``: metres that action 1 moves) or the torque of a servo (``scale``: 1 /
    stiffness). ``absolute``: the action is the setpoint itself; ``values`` are the actions for the joint's
    lower and upper limit, by default the ends of the action space. Entries that no joint moves are
    ``rest: {index: value}``.
    """

    def __init__(self, spec: RobotSpec, low: np.ndarray, high: np.ndarray):
        self._low, self._high = low, high
        self._rest = np.clip(np.zeros(len(low)), low, high)
        rest = spec.simulator.get('rest', {})
        for place, value in mapping(spec, 'rest', rest, [str(key) for key in rest]).items():
            self._rest[self._checked(spec, 'rest', place)] = float(value)
        given = mapping(spec, 'action', spec.simulator.get('action', {}), spec.joint_names)
        self._rules = []
        for number, joint in enumerate(spec.joints):
            where = f'action.{joint.name}'
            if joint.name not in given:
                raise fault(spec, f'{where} is missing; say which entry of the action moves it: {{index: 0}}')
            keys = ('index', 'kind', 'scale', 'damping', 'values')
            rule = mapping(spec, where, given[joint.name], keys)
            index = self._checked(spec, where, rule.get('index'))
            kind = rule.get('kind', 'relative')
            if kind not in KINDS:
                raise fault(spec, f'{where}.kind {kind!r} is unknown; use one of {KINDS}')
            if kind == 'relative':
                scale = float(rule.get('scale', 1.0))
                if scale == 0:
                    raise fault(spec, f'{where}.scale must not be 0')
                self._rules.append((number, index, 1 / scale, 0.0, float(rule.get('damping', 0.0)), True))
                continue
            ends = rule.get('values', (low[index], high[index]))
            first, second = pair(spec, f'{where}.values', ends)
            slope = (second - first) / (joint.upper - joint.lower)
            self._rules.append((number, index, slope, first - slope * joint.lower, 0.0, False))

    def _checked(self, spec: RobotSpec, where: str, index: Any) -> int:
        size = len(self._low)
        if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < size:
            raise fault(spec, f'{where}: index {index!r} is none of the {size} entries of the action')
        return index

    def action(self, setpoint: np.ndarray, position: np.ndarray, velocity: np.ndarray) -> np.ndarray:
        """Action of the environment, within its limits; all arguments [dim]."""
        action = self._rest.copy()
        for number, index, slope, offset, damping, relative in self._rules:
            aim = setpoint[number] - position[number] if relative else setpoint[number]
            action[index] = offset + slope * aim - damping * velocity[number]
        return np.clip(action, self._low, self._high)


def resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """A uint8 image [H, W, 3] as [height, width, 3]: means of areas where it shrinks, else nearest."""
    if image.shape[:2] == (height, width):
        return image
    values = image.astype(np.float64)
    for axis, size in ((0, height), (1, width)):
        old = values.shape[axis]
        edges = np.arange(size) * old // size
        if size < old:
            counts = np.diff(np.append(edges, old))
            shape = [1, 1, 1]
            shape[axis] = size
            values = np.add.reduceat(values, edges, axis=axis) / counts.reshape(shape)
        else:
            values = np.take(values, edges, axis=axis)
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
