# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A shelf under the table for things that a start does not use: a compiled scene always has all of them."""

from __future__ import annotations

import mujoco
import numpy as np

from apprentice.sim.tasks.things import upright

TOP = -0.4  # m, out of sight of cameras above the table
COLUMNS, SPACING, CORNER = 3, 0.12, (0.13, -0.12)  # places on the shelf, m


def add_shelf(model: mujoco.MjSpec) -> None:
    """Add the shelf: a plane, whose contacts are the cheapest, and without friction, one constraint each.

    It is drawn small but is endless, so it also catches what falls off the table.
    """
    model.worldbody.add_geom(
        name='shelf',
        type=mujoco.mjtGeom.mjGEOM_PLANE,
        size=[0.2, 0.2, 0.1],
        pos=[CORNER[0] + SPACING, CORNER[1] + SPACING, TOP],
        condim=1,
        priority=1,
        rgba=[0.3, 0.3, 0.3, 1],
    )


def shelved(place: int, height: float) -> np.ndarray:
    """Free joint position [7] on a numbered place of the shelf, the centre ``height`` (m) above it."""
    row, column = divmod(place, COLUMNS)
    return upright(np.array(CORNER) + SPACING * np.array([row, column]), TOP + height)
