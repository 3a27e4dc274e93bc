# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What a language model is told of the task: instruction, what is measured, what may be used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

_ABOUT = {
    'tip': 'pose of the tool tip between the fingers; its z axis points out of the hand',
    'opening': 'gripper joint; 0 is closed',
    'joints': 'joint positions, gripper last',
    'joint_velocity': 'joint velocities, gripper last',
}
_UNIT = {'opening': 'm', 'joints': 'rad, gripper m', 'joint_velocity': 'rad/s, gripper m/s'}
POSE = 'pose: x y z (m, base frame, z up), quaternion w x y z'


@dataclass(frozen=True)
class StateName:
    """One measured quantity.

    Attributes:
        size: how many numbers.
        unit: of the numbers, SI; names what they are.
        low, high: [size] smallest and largest value that was seen, empty if unknown.
    """

    name: str
    size: int
    unit: str
    about: str = ''
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


@dataclass(frozen=True)
class RewardTask:
    """The task as the author of a reward sees it.

    Attributes:
        residuals: further residuals, name -> ``package.module:function``.
        notes: what else the author should know, plain text.
    """

    instruction: str
    state: tuple[StateName, ...]
    robot: str = ''
    notes: str = ''
    residuals: dict[str, str] = field(default_factory=dict)

    @property
    def sizes(self) -> dict[str, int]:
        return {each.name: each.size for each in self.state}

    def stubs(self) -> str:
        """The state as a typed Python class with comments."""
        lines = [
            'class State:',
            f'    # robot: {self.robot or "an arm"}; N states at once, numbers in SI units',
        ]
        for each in self.state:
            seen = ''
            if each.low:
                pairs = zip(each.low, each.high, strict=True)
                seen = '; seen: ' + ', '.join(f'{low:.3g} to {high:.3g}' for low, high in pairs)
            about = f'{each.about}; ' if each.about else ''
            lines.append(f'    {each.name}: np.ndarray  # [N, {each.size}] {about}{each.unit}{seen}')
        return '\n'.join(lines)


def described(examples: Mapping[str, np.ndarray]) -> tuple[StateName, ...]:
    """State names of examples, name -> [n, d], with the ranges that occur in them."""
    found = []
    for name, values in examples.items():
        flat = np.reshape(values, (-1, np.shape(values)[-1])).astype(float)
        size = flat.shape[1]
        unit = _UNIT.get(name, POSE if size == 7 else 'm' if size == 3 else 'SI units')
        low, high = flat.min(axis=0), flat.max(axis=0)
        found.append(
            StateName(name, size, unit, _ABOUT.get(name, ''), tuple(map(float, low)), tuple(map(float, high)))
        )
    return tuple(found)
