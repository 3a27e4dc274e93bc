# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Our tasks as Gymnasium environments: its own checker, equal numbers alone and in a vector, seeds, ends."""

import contextlib
import copy
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest

gymnasium = pytest.importorskip('gymnasium')
from gymnasium.utils.env_checker import check_env  # noqa: E402
from gymnasium.vector import AutoresetMode  # noqa: E402

from apprentice.robot.limits import Limits  # noqa: E402
from apprentice.robot.parts import share  # noqa: E402
from apprentice.robot.spec import RobotSpec  # noqa: E402
from apprentice.sim.gym.env import ApprenticeEnv, ApprenticeVectorEnv, env_id  # noqa: E402
from apprentice.sim.tasks import task_names  # noqa: E402
from apprentice.sim.worlds import Worlds  # noqa: E402


@pytest.fixture
def make():
    with contextlib.ExitStack() as stack:

        def factory(*arguments, **options):
            made = gymnasium.make('apprentice/PickCube-v0', *arguments, **{'image_size': 32, **options})
            return stack.enter_context(contextlib.closing(made))

        yield factory


def test_every_task_is_registered_under_the_name_of_its_class():
    assert {env_id(task) for task in task_names()} <= set(gymnasium.registry)
    assert env_id('pick') == 'apprentice/PickCube-v0'


def test_the_module_in_the_id_is_enough():
    code = (
        'import gymnasium\n'
        "env = gymnasium.make('apprentice.sim.gym.env:apprentice/PickCube-v0', cameras=False)\n"
        'assert list(env.reset(seed=0)[0]) == ["state"]\n'
    )
    subprocess.run([sys.executable, '-c', code], check=True, timeout=100, env={**os.environ})


FILM = {'render_mode': 'rgb_array', 'cameras': False}


@pytest.mark.parametrize('options', [{}, {'text': True, 'control': 'joint', 'reward': 'progress', **FILM}])
def test_gymnasiums_checker_has_nothing_to_say(options):
    options = {'image_size': 32, 'film_size': 48, **options}
    env = ApprenticeEnv('pick', **options)
    env.spec = copy.deepcopy(gymnasium.spec('apprentice/PickCube-v0'))
    env.spec.kwargs = {'task': 'pick', **options}
    with contextlib.closing(env), warnings.catch_warnings():
        warnings.simplefilter('error')
        check_env(env)


def test_a_seed_is_the_start_of_that_seed_everywhere(make):
    env = make()
    observation, info = env.reset(seed=7)
    with contextlib.closing(Worlds(RobotSpec.load(share('robots', 'sim_arm.yaml')))) as worlds:
        assert worlds.reset([0], [7]) == [info['instruction']]
        np.testing.assert_allclose(observation['state'], worlds.joints[0], atol=1e-6)
    assert observation['front'].shape == (32, 32, 3)
    seven, eight = env.reset()[0], env.reset()[0]
    assert not np.array_equal(seven['state'], eight['state'])
    env.reset(seed=7)
    np.testing.assert_array_equal(env.reset()[0]['state'], seven['state'])


@pytest.mark.parametrize('control', ['joint_delta', 'joint'])
def test_the_expert_solves_it_and_progress_sums_to_one(make, control):
    env = make(control=control, reward='progress', cameras=False)
    for seed in range(3):
        _, info = env.reset(seed=seed)
        total, ended = info['progress'], False
        while not ended:
            _, reward, ended, truncated, info = env.step(env.unwrapped.expert_action())
            assert not truncated
            total += reward
        assert info['success']
        assert total == pytest.approx(1.0)


def test_standing_still_is_truncated_without_reward(make):
    env = make(cameras=False, instruction='pick up the red cube')
    _, info = env.reset(seed=1)
    assert info['instruction'] == 'pick up the red cube'
    still = np.zeros(7, np.float32)
    steps = [env.step(still) for _ in range(80)]
    assert [step[3] for step in steps] == [False] * 79 + [True]
    assert not any(step[1] or step[2] for step in steps)
    # the setpoint stays where it is: gravity does not carry the arm away
    np.testing.assert_allclose(steps[0][0]['state'], steps[-1][0]['state'], atol=5e-3)


def test_actions_are_bounded_by_the_robot_file(make):
    env = make(cameras=False)
    env.reset(seed=0)
    attempts = env.unwrapped.attempts
    lower, upper = attempts.spec.vector('lower'), attempts.spec.vector('upper')
    for _ in range(40):
        before = attempts.worlds.joints[0].copy()
        env.step(np.full(7, 1, np.float32))
        setpoint = attempts.worlds.physics.read('ctrl')[0, attempts.worlds.scene.ctrl]
        assert np.all(setpoint <= upper + 1e-9) and np.all(setpoint >= lower - 1e-9)  # noqa: PT018
        assert np.all(np.abs(setpoint - before) <= attempts.spec.vector('jump') + 1e-9)
    with pytest.raises(ValueError, match='not finite'):
        attempts.advance(np.full((1, 7), np.nan), [0])
    with pytest.raises(ValueError, match='expected'):
        attempts.advance(np.zeros((1, 6)), [0])


