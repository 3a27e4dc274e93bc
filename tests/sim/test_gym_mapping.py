# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Between the vectors of a Gymnasium environment and a robot file: the numbers, and wrong robot files."""

import contextlib

import numpy as np
import pytest

pytest.importorskip('gymnasium')

from slide_env import SlideEnv, spec_of

from apprentice.robot.spec import RobotFileError
from apprentice.sim.gym.mapping import Commands, resized
from apprentice.sim.world import make_world, make_worlds


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
        world.objects()


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'env': None}, r'simulator\.env is missing'),
        ({'env': 'Tests/Slid-v0'}, r'cannot be made: .*gymnasium_robotics:FetchReach'),
        ({'env': 'no_such_package:Slide-v0'}, 'cannot be made'),
        ({'options': {'colour': 1}}, 'cannot be made'),
        (
            {'state': {'x': {'key': 'robot.speed'}}},
            r"gives no 'robot\.speed'; there is: \['goal', 'posi",
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
        ({'step_s': float('inf')}, 'step_s, seconds of one step'),
        ({'make': 'gymnasium.spaces:Nothing', 'env': None}, 'has no'),
        ({'colour': 'red'}, r"colour is unknown; known: \['action', 'env', "),
        ({'rests': {2: 0.0}}, "rests is unknown; did you mean 'rest'"),
        ({'task': 'pick'}, 'task is for our own scenes; leave it out'),
        ({'max_duration_s': 'long'}, "max_duration_s must be a positive number, got 'long'"),
        ({'options': 3}, 'options must be a mapping, got 3'),
        ({'rest': {2: 'half'}}, r"rest\.2 must be a number, got 'half'"),
        (
            {'state': {'x': {'key': 'robot.position', 'index': 'a'}}},
            r'state\.x\.index must be a whole number',
        ),
        (
            {'action': {'x': {'index': 0, 'scale': 'cm'}, 'y': {'index': 1}}},
            r'x\.scale must be a number',
        ),
        ({'action': {'x': {'index': 0, 'damping': []}, 'y': {'index': 1}}}, r'x\.damping must be a number'),
        ({'images': {'above': 'render'}}, r"images: unknown \['above'\]; known: \['side', 'top'\]"),
        ({'success': {'reward': None}}, r'success\.reward must be a number, got None'),
        ({'progress': {'info': 'distance', 'values': [1, 1]}}, 'must be two different numbers'),
        (
            {'objects': {'goal': {'key': 'robot.goal', 'index': 1}}},
            r'goal: 3 numbers from index 1 on of 3',
        ),
        (
            {'objects': {'goal': {'body': 'mug'}}},
            r"goal: no body 'mug'; it has: \['world', 'pusher'",
        ),
        ({'objects': ['goal']}, 'objects must be a mapping'),
    ],
)
def test_wrong_files_say_what_is_there(changes, message):
    SlideEnv.made.clear()
    with pytest.raises((RobotFileError, ImportError), match=message):
        use(spec_of(**changes))
    assert all(env.closed for env in SlideEnv.made)


def test_a_failing_wrapper_leaves_nothing_open():
    SlideEnv.made.clear()
    with pytest.raises(TypeError):
        use(spec_of(wrapper='gymnasium.wrappers:TimeLimit', wrapper_options={'colour': 'red'}))
    assert [env.closed for env in SlideEnv.made] == [True]


class Later:
    """Only the first can be made."""

    made = 0

    def __new__(cls, **options):
        Later.made += 1
        if Later.made > 1:
            raise RuntimeError('no licence for a second one')
        return SlideEnv(**options)


def test_those_already_made_are_closed_when_a_later_one_fails():
    SlideEnv.made.clear()
    with pytest.raises(RuntimeError, match='licence'):
        make_worlds(spec_of(env=None, make=f'{__name__}:Later'), 2)
    assert [env.closed for env in SlideEnv.made] == [True]
