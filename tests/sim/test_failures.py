# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Attempts that go wrong on purpose."""

import numpy as np
import pytest

from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.sim.failures import BEHAVIOURS, Turn, Wrong
from apprentice.sim.tasks import load_task


class Recorder:
    """An expert of a task that remembers what it was told."""

    def __init__(self, task: str):
        self._task, self.told = load_task(task), ''

    def act(self, state, objects, task):
        self._task.check(task)
        for colour in ('red', 'green', 'blue', 'yellow'):
            if colour in task and not any(colour in name for name in objects):
                raise KeyError(colour)
        self.told = task
        return state


def driver(kind, expert, progress=0.0):
    spec = RobotSpec.load(share('robots', 'sim_arm.yaml'))
    return spec, kind(expert, spec, np.random.default_rng(0), lambda: progress)


@pytest.mark.parametrize(
    ('task', 'names', 'given', 'follows'),
    [
        ('peg', ['peg', 'stand', 'red_hole', 'blue_hole'], 'insert the peg into the red hole', 'blue hole'),
        ('wipe', ['sponge', 'red_stain', 'red_stain_7', 'green_stain'], 'wipe the red stain', 'green stain'),
        ('stack', ['cube_red', 'cube_blue'], 'stack the red cube on the blue cube', 'blue cube on the red'),
        ('drawer', ['cabinet'], 'open the top drawer', 'open the bottom drawer'),
        ('drawer', ['cabinet'], 'close the top drawer', 'open the top drawer'),
        ('pose', ['pelvis'], 'raise both arms', 'raise the left arm'),
    ],
)
def test_wrong_does_something_else(task, names, given, follows):
    expert = Recorder(task)
    _, wrong = driver(Wrong, expert)
    for _ in range(2):
        wrong.act(np.zeros(7), dict.fromkeys(names, np.zeros(7)), given)
        assert follows in expert.told
        assert expert.told != given


def test_wrong_is_idle_when_there_is_nothing_else():
    expert, state = Recorder('pose'), np.arange(7.0)
    _, wrong = driver(Wrong, expert)
    np.testing.assert_array_equal(wrong.act(state, {'pelvis': np.zeros(7)}, 'kneel'), state)
    assert not expert.told


def test_turn_lets_go_before_it_moves():
    spec, turn = driver(Turn, Recorder('pick'), progress=1.0)
    state = spec.vector('home') + 0.3
    state[spec.gripper_mask] = 0.01
    first = turn.act(state, {}, 'pick up the red cube')
    np.testing.assert_array_equal(first[~spec.gripper_mask], state[~spec.gripper_mask])
    np.testing.assert_array_equal(first[spec.gripper_mask], spec.vector('upper')[spec.gripper_mask])
    later = turn.act(first, {}, 'pick up the red cube')
    assert np.all(np.abs(later - spec.vector('home'))[~spec.gripper_mask] < 0.3)


def test_the_seeds_of_behaviours_stay():
    """Benches draw by a behaviour's place in the sorted list; a new one must sort last."""
    assert sorted(BEHAVIOURS) == ['idle', 'miss', 'stop_short', 'turn', 'wander', 'wrong']
