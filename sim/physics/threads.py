# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""One MjModel and MjData a simulation, stepped by a pool of threads: for every MuJoCo, and for N = 1."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import mujoco
import numpy as np

from apprentice.sim.physics.base import PER_SIMULATION, STATE, update_poses

_WARNING = mujoco.mjtWarning
BAD = tuple(int(kind) for kind in (_WARNING.mjWARN_BADQPOS, _WARNING.mjWARN_BADQVEL, _WARNING.mjWARN_BADQACC))


class ThreadPhysics:
    """See :class:`~apprentice.sim.physics.base.Physics`. The engine releases the GIL while it steps."""

    def __init__(self, model: mujoco.MjModel, count: int = 1, threads: int = 1):
        # a diverged simulation must stay visible instead of starting over by itself
        model.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_AUTORESET)
        self.model, self.count = model, count
        self._models = [copy.copy(model) for _ in range(count)]
        self._data = [mujoco.MjData(model) for _ in range(count)]
        self._read: dict[str, np.ndarray] = {}  # copies made since something changed
        self.failed = np.zeros(count, bool)
        self._threads = max(1, min(threads, count))
        self._pool = ThreadPoolExecutor(self._threads, 'physics') if self._threads > 1 else None
        self.forward(range(count))

    def read(self, name: str) -> np.ndarray:
        if self.count == 1:
            return np.asarray(getattr(self._data[0], name))[None]  # time is a plain number
        if name not in self._read:  # tasks look at the same fields many times a step
            self._read[name] = np.stack([getattr(data, name) for data in self._data])
        return self._read[name]

    def write(self, name: str, index: int | Sequence[int], values: np.ndarray, sims: Sequence[int]) -> None:
        self._read.pop(name, None)
        rows = np.broadcast_to(values, (len(sims), *np.shape(index)))
        for sim, row in zip(sims, rows, strict=True):
            getattr(self._data[sim], name)[index] = row

    def write_model(self, name: str, index: int, value: np.ndarray, sim: int) -> None:
        getattr(self._models[sim], name)[index] = value

    def reset(self, sims: Sequence[int]) -> None:
        self._read.clear()
        for sim in sims:
            for name in PER_SIMULATION:
                getattr(self._models[sim], name)[:] = getattr(self.model, name)
            mujoco.mj_resetData(self._models[sim], self._data[sim])
            self.failed[sim] = False

    def step(self, substeps: int, sims: Sequence[int] | None = None) -> None:
        self._read.clear()
        chosen = range(self.count) if sims is None else sims
        if self._pool is None or len(chosen) == 1:
            self._advance(chosen, substeps)
        else:
            shares = [chosen[i :: self._threads] for i in range(self._threads)]
            list(self._pool.map(lambda share: self._advance(share, substeps), shares))

    def _advance(self, sims: Sequence[int], substeps: int) -> None:
        for sim in sims:
            if self.failed[sim]:
                continue
            model, data = self._models[sim], self._data[sim]
            mujoco.mj_step(model, data, nstep=substeps)
            if any(data.warning[kind].number for kind in BAD):
                self.failed[sim] = True
                continue
            update_poses(model, data)  # mj_step leaves those of before its last substep

    def forward(self, sims: Sequence[int]) -> None:
        self._read.clear()
        for sim in sims:
            update_poses(self._models[sim], self._data[sim])

    def save(self, sim: int) -> np.ndarray:
        state = np.empty(mujoco.mj_stateSize(self.model, STATE))
        mujoco.mj_getState(self._models[sim], self._data[sim], state, STATE)
        return state

    def restore(self, sim: int, state: np.ndarray) -> None:
        self._read.clear()
        self.failed[sim] = False
        mujoco.mj_resetData(self._models[sim], self._data[sim])
        mujoco.mj_setState(self._models[sim], self._data[sim], state, STATE)
        update_poses(self._models[sim], self._data[sim])

    def materialize(self, sim: int) -> tuple[mujoco.MjModel, mujoco.MjData]:
        return self._models[sim], self._data[sim]

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()
