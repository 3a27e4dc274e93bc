# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Stack one named cube on another."""

import contextlib

import pytest
from task_checks import check_expert, check_failures, check_starts, drive, move, spec_of

from apprentice.sim.tasks.stack import CUBES, HALF_SIZE, StackCubes, named_pair
from apprentice.sim.tasks.things import upright
from apprentice.sim.worlds import Worlds


@pytest.fixture
def worlds():
    with contextlib.closing(Worlds(spec_of(StackCubes()), 1, task=StackCubes())) as made:
        yield made


def put(worlds: Worlds, cube: str, place: list[float], height: float) -> None:
    """Move a cube to ``place`` (m)."""
    move(worlds, cube, upright(place, height))


def test_expert():
    check_expert(StackCubes(), range(4))


def test_failures():
    check_failures(StackCubes(), range(1))


def test_starts():
    check_starts(StackCubes())


def test_order_matters(worlds):
    """The named pair the other way round is no success, and the expert takes it apart."""
    worlds.reset([0], [3])
    put(worlds, CUBES[1], [0.3, 0.05], 3 * HALF_SIZE)
    put(worlds, CUBES[0], [0.3, 0.05], HALF_SIZE)
    put(worlds, CUBES[2], [0.25, -0.1], HALF_SIZE)
    worlds.step(worlds.joints, 0.2)
    assert not worlds.success()[0]
    assert drive(worlds, 20.0)


def test_success_needs_a_cube_that_is_at_rest_and_straight(worlds):
    worlds.reset([0], [3])
    put(worlds, CUBES[2], [0.25, -0.1], HALF_SIZE)
    put(worlds, CUBES[1], [0.3, 0.05], HALF_SIZE)
    for aside, expected in ((0.0, True), (0.016, True), (0.024, False)):
        put(worlds, CUBES[0], [0.3, 0.05 + aside], 3 * HALF_SIZE)
        assert worlds.success()[0] == expected
        assert (worlds.progress()[0] == 1.0) == expected
        assert worlds.progress()[0] >= 0.6, 'it rests on the other'
    put(worlds, CUBES[0], [0.3, 0.05], 3 * HALF_SIZE)
    dof = worlds.scene.address('jnt_dofadr', CUBES[0])
    worlds.physics.write('qvel', [dof], 0.1, [0])
    assert not worlds.success()[0], 'it slides'
    worlds.physics.write('qvel', [dof], 0.0, [0])
    shut = worlds.joints.copy()
    shut[0, worlds.scene.gripper] = 0.0
    worlds.step(shut, 0.5)
    assert worlds.success()[0], 'a hand far away holds nothing, however closed'


def test_lower_levels_have_fewer_cubes():
    for level, count in ((0.0, 2), (1.0, 3)):
        with contextlib.closing(Worlds(spec_of(StackCubes()), 1, task=StackCubes(), level=level)) as worlds:
            worlds.reset([0], [0])
            assert len(worlds.objects()) == count


def test_instructions():
    assert named_pair('put the Yellow cube on top of the green cube, please') == ('yellow', 'green')
    assert named_pair('stack the blue cube onto the red cube') == ('blue', 'red')
    for wrong in (
        'stack the red cube',
        'stack the red cube on the red cube',
        'push the red cube on the blue cube',
        'put the red plate on the blue cube',
        'put the red cube on the left of the blue cube',
        'stack the red cube under the blue cube',
        'take the red cube that is on the blue cube and set it down',
    ):
        with pytest.raises(ValueError, match='stack the red cube on'):
            named_pair(wrong)
