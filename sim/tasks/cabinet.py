# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A low cabinet with two drawers, one above the other; handles are lips that fingers grasp from above.

Its frame: origin on the table in the middle of the front, x along the front, -y the way drawers open.
Lengths in m.
"""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np

WIDTH, DEPTH, HEIGHT = 0.16, 0.12, 0.112
TRAVEL = 0.1  # of a drawer
STANDOFF = 0.052  # of the lip from the front
LIP = 0.005  # half of its thickness, where fingers hold it
DRAWERS = {'top': (-0.035, 0.083), 'bottom': (0.035, 0.0315)}  # name: x of the handle, z of the middle
HANDLE_DROP = 0.002  # of the handle's middle below the drawer's
FRAME, FRONT, METAL = (0.5, 0.55, 0.6, 1.0), (0.7, 0.45, 0.25, 1.0), (0.12, 0.12, 0.14, 1.0)
# It stands where a start puts it because nothing can move these joints in an attempt: only joint positions
# may differ between simulations, a body's place in the model may not.
INERTIA, DAMPING = 1e3, 1e6  # kg and N s/m on the slides; kg m2 and N m s/rad on the hinge


def add_cabinet(model: mujoco.MjSpec) -> None:
    """Add body ``cabinet`` on joints ``cabinet_x``, ``cabinet_y``, ``cabinet_yaw``.

    In it are bodies ``top`` and ``bottom`` on slide joints of these names (0 closed, TRAVEL open), and in
    these ``handle_top`` and ``handle_bottom``.
    """
    cabinet = model.worldbody.add_body(name='cabinet', gravcomp=1.0)
    for axis, direction in (('x', [1, 0, 0]), ('y', [0, 1, 0])):
        cabinet.add_joint(
            name=f'cabinet_{axis}',
            type=mujoco.mjtJoint.mjJNT_SLIDE,
            axis=direction,
            armature=INERTIA,
            damping=DAMPING,
        )
    cabinet.add_joint(
        name='cabinet_yaw',
        type=mujoco.mjtJoint.mjJNT_HINGE,
        axis=[0, 0, 1],
        armature=INERTIA,
        damping=DAMPING,
    )
    side, deep, tall = WIDTH / 2, DEPTH / 2, HEIGHT / 2
    for name, position, half in (
        ('floor', (0, deep, 0.005), (side, deep, 0.003)),
        ('middle', (0, deep, 0.0575), (side, deep, 0.002)),
        ('roof', (0, deep, HEIGHT - 0.003), (side, deep, 0.003)),
        ('left', (-side + 0.003, deep, tall + 0.001), (0.003, deep, tall - 0.001)),
        ('right', (side - 0.003, deep, tall + 0.001), (0.003, deep, tall - 0.001)),
        ('back', (0, DEPTH - 0.003, tall + 0.001), (side, 0.003, tall - 0.001)),
    ):
        _add_board(cabinet, f'cabinet_{name}', position, half, FRAME)
    for name, (x, z) in DRAWERS.items():
        _add_drawer(cabinet, name, x, z)


def _add_drawer(cabinet: mujoco.MjsBody, name: str, x: float, z: float) -> None:
    drawer = cabinet.add_body(name=name, pos=[0, 0, z])
    drawer.add_joint(
        name=name,
        type=mujoco.mjtJoint.mjJNT_SLIDE,
        axis=[0, -1, 0],
        range=[0, TRAVEL],
        damping=20,
        frictionloss=3,
        armature=0.05,
    )
    for part, position, half in (
        ('front', (0, 0.004, 0), (0.072, 0.004, 0.0225)),
        ('floor', (0, 0.056, -0.019), (0.068, 0.05, 0.002)),
        ('left', (-0.068, 0.056, -0.006), (0.002, 0.05, 0.014)),
        ('right', (0.068, 0.056, -0.006), (0.002, 0.05, 0.014)),
        ('back', (0, 0.106, -0.006), (0.068, 0.002, 0.014)),
    ):
        _add_board(drawer, f'{name}_{part}', position, half, FRONT)
    handle = drawer.add_body(name=f'handle_{name}', pos=[x, -STANDOFF, -HANDLE_DROP])
    _add_board(handle, f'{name}_lip', (0, 0, 0), (0.016, LIP, 0.013), METAL, grippy=True)
    _add_board(handle, f'{name}_arm', (0, STANDOFF / 2, -0.016), (0.008, STANDOFF / 2, 0.003), METAL)


def _add_board(
    body: mujoco.MjsBody,
    name: str,
    position: Sequence[float],
    half_size: Sequence[float],
    colour: Sequence[float],
    grippy: bool = False,
) -> None:
    """A box that touches fingers and what lies about, but no other part of the cabinet."""
    body.add_geom(
        name=name,
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=list(half_size),
        pos=list(position),
        mass=0.03,
        friction=[1.5 if grippy else 0.2, 0.02, 0.001],
        priority=1,  # the fingers' friction does not count: they slide off whatever is not a handle
        contype=2,
        conaffinity=1,
        rgba=list(colour),
    )


def standing_at(place: Sequence[float] | np.ndarray, yaw: float) -> dict[str, np.ndarray | float]:
    """Joint positions that put the cabinet at ``place`` [2] (m), turned by ``yaw`` (rad)."""
    return {'cabinet_x': float(place[0]), 'cabinet_y': float(place[1]), 'cabinet_yaw': float(yaw)}


def opened_by(cabinet: np.ndarray, handle: np.ndarray) -> float:
    """How far a drawer is open (m), from the poses [7] of the cabinet and of the drawer's handle."""
    return float((handle[:3] - cabinet[:3]) @ slide_direction(cabinet)) - STANDOFF


def slide_direction(cabinet: np.ndarray) -> np.ndarray:
    """Unit vector [3] along which drawers open, from the cabinet's pose [7]."""
    direction = np.empty(3)
    mujoco.mju_rotVecQuat(direction, np.array([0.0, -1.0, 0.0]), np.asarray(cabinet[3:], np.float64))
    return direction
