# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The state of simulations by name, as reward programs and planners read it: [N, d], SI units, base frame.

joints, joint_velocity   [N, dim] in the robot file's order
tip                      [N, 7] pose of the tool: position (m), quaternion wxyz
opening                  [N, 1] position of the gripper joint
<object>                 [N, 7] pose, named as the task's experts know it: cube_red
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from apprentice.sim.worlds import Worlds


def read_state(worlds: Worlds, sims: range | list[int] | None = None) -> dict[str, np.ndarray]:
    """State of simulations (all, or some) by name; objects that are not in all of them are left out."""
    chosen = list(range(worlds.count) if sims is None else sims)
    objects = [worlds.objects(sim) for sim in chosen]
    shared = [name for name in objects[0] if all(name in each for each in objects)]
    found = {name: values[chosen] for name, values in _robot(worlds).items()}
    return found | {name: np.stack([each[name] for each in objects]) for name in shared}


class BranchState:
    """The state of simulations that branch from one start, read without asking the task for each of them.

    Bodies are found once, by the poses that the task names in the first simulation.
    """

    def __init__(self, worlds: Worlds):
        self._worlds = worlds
        self._bodies: dict[str, int] | None = None

    def bind(self) -> None:
        """Find the bodies again; call after the simulations were put to a start."""
        position, turn = (self._worlds.physics.read(name)[0] for name in ('xpos', 'xquat'))
        poses = np.concatenate([position, turn], axis=1)
        bodies = {}
        for name, pose in self._worlds.objects(0).items():
            same = np.flatnonzero(np.all(poses == pose, axis=1))
            if len(same) == 0:  # the task computes this pose
                self._bodies = None
                return
            bodies[name] = int(same[-1])
        self._bodies = bodies

    def read(self) -> dict[str, np.ndarray]:
        """State of all simulations by name, [N, d]."""
        if self._bodies is None:
            return read_state(self._worlds)
        position, turn = (self._worlds.physics.read(name) for name in ('xpos', 'xquat'))
        found = _robot(self._worlds)
        for name, body in self._bodies.items():
            found[name] = np.concatenate([position[:, body], turn[:, body]], axis=1)
        return found


def _robot(worlds: Worlds) -> dict[str, np.ndarray]:
    view = worlds.view
    turn = Rotation.from_matrix(view.tip_rotation).as_quat()[:, [3, 0, 1, 2]]
    return {
        'joints': np.array(view.joints),
        'joint_velocity': np.array(view.velocities),
        'tip': np.concatenate([view.tip, turn], axis=1),
        'opening': np.array(view.opening)[:, None],
    }
