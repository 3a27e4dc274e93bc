# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Thousands of simulations on a GPU with MuJoCo Warp; the same code runs, slowly, on a CPU.

Numbers are float32 on the device. A trajectory stays close to MuJoCo's own, but is not equal to the bit.
The kernels are compiled at the first use of a model, which takes a minute or two, and kept in Warp's cache.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import mujoco
import numpy as np

from apprentice.sim.physics.base import STATE as INTEGRATION
from apprentice.sim.physics.base import update_poses
from apprentice.sim.physics.warp_capacity import CapacityError, constraint_room, contact_room, overflowed
from apprentice.sim.physics.warp_kernels import find_unsound, mjw, put_back, wp

INTEGRATED = ('time', 'qpos', 'qvel', 'act', 'history', 'qacc_warmstart')  # a step changes these
STATE = (  # in the order of MuJoCo's integration state
    *INTEGRATED, 'ctrl', 'qfrc_applied', 'xfrc_applied', 'eq_active', 'mocap_pos', 'mocap_quat', 'userdata',
)  # fmt: skip
# switches of algorithms that exist in C MuJoCo only; without effect on the result
_HOST_FLAGS = int(mujoco.mjtDisableBit.mjDSBL_AUTORESET) | int(mujoco.mjtDisableBit.mjDSBL_MIDPHASE)


def best_device() -> str:
    """The first GPU, or the CPU."""
    return 'cuda:0' if wp.is_cuda_available() else 'cpu'


def device_model(model: mujoco.MjModel) -> mujoco.MjModel:
    """A copy that MuJoCo Warp takes: without the switches that mean something to the C engine only."""
    model = copy.copy(model)
    model.opt.disableflags &= ~_HOST_FLAGS
    return model


