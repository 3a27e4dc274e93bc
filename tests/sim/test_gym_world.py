# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Gymnasium environments behind our interfaces: one made here on MuJoCo, and Gymnasium's own."""

import contextlib
import importlib.util

import numpy as np
import pytest
import yaml

pytest.importorskip('gymnasium')

from slide_env import spec_of

from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Outcome
from apprentice.sim.gym.mapping import Commands
from apprentice.sim.gym.world import GymWorld, GymWorlds
from apprentice.sim.physics.base import UnstableSimulation
from apprentice.sim.rollout import RolloutConfig, rollout, rollouts
from apprentice.sim.world import make_world, make_worlds


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


@pytest.mark.parametrize('how', ['position', 'velocity', 'raise'])
def test_one_that_breaks_does_not_stop_the_others(how, caplog):
    velocity = {'x': {'key': 'robot.velocity', 'index': 0}}
    with contextlib.closing(make_worlds(spec_of(velocity=velocity), 2)) as worlds:
        worlds.reset([0, 1], [0, 1])
        inner = [simulation.env.unwrapped for simulation in worlds.simulations]
        inner[0].break_at, inner[0].how = 2, how
        for _ in range(4):
            worlds.step(np.full((2, 2), 0.1), 0.05)
        assert worlds.failed.tolist() == [True, False]
        assert [env.steps for env in inner] == [2, 4]
        assert np.isfinite(worlds.joints).all()
        assert np.isfinite(worlds.velocities).all()
        assert np.isfinite(worlds.progress()).all()
        assert 'stands still until reset' in caplog.text
        assert ('the arm has left the room' in caplog.text) == (how == 'raise')
        inner[0].break_at = 10**9
        worlds.reset([0], [5])
        worlds.step(np.full((1, 2), 0.1), 0.05, [0])
        assert worlds.failed.tolist() == [False, False]
        assert inner[0].steps == 1


@pytest.mark.parametrize('how', ['position', 'velocity'])
def test_one_that_is_broken_at_its_start(how):
    velocity = {'x': {'key': 'robot.velocity', 'index': 0}}
    spec = spec_of(velocity=velocity, options={'break_at': 0, 'how': how})
    with contextlib.closing(make_worlds(spec)) as worlds:
        worlds.reset([0], [0])
        assert worlds.failed.tolist() == [True]
        assert np.isfinite([worlds.joints, worlds.velocities]).all()
        worlds.step(np.zeros((1, 2)), 0.1)
        assert worlds.simulations[0].env.unwrapped.steps == 0


def test_its_physics_is_its_own():
    spec = spec_of()
    for make in (make_world, make_worlds):
        with pytest.raises(ValueError, match='brings its own physics; leave randomization out'):
            make(spec, 1, randomization='mild')
        with contextlib.closing(make(spec, 1, randomization=None)):
            pass


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
