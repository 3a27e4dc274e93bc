# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Named residuals, of which reward terms are made: measured on the state, before the target is taken off.

A residual is a function of the state (name -> [N, d], names as in ScoreRequest.state) and of the names it is
about; it returns [N, k]. Poses are [7]: position (m, base frame), quaternion wxyz. The set is open: anybody's
function joins it by its reference ``package.module:function``, see :func:`catalogue`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from apprentice.reward_models.base import RewardModelError
from apprentice.robot.parts import load_part

State = Mapping[str, np.ndarray]
TIP, OPENING, JOINTS, VELOCITY = 'tip', 'opening', 'joints', 'joint_velocity'


@dataclass(frozen=True)
class Residual:
    r"""A function (state, \*names) -> [N, k] and how it is used.

    Attributes:
        reference: ``package.module:function``.
        arguments: how many names of the state it takes.
        about: the first line of its text, with units; the language model reads it.
        reads: names of the state it always needs.
    """

    function: Callable[..., np.ndarray]
    reference: str
    arguments: int
    about: str
    reads: tuple[str, ...] = ()


def distance(state: State, first: str, second: str) -> np.ndarray:
    """Distance between two things (m), 1 number; e.g. tip and an object."""
    return np.linalg.norm(_place(state, first) - _place(state, second), axis=1, keepdims=True)


def horizontal_distance(state: State, first: str, second: str) -> np.ndarray:
    """Distance between two things seen from above (m), 1 number."""
    return np.linalg.norm((_place(state, first) - _place(state, second))[:, :2], axis=1, keepdims=True)


def offset(state: State, first: str, second: str) -> np.ndarray:
    """Position of the first thing less that of the second (m), 3 numbers x y z."""
    return _place(state, first) - _place(state, second)


def position(state: State, thing: str) -> np.ndarray:
    """Position of a thing (m, base frame, z up), 3 numbers x y z."""
    return _place(state, thing)


def height(state: State, thing: str) -> np.ndarray:
    """Height of a thing's centre above the table (m), 1 number."""
    return _place(state, thing)[:, 2:]


def upright(state: State, thing: str) -> np.ndarray:
    """Cosine between a thing's z axis and up, 1 number: 1 upright, -1 upside down (a tip pointing down)."""
    pose = _pose(state, thing)
    return 1.0 - 2.0 * (pose[:, 4:5] ** 2 + pose[:, 5:6] ** 2)


def heading(state: State, thing: str) -> np.ndarray:
    """Where a thing's x axis points seen from above, 2 numbers: cosine and sine of its yaw."""
    w, x, y, z = _pose(state, thing)[:, 3:7].T
    yaw = np.arctan2(2 * (w * z + x * y), 1 - 2 * (y**2 + z**2))
    return np.stack([np.cos(yaw), np.sin(yaw)], axis=1)


def gripper_opening(state: State) -> np.ndarray:
    """Position of the gripper joint (m, or the unit of the robot file), 1 number; 0 is closed."""
    return state[OPENING]


def posture(state: State) -> np.ndarray:
    """Joint positions in the order of the robot file (rad), one number a joint, gripper last."""
    return state[JOINTS]


def joint_velocity(state: State) -> np.ndarray:
    """Joint velocities in the order of the robot file (rad/s), one number a joint."""
    return state[VELOCITY]


def _pose(state: State, name: str) -> np.ndarray:
    found = state[name]
    if found.shape[1] != 7:
        raise RewardModelError(f'{name!r} has {found.shape[1]} numbers, not a pose of 7; name a thing')
    return found


def _place(state: State, name: str) -> np.ndarray:
    found = state[name]
    if found.shape[1] not in (3, 7):
        raise RewardModelError(f'{name!r} has {found.shape[1]} numbers, not a position; name a thing')
    return found[:, :3]


_OURS = (
    distance, horizontal_distance, offset, position, height, upright, heading, gripper_opening, posture,
    joint_velocity,
)  # fmt: skip
_READS = {'gripper_opening': (OPENING,), 'posture': (JOINTS,), 'joint_velocity': (VELOCITY,)}


def catalogue(more: Mapping[str, str] | None = None) -> dict[str, Residual]:
    """All residuals a program may use, by name: those of this file and ``more``.

    Args:
        more: name -> ``package.module:function``, as a robot or task declares them. They come from the
            user, never from the language model: naming one imports its module.

    Raises ImportError for a reference that is not there and RewardModelError for what is no residual: a
    function whose first argument is ``state``, and the others plain ones. So a folder cannot name any
    function at all, such as one that starts a program.
    """
    found = {f.__name__: _described(f, f'{__name__}:{f.__name__}') for f in _OURS}
    for name, reference in (more or {}).items():
        function = load_part(reference)
        found[name] = _described(function, reference)
    return found


def _described(function: Callable[..., np.ndarray], reference: str) -> Residual:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    plain = all(each.kind == inspect.Parameter.POSITIONAL_OR_KEYWORD for each in parameters)
    if not parameters or parameters[0].name != 'state' or not plain:
        raise RewardModelError(
            f'{reference} is not a residual; write a function (state, name, ...) -> [N, k]'
        )
    arguments = len(parameters) - 1
    about = (inspect.getdoc(function) or reference).partition('\n')[0]
    reads = tuple(getattr(function, 'reads', _READS.get(function.__name__, ())))
    return Residual(function, reference, arguments, about, reads)
