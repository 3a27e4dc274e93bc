# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The robot file: joints, limits, cameras and topic names, read once and used by every node.

A robot is described in one YAML file. Policy, gate, recorder and simulator all read the same
file, so that a joint order or a limit has exactly one definition.
"""

from __future__ import annotations

import dataclasses
import difflib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

COMMAND_TYPES = ('joint_trajectory', 'forward_position')


class RobotFileError(ValueError):
    """The robot file is wrong; the message names the file, the field and the remedy."""


@dataclass(frozen=True)
class JointSpec:
    """One commanded joint. Units: rad and rad/s for revolute joints, m and m/s for prismatic ones.

    ``lower`` and ``upper`` are the limits the gate enforces; ``velocity`` the largest speed of the
    setpoint; ``jump`` the largest distance between the setpoint and the measured position.
    A reset ends at ``home``, or at most ``spread`` from it, by the seed of the episode: a policy that knows
    one posture to begin in reads the way from the joints and not from the images.
    ``gripper`` marks the joint that opens and closes the hand (``upper`` is open).
    """

    name: str
    lower: float
    upper: float
    velocity: float
    jump: float
    home: float
    gripper: bool = False
    spread: float = 0.0


@dataclass(frozen=True)
class CameraSpec:
    """One RGB camera. ``width`` and ``height`` are pixels, ``rate_hz`` the nominal frame rate."""

    name: str
    topic: str
    width: int
    height: int
    rate_hz: float
    frame_id: str = ''
    max_age_s: float = 0.5


@dataclass(frozen=True)
class CommandSpec:
    """How commands reach the controller: ``joint_trajectory`` or ``forward_position`` on ``topic``."""

    type: str = 'joint_trajectory'
    topic: str = 'arm_controller/joint_trajectory'


@dataclass(frozen=True)
class RobotSpec:
    """Everything a node needs to know about one robot.

    Attributes:
        name: identifies the embodiment; weights trained for another name are refused.
        joints: commanded joints, in the order of every vector in this package.
        control_hz: rate of the gate and of the joint states it expects.
        action_dt: seconds between rows of an action chunk.
        kinematics: model and tool of the arm for driving it by hand in Cartesian space, where there is no
            ``simulator`` section or another model is meant; its keys are those of docs/teleoperation.md.
        folder: where the file lies, filled in by :meth:`load`; relative paths in the file start there.
    """

    name: str
    joints: tuple[JointSpec, ...]
    cameras: tuple[CameraSpec, ...]
    control_hz: float = 50.0
    action_dt: float = 0.1
    base_frame: str = 'base_link'
    joint_states_topic: str = 'joint_states'
    command: CommandSpec = field(default_factory=CommandSpec)
    simulator: dict[str, Any] = field(default_factory=dict)
    kinematics: dict[str, Any] = field(default_factory=dict)
    folder: str = field(default='', compare=False)

    @property
    def joint_names(self) -> tuple[str, ...]:
        return tuple(joint.name for joint in self.joints)

    @property
    def dim(self) -> int:
        """Number of commanded joints, gripper included."""
        return len(self.joints)

    def vector(self, attribute: str) -> np.ndarray:
        """One attribute of all joints as float64 [dim], e.g. ``spec.vector('lower')``."""
        return np.array([getattr(joint, attribute) for joint in self.joints], dtype=np.float64)

    def start_posture(self, seed: int | np.random.Generator) -> np.ndarray:
        """Where the episode of a seed begins: within ``spread`` of home and the limits, float64 [dim]."""
        spread = self.vector('spread')
        posture = self.vector('home') + np.random.default_rng(seed).uniform(-spread, spread)
        return np.clip(posture, self.vector('lower'), self.vector('upper'))

    @property
    def gripper_mask(self) -> np.ndarray:
        """bool [dim], true where the joint is the gripper."""
        return np.array([joint.gripper for joint in self.joints])

    def with_task(self, task: str) -> RobotSpec:
        """The same robot at another simulated task, by its name or as a part; itself if that is empty."""
        if not task:
            return self
        return dataclasses.replace(self, simulator={**self.simulator, 'task': task})

    def camera(self, name: str) -> CameraSpec:
        for camera in self.cameras:
            if camera.name == name:
                return camera
        known = ', '.join(c.name for c in self.cameras) or 'none'
        raise RobotFileError(f'robot {self.name!r} has no camera {name!r}; it has: {known}')

    @classmethod
    def load(cls, path: str | Path) -> RobotSpec:
        """Read and check a robot file. Raises RobotFileError naming the file, field and remedy."""
        path = Path(path)
        try:
            data = yaml.safe_load(path.read_text())
        except FileNotFoundError:
            raise RobotFileError(
                f'robot file {path} does not exist; pass robot:=<file>, '
                'or copy robots/sim_arm.yaml and edit it'
            ) from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise RobotFileError(f'robot file {path} is not valid YAML: {error}') from None
        if not isinstance(data, dict):
            raise RobotFileError(f'robot file {path} must be a mapping with name, joints, cameras')
        try:
            return cls.from_dict({**data, 'folder': str(path.resolve().parent)})
        except RobotFileError as error:
            raise RobotFileError(f'{path}: {error}') from None

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> RobotSpec:
        """Build a specification from plain data; the same checks as :meth:`load`."""
        data = dict(data)
        data['joints'] = tuple(
            _build(JointSpec, item, f'joints[{i}]') for i, item in enumerate(_items(data, 'joints'))
        )
        data['cameras'] = tuple(
            _build(CameraSpec, item, f'cameras[{i}]') for i, item in enumerate(_items(data, 'cameras'))
        )
        if 'command' in data:
            data['command'] = _build(CommandSpec, data['command'], 'command')
        spec = _build(cls, data, 'robot')
        spec._check()
        return spec

    def _check(self) -> None:
        if not self.joints:
            raise RobotFileError('joints is empty; list at least one joint')
        for kind, names in (
            ('joint', self.joint_names),
            ('camera', tuple(c.name for c in self.cameras)),
        ):
            twice = {n for n in names if names.count(n) > 1}
            if twice:
                raise RobotFileError(f'{kind} names must be unique; twice: {sorted(twice)}')
        for joint in self.joints:
            values = (joint.lower, joint.upper, joint.velocity, joint.jump, joint.home, joint.spread)
            if not np.all(np.isfinite(values)):
                raise RobotFileError(f'joint {joint.name}: limits must be finite numbers')
            if joint.lower >= joint.upper:
                raise RobotFileError(
                    f'joint {joint.name}: lower {joint.lower} is not below upper {joint.upper}'
                )
            if joint.velocity <= 0 or joint.jump <= 0:
                raise RobotFileError(f'joint {joint.name}: velocity and jump must be positive')
            if joint.spread < 0:
                raise RobotFileError(f'joint {joint.name}: spread {joint.spread} is negative; give 0 or more')
            if not joint.lower <= joint.home <= joint.upper:
                raise RobotFileError(
                    f'joint {joint.name}: home {joint.home} lies outside its limits '
                    f'[{joint.lower}, {joint.upper}]'
                )
        for camera in self.cameras:
            if camera.width <= 0 or camera.height <= 0 or camera.rate_hz <= 0:
                raise RobotFileError(f'camera {camera.name}: width, height, rate_hz must be > 0')
        if self.control_hz <= 0 or self.action_dt <= 0:
            raise RobotFileError('control_hz and action_dt must be positive')
        if not isinstance(self.kinematics, dict):
            raise RobotFileError(f'kinematics is {self.kinematics!r}; give a mapping with model and tip')
        if self.command.type not in COMMAND_TYPES:
            raise RobotFileError(f'command.type {self.command.type!r} is unknown; use one of {COMMAND_TYPES}')


def _items(data: dict[str, Any], key: str) -> list[Any]:
    if key not in data:
        raise RobotFileError(f'{key} is missing; see robots/sim_arm.yaml for an example')
    if not isinstance(data[key], (list, tuple)):
        raise RobotFileError(f'{key} must be a list')
    return list(data[key])


def _build(cls: type, item: Any, where: str) -> Any:
    """Make a dataclass of a mapping; unknown, missing or ill-typed fields raise RobotFileError."""
    if dataclasses.is_dataclass(item):
        return item
    if not isinstance(item, dict):
        raise RobotFileError(f'{where} must be a mapping, got {type(item).__name__}')
    fields = {f.name: f for f in dataclasses.fields(cls)}
    for key in item:
        if key not in fields:
            close = difflib.get_close_matches(str(key), fields, n=1)
            hint = f'; did you mean {close[0]!r}?' if close else f'; known: {sorted(fields)}'
            raise RobotFileError(f'{where}: unknown field {key!r}{hint}')
    missing = [
        f.name
        for f in fields.values()
        if f.default is dataclasses.MISSING
        and f.default_factory is dataclasses.MISSING
        and f.name not in item
    ]
    if missing:
        raise RobotFileError(f'{where}: missing {", ".join(missing)}')
    converted = {key: _convert(fields[key].type, value, f'{where}.{key}') for key, value in item.items()}
    return cls(**converted)


def _convert(annotation: Any, value: Any, where: str) -> Any:
    kinds = {'float': float, 'int': int, 'str': str, 'bool': bool}
    kind = kinds.get(str(annotation))
    if kind is None:
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        raise RobotFileError(f'{where}: expected {kind.__name__}, got {value!r}')
    return value
