# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Coloured things on a table that tasks share: their colours, their bodies, and how a start places them."""

from __future__ import annotations

import re
from collections.abc import Sequence

import mujoco
import numpy as np

COLOURS = {
    'red': (0.85, 0.12, 0.1, 1.0),
    'green': (0.1, 0.65, 0.2, 1.0),
    'blue': (0.12, 0.25, 0.85, 1.0),
    'yellow': (0.92, 0.8, 0.1, 1.0),
}
HIDDEN = (0.0, 0.0, 0.0, 0.0)  # a geom of this colour is not drawn
NEGATIONS = frozenset(
    ('not', 'don', 'dont', 'never', 'no', 'nor', 'except', 'but', 'without', 'instead', 'neither')
)
GRIPPY = (1.5, 0.02, 0.001)  # friction of things that fingers hold: sliding, torsional (m), rolling (m)


def words(instruction: str) -> list[str]:
    """The words of an instruction, lower case.

    Raises ValueError for one that says what not to do: tasks look for what is named, so it would be done.
    """
    said = re.findall(r'[a-z]+', instruction.lower())
    negations = [word for word in said if word in NEGATIONS]
    if negations:
        raise ValueError(f'{instruction!r} has the word {negations[0]!r}: say what to do, not what not to do')
    return said


def named_colours(instruction: str) -> list[str]:
    """The colours an instruction names, in their order; may be empty."""
    return [word for word in words(instruction) if word in COLOURS]


def named_colour(instruction: str) -> str:
    """The colour an instruction asks for, the first it names. Raises ValueError if it names none."""
    named = named_colours(instruction)
    if not named:
        raise ValueError(f'{instruction!r} names no colour; use one of {sorted(COLOURS)}')
    return named[0]


def other_colours(rng: np.random.Generator, taken: Sequence[str], count: int) -> list[str]:
    """``count`` different colours that are not ``taken``, in random order."""
    free = [name for name in COLOURS if name not in taken]
    return [str(name) for name in rng.permutation(free)[:count]]


def two_colours(rng: np.random.Generator, named: str) -> list[str]:
    """The colour named and another one; both drawn if ``named`` is empty."""
    return [named, *other_colours(rng, [named], 1)] if named else other_colours(rng, [], 2)


def colour_number(name: str) -> int:
    """Index of a colour in COLOURS; memories hold numbers."""
    return list(COLOURS).index(name)


def colour_name(number: int) -> str:
    """Name of the colour of an index in COLOURS."""
    return list(COLOURS)[int(number)]


def shade(name: str) -> tuple[float, ...]:
    """A colour [4], darker: a red cube is still seen on a red plate."""
    red, green, blue, alpha = COLOURS[name]
    return 0.6 * red, 0.6 * green, 0.6 * blue, alpha


def add_box(
    model: mujoco.MjSpec,
    name: str,
    half_size: Sequence[float],
    *,
    mass: float = 0.05,
    friction: Sequence[float] = GRIPPY,
    priority: int = 0,
) -> mujoco.MjsBody:
    """A box on a free joint; body, joint and geom are called ``name``. White, a start colours it.

    Args:
        half_size: half of the lengths of its sides [3] (m).
        mass: kg.
        friction: sliding, torsional (m), rolling (m).
        priority: of a contact's two geoms the higher one's friction counts; equal: the larger friction.
    """
    body = model.worldbody.add_body(name=name)
    body.add_freejoint(name=name)
    body.add_geom(
        name=name,
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=list(half_size),
        mass=mass,
        friction=list(friction),
        condim=4,
        priority=priority,
        rgba=[1, 1, 1, 1],
    )
    return body


def add_placed(
    model: mujoco.MjSpec, name: str, axes: str = 'xy', *, mass: float = 0.5, damping: float = 300.0
) -> mujoco.MjsBody:
    """A body that stays where a start puts it: marks, plates, bowls. The caller adds geoms, without mass.

    It hangs on slide joints ``{name}_x``, ``{name}_y`` (and ``_z``), stiff by damping (N s/m), because only
    joint positions may differ between simulations; see :func:`placed_at`.
    """
    body = model.worldbody.add_body(name=name, gravcomp=1.0)
    body.mass, body.ipos = mass, [0.0, 0.0, 0.0]
    body.inertia, body.explicitinertial = [1e-3 * mass] * 3, True
    for axis in axes:
        body.add_joint(
            name=f'{name}_{axis}',
            type=mujoco.mjtJoint.mjJNT_SLIDE,
            axis=[float(axis == each) for each in 'xyz'],
            damping=damping,
        )
    return body


def placed_at(name: str, position: Sequence[float] | np.ndarray) -> dict[str, np.ndarray | float]:
    """Joint positions that put a body of :func:`add_placed` at [2 or 3] (m, base frame)."""
    return {f'{name}_{axis}': float(value) for axis, value in zip('xyz', position, strict=False)}


def upright(place: Sequence[float] | np.ndarray, height: float, yaw: float = 0.0) -> np.ndarray:
    """Free joint position [7] of a body that stands at ``place`` [2] (m), its centre ``height`` (m) up."""
    return np.array([*place, height, np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)])


def square_yaw(quaternion: np.ndarray) -> float:
    """How far a cube is turned about the vertical axis (rad), in [-pi/4, pi/4); on whichever face it lies.

    Args:
        quaternion: orientation [4], wxyz.
    """
    matrix = np.empty(9)
    mujoco.mju_quat2Mat(matrix, np.asarray(quaternion, np.float64))
    axes = matrix.reshape(3, 3)
    level = axes[:, int(np.argmin(np.abs(axes[2])))]  # the cube's most horizontal axis
    return float((np.arctan2(level[1], level[0]) + np.pi / 4) % (np.pi / 2) - np.pi / 4)


def yaw_of(rotation: np.ndarray) -> float:
    """How far a hand that points down is turned about the vertical axis (rad), as in Hand.move.

    Args:
        rotation: of the tool [3, 3].
    """
    return float(np.arctan2(-rotation[0, 1], rotation[1, 1]))
