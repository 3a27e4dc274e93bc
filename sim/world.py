# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A simulated robot in a task's scene: reset, step, sense. Deterministic for a seed on one machine."""

from __future__ import annotations

import mujoco
import numpy as np

from apprentice.robot.parts import load_part
from apprentice.robot.spec import RobotFileError, RobotSpec
from apprentice.sim.kinematics import Kinematics
from apprentice.sim.task import Expert, Task

START_NOISE = 0.08  # rad, uniform, around home at every reset


class World:
    """The robot of ``spec`` in the scene of its task.

    The robot file's ``simulator`` section names the model and the task as parts. Rendering is set up
    at the first :meth:`render`, so a World without GL libraries still steps.
    """

    def __init__(self, spec: RobotSpec, seed: int = 0):
        self.spec = spec
        try:
            model_part, task_part = spec.simulator['model'], spec.simulator['task']
        except KeyError as missing:
            raise RobotFileError(
                f'robot {spec.name!r}: simulator.{missing.args[0]} is missing; '
                'name the part as package.module:Class, see robots/sim_arm.yaml'
            ) from None
        self.task: Task = load_part(task_part)()
        specification = load_part(model_part)().load()
        self.task.build(specification)
        self.model = specification.compile()
        self.data = mujoco.MjData(self.model)
        self._check_names()
        self._qpos = [int(self.model.joint(name).qposadr[0]) for name in spec.joint_names]
        self._qvel = [int(self.model.joint(name).dofadr[0]) for name in spec.joint_names]
        self._control = [int(self.model.actuator(name).id) for name in spec.joint_names]
        self._steps_done = 0
        self._renderers: dict[tuple[int, int], mujoco.Renderer] = {}
        self._tip = int(self.model.site('tip').id)
        self.instruction = ''
        self.reset(seed)

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

    @property
    def time(self) -> float:
        """Simulated seconds since the world was made; resets do not turn it back."""
        return self._steps_done * self.model.opt.timestep

    def reset(self, seed: int, task: str = '') -> str:
        """Seeded start: objects placed, arm at home with noise. Returns the instruction."""
        if task:
            self.task.check(task)  # before anything moves
        rng = np.random.default_rng(seed)
        mujoco.mj_resetData(self.model, self.data)
        home = self.spec.vector('home')
        noise = rng.uniform(-START_NOISE, START_NOISE, self.spec.dim) * ~self.spec.gripper_mask
        start = np.clip(home + noise, self.spec.vector('lower'), self.spec.vector('upper'))
        self.data.qpos[self._qpos] = start
        self._couple_joints()
        self.data.ctrl[self._control] = start
        self.instruction = self.task.reset(self, rng, task)
        mujoco.mj_forward(self.model, self.data)
        # objects settle before the first observation
        mujoco.mj_step(self.model, self.data, nstep=20)
        self._steps_done += 20
        return self.instruction

    def _couple_joints(self) -> None:
        """Put joints that an equality ties to another (the second finger) where the constraint wants them."""
        model, qpos = self.model, self.data.qpos
        for i in range(model.neq):
            if int(model.eq_type[i]) != int(mujoco.mjtEq.mjEQ_JOINT) or int(model.eq_obj2id[i]) < 0:
                continue
            first = int(model.jnt_qposadr[int(model.eq_obj1id[i])])
            second = int(model.jnt_qposadr[int(model.eq_obj2id[i])])
            offset = qpos[second] - model.qpos0[second]
            qpos[first] = model.qpos0[first] + np.polyval(model.eq_data[i, 4::-1], offset)

    def step(self, target: np.ndarray, duration_s: float) -> None:
        """Command joint positions [dim] and simulate ``duration_s``."""
        if not np.all(np.isfinite(target)):
            raise ValueError(f'joint target is not finite: {target}')
        self.data.ctrl[self._control] = np.clip(target, self.spec.vector('lower'), self.spec.vector('upper'))
        steps = max(1, round(duration_s / self.model.opt.timestep))
        mujoco.mj_step(self.model, self.data, nstep=steps)
        self._steps_done += steps

    def state(self) -> np.ndarray:
        """Measured joint positions, float64 [dim]."""
        return self.data.qpos[self._qpos].copy()

    def velocity(self) -> np.ndarray:
        """Measured joint velocities, float64 [dim]."""
        return self.data.qvel[self._qvel].copy()

    def tip(self) -> tuple[np.ndarray, np.ndarray]:
        """Tool position [3] (m) and rotation [3, 3] in the base frame."""
        return (
            self.data.site_xpos[self._tip].copy(),
            self.data.site_xmat[self._tip].reshape(3, 3).copy(),
        )

    def render(self) -> dict[str, np.ndarray]:
        """One frame of every camera: name -> uint8 [H, W, 3] RGB."""
        frames = {}
        for camera in self.spec.cameras:
            renderer = self._renderer(camera.height, camera.width)
            renderer.update_scene(self.data, camera=camera.name)
            frames[camera.name] = renderer.render()
        return frames

    def _renderer(self, height: int, width: int) -> mujoco.Renderer:
        size = (height, width)
        if size not in self._renderers:
            try:
                self._renderers[size] = mujoco.Renderer(self.model, height, width)
            except Exception as error:
                raise OSError(
                    f'cannot render ({error}); install the GL libraries: '
                    'apt install libegl1 libgl1-mesa-dri, and leave MUJOCO_GL unset or egl'
                ) from error
        return self._renderers[size]

    def objects(self) -> dict[str, np.ndarray]:
        """Poses [7] (m, base frame; quaternion wxyz) of the task's objects."""
        return self.task.objects(self)

    def success(self) -> bool:
        return self.task.success(self)

    def progress(self) -> float:
        return self.task.progress(self)

    def expert(self) -> Expert:
        return self.task.expert(self)

    def kinematics(self) -> Kinematics:
        """Kinematics of the tool with respect to the arm joints (gripper excluded)."""
        return Kinematics(self.model, [j.name for j in self.spec.joints if not j.gripper])

    def close(self) -> None:
        """Free the GL contexts."""
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()
