# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""How somebody else's data names and measures what the robot file names: cameras, joints, their units.

LeRobot datasets and policies call an image ``observation.images.<name>``, the joints ``observation.state``
and the targets ``action``; arms of LeRobot count in degrees, ours in radians. A mapping says what differs;
without one the names of the robot file are expected as they are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import yaml

from apprentice.robot.resize import METHODS
from apprentice.robot.settings import SettingsError, from_dict
from apprentice.robot.spec import RobotSpec


@dataclass(frozen=True)
class VectorMap:
    """Between a vector of theirs and one of the robot file.

    Attributes:
        columns: for each joint, where it is in their vector, int [dim].
        scale, offset: ours = theirs * scale + offset, float64 [dim].
        width: length of their vector.
    """

    columns: np.ndarray
    scale: np.ndarray
    offset: np.ndarray
    width: int

    def to_robot(self, theirs: np.ndarray) -> np.ndarray:
        """[..., width] to [..., dim] in the robot's units."""
        return theirs[..., self.columns] * self.scale + self.offset

    def from_robot(self, ours: np.ndarray) -> np.ndarray:
        """[..., dim] to [..., width]. Elements that no joint fills are 0."""
        theirs = np.zeros((*ours.shape[:-1], self.width))
        theirs[..., self.columns] = (ours - self.offset) / self.scale
        return theirs


@dataclass(frozen=True)
class FeatureMapping:
    """What is named or measured in another way than in the robot file.

    Attributes:
        cameras: camera of the robot file -> feature; others are ``observation.images.<camera>``.
        state, action: features of the joint positions and of the joint targets.
        joints: joint of the robot file -> name in their vectors; others have the same name. Once there are
            any, elements of their vectors that are no joint are left out, otherwise they are an error.
        names: of the elements of their vectors, in order, where they do not say it themselves.
        scale: joint -> number that their value is multiplied with, or ``degrees``.
        offset: joint -> number that is added after that, in the robot's unit.
        resize: what to do with images of another size: '' refuses, ``stretch``, ``pad`` with black.
    """

    cameras: dict = field(default_factory=dict)
    state: str = 'observation.state'
    action: str = 'action'
    joints: dict = field(default_factory=dict)
    names: tuple[str, ...] = ()
    scale: dict = field(default_factory=dict)
    offset: dict = field(default_factory=dict)
    resize: str = ''

    def __post_init__(self) -> None:
        if self.resize not in METHODS:
            raise SettingsError(f'resize is {self.resize!r}; use one of {list(METHODS)}')
        for what in ('cameras', 'joints'):
            for key, value in getattr(self, what).items():
                if not isinstance(key, str) or not isinstance(value, str):
                    raise SettingsError(f'{what} has {key!r}: {value!r}; give names')
        for what in ('scale', 'offset'):
            for joint, value in getattr(self, what).items():
                number = isinstance(value, (int, float)) and not isinstance(value, bool)
                finite = number and math.isfinite(value)
                if not ((finite and (value or what == 'offset')) or (what == 'scale' and value == 'degrees')):
                    raise SettingsError(f'{what} of {joint!r} is {value!r}; give a number')

    @classmethod
    def load(cls, path: str | Path) -> FeatureMapping:
        """Read a YAML file. Raises SettingsError for what is wrong in it, OSError if it cannot be read."""
        return from_dict(cls, read_yaml(path), str(path))

    def camera(self, name: str) -> str:
        """The feature with the images of a camera of the robot file."""
        return self.cameras.get(name, f'observation.images.{name}')

    def unknown(self, robot: RobotSpec) -> list[str]:
        """What the mapping says of cameras and joints that the robot does not have."""
        cameras = {camera.name for camera in robot.cameras}
        found = [f'the mapping names a camera {name!r}' for name in self.cameras if name not in cameras]
        for what in ('joints', 'scale', 'offset'):
            strange = sorted(set(getattr(self, what)) - set(robot.joint_names))
            found += [f'the mapping has {what} of {strange}'] if strange else []
        return [f'{text}, which robot {robot.name!r} does not have' for text in found]

    def vector(
        self, robot: RobotSpec, width: int, names: Sequence[str] | None, what: str
    ) -> tuple[VectorMap | None, list[str]]:
        """Where the joints are in a vector of theirs, and every reason why that cannot be said.

        Args:
            width: length of the vector.
            names: of its elements, None where they are not known.
            what: its name in the reasons.
        """
        names = self.names or names
        wanted = [self.joints.get(joint, joint) for joint in robot.joint_names]
        if names is None:
            return None, [
                f'{what} has {width} elements without names, the robot has the joints '
                f'{list(robot.joint_names)}; list the names in their order as `names`'
            ]
        found = []
        if len(names) != width:
            found.append(f'{what} has {width} elements, but {len(names)} names: {list(names)}')
        missing = [name for name in wanted if name not in names]
        extra = [name for name in names if name not in wanted]
        if missing:
            found.append(f'{what} lacks {missing}, it has {list(names)}')
        if extra and not self.joints:
            found.append(f'{what} has {extra}, which robot {robot.name!r} does not have')
        if len(set(names)) != len(names):
            found.append(f'{what} names an element twice: {list(names)}')
        if found:
            return None, found
        columns = np.array([list(names).index(name) for name in wanted])
        return VectorMap(
            columns, self._numbers(robot, 'scale', 1.0), self._numbers(robot, 'offset', 0.0), width
        ), []

    def _numbers(self, robot: RobotSpec, what: str, default: float) -> np.ndarray:
        given = getattr(self, what)
        values = [given.get(joint, default) for joint in robot.joint_names]
        return np.array([math.pi / 180 if value == 'degrees' else value for value in values], np.float64)


def read_yaml(path: str | Path) -> Mapping:
    """The mapping in a YAML file. Raises SettingsError if it holds none, OSError if it cannot be read."""
    try:
        data = yaml.safe_load(Path(path).read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f'{path} is not valid YAML: {error}') from None
    if not isinstance(data, Mapping):
        raise SettingsError(f'{path} holds no mapping')
    return data
