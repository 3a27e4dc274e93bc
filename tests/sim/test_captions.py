# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Captions are true of the world they describe, and attempts are what their name says."""

import numpy as np
import pytest

from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.sim.captions import BASELINE, all_captions, attempt, describe
from apprentice.sim.world import World


@pytest.fixture(scope='module')
def world():
    world = World(RobotSpec.load(share('robots', 'sim_arm.yaml')))
    yield world
    world.close()


def test_a_demonstration_ends_held(world):
    done = attempt(world, 40_000_000)
    item = done.text.removeprefix('pick up the ')
    assert done.success
    assert BASELINE in done.captions[0]
    assert f'the {item} is on the table' in done.captions[0]
    assert f'the robot holds the {item} above the table' in done.captions[-1]
    assert BASELINE not in done.captions[-1]
    assert done.frames.shape[1:] == (2, 64, 64, 3)
    assert len(done.frames) == len(done.captions) == len(done.truth) == len(done.solved)


@pytest.mark.parametrize('behaviour', ['wrong', 'wander'])
def test_failures_fail(world, behaviour):
    assert not attempt(world, 40_000_001, behaviour).success


def test_attempts_are_reproducible_and_captions_are_known(world):
    one, two = attempt(world, 40_000_002, 'miss'), attempt(world, 40_000_002, 'miss')
    assert one.captions == two.captions
    np.testing.assert_array_equal(one.frames, two.frames)
    known = set(all_captions())
    assert len(known) == len(all_captions())
    assert all(set(said) <= known for said in one.captions)
    assert set(describe(world)) <= known


def test_unknown_behaviour(world):
    with pytest.raises(ValueError, match='use one of'):
        attempt(world, 0, 'dance')
