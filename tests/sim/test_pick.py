# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Pick up the named cube."""

import contextlib

import numpy as np
import pytest
from task_checks import check_expert, check_failures, check_starts, spec_of

from apprentice.sim.tasks.pick import SLOTS, WORKSPACE, PickCube, wanted_colour
from apprentice.sim.worlds import Worlds


def test_expert():
    check_expert(PickCube(), range(12))


def test_failures():
    check_failures(PickCube(), range(2))


def test_starts():
    check_starts(PickCube())


@pytest.mark.parametrize(
    'instruction',
    [
        'pick up the red cube', 'Pick up the red cube.', 'grasp the red cube', 'lift a red cube, please',
        'take red cube', 'pick the red cube up',
    ],
)  # fmt: skip
def test_ways_to_say_it(instruction):
    assert wanted_colour(instruction) == 'red'


@pytest.mark.parametrize(
    'instruction',
    [
        'put the blue plate on the red cube', 'pick up the red cubes', 'push the red cube',
        'put the red cube down', 'pick up the cube left of the red cube', 'pick up the red ball',
    ],
)  # fmt: skip
def test_other_instructions_are_refused(instruction):
    with pytest.raises(ValueError, match='say "pick up the'):
        wanted_colour(instruction)


def test_lower_levels_use_less_of_the_table():
    middle, sides = np.mean(WORKSPACE, axis=0), np.ptp(WORKSPACE, axis=0)
    for level, part in ((0.0, 0.5), (1.0, 1.0)):
        starts = [PickCube().start(np.random.default_rng(seed), '', level) for seed in range(40)]
        places = np.array([start.joints[slot][:2] for start in starts for slot in SLOTS])
        furthest = np.abs(places - middle).max(axis=0) / (sides / 2)
        assert np.all(furthest <= part)
        assert np.all(furthest > 0.8 * part)


def test_taking_the_other_cube_first_is_no_success():
    task = PickCube()
    with contextlib.closing(Worlds(spec_of(task), 1, task=task)) as worlds:
        named = worlds.reset([0], [1])[0]
        other = next(name for name in worlds.objects() if wanted_colour(named) not in name)
        expert = worlds.expert()
        for told, steps in ((f'pick up the {other.removeprefix("cube_")} cube', 50), ('', 8), (named, 60)):
            for _ in range(steps):
                if told:
                    target = expert.act(worlds.joints[0].copy(), worlds.objects(), told)
                else:  # let go
                    target = worlds.joints[0].copy()
                    target[worlds.scene.gripper] = worlds.spec.joints[worlds.scene.gripper].upper
                worlds.step(target[None], 0.1)
                assert not worlds.success()[0]
                assert worlds.progress()[0] < 0.5 or not worlds.memory['wrong'][0]
        assert worlds.memory['wrong'][0]
        assert worlds.objects()[f'cube_{wanted_colour(named)}'][2] > 0.08  # it was done, but too late
