# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Pick up the named cube."""

import numpy as np
import pytest
from task_checks import check_expert, check_failures, check_starts

from apprentice.sim.tasks.pick import SLOTS, WORKSPACE, PickCube, wanted_colour


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
