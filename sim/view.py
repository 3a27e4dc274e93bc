# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What a task may look at: N simulations at once, by name, in the base frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from apprentice.sim.physics.base import Physics
from apprentice.sim.scene import Scene


class View:
    """Ground truth of N simulations. Arrays are new or read-only; lengths in m, angles in rad.

    Attributes:
        memory: what starts and tasks remember, name -> [N, ...].
    """

    def __init__(self, scene: Scene, physics: Physics, memory: dict[str, np.ndarray]):
        self.scene, self._physics, self.memory = scene, physics, memory

    @property
    def count(self) -> int:
        return self._physics.count

    @property
    def time(self) -> np.ndarray:
        """Simulated time [N] since the reset (s)."""
        return self._physics.read('time').reshape(self.count).copy()

    @property
    def joints(self) -> np.ndarray:
        """Joint positions [N, dim] in the robot file's order and units."""
        return self.scene.offset + self.scene.scale * self._physics.read('qpos')[:, self.scene.qpos]

    @property
    def velocities(self) -> np.ndarray:
        """Joint velocities [N, dim]."""
        return self.scene.scale * self._physics.read('qvel')[:, self.scene.dof]

    @property
    def tip(self) -> np.ndarray:
        """Tool position [N, 3]."""
        return self._physics.read('site_xpos')[:, self.scene.tip]

    @property
    def tip_rotation(self) -> np.ndarray:
        """Tool rotation matrix [N, 3, 3]."""
        return self._physics.read('site_xmat')[:, self.scene.tip].reshape(-1, 3, 3)

    @property
    def opening(self) -> np.ndarray:
        """Position of the gripper joint [N], in its unit; 0 without a gripper."""
        scene, index = self.scene, self.scene.gripper
        if index is None:
            return np.zeros(self.count)
        column = self._physics.read('qpos')[:, scene.qpos[index]]
        return scene.offset[index] + scene.scale[index] * column

    def position(self, body: str) -> np.ndarray:
        """Position [N, 3] of a body's frame."""
        return self._physics.read('xpos')[:, self.scene.id('body', body)]

    def positions(self, bodies: tuple[str, ...]) -> np.ndarray:
        """Positions [N, len(bodies), 3] of several bodies' frames, in one look."""
        return self._physics.read('xpos')[:, self.scene.ids('body', bodies)]

    def rotation(self, body: str) -> np.ndarray:
        """Rotation matrix [N, 3, 3] of a body's frame."""
        return self._physics.read('xmat')[:, self.scene.id('body', body)].reshape(-1, 3, 3)

    def pose(self, body: str) -> np.ndarray:
        """Position and quaternion wxyz [N, 7] of a body's frame."""
        number = self.scene.id('body', body)
        return np.concatenate(
            [self._physics.read('xpos')[:, number], self._physics.read('xquat')[:, number]], axis=1
        )

    def site(self, name: str) -> np.ndarray:
        """Position [N, 3] of a site."""
        return self._physics.read('site_xpos')[:, self.scene.id('site', name)]

    def joint(self, name: str) -> np.ndarray:
        """Position [N] of a hinge or slide joint of the scene."""
        return self._physics.read('qpos')[:, self.scene.address('jnt_qposadr', name)]

    def joint_velocity(self, name: str) -> np.ndarray:
        """Velocity [N] of a hinge or slide joint of the scene."""
        return self._physics.read('qvel')[:, self.scene.address('jnt_dofadr', name)]

    def speed(self, body: str) -> np.ndarray:
        """Speed [N] (m/s) of a body on a free joint of the same name."""
        first = self.scene.address('jnt_dofadr', body)
        return np.linalg.norm(self._physics.read('qvel')[:, first : first + 3], axis=1)

    def write_joints(self, names: Sequence[str], value: float, chosen: np.ndarray) -> None:
        """Put hinge or slide joints at ``value``: the look of what :meth:`Task.update` has found out.

        Only for joints that touch nothing; the change is part of the simulation's state and of snapshots.

        Args:
            chosen: which joints of which simulations, bool [N, len(names)].
        """
        addresses = np.array([self.scene.address('jnt_qposadr', name) for name in names])
        sims = [int(sim) for sim in np.flatnonzero(chosen.any(1))]
        for sim in sims:
            columns = addresses[chosen[sim]]
            self._physics.write('qpos', columns, np.full(len(columns), value), [sim])
        if sims:
            self._physics.forward(sims)
