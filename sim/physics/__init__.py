# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Physics engines behind one seam, see :mod:`.base`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from apprentice.robot.parts import load_part
from apprentice.sim.physics import batch
from apprentice.sim.physics.batch import BatchPhysics
from apprentice.sim.physics.threads import ThreadPhysics

if TYPE_CHECKING:
    import mujoco

    from apprentice.sim.physics.base import Physics

# engines of optional packages, imported when asked for
_OPTIONAL = {
    'warp': 'apprentice.sim.physics.warp:WarpPhysics',
    'isaacgym': 'apprentice.sim.isaacgym.physics:IsaacGymPhysics',
}


def make_physics(model: mujoco.MjModel, count: int, threads: int = 0, engine: str = 'auto') -> Physics:
    """An engine for ``count`` simulations of a model.

    Args:
        threads: 0 takes all processors.
        engine: ``batch`` (needs MuJoCo 3.17), ``threads``, ``auto`` (the first for more than one
            simulation where it exists), ``warp`` (MuJoCo Warp, for a GPU), ``isaacgym``
            (see docs/isaacgym.md), or a part ``package.module:Class`` called as (model, count, threads).
    """
    threads = threads or os.cpu_count() or 1
    if engine == 'auto':
        engine = 'batch' if count > 1 and batch.available() else 'threads'
    if engine == 'batch':
        return BatchPhysics(model, count, threads)
    if engine == 'threads':
        return ThreadPhysics(model, count, threads)
    part = _OPTIONAL.get(engine, engine)
    if ':' not in part:
        known = ['auto', 'batch', 'threads', *_OPTIONAL]
        raise ValueError(f'there is no engine {engine!r}; use one of {known}, or package.module:Class')
    return load_part(part)(model, count, threads)
