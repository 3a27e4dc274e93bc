# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Gymnasium environments behind our interfaces: one made here on MuJoCo, and Gymnasium's own."""

import contextlib
import importlib.util

import mujoco
import numpy as np
import pytest
import yaml

gymnasium = pytest.importorskip('gymnasium')

from apprentice.robot.parts import share  # noqa: E402
from apprentice.robot.spec import RobotFileError, RobotSpec  # noqa: E402
from apprentice.robot.types import Outcome  # noqa: E402
from apprentice.sim.gym.mapping import Commands, resized  # noqa: E402
from apprentice.sim.gym.world import GymWorld, GymWorlds  # noqa: E402
from apprentice.sim.physics.base import UnstableSimulation  # noqa: E402
from apprentice.sim.rollout import RolloutConfig, rollout, rollouts  # noqa: E402
from apprentice.sim.world import make_world, make_worlds  # noqa: E402

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
    """A ball on a table; an action moves it by up to 5 cm; solved within 3 cm of the goal."""

    metadata = {'render_modes': ['rgb_array'], 'render_fps': 20}  # noqa: RUF012

    def __init__(self, render_mode=None, break_at=10**9, last=10**9):
        self.render_mode, self.break_at, self.last = render_mode, break_at, last
        self.model = mujoco.MjModel.from_xml_string(XML)
        self.data, self._renderer = mujoco.MjData(self.model), None
        everywhere = gymnasium.spaces.Box(-10, 10, (2,), np.float64)
        inner = gymnasium.spaces.Dict({'position': everywhere, 'goal': everywhere})
        self.observation_space = gymnasium.spaces.Dict({'robot': inner})
        self.action_space = gymnasium.spaces.Box(-1, 1, (3,), np.float32)

    def _observation(self):
        return {'robot': {'position': self.data.qpos.copy(), 'goal': self.data.mocap_pos[0, :2].copy()}}

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
        self.third.append(float(action[2]))
        self.data.ctrl[:] = self.data.qpos + 0.05 * action[:2]
        mujoco.mj_step(self.model, self.data, 5)
        if self.steps >= self.break_at:
            self.data.qpos[0] = np.nan
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
        if self._renderer is not None:
            self._renderer.close()


@pytest.fixture(scope='module', autouse=True)
def registered():
    gymnasium.register('Tests/Slide-v0', entry_point=SlideEnv)
    yield
    del gymnasium.registry['Tests/Slide-v0']


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


@pytest.fixture
def world():
    with contextlib.closing(make_world(spec_of())) as made:
        yield made


def towards_goal(world):
    """A policy that knows where the goal is."""

    def act(observation):
        goal = world.objects()['goal'][:2]
        return np.tile(goal, (4, 1))

    return act


def test_the_robot_file_chooses_the_world(world):
    assert isinstance(world, GymWorld)
    assert world.instruction == world.reset(0) == 'go to the green ball'
    assert type(make_world(RobotSpec.load(share('robots', 'sim_arm.yaml')))).__name__ == 'World'


def test_a_rollout_solves_it_with_frames(world):
    episode = rollout(world, 3, towards_goal(world), config=RolloutConfig(max_duration_s=4.0))
    assert episode.outcome == Outcome.SUCCESS
    assert episode.task == 'go to the green ball'
    truth = [reward.value for reward in episode.rewards]
    assert truth[0] == 0.0  # nothing is known before the first step
    assert truth[-1] == 1.0
    assert all(value < 1 for value in truth[:-1])
    assert truth[1] < truth[-2]
    for name in ('top', 'side'):
        assert episode.images[name].shape[1:] == (12, 16, 3)
        assert episode.images[name].std() > 5
        assert not np.array_equal(episode.images[name][0], episode.images[name][-1])
    again = rollout(world, 3, towards_goal(world), config=RolloutConfig(max_duration_s=4.0))
    np.testing.assert_array_equal(again.state, episode.state)
    np.testing.assert_array_equal(again.images['top'], episode.images['top'])


