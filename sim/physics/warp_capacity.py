# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Room for contacts: on a GPU arrays do not grow, so MuJoCo Warp is told how many a simulation may have."""

from __future__ import annotations

import mujoco
import numpy as np

from apprentice.sim.physics.warp_kernels import mjw

_FULL = ('NEFC', 'NJMAX_NNZ', 'BROADPHASE', 'NARROWPHASE', 'CCD', 'HFIELD')  # mjw.OverflowType


class CapacityError(RuntimeError):
    """More contacts or constraints than there was room for; the message names the remedy."""

    def __init__(self, arrays: str, contacts: int, constraints: int):
        super().__init__(
            f'too many contacts or constraints at a time ({arrays}): there is room for {contacts} '
            f'contacts and {constraints} constraints a simulation; give the model '
            f'<size nconmax="{2 * contacts}" njmax="{2 * constraints}"/>'
        )


def overflowed(data: mjw.Data) -> str:
    """Names of the arrays that were too small in any simulation; empty if none was."""
    found = int(np.bitwise_or.reduce(data.overflow.numpy()))
    return ', '.join(name for name in _FULL if found & int(getattr(mjw.OverflowType, name, 0)))


def contact_room(model: mujoco.MjModel, warp_model: mjw.Model) -> int:
    """Contacts that a simulation may have: four for each moving geom and some, at most eight a pair."""
    if model.nconmax > 0:
        return int(model.nconmax)
    pairs = warp_model.nxn_geom_pair_filtered.numpy().reshape(-1, 2)
    geoms = np.unique(pairs)
    moving = np.count_nonzero(model.body_weldid[model.geom_bodyid[geoms]]) if geoms.size else 0
    return int(max(1, min(8 * len(pairs), 16 + 4 * moving)))


def constraint_room(model: mujoco.MjModel, contacts: int) -> int:
    """Rows of the constraint solver with all contacts, equalities, limits and frictions at once."""
    if model.njmax > 0:
        return int(model.njmax)
    size = int(max([1, *model.geom_condim, *model.pair_dim]))
    pyramidal = int(model.opt.cone) == int(mujoco.mjtCone.mjCONE_PYRAMIDAL)
    rows = 2 * (size - 1) if pyramidal and size > 1 else size
    limited = np.count_nonzero(model.jnt_limited) + np.count_nonzero(model.tendon_limited)
    friction = np.count_nonzero(model.dof_frictionloss) + np.count_nonzero(model.tendon_frictionloss)
    return int(contacts * rows + 6 * model.neq + limited + friction)