def test_a_vector_is_that_many_alone(make):
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (85, 2, 7)).astype(np.float32)
    vector = gymnasium.make_vec('apprentice/PickCube-v0', num_envs=2, cameras=False, reward='progress')
    assert isinstance(vector, ApprenticeVectorEnv)
    assert vector.metadata['autoreset_mode'] == AutoresetMode.NEXT_STEP
    singles = [make(cameras=False, reward='progress') for _ in range(2)]
    with contextlib.closing(vector):
        batch, info = vector.reset(seed=5)
        alone = [single.reset(seed=5 + i) for i, single in enumerate(singles)]
        ended = [False, False]
        for step in range(len(actions)):
            assert vector.observation_space.contains(batch)
            for i in range(2):
                np.testing.assert_array_equal(batch['state'][i], alone[i][0]['state'])
                assert info['instruction'][i] == alone[i][-1]['instruction']
                assert info['progress'][i] == alone[i][-1]['progress']
            batch, rewards, terminated, truncated, info = vector.step(actions[step])
            for i, single in enumerate(singles):
                if ended[i]:  # NEXT_STEP: this step was the reset
                    observation, details = single.reset()
                    alone[i] = (observation, 0.0, False, False, details)
                else:
                    alone[i] = single.step(actions[step, i])
                assert (rewards[i], terminated[i], truncated[i]) == alone[i][1:4]
                ended[i] = alone[i][2] or alone[i][3]
    assert step > 80  # beyond the first end


def test_vector_images_and_text():
    options = {
        'image_size': [24, 32],
        'cameras': ['wrist'],
        'text': True,
        'render_mode': 'rgb_array',
        'film_size': 48,
    }
    with contextlib.closing(ApprenticeVectorEnv(2, 'pick', **options)) as vector:
        batch, _ = vector.reset(seed=[3, None])
        assert batch['wrist'].shape == (2, 24, 32, 3)
        assert 'front' not in batch
        assert len(batch['instruction']) == 2
        assert vector.observation_space.contains(batch)
        assert [frame.shape for frame in vector.render()] == [(48, 48, 3)] * 2


def test_wrong_options_are_named():
    for options, message in (
        ({'control': 'torque'}, 'joint_delta'),
        ({'reward': 'dense'}, 'progress'),
        ({'task': 'pik'}, 'did you mean'),
        ({'cameras': ['top']}, "no camera 'top'"),
        ({'instruction': 'pick up the mug'}, 'names no colour'),
        ({'render_mode': 'human'}, 'rgb_array'),
    ):
        with pytest.raises(ValueError, match=message):
            ApprenticeEnv(**options)


def test_seeds_and_sizes_may_be_numpys(make):
    env = make(cameras='wrist', image_size=np.int64(24))
    expected = [env.reset(seed=seed)[0] for seed in range(2)]
    assert set(expected[0]) == {'wrist', 'state'}
    assert expected[0]['wrist'].shape == (24, 24, 3)
    np.testing.assert_array_equal(env.reset(seed=np.int64(0))[0]['state'], expected[0]['state'])
    with contextlib.closing(ApprenticeVectorEnv(2, 'pick', cameras=False)) as vector:
        for seed in (0, np.int64(0), np.uint8(0), [0, 1], np.arange(2), (np.int32(0), 1)):
            batch, _ = vector.reset(seed=seed)
            np.testing.assert_array_equal(batch['state'], [seen['state'] for seen in expected])
        with pytest.raises(ValueError, match='1 seeds for 2 environments'):
            vector.reset(seed=np.zeros(1, int))
    for size in (0, 32.0, [1, 2, 3], 'large', True):
        with pytest.raises(ValueError, match='image_size must be a number of pixels'):
            ApprenticeEnv('pick', image_size=size)


def test_setpoints_are_those_that_the_gate_permits(make):
    attempts = make(cameras=False).unwrapped.attempts
    attempts.begin([0], [0])
    attempts.worlds.step(np.array([[1.0, 0.5, 1.0, 0, 0, 0, 0]]), 0.6)  # pushed far from its setpoint
    before, measured = attempts._setpoints[0].copy(), attempts.worlds.joints[0].copy()
    limits = Limits(attempts.spec, attempts.spec.action_dt)
    assert limits.far(before, measured)
    for action in (np.full(7, -1.0), np.full(7, 1.0), np.zeros(7)):
        attempts._setpoints[0] = before
        measured = attempts.worlds.joints[0].copy()
        wanted = before + action * attempts.spec.vector('velocity') * attempts.spec.action_dt
        attempts.advance(action[None], [0])
        after = attempts._setpoints[0]
        np.testing.assert_array_equal(after, limits.clamp(wanted, before, measured).value)
        assert np.all(np.abs(after - before) <= limits.step + 1e-9)
