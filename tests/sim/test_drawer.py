# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Open and close drawers."""

import contextlib

import numpy as np
import pytest
from task_checks import check_expert, check_failures, check_starts, drive, spec_of

from apprentice.sim.tasks.cabinet import opened_by
from apprentice.sim.tasks.drawer import OPEN, OpenDrawer, named_drawer
from apprentice.sim.worlds import Worlds


@pytest.fixture
def worlds():
    with contextlib.closing(Worlds(spec_of(OpenDrawer()), 1, task=OpenDrawer())) as made:
        yield made


def put(worlds: Worlds, **drawers: float) -> None:
    """Open drawers by so many metres."""
    for name, position in drawers.items():
        worlds.physics.write('qpos', [worlds.scene.address('jnt_qposadr', name)], position, [0])
    worlds.physics.forward([0])


def test_expert():
    check_expert(OpenDrawer(), range(5))


def test_failures():
    check_failures(OpenDrawer(), range(1))


def test_starts():
    check_starts(OpenDrawer())


@pytest.mark.parametrize('instruction', ['open the bottom drawer', 'open the top drawer', 'close the drawer'])
def test_the_wrong_drawer_is_put_right(worlds, instruction):
    """Both are half open, and an open top drawer covers the handle of the bottom one."""
    worlds.reset([0], [5], instruction)
    put(worlds, top=0.05, bottom=0.05)
    assert not worlds.success()[0]
    assert drive(worlds, 25.0)


def test_success_is_the_named_drawer_alone_at_rest(worlds):
    for instruction, top, bottom, expected in (
        ('open the top drawer', 0.08, 0.0, True),
        ('open the top drawer', 0.06, 0.0, False),
        ('open the top drawer', 0.0, 0.08, False),
        ('open the top drawer', 0.08, 0.08, False),
        ('open the drawer', 0.0, 0.08, True),
        ('open the drawer', 0.0, 0.0, False),
        ('close the bottom drawer', 0.0, 0.0, True),
        ('close the drawer', 0.03, 0.0, False),
    ):
        worlds.reset([0], [1], instruction)
        put(worlds, top=top, bottom=bottom)
        assert worlds.success()[0] == expected, (instruction, top, bottom)
        assert (worlds.progress()[0] == 1.0) == expected, (instruction, top, bottom)
    worlds.reset([0], [1], 'open the top drawer')
    put(worlds, top=0.08)
    worlds.physics.write('qvel', [worlds.scene.address('jnt_dofadr', 'top')], 0.1, [0])
    assert not worlds.success()[0]


def test_the_cabinet_stands_firm(worlds):
    places = []
    for seed in range(4):
        worlds.reset([0], [seed], 'open the bottom drawer')
        before = worlds.objects()['cabinet'].copy()
        assert drive(worlds, 10.0)
        after = worlds.objects()
        np.testing.assert_allclose(after['cabinet'], before, atol=1e-3)
        assert opened_by(after['cabinet'], after['handle_bottom']) > OPEN
        places.append(before[:2])
    assert np.all(np.std(places, axis=0) > 0.003)


def test_a_drawer_is_ajar_at_lower_levels():
    with contextlib.closing(Worlds(spec_of(OpenDrawer()), 1, task=OpenDrawer(), level=0.0)) as worlds:
        opened = []
        for seed in range(10):
            worlds.reset([0], [seed], 'open the top drawer')
            opened.append(worlds.view.joint('top')[0])
            assert worlds.progress()[0] < 0.5
        assert np.mean(opened) > 0.1 * OPEN


def test_instructions():
    assert named_drawer('Please pull open the upper drawer') == ('open', 'top')
    assert named_drawer('shut the drawer') == ('close', '')
    for wrong in (
        'open the door',
        'open and close the drawer',
        'paint the drawer',
        'open top and bottom drawer',
        'open the middle drawer',
        'open the red drawer',
        'leave the drawer open',
        'push the drawer open',
        'open the drawer below the top drawer',
    ):
        with pytest.raises(ValueError, match='open the top drawer'):
            named_drawer(wrong)
