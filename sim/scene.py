# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A robot in a task's scene, compiled once: which entry of MuJoCo's arrays is which joint, camera, tool."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import mujoco
import numpy as np

from apprentice.robot.spec import RobotFileError, RobotSpec
from apprentice.sim.kinematics import Kinematics
from apprentice.sim.robots.decor import add_decor
from apprentice.sim.robots.model_file import compile_model, told
from apprentice.sim.robots.robot_model import RobotModel
from apprentice.sim.task import Task
from apprentice.sim.tasks import load_task


class Scene:
    """The model of ``spec``'s robot and task.

    The robot file's ``simulator`` section names the model and the task. Raises RobotFileError for a model
    without the joints, actuators, cameras or the tool frame that the robot file promises.

    Attributes:
        joints: names of the robot's joints in the model, in the robot file's order.
        qpos, dof, ctrl: int [dim], addresses of the robot's joints and actuators in MuJoCo's vectors.
        scale, offset: float64 [dim]; a position in the robot file's unit is offset + scale * qpos. Controls
            are in the robot file's unit already.
        tip, tip_name: id and name of the tool site.
        gripper: index of the first gripper joint in the robot's vectors, or None.
    """

    def __init__(self, spec: RobotSpec, task: Task | None = None):
        self.spec = spec
        robot = RobotModel(spec)
        self.task: Task = task if task is not None else load_task(self._task_name())
        names = {joint.name for joint in robot.specification.joints}
        where = f'robot {spec.name!r} in the scene of task {self.task.name!r}'
        try:
            self.task.build(robot.specification)
        except ValueError as error:
            raise RobotFileError(f'{where}: {told(error)}') from None
        if robot.specification.compiler.degree:
            _in_degrees(joint for joint in robot.specification.joints if joint.name not in names)
        add_decor(robot.specification)
        self.model: mujoco.MjModel = compile_model(robot.specification, where)
        self._found: dict[tuple[str, Any], Any] = {}  # tasks ask by name at every step
        self.joints, self.tip_name = robot.joints, robot.tip
        self.scale, self.offset = robot.scale, robot.offset
        self.qpos = np.array([self.address('jnt_qposadr', name) for name in robot.joints])
        self.dof = np.array([self.address('jnt_dofadr', name) for name in robot.joints])
        self.ctrl = np.array([self.id('actuator', name) for name in robot.actuators])
        self.tip = self.id('site', robot.tip)
        grippers = np.flatnonzero(spec.gripper_mask)
        self.gripper = int(grippers[0]) if len(grippers) else None

    def _task_name(self) -> str:
        try:
            return str(self.spec.simulator['task'])
        except KeyError:
            raise RobotFileError(
                f'robot {self.spec.name!r}: simulator.task is missing; '
                'name a task, or a part package.module:Class, see robots/sim_arm.yaml'
            ) from None

    def id(self, kind: str, name: str) -> int:
        """Number of a named object; ``kind`` is ``body``, ``geom``, ``site``, ``joint``, ``actuator``, ..."""
        if (kind, name) not in self._found:
            self._found[kind, name] = int(getattr(self.model, kind)(name).id)
        return self._found[kind, name]

    def ids(self, kind: str, names: tuple[str, ...]) -> np.ndarray:
        """Numbers [len(names)] of named objects of one kind."""
        if (kind, names) not in self._found:
            self._found[kind, names] = np.array([self.id(kind, name) for name in names])
        return self._found[kind, names]

    def address(self, field: str, joint: str) -> int:
        """First entry of a joint in qpos (``jnt_qposadr``) or qvel (``jnt_dofadr``)."""
        if (field, joint) not in self._found:
            self._found[field, joint] = int(getattr(self.model, field)[self.id('joint', joint)])
        return self._found[field, joint]

    def row(self, field: str, name: str) -> int:
        """Row of a named object in a model field such as ``geom_rgba``."""
        kinds = {'cam': 'camera', 'mat': 'material'}
        prefix = field.partition('_')[0]
        return self.id(kinds.get(prefix, prefix), name)

    def start_qpos(self, joints: np.ndarray, placed: dict[str, Any]) -> np.ndarray:
        """qpos [nq] with the robot at ``joints`` [dim] and scene joints where a start puts them."""
        qpos = np.array(self.model.qpos0)
        qpos[self.qpos] = (joints - self.offset) / self.scale
        for name, value in placed.items():
            first = self.address('jnt_qposadr', name)
            qpos[first : first + np.size(value)] = value
        self._couple_joints(qpos, set(self.qpos.tolist()))
        return qpos

    def _couple_joints(self, qpos: np.ndarray, set_joints: set[int]) -> None:
        """Put joints that an equality ties to another (the second finger) where the constraint wants them.

        Where the robot's own joint is the one that follows, the relation is turned round if it is a line.
        """
        model = self.model
        for i in range(model.neq):
            if int(model.eq_type[i]) != int(mujoco.mjtEq.mjEQ_JOINT) or int(model.eq_obj2id[i]) < 0:
                continue
            first = int(model.jnt_qposadr[int(model.eq_obj1id[i])])
            second = int(model.jnt_qposadr[int(model.eq_obj2id[i])])
            constant, slope, *curve = (float(value) for value in model.eq_data[i, :5])
            if first in set_joints and second not in set_joints and slope and not any(curve):
                offset = qpos[first] - model.qpos0[first]
                qpos[second] = model.qpos0[second] + (offset - constant) / slope
            else:
                offset = qpos[second] - model.qpos0[second]
                qpos[first] = model.qpos0[first] + np.polyval(model.eq_data[i, 4::-1], offset)

    def kinematics(self) -> Kinematics:
        """Kinematics of the tool with respect to the arm joints (gripper excluded)."""
        arm = np.flatnonzero(~self.spec.gripper_mask)
        limits = np.stack([self.spec.vector('lower'), self.spec.vector('upper')], axis=1)[arm]
        return Kinematics(self.model, [self.joints[i] for i in arm], self.tip_name, limits)


def _in_degrees(joints: Iterable[Any]) -> None:
    """A task gives radians; the builder of a model written in degrees takes degrees."""
    for joint in joints:
        if int(joint.type) == int(mujoco.mjtJoint.mjJNT_HINGE):
            joint.range = np.degrees(joint.range)
            joint.ref, joint.springref = np.degrees(joint.ref), np.degrees(joint.springref)
