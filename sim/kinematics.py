# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Forward and inverse kinematics of any MJCF arm, on MuJoCo's own Jacobians."""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np


class Kinematics:
    """Kinematics of a site with respect to some joints. Owns a private MjData; holds no GL.

    Args:
        model: the compiled model.
        joints: names of the joints to use, gripper excluded.
        site: the tool frame.
        limits: joint limits [n, 2] for :meth:`inverse`; the model's if not given.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        joints: Sequence[str],
        site: str = 'tip',
        limits: np.ndarray | None = None,
    ):
        self._model, self._data = model, mujoco.MjData(model)
        self._qpos = [int(model.joint(name).qposadr[0]) for name in joints]
        self._dof = [int(model.joint(name).dofadr[0]) for name in joints]
        self._range = np.array([model.joint(name).range for name in joints]) if limits is None else limits
        self._site = int(model.site(site).id)

    def forward(self, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Position [3] (m) and rotation matrix [3, 3] of the site at joint positions [n] (rad)."""
        self._data.qpos[self._qpos] = joints
        mujoco.mj_kinematics(self._model, self._data)
        return (
            self._data.site_xpos[self._site].copy(),
            self._data.site_xmat[self._site].reshape(3, 3).copy(),
        )

    def jacobian(self, joints: np.ndarray) -> np.ndarray:
        """d(position, rotation vector) of the site / d(joints) [6, n] at joint positions [n], world frame."""
        self.forward(joints)
        return self._jacobian()

    def _jacobian(self) -> np.ndarray:
        """Where :meth:`forward` was last."""
        mujoco.mj_comPos(self._model, self._data)
        jacobian = np.zeros((6, self._model.nv))
        mujoco.mj_jacSite(self._model, self._data, jacobian[:3], jacobian[3:], self._site)
        return jacobian[:, self._dof]

    def inverse(
        self,
        start: np.ndarray,
        position: np.ndarray,
        rotation: np.ndarray,
        iterations: int = 30,
        damping: float = 0.02,
    ) -> np.ndarray:
        """Joint positions [n] that bring the site to a pose, by damped least squares from ``start``.

        Returns the best found within the joint limits; for unreachable poses the nearest.
        """
        joints = np.array(start, dtype=np.float64)
        for _ in range(iterations):
            reached, frame = self.forward(joints)
            error = np.concatenate([position - reached, rotation_error(frame, rotation)])
            if np.linalg.norm(error[:3]) < 1e-4 and np.linalg.norm(error[3:]) < 1e-3:
                break
            selected = self._jacobian()
            square = selected @ selected.T + damping**2 * np.eye(6)
            step = selected.T @ np.linalg.solve(square, error)
            joints = np.clip(joints + np.clip(step, -0.4, 0.4), self._range[:, 0], self._range[:, 1])
        return joints


def rotation_error(current: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Small-angle rotation vector [3] that turns ``current`` into ``target`` (both [3, 3]), world frame."""
    return 0.5 * np.cross(current, target, axis=0).sum(1)
