# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Which axis and which button of a device means what: a YAML file a device, and how it is applied."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

from apprentice.robot.parts import share
from apprentice.robot.settings import SettingsError, from_dict
from apprentice.robot.teleop import EVENTS, LARGEST_SPEED, TeleopCommand, shaped

_HELD = 0.5  # an axis or a button beyond this is pressed


class MappingError(ValueError):
    """A mapping file is wrong; the message names the file, the key and the remedy."""


@dataclass(frozen=True)
class AxisMap:
    """Where one motion comes from: an axis, or two buttons (or triggers).

    Attributes:
        axis: name or number of the axis.
        invert: turn its sign round.
        plus, minus: a button or trigger for either direction, instead of ``axis``.
        rest: for triggers as ``plus`` and ``minus``: the value of an axis that is let go, -1 or 1. Such an
            axis counts only after it was seen there, because some drivers say 0 before it is first touched.
    """

    axis: Any = None
    invert: bool = False
    plus: Any = None
    minus: Any = None
    rest: float = 0.0


@dataclass(frozen=True)
class Axes:
    """The six motions of the tool in its frame, and the gripper (plus opens)."""

    x: AxisMap | None = None
    y: AxisMap | None = None
    z: AxisMap | None = None
    roll: AxisMap | None = None
    pitch: AxisMap | None = None
    yaw: AxisMap | None = None
    gripper: AxisMap | None = None


@dataclass(frozen=True)
class Buttons:
    """Lists of buttons; any of a list will do. ``motion`` as a button means: any axis is moved.

    ``hold`` is the dead-man. ``fast`` lifts the slow speed. ``clutch`` decouples the device while it is held.
    ``toggle_gripper`` opens or closes; the others are labels and commands, see docs/teleoperation.md.
    """

    hold: tuple[Any, ...] = ()
    fast: tuple[Any, ...] = ()
    clutch: tuple[Any, ...] = ()
    toggle_gripper: tuple[Any, ...] = ()
    success: tuple[Any, ...] = ()
    failure: tuple[Any, ...] = ()
    discard: tuple[Any, ...] = ()
    record: tuple[Any, ...] = ()
    stop: tuple[Any, ...] = ()


@dataclass(frozen=True)
class DeviceMapping:
    """A mapping file.

    Attributes:
        device: what reads the device, as ``package.module:Class``.
        name: name of the file, filled in.
        options: of that class.
        frame: what the motions refer to: the robot's ``base``, or the ``tool``.
        timeout_s: silence after which the dead-man counts as released.
        max_age_s: a message stamped longer ago is not heard; 0: stamps are not looked at.
        linear_speed, angular_speed, joint_speed: at full deflection with ``fast``: m/s, rad/s, rad/s.
        slow: share of these without ``fast``. Without a button for it, all speeds are ``fast``.
        dead_zone, expo: see :func:`apprentice.robot.teleop.shaped`.
        motion_hold_s: how long ``motion`` outlasts the motion.
    """

    device: str
    name: str = ''
    options: Any = None
    frame: Literal['base', 'tool'] = 'base'
    timeout_s: float = 0.5
    max_age_s: float = 0.5
    linear_speed: float = 0.2
    angular_speed: float = 0.8
    joint_speed: float = 0.5
    slow: float = 0.3
    dead_zone: float = 0.1
    expo: float = 0.5
    motion_hold_s: float = 0.5
    axes: Axes = field(default_factory=Axes)
    buttons: Buttons = field(default_factory=Buttons)

    @classmethod
    def load(cls, name: str) -> DeviceMapping:
        """A shipped mapping by its name (``xbox``), or a file. Raises MappingError."""
        path = find_mapping(name)
        try:
            data = yaml.safe_load(path.read_text())
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise MappingError(f'mapping {path} cannot be read: {error}') from None
        try:
            return cls.from_dict({'name': path.stem, **data} if isinstance(data, dict) else data)
        except MappingError as error:
            raise MappingError(f'mapping {path}: {error}') from None

    @classmethod
    def from_dict(cls, data: Any) -> DeviceMapping:
        """From plain data; the same checks as :meth:`load`."""
        if not isinstance(data, dict) or 'device' not in data:
            raise MappingError('device is missing; name what reads it, see teleop/joy.yaml')
        try:
            mapping = from_dict(cls, data)
        except SettingsError as error:
            raise MappingError(str(error)) from None
        mapping._check()
        return mapping

    def references(self) -> Iterator[str]:
        """Names of all axes and buttons that the mapping reads, without ``motion``."""
        for _, axis in self.motions():
            yield from (str(name) for name in (axis.axis, axis.plus, axis.minus) if name is not None)
        for button in dataclasses.fields(Buttons):
            yield from (str(name) for name in getattr(self.buttons, button.name) if name != 'motion')

    def motions(self) -> Iterator[tuple[str, AxisMap]]:
        """The motions that are mapped."""
        for entry in dataclasses.fields(Axes):
            axis = getattr(self.axes, entry.name)
            if axis is not None:
                yield entry.name, axis

    def _check(self) -> None:
        positive = ('timeout_s', 'linear_speed', 'angular_speed', 'joint_speed', 'slow')
        for key in (*positive, 'max_age_s', 'dead_zone', 'expo', 'motion_hold_s'):
            value = getattr(self, key)
            if not math.isfinite(value) or value < 0 or (value == 0 and key in positive):
                raise MappingError(f'{key} is {value}; give a positive number')
        for key, largest in (
            ('timeout_s', 2.0),
            ('linear_speed', LARGEST_SPEED),
            ('slow', 1.0),
            ('dead_zone', 0.9),
            ('expo', 1.0),
            ('motion_hold_s', 2.0),
        ):
            if getattr(self, key) > largest:
                raise MappingError(f'{key} is {getattr(self, key)}; {largest} at most')
        if not isinstance(self.options, (dict, type(None))):
            raise MappingError(f'options is {self.options!r}; give a mapping')
        for name, axis in self.motions():
            if (axis.axis is None) == (axis.plus is None and axis.minus is None):
                raise MappingError(f'axes.{name}: name an axis, or plus and minus')
            if axis.rest not in (-1.0, 0.0, 1.0) or (axis.rest and axis.axis is not None):
                raise MappingError(f'axes.{name}.rest is -1 or 1, and only for triggers as plus and minus')
        if not self.buttons.hold and 'buttons' not in (self.options or {}):
            raise MappingError('buttons.hold is empty; name the dead-man, without it nothing may move')


