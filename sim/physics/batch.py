# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Many simulations on MuJoCo's own thread pool (``mujoco.batch``, MuJoCo 3.17 and later)."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import mujoco
import numpy as np

from apprentice.sim.physics.base import STATE, update_poses
from apprentice.sim.physics.threads import BAD

# poses and velocities after a step; computing accelerations would touch the solver's warm start
_CURRENT = int(mujoco.mjtStage.mjSTAGE_VEL)
_NUMBER = 1  # column of Batch.warning: how often, after the last object concerned


def available() -> bool:
    """Whether this MuJoCo has ``mujoco.batch``."""
    try:
        import mujoco.batch  # noqa: F401
    except ImportError:
        return False
    return True


class BatchPhysics:
    """See :class:`~apprentice.sim.physics.base.Physics`. Equal to the bit to :mod:`.threads`.

    One MjData a simulation is kept, so that computing the poses after a step costs nothing: the next step
    goes on from them.
    """

    def __init__(self, model: mujoco.MjModel, count: int, threads: int = 0):
        import mujoco.batch

        model.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_AUTORESET)
        self.model, self.count = model, count
        self._batch = mujoco.batch.Batch(model, nsim=count, nthread=threads, persistent=True)
        shown = copy.copy(model)
        self._shown = shown, mujoco.MjData(shown)
        self._bound: set[str] = set()
        self._expanded: dict[str, np.ndarray] = {}
        self._bad = [int(kind) for kind in BAD]
        self.failed = np.zeros(count, bool)
        self.forward(range(count))

    def read(self, name: str) -> np.ndarray:
        values = self._batch.bind(name)
        if name not in self._bound:
            self._bound.add(name)
            self.forward(range(self.count))  # a derived field bound between calls is zero until the next one
        return values

    def write(self, name: str, index: int | Sequence[int], values: np.ndarray, sims: Sequence[int]) -> None:
        rows = np.asarray(sims)
        columns = np.asarray(index)
        field = self._batch.bind(name)
        field[rows if columns.ndim == 0 else rows[:, None], columns] = values

    def write_model(self, name: str, index: int, value: np.ndarray, sim: int) -> None:
        if name not in self._expanded:
            self._expanded[name] = self._batch.expand(name)
        self._expanded[name][sim, index] = value

    def reset(self, sims: Sequence[int]) -> None:
        rows = np.asarray(sims)
        for name, values in self._expanded.items():
            values[rows] = getattr(self.model, name)
        self._batch.warning[rows] = 0
        self.failed[rows] = False
        self._batch.reset(rows, stage=_CURRENT)

    def step(self, substeps: int, sims: Sequence[int] | None = None) -> None:
        ids = None if sims is None and not self.failed.any() else self._alive(sims)
        if ids is not None and not len(ids):
            return
        self._batch.step(ids, nstep=substeps, stage=_CURRENT)
        self.failed |= self._batch.warning[:, self._bad, _NUMBER].any(1)

    def _alive(self, sims: Sequence[int] | None) -> np.ndarray:
        chosen = np.arange(self.count) if sims is None else np.asarray(sims)
        return chosen[~self.failed[chosen]]

    def forward(self, sims: Sequence[int]) -> None:
        self._batch.forward(np.asarray(sims), _CURRENT)

    def save(self, sim: int) -> np.ndarray:
        return self._batch.state[sim].copy()

    def restore(self, sim: int, state: np.ndarray) -> None:
        self.reset([sim])
        self._batch.state[sim] = state
        self._batch.forward([sim], stage=_CURRENT)

    def materialize(self, sim: int) -> tuple[mujoco.MjModel, mujoco.MjData]:
        model, data = self._shown  # Batch.get_model would copy the whole model
        for name, values in self._expanded.items():
            getattr(model, name)[:] = values[sim]
        mujoco.mj_setState(model, data, self._batch.state[sim], STATE)
        update_poses(model, data)
        return model, data

    def close(self) -> None:
        del self._batch
