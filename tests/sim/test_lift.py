# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Pick up the named thing: shapes and colours."""

import contextlib

import numpy as np
import pytest
from task_checks import check_expert, check_failures, check_starts, spec_of

from apprentice.sim.tasks.inserting import rotation_matrix
from apprentice.sim.tasks.lift import LIFTED, NAMES, THINGS, LiftObject, find_thing, named_thing
from apprentice.sim.tasks.things import upright
from apprentice.sim.worlds import Worlds


def test_expert():
    check_expert(LiftObject(), range(5))


def test_failures():
    check_failures(LiftObject(), range(1))


def test_starts():
    check_starts(LiftObject())


def test_both_words_are_needed():
    with contextlib.closing(Worlds(spec_of(LiftObject()), 1, task=LiftObject())) as worlds:
        ambiguous = 0
        for seed in range(40):
            shape, colour = named_thing(worlds.reset([0], [seed])[0])
            kinds = [name.split('_') for name in worlds.objects()]
            assert [shape, colour] in kinds
            assert 2 <= len(kinds) <= 3
            ambiguous += [s for s, _ in kinds].count(shape) > 1 and [c for _, c in kinds].count(colour) > 1
        assert ambiguous > 8


def test_a_shape_alone_is_unique():
    with contextlib.closing(Worlds(spec_of(LiftObject()), 1, task=LiftObject())) as worlds:
        for seed in range(20):
            worlds.reset([0], [seed], 'lift the ball')
            assert [name.split('_')[0] for name in worlds.objects()].count('ball') == 1


def test_lower_levels_are_easier():
    spread = {}
    for level in (0.0, 1.0):
        with contextlib.closing(Worlds(spec_of(LiftObject()), 1, task=LiftObject(), level=level)) as worlds:
            counts, places = [], []
            for seed in range(20):
                worlds.reset([0], [seed])
                counts.append(len(worlds.objects()))
                places += [pose[:2] for pose in worlds.objects().values()]
            spread[level] = np.mean(counts), np.std(places, axis=0)[1]
    assert spread[0.0][0] == 1
    assert spread[0.0][1] < 0.6 * spread[1.0][1]


def test_unknown_things_are_refused():
    for wrong in (
        'pick up the red banana',
        'push the red cube',
        'pick up the red cube and the blue ball',
        'pick up the orange ball',
        'lift the left ball',
        'pick up two balls',
        'pick up the ball beside the red one',
        'take your hand off the red cube',
    ):
        with pytest.raises(ValueError, match='pick up the'):
            LiftObject().check(wrong)
    with pytest.raises(ValueError, match='there are'):
        find_thing({'cube_red': np.zeros(7)}, f'pick up the blue {NAMES[0]}')


@pytest.mark.parametrize(
    ('instruction', 'axis', 'aside'),
    [('pick up the red bar', 0, 0.027), ('pick up the red cylinder', 2, 0.022)],
)
def test_a_long_thing_may_be_held_near_its_end(instruction, axis, aside):
    with contextlib.closing(Worlds(spec_of(LiftObject()), 1, task=LiftObject(), level=0.0)) as worlds:
        worlds.reset([0], [1], instruction)
        expert = worlds.expert()
        for _ in range(80):
            objects = worlds.objects()
            for pose in objects.values():
                pose[:3] += aside * rotation_matrix(pose[3:])[:, axis]
            worlds.step(expert.act(worlds.joints[0].copy(), objects, instruction)[None], 0.1)
            if worlds.success()[0]:
                return
    raise AssertionError(f'{instruction!r} reached {worlds.progress()[0]:.2f}')


def test_another_thing_lifted_before_is_no_success():
    with contextlib.closing(Worlds(spec_of(LiftObject()), 1, task=LiftObject())) as worlds:
        worlds.reset([0], [1])
        other = np.flatnonzero(worlds.memory['colours'][0] >= 0)
        other = next(int(i) for i in other if i != worlds.memory['target'][0])
        address = worlds.scene.address('jnt_qposadr', THINGS[other][1])
        worlds.physics.write('qpos', range(address, address + 7), upright([0.3, 0.0], LIFTED + 0.05), [0])
        worlds.physics.forward([0])
        worlds.step(worlds.joints, 0.01)
        expert = worlds.expert()
        for _ in range(80):
            worlds.step(
                expert.act(worlds.joints[0].copy(), worlds.objects(), worlds.instructions[0])[None], 0.1
            )
            assert not worlds.success()[0]
            assert worlds.progress()[0] <= 0.4
        assert worlds.view.position(THINGS[int(worlds.memory['target'][0])][1])[0, 2] > LIFTED
