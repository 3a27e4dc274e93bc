# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The kinematics of a robot's arm in its base frame, from its MJCF or URDF and nothing else.

Here MuJoCo is a kinematics library: no scene, no task, no meshes, and the robot need not be simulated. The
model is the one of ``simulator`` in the robot file, or of ``kinematics``, which takes the keys ``model``,
``joints``, ``tip`` and ``packages`` of docs/robots.md.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import mujoco
import numpy as np

from apprentice.robot.spec import RobotFileError, RobotSpec
from apprentice.sim.kinematics import Kinematics
from apprentice.sim.robots.model_file import compile_model, model_path, read_model
from apprentice.sim.robots.robot_model import RobotModel
from apprentice.sim.robots.section import Section
from apprentice.sim.robots.urdf import mjcf_compatible

_KEYS = ('model', 'joints', 'tip', 'packages')


class ArmChain:
    """Forward kinematics and Jacobian of the tool with respect to the arm's joints (gripper excluded).

    Everything is in the frame of the body called ``base_frame`` in the robot file; without such a body in
    that of the body that carries the first joint's.

    Raises RobotFileError for a robot without a model, and for one that does not fit the robot file.
    """

    def __init__(self, spec: RobotSpec) -> None:
        model = _Bones(spec)
        compiled = compile_model(model.specification, f'robot {spec.name!r}: its model')
        self._kinematics = Kinematics(compiled, model.joints, model.tip)
        data = mujoco.MjData(compiled)
        mujoco.mj_kinematics(compiled, data)
        body = mujoco.mj_name2id(compiled, mujoco.mjtObj.mjOBJ_BODY, spec.base_frame)
        if body < 0:
            carried = compiled.jnt_bodyid[compiled.joint(model.joints[0]).id]
            body = int(compiled.body_parentid[carried])
        self._origin = data.xpos[body].copy()
        self._turn = data.xmat[body].reshape(3, 3).T.copy()

    def forward(self, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Position [3] (m) and rotation matrix [3, 3] of the tool at joint positions [n] (rad)."""
        position, rotation = self._kinematics.forward(joints)
        return self._turn @ (position - self._origin), self._turn @ rotation

    def jacobian(self, joints: np.ndarray) -> np.ndarray:
        """d(position, rotation vector) of the tool / d(joints), float64 [6, n]."""
        jacobian = self._kinematics.jacobian(joints)
        return np.concatenate([self._turn @ jacobian[:3], self._turn @ jacobian[3:]])


class _Bones(RobotModel):
    """The model with nothing but what moves: the robot file's arm joints and tool are found in it."""

    def __init__(self, spec: RobotSpec) -> None:
        given = {key: value for key, value in {**spec.simulator, **spec.kinematics}.items() if key in _KEYS}
        unknown = sorted(set(spec.kinematics) - set(_KEYS))
        if unknown:
            raise RobotFileError(f'robot {spec.name!r}: kinematics has no {unknown}; it has: {list(_KEYS)}')
        if 'model' not in given:
            raise RobotFileError(
                f'robot {spec.name!r} names no model; say '
                'kinematics: {model: my_arm.urdf, tip: {body: tool0}} in the robot file'
            )
        arm = tuple(joint for joint in spec.joints if not joint.gripper)
        if not arm:
            raise RobotFileError(f'robot {spec.name!r} has no joint but the gripper')
        if isinstance(given.get('joints'), dict):
            names = [joint.name for joint in arm]
            given['joints'] = {key: value for key, value in given['joints'].items() if key in names}
        self.spec = dataclasses.replace(spec, joints=arm, simulator=given)
        self.section = Section(self.spec)
        path = Path(str(given['model']))
        self._urdf = path.suffix.lower() == '.urdf'
        self.specification = self._read(str(given['model']))
        self.joints = self._names('joints', 'joint', self.specification.joints, {})
        self.tip = self._add_tip()

    def _read(self, reference: str) -> mujoco.MjSpec:
        if not self._urdf:
            return read_model(self.spec)
        try:
            path = model_path(reference, self.spec.folder)
            specification = mujoco.MjSpec.from_string(mjcf_compatible(path, {}, shapes=False))
        except (ValueError, OSError) as error:
            raise RobotFileError(f'robot {self.spec.name!r}: model {reference}: {error}') from None
        for body in specification.bodies[1:]:
            # a link without shapes may have no mass either, and nothing here is weighed
            body.explicitinertial, body.mass, body.inertia = True, 1.0, [1.0, 1.0, 1.0]
            body.ipos, body.iquat, body.fullinertia = [0.0] * 3, [1.0, 0, 0, 0], [np.nan] * 6
        return specification
