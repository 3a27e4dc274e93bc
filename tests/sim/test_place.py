# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Put the named cube where the instruction says."""

import contextlib

import numpy as np
import pytest
from task_checks import check_expert, check_failures, check_starts, move, spec_of

from apprentice.sim.tasks.place import CUBES, THINGS, Place
from apprentice.sim.tasks.push import PushExpert
from apprentice.sim.tasks.relations import CUBE, OFFSETS, Placement, parse, possible
from apprentice.sim.tasks.things import upright
from apprentice.sim.worlds import Worlds


@pytest.fixture(scope='module')
def worlds():
    task = Place()
    with contextlib.closing(Worlds(spec_of(task), 1, task=task)) as worlds:
        yield worlds


def test_expert():
    check_expert(Place(), range(4))


def test_failures():
    check_failures(Place(), range(1))


def test_starts():
    check_starts(Place())


@pytest.mark.parametrize(
    ('instruction', 'understood'),
    [
        ('put the red cube on the blue plate', Placement('red', 'on', 'plate', 'blue')),
        ('Put the red cube left of the green block.', Placement('red', 'left', 'block', 'green')),
        ('put the red cube to the left of the green block', Placement('red', 'left', 'block', 'green')),
        ('place the yellow cube in the bowl', Placement('yellow', 'in', 'bowl')),
        ('put the green cube in front of the red plate', Placement('green', 'front', 'plate', 'red')),
        ('put the red cube on the blue plate, please', Placement('red', 'on', 'plate', 'blue')),
        ('put the blue cube on top of the block', Placement('blue', 'on', 'block')),
    ],
)
def test_instructions_are_understood(instruction, understood):
    assert parse(instruction) == understood
    assert parse(str(understood)) == understood


@pytest.mark.parametrize(
    ('instruction', 'remedy'),
    [
        ('put the red cube on the bowl', 'a cube goes in a bowl'),
        ('put the red cube in the blue plate', 'a cube goes on a plate'),
        ('put the red cube near the blue plate', 'put the red cube on the blue plate'),
        ('put the purple cube on the blue plate', "'yellow'"),
        ('pick up the red cube', 'say for example'),
        ('look at the red cube in the bowl', 'say for example'),
        ('put the green cube and the red cube on the blue plate', 'say for example'),
        ('put the red cube on the blue plate, not the green plate', 'what to do'),
    ],
)
def test_others_are_refused_with_what_to_say(instruction, remedy):
    with pytest.raises(ValueError, match=remedy):
        parse(instruction)


def test_every_relation_can_be_asked_for_and_starts_with_room(worlds):
    for relation, kind in possible():
        instruction = str(Placement('red', relation, kind, 'blue'))
        worlds.reset([0], [5], instruction)
        objects = worlds.objects(0)
        number = Placement('red', relation, kind).numbers
        goal = objects[f'{kind}_blue'][:3] + OFFSETS[number]
        assert not worlds.success()[0]
        others = [pose[:2] for name, pose in objects.items() if name != f'{kind}_blue']
        assert min(np.linalg.norm(goal[:2] - other) for other in others) > 0.08, instruction


def put(worlds, position):
    """The named cube at a position [3], the hand open and away from it."""
    cube = CUBES[worlds.memory['cube'][0]]
    move(worlds, cube, upright(position[:2], position[2]))


@pytest.mark.parametrize(
    ('relation', 'sign'),
    [('left', (0, 1)), ('right', (0, -1)), ('front', (-1, 0)), ('behind', (1, 0))],
)
def test_directions_are_the_robots(worlds, relation, sign):
    worlds.reset([0], [2], str(Placement('red', relation, 'block', 'green')))
    block = worlds.objects(0)['block_green'][:3]
    put(worlds, block + np.array([0.09 * sign[0], 0.09 * sign[1], CUBE]))
    assert worlds.success()[0]
    put(worlds, block - np.array([0.09 * sign[0], 0.09 * sign[1], -CUBE]))
    assert not worlds.success()[0]


def test_success_needs_the_cube_down_and_let_go(worlds):
    worlds.reset([0], [3], 'put the red cube on the blue plate')
    goal = worlds.objects(0)['plate_blue'][:3] + OFFSETS[0, 0]
    put(worlds, goal)
    assert worlds.success()[0]
    put(worlds, goal + np.array([0, 0, 0.03]))
    assert not worlds.success()[0]
    put(worlds, goal)
    gripper = worlds.scene.qpos[worlds.scene.gripper]
    worlds.physics.write('qpos', [gripper], np.array([0.0]), [0])
    worlds.physics.forward([0])
    assert worlds.success()[0]  # the hand is closed, but far away
    tip = worlds.view.tip[0]
    thing = list(THINGS)[worlds.memory['thing'][0]]
    for axis, value in zip('xy', tip, strict=False):
        address = worlds.scene.address('jnt_qposadr', f'{thing}_{axis}')
        worlds.physics.write('qpos', [address], np.array([value]), [0])
    worlds.memory['offset'][0, 2] = tip[2]
    put(worlds, tip)
    assert not worlds.success()[0]  # it may be held
    worlds.physics.write('qpos', [gripper], np.array([0.04]), [0])
    worlds.physics.forward([0])
    assert worlds.success()[0]


@pytest.mark.parametrize('thing', ['block', 'plate', 'bowl'])
def test_things_stay_where_they_are_when_pushed(worlds, thing):
    worlds.reset([0], [3], f'put the red cube left of the green {thing}')
    before = worlds.objects(0)[f'{thing}_green'].copy()
    expert = PushExpert(worlds.scene)
    nearest = 1.0
    for _ in range(60):
        objects = {'block_red': before, 'zone_blue': before + np.array([0.1, 0, 0, 0, 0, 0, 0])}
        target = expert.act(worlds.joints[0].copy(), objects, 'push the red block to the blue zone')
        worlds.step(target[None], 0.1)
        nearest = min(nearest, float(np.linalg.norm(worlds.view.tip[0, :2] - before[:2])))
    assert nearest < 0.06  # the hand was at it
    np.testing.assert_allclose(worlds.objects(0)[f'{thing}_green'], before, atol=1e-3)


@pytest.mark.parametrize(
    ('instruction', 'aside', 'up'),
    [('in the bowl', 0.02, 0.012), ('on the green block', 0.025, 0.0), ('on the green plate', 0.036, 0.0)],
)
def test_a_stable_drop_counts(worlds, instruction, aside, up):
    worlds.reset([0], [3], f'put the red cube {instruction}')
    goal = worlds.task._goal(worlds.view)[0]
    put(worlds, goal + np.array([aside, 0, up]))
    assert worlds.success()[0]


def test_an_unnamed_colour_means_the_only_thing_of_its_kind(worlds):
    for seed in range(10):
        worlds.reset([0], [seed], 'put the red cube on the plate')
        assert sum(name.startswith('plate') for name in worlds.objects(0)) == 1


@pytest.mark.parametrize(
    'instruction', ['put the red cube in the bowl', 'put the red cube on the green block']
)
def test_expert_of_the_narrow_places(worlds, instruction):
    worlds.reset([0], [7], instruction)
    expert = worlds.expert()
    for _ in range(100):
        target = expert.act(worlds.joints[0].copy(), worlds.objects(0), instruction)
        for _ in range(2):
            worlds.step(target[None], 0.05)
        if worlds.success()[0]:
            return
    raise AssertionError(f'{instruction!r} reached {worlds.progress()[0]:.2f}')
