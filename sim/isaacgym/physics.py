# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Isaac Gym (PhysX) as an engine behind :class:`~apprentice.sim.physics.base.Physics`.

The scene is compiled by MuJoCo, split into actors, and simulated in a worker process. Positions, velocities
and poses come back through shared memory; everything else (sites, cameras, instructions) is computed here
from MuJoCo's model. Contacts are PhysX's: trajectories differ from MuJoCo's. Not run on the real library.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Collection, Sequence

import mujoco
import numpy as np

from apprentice.sim.isaacgym import actors, assets
from apprentice.sim.isaacgym.frames import matrices, multiply, to_wxyz, to_xyzw
from apprentice.sim.isaacgym.hiding import AWAY, Place
from apprentice.sim.isaacgym.model_values import ModelValues
from apprentice.sim.isaacgym.process import Options, WorkerProcess
from apprentice.sim.physics.base import update_poses

log = logging.getLogger(__name__)

LARGEST = 1e10  # beyond it MuJoCo calls a position or velocity bad (mjMAXVAL)
_WRITTEN = ('qpos', 'qvel', 'ctrl')
_ATTACHED = {'site': 'site_bodyid', 'geom': 'geom_bodyid', 'cam': 'cam_bodyid'}


class IsaacGymPhysics:
    """N simulations in one Isaac Gym process; see Physics. Made as (model, count, threads).

    Read: ``time``, ``qpos``, ``qvel``, ``ctrl``, ``xpos``, ``xquat``, ``xmat``, and ``xpos``, ``xmat`` of
    sites, geoms and cameras. Write: ``qpos``, ``qvel``, ``ctrl``. Simulations that were not chosen in a step
    get their positions and velocities back afterwards, because Isaac Gym steps all at once.

    Args:
        threads: of PhysX on a CPU.
        options: where Isaac Gym is; None takes the environment variables.

    Raises IsaacGymUnavailable with what to get and where, ValueError for a scene without counterpart.

    Attributes:
        exact: False: :meth:`save` and :meth:`restore` keep positions, velocities and targets, not PhysX's
            contact caches. A restored simulation continues closely, not to the bit.
        worker, offsets: for the rendering beside it.
    """

    exact = False

    def __init__(self, model: mujoco.MjModel, count: int, threads: int = 1, options: Options | None = None):
        self.model, self.count = model, count
        self.options = options or Options()
        self.failed = np.zeros(count, bool)
        self.actors = actors.scene_actors(model)
        self._floating = [actor for actor in self.actors if actor.free >= 0]
        self.links = [link for actor in self.actors for link in actor.links]
        drives = actors.drives(model)
        self._drives = [drives[joint] for link in self.links for joint in link.joints]
        self._tracked = np.array([i for i, link in enumerate(self.links) if link.tracked], int)
        self._bodies = np.array([self.links[i].body for i in self._tracked], int)
        self._qpos = np.array([int(model.jnt_qposadr[drive.joint]) for drive in self._drives], int)
        self._dof = np.array([int(model.jnt_dofadr[drive.joint]) for drive in self._drives], int)
        self._scratch_model, self._scratch = copy.copy(model), mujoco.MjData(model)
        defaults = mujoco.MjData(model)
        mujoco.mj_kinematics(model, defaults)
        self._defaults = {name: getattr(defaults, name).copy() for name in (*_WRITTEN, 'xpos', 'xquat')}
        self._state = {
            name: np.tile(value, (count, *[1] * value.ndim)) for name, value in self._defaults.items()
        }
        self._state['time'] = np.zeros(count)
        self._derived: dict[str, np.ndarray] = {}
        self._dirty = np.ones(count, bool)
        self.worker = WorkerProcess(self.options)
        try:
            self._create(threads)
            self.values = ModelValues(
                model, self.worker, self.links, self._drives, count, self.options.device
            )
        except BaseException:
            self.worker.close()
            raise

    def _create(self, threads: int) -> None:
        model, sizes = self.model, (len(self._floating), len(self._drives), len(self.links))
        drives, filters = {drive.joint: drive for drive in self._drives}, assets.collision_filters(model)
        arrays = [
            ['root', 'float32', [self.count, sizes[0], 13]],
            ['dof', 'float32', [self.count, sizes[1], 2]],
            ['target', 'float32', [self.count, sizes[1]]],
            ['body', 'float32', [self.count, sizes[2], 13]],
            ['dirty', 'uint8', [self.count]],
        ]
        files = [assets.write_asset(model, actor, self.worker.folder) for actor in self.actors]
        memory, self._arrays = self.worker.share(arrays)
        self.worker.call(
            'create',
            memory=memory,
            arrays=arrays,
            folder=str(self.worker.folder),
            count=self.count,
            threads=max(1, threads),
            device=self.options.device,
            graphics=self.options.graphics,
            timestep=float(model.opt.timestep),
            gravity=model.opt.gravity.tolist(),
            spacing=self.options.spacing,
            ground=assets.ground(model),
            actors=[
                assets.describe(model, actor, file, drives, filters)
                for actor, file in zip(self.actors, files, strict=True)
            ],
        )
        log.info('Isaac Gym worker: %s', self.worker.versions)

    def read(self, name: str) -> np.ndarray:
        if name in self._state:
            return self._state[name]
        if name not in self._derived:
            self._derived[name] = self._derive(name)
        return self._derived[name]

    def _derive(self, name: str) -> np.ndarray:
        prefix, _, field = name.partition('_')
        if name == 'xmat':
            return matrices(self._state['xquat']).reshape(self.count, -1, 9)
        if prefix not in _ATTACHED or field not in ('xpos', 'xmat'):
            known = [*self._state, 'xmat', *(f'{p}_{f}' for p in _ATTACHED for f in ('xpos', 'xmat'))]
            raise ValueError(f'the Isaac Gym engine has no {name!r}; it has: {known}')
        owner = getattr(self.model, _ATTACHED[prefix])
        if field == 'xpos':
            frames = matrices(self._state['xquat'][:, owner])
            local = getattr(self.model, f'{prefix}_pos')
            return self._state['xpos'][:, owner] + np.einsum('nkij,kj->nki', frames, local)
        rotations = matrices(multiply(self._state['xquat'][:, owner], getattr(self.model, f'{prefix}_quat')))
        return rotations.reshape(self.count, -1, 9)

    def write(self, name: str, index: int | Sequence[int], values: np.ndarray, sims: Sequence[int]) -> None:
        if name not in _WRITTEN:
            raise ValueError(f'the Isaac Gym engine cannot set {name!r}; it can: {_WRITTEN}')
        rows, columns = np.asarray(sims), np.asarray(index)
        self._state[name][rows if columns.ndim == 0 else rows[:, None], columns] = values
        if name != 'ctrl':
            self._dirty[rows] = True

    def write_model(self, name: str, index: int, value: np.ndarray, sim: int) -> None:
        """Colour, friction, gains, and on a CPU mass reach Isaac Gym; the rest is for other renderings.

        Raises ValueError for what would change the physics and cannot be changed while it runs.
        """
        self.values.write(name, index, np.asarray(value, np.float64), sim)

    def reset(self, sims: Sequence[int]) -> None:
        rows = np.asarray(sims)
        for name, value in self._defaults.items():
            self._state[name][rows] = value
        self._state['time'][rows] = 0
        self.values.reset(sims)
        self.failed[rows] = False
        self._dirty[rows] = True
        self._derived.clear()

    def step(self, substeps: int, sims: Sequence[int] | None = None) -> None:
        self._set_aside()
        moving = ~self.failed
        if sims is not None:
            moving &= np.isin(np.arange(self.count), np.asarray(sims, int))
        if not moving.any() or substeps < 1:
            return
        self._upload()
        self._dirty[:] = True  # should the call not end
        self.worker.call('step', substeps=int(substeps))
        self._dirty = ~moving  # what stands still is put back before the next step
        self._download(np.flatnonzero(moving), substeps)

    def synchronize(self, hidden: Collection[Place] = ()) -> None:
        """Have Isaac Gym's scene show the present states, but ``hidden`` far away, see :class:`.Hiding`.

        Graphics follow positions only in a step. It is undone: all are put back before the next one.
        """
        self._set_aside()
        self._dirty[[sim for sim, _, _ in hidden]] = True
        if not self._dirty.any():
            return
        self._upload()
        for sim, name, column in hidden:
            self._arrays[name][sim, column, 0] -= AWAY  # x of a root, or a joint's position
            if name == 'dof':
                self._arrays['target'][sim, column] -= AWAY
        self._dirty[:] = True
        self.worker.call('step', substeps=1)

    def _set_aside(self) -> None:
        """Mark simulations in which a caller wrote what is no number: PhysX must never get it."""
        for names in (('qpos', 'qvel'), ('ctrl',)):
            values = np.concatenate([self._state[name] for name in names], axis=1)
            bad = ~(np.abs(values) < LARGEST).all(1)  # so written, it is true of NaN too
            for name in names:
                self._state[name][bad] = self._defaults[name]
            self.failed[bad] = self._dirty[bad] = True
            if 'qpos' in names and bad.any():
                self.forward(np.flatnonzero(bad))

    def _upload(self) -> None:
        arrays, state, model = self._arrays, self._state, self.model
        self.worker.settle()
        self.values.apply()
        arrays['dirty'][:] = self._dirty
        for i, drive in enumerate(self._drives):
            arrays['target'][:, i] = actors.targets(model, drive, state['ctrl'], self.values.blend[:, i])
        if not self._dirty.any():
            return
        arrays['dof'][..., 0] = state['qpos'][:, self._qpos] - model.qpos0[self._qpos]
        arrays['dof'][..., 1] = state['qvel'][:, self._dof]
        for i, actor in enumerate(self._floating):
            position, velocity = self._addresses(actor)
            pose, speed = state['qpos'][:, position : position + 7], state['qvel'][:, velocity : velocity + 6]
            length = np.linalg.norm(pose[:, 3:], axis=1, keepdims=True)
            turn = np.where(length > 0, pose[:, 3:] / np.where(length > 0, length, 1), [1.0, 0, 0, 0])
            # MuJoCo's angular velocity of a free joint is in the body's frame, Isaac Gym's in the world's
            spin = np.einsum('nij,nj->ni', matrices(turn), speed[:, 3:])
            arrays['root'][:, i] = np.concatenate([pose[:, :3], to_xyzw(turn), speed[:, :3], spin], axis=1)

    def _download(self, rows: np.ndarray, substeps: int) -> None:
        arrays, state = self._arrays, self._state
        qpos, qvel = state['qpos'][rows], state['qvel'][rows]
        qpos[:, self._qpos] = arrays['dof'][rows, :, 0] + self.model.qpos0[self._qpos]
        qvel[:, self._dof] = arrays['dof'][rows, :, 1]
        for i, actor in enumerate(self._floating):
            position, velocity = self._addresses(actor)
            root = arrays['root'][rows, i].astype(np.float64)
            turn = to_wxyz(root[:, 3:7])
            spin = np.einsum('nji,nj->ni', matrices(turn), root[:, 10:])
            qpos[:, position : position + 7] = np.concatenate([root[:, :3], turn], axis=1)
            qvel[:, velocity : velocity + 6] = np.concatenate([root[:, 7:10], spin], axis=1)
        bodies = arrays['body'][rows][:, self._tracked].astype(np.float64)
        sound = np.ones(len(rows), bool)
        for values in (qpos, qvel, bodies):
            flat = values.reshape(len(rows), -1)
            sound &= (np.abs(flat) < LARGEST).all(1)  # so written, it is false of NaN too
        self.failed[rows[~sound]] = True
        self._dirty[rows[~sound]] = True  # stands at its last sound state
        rows, bodies = rows[sound], bodies[sound]
        state['qpos'][rows], state['qvel'][rows] = qpos[sound], qvel[sound]
        state['xpos'][rows[:, None], self._bodies] = bodies[..., :3]
        state['xquat'][rows[:, None], self._bodies] = to_wxyz(bodies[..., 3:7])
        state['time'][rows] += substeps * self.model.opt.timestep
        self._derived.clear()

    def _addresses(self, actor: actors.Actor) -> tuple[int, int]:
        return int(self.model.jnt_qposadr[actor.free]), int(self.model.jnt_dofadr[actor.free])

    def forward(self, sims: Sequence[int] | np.ndarray) -> None:
        """Poses at the written positions, by MuJoCo's kinematics: Isaac Gym computes them in a step only."""
        for sim in sims:
            self._scratch.qpos[:] = self._state['qpos'][sim]
            mujoco.mj_kinematics(self.model, self._scratch)
            self._state['xpos'][sim], self._state['xquat'][sim] = self._scratch.xpos, self._scratch.xquat
        self._derived.clear()

    def to_world(
        self, body: int, position: np.ndarray, quaternion: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Pose (m; wxyz) in the world of one given in the frame of a body that does not move."""
        place, turn = (self._defaults[name][body] for name in ('xpos', 'xquat'))
        return place + matrices(turn) @ position, multiply(turn, np.asarray(quaternion))

    def save(self, sim: int) -> np.ndarray:
        """Time, positions, velocities and targets of one simulation; see ``exact``."""
        return np.concatenate([[self._state['time'][sim]], *(self._state[name][sim] for name in _WRITTEN)])

    def restore(self, sim: int, state: np.ndarray) -> None:
        sizes = [1, self.model.nq, self.model.nv, self.model.nu]
        if np.shape(state) != (sum(sizes),):
            raise ValueError(
                f'a state of shape {np.shape(state)}; this engine and model have {sum(sizes)} numbers'
            )
        parts = np.split(np.asarray(state, np.float64), np.cumsum(sizes)[:-1])
        self._state['time'][sim] = parts[0][0]
        for name, values in zip(_WRITTEN, parts[1:], strict=True):
            self._state[name][sim] = values
        self.failed[sim] = False
        self._dirty[sim] = True
        self.forward([sim])

    def materialize(self, sim: int) -> tuple[mujoco.MjModel, mujoco.MjData]:
        model, data = self._scratch_model, self._scratch
        self.values.fill(model, sim)
        for name in _WRITTEN:
            getattr(data, name)[:] = self._state[name][sim]
        data.time = self._state['time'][sim]
        update_poses(model, data)
        return model, data

    def close(self) -> None:
        self.worker.close()