def find_mapping(name: str) -> Path:
    """A shipped mapping by its name, or a file. Raises MappingError, which lists the shipped ones."""
    path = Path(name).expanduser()
    if path.is_file():
        return path
    try:
        if len(path.parts) == 1:
            return share('teleop', f'{name.removesuffix(".yaml")}.yaml')
    except FileNotFoundError:
        pass
    raise MappingError(f'no mapping {name!r}; give a file, or one that is shipped: {", ".join(shipped())}')


def shipped() -> list[str]:
    """Names of the mappings that come with this package."""
    return sorted(file.stem for file in share('teleop').glob('*.yaml'))


class Translator:
    """Applies a mapping to what a device reads. One a device: it remembers what was pressed before."""

    def __init__(self, mapping: DeviceMapping) -> None:
        self.mapping = mapping
        self._pressed: frozenset[str] | None = None
        self._rested: set[str] = set()
        self._moved_at = -math.inf

    def command(
        self, axes: Mapping[str, float], buttons: Mapping[str, bool], stamp: float, now: float
    ) -> TeleopCommand:
        """What the device says.

        Args:
            axes: name or number -> deflection in [-1, 1]; anything else is cut, what is not finite is 0.
            buttons: likewise; what is missing is not pressed.
            stamp: as in TeleopCommand.
            now: a monotonic clock [s].
        """
        motion = {name: self._motion(axis, axes, buttons) for name, axis in self.mapping.motions()}
        if any(motion.values()):
            self._moved_at = now

        def pressed(name: str) -> bool:
            return any(
                self._button(button, axes, buttons, now) for button in getattr(self.mapping.buttons, name)
            )

        mapping = self.mapping
        scale = 1.0 if pressed('fast') or not mapping.buttons.fast else mapping.slow
        six = scale * np.array([motion.get(key, 0.0) for key in ('x', 'y', 'z', 'roll', 'pitch', 'yaw')])
        down = frozenset(event for event in EVENTS if pressed(event))
        events = down - (down if self._pressed is None else self._pressed)
        self._pressed = down
        return TeleopCommand(
            stamp=stamp,
            held=pressed('hold'),
            clutch=pressed('clutch'),
            linear=six[:3] * mapping.linear_speed,
            angular=six[3:] * mapping.angular_speed,
            frame=mapping.frame,
            joint_velocity=six * mapping.joint_speed,
            gripper=motion.get('gripper', 0.0),
            events=events,
        )

    def stop(self, axes: Mapping[str, float], buttons: Mapping[str, bool]) -> bool:
        """Whether stop was pressed in a message that is too old for anything else; arguments as above."""
        down = any(self._button(button, axes, buttons, -math.inf) for button in self.mapping.buttons.stop)
        # before the first message all count as pressed: what was not seen released is no press
        before = frozenset(EVENTS) if self._pressed is None else self._pressed
        self._pressed = before | {'stop'} if down else before - {'stop'}
        return down and 'stop' not in before

    def forget(self) -> None:
        """The device was unplugged: what it says next is a beginning."""
        self._pressed, self._moved_at = None, -math.inf
        self._rested.clear()

    def _motion(self, axis: AxisMap, axes: Mapping[str, float], buttons: Mapping[str, bool]) -> float:
        if axis.axis is not None:
            value = _finite(axes.get(str(axis.axis), 0.0))
        else:
            value = self._push(axis.plus, axis.rest, axes, buttons)
            value -= self._push(axis.minus, axis.rest, axes, buttons)
        return shaped(-value if axis.invert else value, self.mapping.dead_zone, self.mapping.expo)

    def _push(self, name: Any, rest: float, axes: Mapping[str, float], buttons: Mapping[str, bool]) -> float:
        """How far a button or trigger is pressed, in [0, 1]."""
        key = str(name)
        if name is None:
            return 0.0
        if rest == 0.0 or key not in axes:
            return float(bool(buttons.get(key, False)) or _finite(axes.get(key, 0.0)) > _HELD)
        value = _finite(axes[key])
        if abs(value - rest) < 0.1:
            self._rested.add(key)
        return abs(value - rest) / 2 if key in self._rested else 0.0

    def _button(self, name: Any, axes: Mapping[str, float], buttons: Mapping[str, bool], now: float) -> bool:
        key = str(name)
        if key == 'motion':
            return now - self._moved_at <= self.mapping.motion_hold_s
        return bool(buttons.get(key, False)) if key in buttons else _finite(axes.get(key, 0.0)) > _HELD


def _finite(value: float) -> float:
    """The value in [-1, 1]; 0 for what is not a finite number."""
    return float(np.clip(value, -1.0, 1.0)) if np.isfinite(value) else 0.0
