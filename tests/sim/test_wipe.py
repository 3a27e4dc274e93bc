# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Wipe the named stain off the table."""

import contextlib

import numpy as np
import pytest
from task_checks import check_expert, check_failures, check_starts, spec_of

from apprentice.sim.tasks.wipe import GRID, SPONGE, SUNK, Wipe
from apprentice.sim.worlds import Worlds


@pytest.fixture
def worlds():
    with contextlib.closing(Worlds(spec_of(Wipe()), 2, task=Wipe())) as worlds:
        yield worlds


def drive(worlds, steps, sims=(0,)):
    """The expert drives; coverage [steps + 1] of the first of the simulations."""
    expert, covered = worlds.expert(), [worlds.task.coverage(worlds.view)[0][sims[0]]]
    for _ in range(steps):
        targets = [
            expert.act(worlds.joints[sim].copy(), worlds.objects(sim), worlds.instructions[sim])
            for sim in sims
        ]
        worlds.step(np.array(targets), 0.1, sims)
        covered.append(worlds.task.coverage(worlds.view)[0][sims[0]])
    return np.array(covered)


def drive_until(worlds, coverage):
    for _ in range(100):
        if drive(worlds, 1)[-1] > coverage:
            return
    pytest.fail(f'nothing is wiped: {worlds.progress()}')


def test_expert():
    check_expert(Wipe(), range(6))


def test_failures():
    check_failures(Wipe(), range(2))


def test_starts():
    check_starts(Wipe())


@pytest.mark.parametrize(
    'wrong',
    ['wipe the red and the blue stain', 'leave the red stain', 'wipe all the red stains', 'wipe red'],
)
def test_an_instruction_is_understood_as_a_whole(wrong):
    Wipe().check('Clean up the red stain, please!')
    with pytest.raises(ValueError, match='wipe the red stain'):
        Wipe().check(wrong)


def test_a_world_may_be_stepped_before_its_first_start():
    with contextlib.closing(Worlds(spec_of(Wipe()), 1, task=Wipe())) as worlds:
        worlds.step(worlds.joints, 0.1)


def test_coverage_only_grows_and_joints_show_it(worlds):
    worlds.reset([0, 1], [3, 4])
    present = worlds.memory['dirty'][0].copy()
    untouched = worlds.memory['dirty'][1].copy()
    covered = drive(worlds, 60)
    assert np.all(np.diff(covered) >= 0)
    assert covered[0] == 0.0
    assert covered[-1] == 1.0
    assert len(np.unique(covered)) > 2, 'a stain goes bit by bit'
    dirty = worlds.memory['dirty'][0]
    assert present.any()
    assert np.all(present | ~dirty)
    for stain, name in enumerate(('first', 'second')):
        heights = np.array([worlds.view.joint(f'{name}_{number}')[0] for number in range(len(GRID))])
        np.testing.assert_allclose(heights, np.where(dirty[stain], 0.0, SUNK), atol=1e-6)
    np.testing.assert_array_equal(worlds.memory['dirty'][1], untouched)


def test_a_sponge_nobody_holds_wipes_nothing(worlds):
    worlds.reset([0], [3])
    stain = next(pose for name, pose in worlds.objects(0).items() if name.endswith('_stain'))
    qpos = worlds.scene.address('jnt_qposadr', 'sponge')
    place = np.array([*stain[:2], SPONGE[2], 1, 0, 0, 0])
    worlds.physics.write('qpos', range(qpos, qpos + 7), place, [0])
    worlds.physics.forward([0])
    dirty = worlds.memory['dirty'].copy()
    worlds.step(worlds.joints, 0.3)
    np.testing.assert_array_equal(worlds.memory['dirty'], dirty)


def test_objects_are_what_is_still_dirty(worlds):
    worlds.reset([0], [2], 'wipe the blue stain')
    drive_until(worlds, 0.3)
    left = [name for name in worlds.objects(0) if name.startswith('blue_stain_')]
    number = int(worlds.memory['target'][0])
    assert 0 < len(left) == worlds.memory['dirty'][0, number].sum() < worlds.memory['patches'][0, number]


def test_a_branch_is_the_same_to_the_bit(worlds):
    worlds.reset([0, 1], [5, 6])
    drive_until(worlds, 0.2)
    worlds.restore(1, worlds.save(0))
    drive(worlds, 8, sims=(0, 1))
    qpos = worlds.physics.read('qpos')
    np.testing.assert_array_equal(qpos[0], qpos[1])
    np.testing.assert_array_equal(*worlds.memory['dirty'])
    assert worlds.task.coverage(worlds.view)[0][0] > 0.5


def test_wiping_both_stains_is_not_what_was_asked(worlds):
    worlds.reset([0, 1], [0, 1])
    worlds.memory['dirty'][0] = False
    assert not worlds.success()[0]
    assert worlds.progress()[0] < 1.0


def test_cameras_see_what_is_clean(worlds):
    worlds.reset([0], [1])
    try:
        before = worlds.render([0])['front'].astype(float)
    except OSError as error:
        pytest.skip(str(error))
    stains = [f'{name}_{number}' for name in ('first', 'second') for number in range(len(GRID))]
    chosen = np.zeros((2, len(stains)), bool)
    chosen[0, : len(GRID)] = True
    worlds.view.write_joints(stains, SUNK, chosen)
    changed = np.abs(worlds.render([0])['front'] - before).max(-1) > 40
    assert 15 < changed.sum() < 600
