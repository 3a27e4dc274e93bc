# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Pick up the named thing: shapes and colours."""

import contextlib

import numpy as np
import pytest
from task_checks import check_expert, check_failures, check_starts, spec_of

from apprentice.sim.tasks.lift import NAMES, LiftObject, find_thing, named_thing
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
    for wrong in ('pick up the red banana', 'push the red cube', 'pick up the red cube and the blue ball'):
        with pytest.raises(ValueError, match='pick up the'):
            LiftObject().check(wrong)
    with pytest.raises(ValueError, match='there are'):
        find_thing({'cube_red': np.zeros(7)}, f'pick up the blue {NAMES[0]}')