class WarpPhysics:
    """See :class:`~apprentice.sim.physics.base.Physics`.

    All simulations advance together; those that were not chosen get their state back afterwards. A failed
    one stands at its last sound state. Values written are uploaded together before the next step.

    Args:
        threads: without meaning here; engines are made alike.
        device: Warp's name of it, ``cuda:0`` or ``cpu``; None takes the GPU if there is one.
        contacts, constraints: room for them, for each simulation (contacts are pooled); 0 takes
            ``<size nconmax njmax>`` of the model, and without that an estimate from its geoms.
        deterministic: on a GPU, sums in a fixed order: equal runs are equal to the bit, and slower. A CPU
            always is.

    Raises ValueError for a model with something MuJoCo Warp does not have (PGS, plugins, ...).

    Attributes:
        warp_model, warp_data: the arrays on the device, for code that goes on there.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        count: int,
        threads: int = 0,
        device: str | None = None,
        contacts: int = 0,
        constraints: int = 0,
        deterministic: bool = True,
    ):
        if wp.config.log_level == wp.LOG_INFO:
            wp.config.log_level = wp.LOG_WARNING  # Warp reports every kernel on the standard output
        self.model, self.count = model, count
        self.device = wp.get_device(device or best_device())
        self._scratch_model = device_model(model)
        self._scratch = mujoco.MjData(self._scratch_model)
        mujoco.mj_kinematics(self._scratch_model, self._scratch)
        self._defaults = {name: np.array(getattr(self._scratch, name), np.float64) for name in STATE}
        with wp.ScopedDevice(self.device):
            try:
                self.warp_model = mjw.put_model(self._scratch_model)
            except (NotImplementedError, ValueError) as error:
                remedy = "Change the model, or take engine 'batch'"
                raise ValueError(f'MuJoCo Warp cannot simulate this model: {error} {remedy}') from error
            if deterministic and self.device.is_cuda:
                self.warp_model.opt.deterministic = int(mjw.DeterminismType.ALL)
            self.warp_model.opt.warn_overflow = 0  # reported by step() instead
            self.contacts = contacts or contact_room(model, self.warp_model)
            self.constraints = constraints or constraint_room(model, self.contacts)
            self.warp_data = mjw.make_data(
                self._scratch_model, count, nconmax=self.contacts, njmax=self.constraints
            )
            self._live = [_matrix(getattr(self.warp_data, name)) for name in INTEGRATED]
            self._live = [values for values in self._live if values.size]
            self._kept = [wp.zeros_like(values) for values in self._live]
            self._held, self._unsound, self._nobody = (wp.zeros(count, dtype=wp.int32) for _ in range(3))
        self._host: dict[str, np.ndarray] = {}  # what was read since the last step
        self._own: dict[str, np.ndarray] = {}  # model values that differ between simulations
        # to be uploaded; and fields that others write on the device, see tensor()
        self._written, self._own_written, self._exposed = (set[str]() for _ in range(3))
        self._graph: Any = None
        self._stale = False  # poses are not those of the positions
        self.failed = np.zeros(count, bool)
        self.reset(range(count))
        self.forward(range(count))
        with wp.ScopedDevice(self.device):
            self._start = [wp.clone(values[:1]) for values in self._live]

    @property
    def own_views(self) -> bool:
        """Whether fields of view were written, so that they may not be the model's."""
        return 'cam_fovy' in self._own

    def read(self, name: str) -> np.ndarray:
        if self._stale and name not in STATE:
            self.synchronize()
        if name not in self._host or (name in self._exposed and name not in self._written):
            shape = np.shape(getattr(self._scratch, name))
            values = getattr(self.warp_data, name).numpy()
            self._host[name] = values.reshape(self.count, *shape).astype(np.float64)
        return self._host[name]

    def tensor(self, name: str) -> Any:
        """A field of ``warp_data`` as a torch tensor [N, ...] on the device, without a copy.

        It stays valid and always shows the present. What is written into it counts from the next step;
        call :meth:`forward` for poses to follow. Needs torch.
        """
        self.synchronize()
        self._exposed.add(name)
        return wp.to_torch(getattr(self.warp_data, name))

    def write(self, name: str, index: int | Sequence[int], values: np.ndarray, sims: Sequence[int]) -> None:
        if name not in STATE:
            raise ValueError(f'{name!r} cannot be written; state and inputs are {STATE}')
        rows, columns = np.asarray(sims), np.asarray(index)
        self.read(name)[rows if columns.ndim == 0 else rows[:, None], columns] = values
        self._note_written([name])

    def _note_written(self, names: Sequence[str]) -> None:
        """Have fields uploaded; at once if a tensor shows one: later it would undo what is written there."""
        self._written.update(names)
        if not self._exposed.isdisjoint(names):
            self._upload()

    def write_model(self, name: str, index: int, value: np.ndarray, sim: int) -> None:
        if name not in self._own:
            if not hasattr(self.warp_model, name) or not hasattr(self.model, name):
                raise ValueError(f'MuJoCo Warp has no model field {name!r} for each simulation')
            if name == 'dof_damping' and np.any(getattr(self.model, 'actuator_damping', 0)):
                raise ValueError('MuJoCo Warp merges actuator damping into dof_damping; use kv, not damping')
            self._own[name] = np.repeat(np.array(getattr(self.model, name), np.float64)[None], self.count, 0)
        self._own[name][sim, index] = value
        self._own_written.add(name)

    def reset(self, sims: Sequence[int]) -> None:
        rows = list(sims)
        for name, value in self._defaults.items():
            self.read(name)[rows] = value
        for name, values in self._own.items():
            values[rows] = getattr(self.model, name)
        self._own_written.update(self._own)
        self._note_written(STATE)
        self.failed[rows] = False

    def synchronize(self) -> None:
        """Bring what was written to the device, and the poses up to it after a :meth:`restore`."""
        self._upload()
        if self._stale:
            with wp.ScopedDevice(self.device):
                self._poses()

    def _upload(self) -> None:
        for name in self._written:
            target = getattr(self.warp_data, name)
            if target.size:
                target.assign(_like(self._host[name], target))
        for name in self._own_written:
            target = getattr(self.warp_model, name)
            if target.shape[0] == self.count:
                target.assign(_like(self._own[name], target))
            else:  # until now all simulations shared one row
                rows = wp.array(_like(self._own[name], target), dtype=target.dtype, device=self.device)
                setattr(self.warp_model, name, rows)
                self._graph = None  # it holds the old address
        if 'geom_pos' in self._own_written:
            self._place_static_geoms()
        self._written.clear()
        self._own_written.clear()

    def _place_static_geoms(self) -> None:
        """Poses of geoms that do not move, which MuJoCo Warp computes once, with the data."""
        model, data = self._scratch_model, self._scratch
        mocap = model.body_mocapid[model.body_rootid[model.geom_bodyid]] >= 0
        static = np.flatnonzero((model.body_weldid[model.geom_bodyid] == 0) & ~mocap)
        bodies = model.geom_bodyid[static]
        turned = np.einsum(
            'gij,ngj->ngi', data.xmat[bodies].reshape(-1, 3, 3), self._own['geom_pos'][:, static]
        )
        poses = self.warp_data.geom_xpos.numpy().copy()
        poses[:, static] = data.xpos[bodies] + turned
        self.warp_data.geom_xpos.assign(poses)

    def step(self, substeps: int, sims: Sequence[int] | None = None) -> None:
        """Advance by ``substeps`` time steps of the model.

        Raises CapacityError, with every simulation as it was before, when there are too many contacts.
        """
        held = np.ones(self.count, bool)
        held[slice(None) if sims is None else list(sims)] = False
        held |= self.failed
        if held.all():
            return
        self._upload()
        with wp.ScopedDevice(self.device):
            self._held.assign(held.astype(np.int32))
            self._unsound.zero_()
            self.warp_data.overflow.zero_()
            self._mark_unsound(self._nobody)
            self._restore(self._unsound, self._start)
            for kept, live in zip(self._kept, self._live, strict=True):
                wp.copy(kept, live)
            self._advance(substeps)
            self._mark_unsound(self._held)
            overflow = overflowed(self.warp_data)
            if overflow:
                self._held.fill_(1)
            self._restore(self._held, self._kept)
            self._poses()
            self.failed |= self._unsound.numpy() != 0
        if overflow:
            raise CapacityError(overflow, self.contacts, self.constraints)

    def _mark_unsound(self, held: wp.array) -> None:
        inputs = [held, self.warp_data.qpos, self.warp_data.qvel]
        wp.launch(find_unsound, self.count, inputs=inputs, outputs=[self._unsound])

    def _restore(self, held: wp.array, source: list[wp.array]) -> None:
        for values, target in zip(source, self._live, strict=True):
            wp.launch(put_back, target.shape, inputs=[held, self._unsound, values], outputs=[target])

    def _advance(self, substeps: int) -> None:
        if self._graph is None:  # on a CPU too: replaying saves nearly all of the launches' Python
            with wp.ScopedCapture() as capture:
                mjw.step(self.warp_model, self.warp_data)
            self._graph = capture.graph
        for _ in range(substeps):
            wp.capture_launch(self._graph)

    def _poses(self) -> None:
        """Poses at the new positions; a step leaves those of the state before its last substep."""
        self._host.clear()
        self._stale = False
        mjw.kinematics(self.warp_model, self.warp_data)
        mjw.com_pos(self.warp_model, self.warp_data)
        mjw.camlight(self.warp_model, self.warp_data)

    def forward(self, sims: Sequence[int]) -> None:
        self._upload()
        with wp.ScopedDevice(self.device):
            self._poses()

    def save(self, sim: int) -> np.ndarray:
        """The complete state, in MuJoCo's layout: other engines can restore it, and this one theirs."""
        return np.concatenate([np.ravel(self.read(name)[sim]) for name in STATE])

    def restore(self, sim: int, state: np.ndarray) -> None:
        self.reset([sim])
        first = 0
        for name in STATE:
            values = self.read(name)[sim : sim + 1]
            values[:] = np.reshape(state[first : first + values.size], values.shape)
            first += values.size
        self._note_written(STATE)
        self._stale = True  # one upload for however many are restored

    def materialize(self, sim: int) -> tuple[mujoco.MjModel, mujoco.MjData]:
        model, data = self._scratch_model, self._scratch
        for name, values in self._own.items():
            getattr(model, name)[:] = values[sim]
        mujoco.mj_setState(model, data, self.save(sim), INTEGRATION)
        update_poses(model, data)
        return model, data

    def close(self) -> None:
        self._graph = None


def _like(values: np.ndarray, array: wp.array) -> np.ndarray:
    """Values [N, ...] with the shape of an item and the number type of a device array."""
    shape = (len(values), *array.shape[1:], *getattr(array.dtype, '_shape_', ()))
    number = getattr(array.dtype, '_wp_scalar_type_', array.dtype)
    return values.reshape(shape).astype(wp.dtype_to_numpy(number))


def _matrix(values: wp.array) -> wp.array:
    """An array [N] or [N, k] as [N, k], without a copy."""
    return values if values.ndim == 2 else values.reshape((values.shape[0], 1))