def test_steps_of_the_environment_keep_their_own_time(world):
    world.reset(0)
    inner = world.worlds.simulations[0].env.unwrapped
    for _ in range(8):  # 8 x 25 ms at 50 ms a step
        world.step(np.zeros(2), 1 / 40)
    assert inner.steps == 4
    world.step(np.zeros(2), 0.06)
    world.step(np.zeros(2), 0.04)
    assert inner.steps == 6
    assert world.time == pytest.approx(0.3)
    assert inner.third == [0.5] * 6


def test_setpoints_are_reached_and_limited(world):
    world.reset(2)
    goal = world.objects()['goal'][:2]
    away = np.where(goal > 0, -0.3, 0.3)  # where success does not end it
    for _ in range(80):
        world.step(away, 1 / 40)
    np.testing.assert_allclose(world.state(), away, atol=0.01)
    for _ in range(80):
        world.step(away * 10, 1 / 40)
    assert np.all(np.abs(world.state()) < 0.42)
    assert np.isnan(world.tip()[0]).all()  # no z: where the tool is nobody knows
    ball = world.objects()['ball']
    np.testing.assert_allclose(ball[:2], world.state(), atol=1e-6)
    assert world.velocity().shape == (2,)


def test_many_at_once_equal_one(world):
    spec = spec_of()
    policy = lambda seen: np.stack([np.tile(o.state + 0.05, (4, 1)) for o in seen])  # noqa: E731
    config = RolloutConfig(max_duration_s=0.5)
    with contextlib.closing(make_worlds(spec, 3)) as worlds:
        assert isinstance(worlds, GymWorlds)
        together = {e.seed: e for e in rollouts(worlds, [4, 5, 6, 7], policy, config)}
    for seed in (4, 7):
        alone = next(rollouts(world.worlds, [seed], policy, config))
        np.testing.assert_array_equal(alone.state, together[seed].state)
        np.testing.assert_array_equal(alone.images['side'], together[seed].images['side'])


def test_an_ended_or_broken_environment_stands_still():
    with contextlib.closing(make_world(spec_of(options={'last': 3}))) as world:
        for _ in range(20):
            world.step(np.full(2, -0.4), 0.05)
        assert world.worlds.simulations[0].env.unwrapped.steps == 3
    with contextlib.closing(make_worlds(spec_of(options={'break_at': 2}), 2)) as worlds:
        worlds.reset([0, 1], [0, 1])
        worlds.step(np.zeros((2, 2)), 0.05)
        worlds.step(np.zeros((1, 2)), 0.05, [1])
        assert worlds.failed.tolist() == [False, True]
        assert np.isfinite(worlds.joints).all()
        assert not worlds.success()[1]
    with contextlib.closing(make_world(spec_of(options={'break_at': 1}))) as world:
        with pytest.raises(UnstableSimulation):
            world.step(np.zeros(2), 0.05)
        world.reset(0)
        with pytest.raises(ValueError, match='not finite'):
            world.step(np.full(2, np.nan), 0.05)


def test_absolute_actions_and_servos():
    low, high = np.array([-1.0, 0, -2]), np.array([1.0, 255, 2])
    action = {
        'x': {'index': 1, 'kind': 'absolute', 'values': [255, 0]},
        'y': {'index': 2, 'scale': 0.5, 'damping': 0.1},
    }
    commands = Commands(spec_of(action=action, rest={0: -1}), low, high)
    told = commands.action(np.array([0.2, 0.3]), np.array([0.0, 0.1]), np.array([9.0, 2.0]))
    np.testing.assert_allclose(told, [-1, 255 * 0.25, 0.2 / 0.5 - 0.2])
    told = commands.action(np.array([-0.4, 9.0]), np.zeros(2), np.zeros(2))
    np.testing.assert_allclose(told, [-1, 255, 2])


