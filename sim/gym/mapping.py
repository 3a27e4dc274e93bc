# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Between the vectors of a Gymnasium environment and the joints and cameras of a robot file.

The ``simulator`` section of the robot file says where each joint is found in the observation, which entry of
the action moves it, and how; docs/robots.md shows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from apprentice.robot.spec import RobotSpec
from apprentice.sim.robots.section import Section

KINDS = ('relative', 'absolute')


def look_up(section: Section, what: str, observation: Any, key: str) -> Any:
    """An entry of nested mappings by its dotted name; the whole observation for an empty one."""
    found = observation
    for name in key.split('.') if key else ():
        if not isinstance(found, Mapping) or name not in found:
            there = sorted(found) if isinstance(found, Mapping) else f'an array of shape {np.shape(found)}'
            raise section.error(f'{what}: the environment gives no {key!r}; there is: {there}')
        found = found[name]
    return found


def numbers_at(section: Section, what: str, observation: Any, key: str, index: int, count: int) -> np.ndarray:
    """``count`` numbers of an entry from ``index`` on (negative: from its end), float64 [count]."""
    values = np.ravel(look_up(section, what, observation, key))
    first = index + len(values) if index < 0 else index
    if first < 0 or first + count > len(values):
        asked = f'index {index}' if count == 1 else f'{count} numbers from index {index} on'
        raise section.error(f'{what}: {asked} of {len(values)} numbers {key!r}; correct index or key')
    return values[first : first + count].astype(np.float64)


class Readings:
    """One number of the observation for each of some names, in a unit of ours.

    Each is ``{key: entry of the observation, index: place in it, values: [at lower, at upper]}``; ``values``
    translates to the joint's range, without it the number is taken as it is.
    """

    def __init__(self, spec: RobotSpec, what: str):
        self._section, self._what = Section(spec), what
        given = self._section.mapping(what, spec.joint_names)
        self._rules: list[tuple[int, str, str, int, float, float]] = []
        for number, joint in enumerate(spec.joints):
            if joint.name not in given:
                continue
            where = f'{what}.{joint.name}'
            rule = self._section.mapping(where, ('key', 'index', 'values'), given[joint.name])
            scale, offset = 1.0, 0.0
            if 'values' in rule:
                low, high = self._section.pair(rule['values'], f'{where}.values')
                scale = (joint.upper - joint.lower) / (high - low)
                offset = joint.lower - scale * low
            index = self._section.whole(rule.get('index', 0), f'{where}.index')
            self._rules.append((number, where, str(rule.get('key', '')), index, scale, offset))

    def __bool__(self) -> bool:
        return bool(self._rules)

    def read(self, observation: Any, out: np.ndarray) -> None:
        """Fill ``out`` [dim] where there is a reading."""
        for number, where, key, index, scale, offset in self._rules:
            out[number] = offset + scale * numbers_at(self._section, where, observation, key, index, 1)[0]


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
        self._low, self._high, section = low, high, Section(spec)
        self._rest = np.clip(np.zeros(len(low)), low, high)
        for place, value in section.mapping('rest').items():
            index = self._checked(section, 'rest', place)
            self._rest[index] = section.number(value, f'rest.{place}', positive=False)
        given = section.mapping('action', spec.joint_names)
        self._rules = []
        for number, joint in enumerate(spec.joints):
            where = f'action.{joint.name}'
            if joint.name not in given:
                raise section.error(
                    f'{where} is missing; say which entry of the action moves it: {{index: 0}}'
                )
            keys = ('index', 'kind', 'scale', 'damping', 'values')
            rule = section.mapping(where, keys, given[joint.name])
            index = self._checked(section, where, rule.get('index'))
            kind = rule.get('kind', 'relative')
            if kind not in KINDS:
                raise section.error(f'{where}.kind {kind!r} is unknown; use one of {KINDS}')
            if kind == 'relative':
                scale = section.number(rule.get('scale', 1.0), f'{where}.scale', positive=False)
                if scale == 0:
                    raise section.error(f'{where}.scale must not be 0')
                damping = section.number(rule.get('damping', 0.0), f'{where}.damping', positive=False)
                self._rules.append((number, index, 1 / scale, 0.0, damping, True))
                continue
            first, second = section.pair(rule.get('values', (low[index], high[index])), f'{where}.values')
            slope = (second - first) / (joint.upper - joint.lower)
            self._rules.append((number, index, slope, first - slope * joint.lower, 0.0, False))

    def _checked(self, section: Section, where: str, index: Any) -> int:
        size = len(self._low)
        if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < size:
            raise section.error(f'{where}: index {index!r} is none of the {size} entries of the action')
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
