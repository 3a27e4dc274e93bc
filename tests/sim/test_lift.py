# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Pick up the named thing: shapes and colours."""

import contextlib

import numpy as np
import pytest
from task_checks import check_expert, check_failures, check_starts, drive, move, spec_of

from apprentice.sim.failures import BESIDE
from apprentice.sim.tasks.inserting import rotation_matrix
from apprentice.sim.tasks.lift import AGAIN_S, LIFTED, NAMES, THINGS, LiftObject, find_thing, named_thing
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
    ('instruction', 'axis', 'aside', 'held'),
    [
        ('pick up the red bar', 0, 0.027, True),
        ('pick up the red cylinder', 2, 0.022, True),
        ('pick up the red bar', 0, BESIDE[0], False),  # else a miss would not be one
    ],
)
def test_a_long_thing_may_be_held_near_its_end(instruction, axis, aside, held):
    with contextlib.closing(Worlds(spec_of(LiftObject()), 1, task=LiftObject(), level=0.0)) as worlds:
        worlds.reset([0], [1], instruction)
        expert = worlds.expert()
        for _ in range(80):
            objects = worlds.objects()
            for pose in objects.values():
                pose[:3] += aside * rotation_matrix(pose[3:])[:, axis]
            worlds.step(expert.act(worlds.joints[0].copy(), objects, instruction)[None], 0.1)
            if worlds.success()[0]:
                break
        assert worlds.success()[0] == held, f'{instruction!r} reached {worlds.progress()[0]:.2f}'


def take(worlds, name, hold_s=np.inf):
    """Let the expert take a thing and hold it up for a while; seconds since it came up.

    Ends early at success, and when the time for the task is over.
    """
    shape, colour = name.split('_')
    expert, up = worlds.expert(), np.inf
    while worlds.view.time[0] < worlds.max_duration_s and not worlds.success()[0]:
        if worlds.objects()[name][2] > LIFTED:
            up = min(up, worlds.view.time[0])
        if worlds.view.time[0] - up > hold_s - 1e-6:
            break
        told = f'pick up the {colour} {shape}'
        worlds.step(expert.act(worlds.joints[0].copy(), worlds.objects(), told)[None], 0.1)
    assert up < np.inf
    return worlds.view.time[0] - up


def named_and_others(worlds, seed):
    """Start; the names of the thing asked for and of the others."""
    named = '_'.join(named_thing(worlds.reset([0], [seed])[0]))
    return named, [name for name in worlds.objects() if name != named]


def test_a_person_may_put_right_what_was_taken_wrongly():
    with contextlib.closing(Worlds(spec_of(LiftObject()), 1, task=LiftObject())) as worlds:
        for seed in (1, 3):
            named, others = named_and_others(worlds, seed)
            take(worlds, others[0], 0.3)
            assert not worlds.success()[0]
            assert worlds.progress()[0] < 0.5
            assert take(worlds, named) > AGAIN_S - 0.15
            assert worlds.success()[0]


def test_taking_thing_after_thing_takes_too_long():
    with contextlib.closing(Worlds(spec_of(LiftObject()), 1, task=LiftObject())) as worlds:
        named, others = next(found for s in range(20) if len((found := named_and_others(worlds, s))[1]) == 2)
        for before, name in enumerate(others):  # each for as long as it would take if it were the right one
            take(worlds, name, before * AGAIN_S)
        take(worlds, named)
        assert not worlds.success()[0]


def test_another_thing_must_not_be_up_too():
    with contextlib.closing(Worlds(spec_of(LiftObject()), 1, task=LiftObject())) as worlds:
        worlds.reset([0], [1])
        assert drive(worlds, 8.0)
        present = np.flatnonzero(worlds.memory['colours'][0] >= 0)
        body = THINGS[next(i for i in present if i != worlds.memory['target'][0])][1]
        lying = worlds.view.pose(body)[0]
        move(worlds, body, lying + np.array([0, 0, LIFTED, 0, 0, 0, 0]))
        assert not worlds.success()[0]
        assert worlds.progress()[0] < 1.0
        move(worlds, body, lying)
        assert worlds.success()[0]