def test_resized():
    image = np.zeros((4, 6, 3), np.uint8)
    image[:2, :3] = 200
    small = resized(image, 2, 2)
    assert small[0, 0].tolist() == [200] * 3
    assert small[1:].max() == 0
    assert resized(image, 8, 12)[3, 5].tolist() == [200] * 3
    assert resized(image, 3, 4).shape == (3, 4, 3)
    assert resized(image, 4, 6) is image


def use(spec):
    with contextlib.closing(make_world(spec)) as world:
        world.render()
        world.step(np.zeros(2), 0.05)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'env': None}, r'simulator\.env is missing'),
        ({'env': 'Tests/Slid-v0'}, r'cannot be made: .*gymnasium_robotics:FetchReach'),
        ({'env': 'no_such_package:Slide-v0'}, 'cannot be made'),
        ({'options': {'colour': 1}}, 'cannot be made'),
        (
            {'state': {'x': {'key': 'robot.velocity'}}},
            r"gives no 'robot\.velocity'; there is: \['goal', 'posi",
        ),
        ({'state': {'x': {'key': 'robot.position', 'index': 2}}}, 'index 2 of 2 numbers'),
        ({'state': {'z': {'key': 'robot'}}}, r"state: unknown \['z'\]"),
        ({'action': {'x': {'index': 0}}}, r'action\.y is missing'),
        ({'action': {'x': {'index': 3}, 'y': {'index': 1}}}, 'index 3 is none of the 3 entries'),
        ({'action': {'x': {'index': 0, 'kind': 'torque'}, 'y': {'index': 1}}}, r"kind 'torque' is unknown"),
        ({'images': {'side': {'camera': 'left'}}}, r"no camera 'left'; it has: \['top', 'side'\]"),
        ({'images': {'side': {'key': 'robot.goal'}}}, 'not a uint8 image'),
        ({'success': 'solved'}, r"no 'solved'; it has: \['distance', 'is_success'\]"),
        ({'step_s': 0}, 'step_s, seconds of one step'),
        ({'make': 'gymnasium.spaces:Nothing', 'env': None}, 'has no'),
    ],
)
def test_wrong_files_say_what_is_there(changes, message):
    with pytest.raises((RobotFileError, ImportError), match=message):
        use(spec_of(**changes))


def test_what_it_cannot_do_is_said(world):
    with pytest.raises(ValueError, match='one thing'):
        world.reset(0, 'tidy up')
    with pytest.raises(ValueError, match='no scripted expert'):
        world.expert()
    with pytest.raises(ValueError, match='kinematics'):
        world.kinematics()


@pytest.mark.skipif(not importlib.util.find_spec('imageio'), reason="needs pip install 'gymnasium[mujoco]'")
def test_gymnasiums_pusher_follows_setpoints():
    spec = RobotSpec.load(share('robots', 'gym_pusher.yaml'))
    with contextlib.closing(make_world(spec)) as world:
        world.reset(1)
        target = np.array([0.5, 0.3, 0.4, -0.4, 0.5, -0.3, 0.5])
        for _ in range(60):
            world.step(target, 1 / spec.control_hz)
        assert np.abs(world.state() - target).max() < 0.15
        assert world.render()['front'].std() > 5
        assert world.objects()['cylinder'].shape == (7,)


@pytest.mark.parametrize('path', sorted(share('robots').glob('gym_*.yaml')), ids=lambda path: path.stem)
def test_the_shipped_files_can_be_read(path):
    spec = RobotSpec.load(path)
    section = yaml.safe_load(path.read_text())['simulator']
    assert section['world'] == 'apprentice.sim.gym.world:GymWorld'
    assert set(section['action']) == set(spec.joint_names)
    assert set(section['images']) == {camera.name for camera in spec.cameras}
    Commands(spec, np.full(9, -1.0), np.full(9, 1.0))
