# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The scene in Isaac Gym, running: states through the tensor API, targets, steps, indexed resets.

Runs in the worker, see building.py.
"""

import numpy as np

from .building import Environments
from .library import GymError, done

_SAME = 1e-3  # m, agreement of positions when telling local from global coordinates


class Simulation:
    """Environments and their shared arrays, see physics.py.

    Shapes: root [N, floating actors, 13], dof [N, dofs, 2], body [N, bodies, 13], target [N, dofs] float32;
    dirty [N] uint8. States are position, quaternion xyzw, linear and angular velocity, in an environment's
    own coordinates; the order is that of the descriptions, not the library's.
    """

    def __init__(self, library, description, arrays):
        self._library = library
        self.world = world = Environments(library, description)
        self._arrays = arrays
        self._gym, self._sim = world.gym, world.sim
        gym, sim, actors = world.gym, world.sim, world.actors
        self._root = self._library.gymtorch.wrap_tensor(gym.acquire_actor_root_state_tensor(sim)).view(-1, 13)
        self._body = self._library.gymtorch.wrap_tensor(gym.acquire_rigid_body_state_tensor(sim)).view(-1, 13)
        self._dof = self._target = None
        if world.dofs:
            self._dof = self._library.gymtorch.wrap_tensor(gym.acquire_dof_state_tensor(sim)).view(-1, 2)
            self._target = self._library.to_device(
                np.zeros(gym.get_sim_dof_count(sim), np.float32), self._dof
            )
        floating = [a for a, actor in enumerate(actors) if not actor['fixed']]
        driven = [a for a, actor in enumerate(actors) if actor['dofs']]
        self._roots = self._table(world.actor_index, floating)
        self._driven = self._table(world.actor_index, driven)
        self._dofs = self._table(world.dof_index, range(len(world.dofs)))
        self._links = self._table(world.body_index, range(len(world.bodies)))
        self._refresh()
        starts = np.array([actor['position'] for actor in actors], np.float32)
        everything = self._table(world.actor_index, range(len(actors)))
        self.offsets = self._find_offsets(self._library.to_numpy(self._root)[everything, :3] - starts)
        self.read()

    def _table(self, index, items):
        """Rows of the library's tensors, int64 [N, items]."""
        rows = [[index(i, item) for item in items] for i in range(self.world.count)]
        table = np.array(rows, np.int64).reshape(self.world.count, -1)
        if len(np.unique(table)) != table.size or (table < 0).any():
            raise GymError(f'{index.__name__}: the library gave a row twice: {table}')
        return table

    def _find_offsets(self, differences):
        """[N, 1, 3]: what the state tensors add to positions in an environment; measured, not assumed.

        IsaacGymEnvs treats the tensors as local to the environment (ant.py adds get_env_origin to draw);
        legged_gym avoids the question with environments that all lie at the origin.
        """
        origins = np.array([[self.world.origin(i)] for i in range(self.world.count)], np.float32)
        for offsets in (np.zeros_like(origins), origins):
            if np.abs(differences - offsets).max() < _SAME:
                return offsets
        raise GymError(f'start poses are neither in local nor in global coordinates: {differences}')

    def _refresh(self):
        done(self._gym.refresh_actor_root_state_tensor(self._sim), 'refresh_actor_root_state_tensor')
        done(self._gym.refresh_rigid_body_state_tensor(self._sim), 'refresh_rigid_body_state_tensor')
        if self._dof is not None:
            done(self._gym.refresh_dof_state_tensor(self._sim), 'refresh_dof_state_tensor')

    def read(self):
        """Copy the states to the shared arrays, in our order and coordinates."""
        arrays = self._arrays
        for name, tensor, rows in (('root', self._root, self._roots), ('body', self._body, self._links)):
            arrays[name][:] = self._library.to_numpy(tensor)[rows]
            arrays[name][..., :3] -= self.offsets
        if self._dof is not None:
            arrays['dof'][:] = self._library.to_numpy(self._dof)[self._dofs]

    def step(self, substeps):
        """Put back the dirty environments, set targets, simulate, read.

        States are set once before simulating: on a GPU a second call before the next step would undo the
        first (a limit of the tensor API).
        """
        dirty = np.flatnonzero(self._arrays['dirty'])
        if len(dirty):
            self._write(dirty)
        if self._target is not None:
            self._library.assign(self._target, self._dofs.reshape(-1), self._arrays['target'].reshape(-1))
            done(
                self._gym.set_dof_position_target_tensor(
                    self._sim, self._library.gymtorch.unwrap_tensor(self._target)
                ),
                'set_dof_position_target_tensor',
            )
        for _ in range(substeps):
            self._gym.simulate(self._sim)
            self._gym.fetch_results(self._sim, True)
        self._refresh()
        self.read()
        self._arrays['dirty'][:] = 0

    def _write(self, sims):
        arrays = self._arrays
        if self._roots.size:
            states = arrays['root'][sims].copy()
            states[..., :3] += self.offsets[sims]
            self._library.assign(self._root, self._roots[sims].reshape(-1), states.reshape(-1, 13))
            call = self._gym.set_actor_root_state_tensor_indexed
            self._indexed(call, self._root, self._roots[sims])
        if self._dof is not None:
            self._library.assign(self._dof, self._dofs[sims].reshape(-1), arrays['dof'][sims].reshape(-1, 2))
            self._indexed(self._gym.set_dof_state_tensor_indexed, self._dof, self._driven[sims])

    def _indexed(self, call, tensor, actors):
        indices = self._library.to_device(np.ascontiguousarray(actors.reshape(-1), np.int32), tensor)
        handles = self._library.gymtorch.unwrap_tensor(tensor), self._library.gymtorch.unwrap_tensor(indices)
        done(call(self._sim, handles[0], handles[1], len(indices)), 'set_*_tensor_indexed')
