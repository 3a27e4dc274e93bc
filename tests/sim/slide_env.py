# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A Gymnasium environment on MuJoCo that is not ours, and a robot file for it."""

from __future__ import annotations

from typing import ClassVar

import gymnasium
import mujoco
import numpy as np

from apprentice.robot.spec import RobotSpec

XML = """
<mujoco><option gravity="0 0 0" timestep="0.01"/>
  <visual><quality shadowsize="0" offsamples="0"/></visual>
  <worldbody>
    <light pos="0 0 3"/><geom type="plane" size="1 1 0.1" rgba="0.2 0.3 0.4 1"/>
    <camera name="top" pos="0 0 1.5"/><camera name="side" pos="0 -1 0.6" xyaxes="1 0 0 0 0.5 1"/>
    <body name="pusher" pos="0 0 0.05">
      <joint name="x" type="slide" axis="1 0 0" damping="5"/>
      <joint name="y" type="slide" axis="0 1 0" damping="5"/>
      <geom size="0.05" rgba="1 0 0 1"/>
    </body>
    <body name="goal" mocap="true"><geom size="0.03" contype="0" conaffinity="0" rgba="0 1 0 1"/></body>
  </worldbody>
  <actuator><position name="x" joint="x" kp="50"/><position name="y" joint="y" kp="50"/></actuator>
</mujoco>"""


class SlideEnv(gymnasium.Env):
    """A ball on a table; an action moves it by up to 5 cm; solved within 3 cm of the goal.

    From step ``break_at`` on (0: at the reset) its ``how`` is NaN, or ``how='raise'``: it raises.
    """

    made: ClassVar[list[SlideEnv]] = []

    metadata = {'render_modes': ['rgb_array'], 'render_fps': 20}  # noqa: RUF012

    def __init__(self, render_mode=None, break_at=10**9, last=10**9, how='position'):
        self.render_mode, self.break_at, self.last, self.how = render_mode, break_at, last, how
        self.model = mujoco.MjModel.from_xml_string(XML)
        self.data, self._renderer, self.closed = mujoco.MjData(self.model), None, False
        self.made.append(self)
        everywhere = gymnasium.spaces.Box(-10, 10, (2,), np.float64)
        goal = gymnasium.spaces.Box(-10, 10, (3,), np.float64)
        inner = gymnasium.spaces.Dict({'position': everywhere, 'velocity': everywhere, 'goal': goal})
        self.observation_space = gymnasium.spaces.Dict({'robot': inner})
        self.action_space = gymnasium.spaces.Box(-1, 1, (3,), np.float32)

    def _observation(self):
        seen = {'position': self.data.qpos.copy(), 'velocity': self.data.qvel.copy()}
        if self.steps >= self.break_at and self.how in seen:
            seen[self.how][0] = np.nan
        return {'robot': {**seen, 'goal': self.data.mocap_pos[0].copy()}}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        mujoco.mj_resetData(self.model, self.data)
        self.data.mocap_pos[0] = [*self.np_random.uniform(-0.3, 0.3, 2), 0.05]
        mujoco.mj_forward(self.model, self.data)
        self.steps, self.third = 0, []
        return self._observation(), {}

    def step(self, action):
        assert self.action_space.contains(action)
        self.steps += 1
        if self.steps >= self.break_at and self.how == 'raise':
            raise RuntimeError('the arm has left the room')
        self.third.append(float(action[2]))
        self.data.ctrl[:] = self.data.qpos + 0.05 * action[:2]
        mujoco.mj_step(self.model, self.data, 5)
        distance = float(np.linalg.norm(self.data.qpos - self.data.mocap_pos[0, :2]))
        solved = distance < 0.03
        info = {'is_success': solved, 'distance': distance}
        return self._observation(), -distance, solved, self.steps >= self.last, info

    def render(self):
        if self._renderer is None:
            self._renderer = mujoco.Renderer(self.model, 48, 80)
        self._renderer.update_scene(self.data, 'top')
        return self._renderer.render()

    def close(self):
        self.closed = True
        if self._renderer is not None:
            self._renderer.close()


gymnasium.register('Tests/Slide-v0', entry_point=SlideEnv)


def spec_of(**changes) -> RobotSpec:
    joint = {'lower': -0.4, 'upper': 0.4, 'velocity': 1.0, 'jump': 0.2, 'home': 0.0}
    camera = {'topic': 'camera', 'width': 16, 'height': 12, 'rate_hz': 10.0}
    section = {
        'world': 'apprentice.sim.gym.world:GymWorld',
        'env': 'Tests/Slide-v0',
        'instruction': 'go to the green ball',
        'state': {'x': {'key': 'robot.position', 'index': 0}, 'y': {'key': 'robot.position', 'index': 1}},
        'action': {'x': {'index': 0, 'scale': 0.05}, 'y': {'index': 1, 'scale': 0.05}},
        'rest': {2: 0.5},
        'images': {'top': 'render', 'side': {'camera': 'side'}},
        'objects': {'goal': {'key': 'robot.goal'}, 'ball': {'body': 'pusher'}},
        'success': 'is_success',
        'progress': {'info': 'distance', 'values': [0.5, 0.0]},
        **changes,
    }
    return RobotSpec.from_dict({
        'name': 'slide', 'control_hz': 40.0, 'action_dt': 0.1,
        'joints': [{'name': 'x', **joint}, {'name': 'y', **joint}],
        'cameras': [{'name': 'top', **camera}, {'name': 'side', **camera}],
        'simulator': {key: value for key, value in section.items() if value is not None},
    })  # fmt: skip
