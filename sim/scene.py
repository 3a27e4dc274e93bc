# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A robot in a task's scene, compiled once: which entry of MuJoCo's arrays is which joint, camera, tool."""

from __future__ import annotations

from functools import cache
from typing import Any

import mujoco
import numpy as np

from apprentice.robot.parts import load_part
from apprentice.robot.spec import RobotFileError, RobotSpec
from apprentice.sim.kinematics import Kinematics
from apprentice.sim.task import Task
from apprentice.sim.tasks import load_task


class Scene:
    """The model of ``spec``'s robot and task.

    The robot file's ``simulator`` section names the model and the task as parts. Raises RobotFileError for
    a model without the joints, actuators, cameras or the tool frame that the robot file promises.

    Attributes:
        qpos, dof, ctrl: int [dim], addresses of the robot's joints and actuators in MuJoCo's vectors.
        tip: id of the tool site.
        gripper: index of the first gripper joint in the robot's vectors, or None.
    """

    def __init__(self, spec: RobotSpec, task: Task | None = None):
        self.spec = spec
        specification = load_part(self._part('model'))().load()
        self.task: Task = task if task is not None else load_task(self._part('task'))
        self.task.build(specification)
        self.model: mujoco.MjModel = specification.compile()
        self._check_names()
        self.qpos = np.array([self.address('jnt_qposadr', name) for name in spec.joint_names])
        self.dof = np.array([self.address('jnt_dofadr', name) for name in spec.joint_names])
        self.ctrl = np.array([self.id('actuator', name) for name in spec.joint_names])
        self.tip = self.id('site', 'tip')
        grippers = np.flatnonzero(spec.gripper_mask)
        self.gripper = int(grippers[0]) if len(grippers) else None

    def _part(self, key: str) -> str:
        try:
            return str(self.spec.simulator[key])
        except KeyError:
            raise RobotFileError(
                f'robot {self.spec.name!r}: simulator.{key} is missing; '
                'name the part as package.module:Class, see robots/sim_arm.yaml'
            ) from None

    def _check_names(self) -> None:
        model, spec = self.model, self.spec
        for kind, wanted, names in (
            ('joint', spec.joint_names, [model.joint(i).name for i in range(model.njnt)]),
            ('actuator', spec.joint_names, [model.actuator(i).name for i in range(model.nu)]),
            ('camera', [c.name for c in spec.cameras], [model.camera(i).name for i in range(model.ncam)]),
            ('site', ['tip'], [model.site(i).name for i in range(model.nsite)]),
        ):
            for name in wanted:
                if name not in names:
                    raise RobotFileError(
                        f'robot {spec.name!r}: the simulated model has no {kind} {name!r}; it has: {names}'
                    )

    @cache  # noqa: B019 - a scene lives as long as its worlds
    def id(self, kind: str, name: str) -> int:
        """Number of a named object; ``kind`` is ``body``, ``geom``, ``site``, ``joint``, ``actuator``, ..."""
        return int(getattr(self.model, kind)(name).id)

    @cache  # noqa: B019
    def address(self, field: str, joint: str) -> int:
        """First entry of a joint in qpos (``jnt_qposadr``) or qvel (``jnt_dofadr``)."""
        return int(getattr(self.model, field)[self.id('joint', joint)])

    def row(self, field: str, name: str) -> int:
        """Row of a named object in a model field such as ``geom_rgba``."""
        kinds = {'cam': 'camera', 'mat': 'material'}
        prefix = field.partition('_')[0]
        return self.id(kinds.get(prefix, prefix), name)

    def start_qpos(self, joints: np.ndarray, placed: dict[str, Any]) -> np.ndarray:
        """qpos [nq] with the robot at ``joints`` [dim] and scene joints where a start puts them."""
        qpos = np.array(self.model.qpos0)
        qpos[self.qpos] = joints
        for name, value in placed.items():
            first = self.address('jnt_qposadr', name)
            qpos[first : first + np.size(value)] = value
        self._couple_joints(qpos)
        return qpos

    def _couple_joints(self, qpos: np.ndarray) -> None:
        """Put joints that an equality ties to another (the second finger) where the constraint wants them."""
        model = self.model
        for i in range(model.neq):
            if int(model.eq_type[i]) != int(mujoco.mjtEq.mjEQ_JOINT) or int(model.eq_obj2id[i]) < 0:
                continue
            first = int(model.jnt_qposadr[int(model.eq_obj1id[i])])
            second = int(model.jnt_qposadr[int(model.eq_obj2id[i])])
            offset = qpos[second] - model.qpos0[second]
            qpos[first] = model.qpos0[first] + np.polyval(model.eq_data[i, 4::-1], offset)

    def kinematics(self) -> Kinematics:
        """Kinematics of the tool with respect to the arm joints (gripper excluded)."""
        return Kinematics(self.model, [j.name for j in self.spec.joints if not j.gripper])
