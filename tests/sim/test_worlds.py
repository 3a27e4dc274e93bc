# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Many worlds at once: the same numbers in every engine, branches, divergence that stays where it is."""

import contextlib
import dataclasses

import numpy as np
import pytest

from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.sim.physics import batch
from apprentice.sim.worlds import Worlds

SPEC = RobotSpec.load(share('robots', 'sim_arm.yaml'))
HOME = SPEC.vector('home')
ENGINES = [
    'threads',
    pytest.param('batch', marks=pytest.mark.skipif(not batch.available(), reason='MuJoCo below 3.17')),
]


def targets(seed, steps, count):
    return (
        HOME + np.random.default_rng(seed).uniform(-0.3, 0.3, (steps, count, SPEC.dim)) * ~SPEC.gripper_mask
    )


@pytest.fixture
def make():
    with contextlib.ExitStack() as stack:

        def factory(*arguments, **options):
            return stack.enter_context(contextlib.closing(Worlds(SPEC, *arguments, **options)))

        yield factory


def run(worlds, seeds, commands):
    worlds.reset(range(worlds.count), seeds)
    for command in commands:
        worlds.step(command, SPEC.action_dt)
    return worlds.physics.read('qpos').copy(), worlds.progress(), worlds.view.tip


@pytest.mark.parametrize('engine', ENGINES)
def test_a_seed_is_a_seed_whatever_the_engine_the_threads_and_the_company(make, engine):
    commands = targets(0, 8, 5)
    alone = [run(make(1), [seed], commands[:, [i]]) for i, seed in enumerate((4, 7, 1, 9, 3))]
    for threads in (1, 2):
        together = run(make(5, threads, engine), (4, 7, 1, 9, 3), commands)
        for i, one in enumerate(alone):
            for a, b in zip(one, together, strict=True):
                np.testing.assert_array_equal(a[0], b[i])


@pytest.mark.parametrize('engine', ENGINES)
def test_branches_go_on_the_same_to_the_bit(make, engine):
    worlds = make(3, 1, engine)
    before, after = targets(1, 4, 3), targets(2, 6, 3)
    worlds.reset(range(3), (10, 11, 12), 'pick up the blue cube')
    for command in before:
        worlds.step(command, SPEC.action_dt)
    snapshot = worlds.save(1)
    for command in after:
        worlds.step(command, SPEC.action_dt)
    expected = worlds.physics.read('qpos')[1].copy(), worlds.progress()[1], worlds.render([1])['front']

    other = make(2, 1, engine)
    other.reset([0, 1], [5, 6])
    other.restore(0, snapshot)
    for command in after:
        other.step(command[[1]], SPEC.action_dt, [0])
    np.testing.assert_array_equal(other.physics.read('qpos')[0], expected[0])
    assert other.progress()[0] == expected[1]
    assert other.instructions[0] == 'pick up the blue cube'
    assert other.objects(0).keys() == worlds.objects(1).keys()
    np.testing.assert_array_equal(other.render([0])['front'], expected[2])


@pytest.mark.parametrize('engine', ENGINES)
def test_a_diverged_simulation_stands_still_and_the_others_go_on(make, engine):
    worlds, clean = make(3, 2, engine), make(3, 2, engine)
    commands = targets(3, 4, 3)
    for each in (worlds, clean):
        each.reset(range(3), (0, 1, 2))
        each.step(commands[0], SPEC.action_dt)
    worlds.physics.write('qvel', 0, np.nan, [1])
    for command in commands[1:]:
        worlds.step(command, SPEC.action_dt)
        clean.step(command, SPEC.action_dt)
    assert worlds.failed.tolist() == [False, True, False]
    assert not worlds.success()[1]
    for sim in (0, 2):
        np.testing.assert_array_equal(worlds.physics.read('qpos')[sim], clean.physics.read('qpos')[sim])
    worlds.reset([1], [1])
    clean.reset([1], [1])
    assert not worlds.failed.any()
    np.testing.assert_array_equal(worlds.physics.read('qpos')[1], clean.physics.read('qpos')[1])


@pytest.mark.parametrize('engine', ENGINES)
def test_each_simulation_has_its_own_colours_and_images(make, engine):
    worlds = make(4, 1, engine)
    worlds.reset(range(4), range(4))
    frames = worlds.render()
    assert frames['front'].shape == (4, 64, 64, 3)
    single = make(1)
    for sim in range(4):
        single.reset([0], [sim])
        np.testing.assert_array_equal(single.render()['front'][0], frames['front'][sim])
        np.testing.assert_array_equal(single.render()['wrist'][0], frames['wrist'][sim])
    assert len({frame.tobytes() for frame in frames['front']}) == 4


def test_instructions_and_wrong_input(make):
    worlds = make(2)
    with pytest.raises(ValueError, match='names no colour'):
        worlds.reset([0], [0], 'pick up the elephant')
    assert worlds.reset([0, 1], [3, 3], 'pick up the green cube') == ['pick up the green cube'] * 2
    with pytest.raises(ValueError, match='not finite'):
        worlds.step(np.full((2, SPEC.dim), np.nan), 0.1)
    with pytest.raises(ImportError, match='is the package installed'):
        make(2, 1, 'no.such.module:Physics')
    broken = dataclasses.replace(SPEC, simulator={'model': SPEC.simulator['model']})
    with pytest.raises(ValueError, match=r'simulator\.task is missing'):
        Worlds(broken)
