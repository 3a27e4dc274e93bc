# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Insert the peg into the named hole."""

import contextlib

import numpy as np
import pytest
from task_checks import check_expert, check_failures, check_starts, spec_of

from apprentice.sim.tasks.peg import AWAY, CLEARANCE, DEPTH, HALF_LENGTH, HALF_WIDTH, InsertPeg
from apprentice.sim.worlds import Worlds


@pytest.fixture
def worlds():
    with contextlib.closing(Worlds(spec_of(InsertPeg()), 1, task=InsertPeg())) as worlds:
        yield worlds


def put_peg(worlds, position, quaternion=(1, 0, 0, 0)):
    """Put the peg somewhere, at rest, the hand open."""
    qpos = worlds.scene.address('jnt_qposadr', 'peg')
    worlds.physics.write('qpos', range(qpos, qpos + 7), np.array([*position, *quaternion]), [0])
    dof = worlds.scene.address('jnt_dofadr', 'peg')
    worlds.physics.write('qvel', range(dof, dof + 6), np.zeros(6), [0])
    worlds.physics.forward([0])


def rest(worlds, seconds=0.5):
    worlds.step(worlds.joints, seconds)


def test_expert():
    check_expert(InsertPeg(), range(8))


def test_failures():
    check_failures(InsertPeg(), range(2))


def test_starts():
    check_starts(InsertPeg())


@pytest.mark.parametrize(
    'wrong',
    [
        'insert the peg into the red or the blue hole',
        'take the peg out of the red hole',
        'insert the peg into the hole left of the red hole',
        'insert the red peg into the hole',
        'pick up the red cube',
    ],
)
def test_an_instruction_is_understood_as_a_whole(wrong):
    InsertPeg().check('Put the peg in the red hole, please.')
    with pytest.raises(ValueError, match='insert the peg into the'):
        InsertPeg().check(wrong)


def test_success_needs_a_hand_that_let_go(worlds):
    """Open, or far away, however closed."""
    worlds.reset([0], [4], 'insert the peg into the green hole')
    put_peg(worlds, [*worlds.objects(0)['green_hole'][:2], HALF_LENGTH])
    away = worlds.view.tip[0] - worlds.view.position('peg')[0]
    shut = worlds.joints.copy()
    shut[0, worlds.scene.gripper] = 0.0
    worlds.step(shut, 0.5)
    assert np.linalg.norm(away) > AWAY
    assert worlds.success()[0]
    expert = worlds.expert()
    worlds.reset([0], [4], 'insert the peg into the green hole')
    for _ in range(100):
        target = expert.act(worlds.joints[0].copy(), worlds.objects(0), worlds.instructions[0])
        target[worlds.scene.gripper] = 0.0 if worlds.progress()[0] > 0.3 else target[worlds.scene.gripper]
        worlds.step(target[None], 0.1)
        assert not worlds.success()[0]
    assert worlds.progress()[0] > 0.9, 'it is in, and held'


@pytest.mark.parametrize(('aside', 'fits'), [(0.0, True), (0.8 * CLEARANCE, True), (3.5 * CLEARANCE, False)])
def test_the_hole_is_as_wide_as_said(worlds, aside, fits):
    worlds.reset([0], [4], 'insert the peg into the green hole')
    hole = worlds.objects(0)['green_hole'][:3]
    put_peg(worlds, [hole[0] + aside, hole[1], HALF_LENGTH + DEPTH + 0.003])
    rest(worlds)
    assert bool(worlds.success()[0]) is fits


def test_the_other_hole_does_not_count(worlds):
    worlds.reset([0], [4], 'insert the peg into the green hole')
    (other,) = [n for n in worlds.objects(0) if n.endswith('_hole') and n != 'green_hole']
    put_peg(worlds, [*worlds.objects(0)[other][:2], HALF_LENGTH])
    rest(worlds)
    assert not worlds.success()[0]
    assert worlds.progress()[0] < 0.85


def test_holes_do_not_give_way(worlds):
    worlds.reset([0], [0])
    before = worlds.objects(0)
    expert = worlds.expert()
    for _ in range(60):
        worlds.step(expert.act(worlds.joints[0].copy(), worlds.objects(0), worlds.instructions[0])[None], 0.1)
    assert worlds.success()[0]
    for name in set(before) - {'peg'}:
        np.testing.assert_allclose(worlds.objects(0)[name], before[name], atol=1e-4)


def test_expert_takes_a_peg_that_lies(worlds):
    worlds.reset([0], [1])
    others = np.array([pose[:2] for name, pose in worlds.objects(0).items() if name != 'peg'])
    places = np.stack(np.meshgrid([0.28, 0.3], np.linspace(-0.12, 0.12, 13)), -1).reshape(-1, 2)
    free = max(places, key=lambda place: np.linalg.norm(others - place, axis=1).min())
    put_peg(worlds, [*free, HALF_WIDTH], [np.sqrt(0.5), 0, np.sqrt(0.5), 0])
    expert = worlds.expert()
    for _ in range(120):
        worlds.step(expert.act(worlds.joints[0].copy(), worlds.objects(0), worlds.instructions[0])[None], 0.1)
        if worlds.success()[0]:
            return
    pytest.fail(f'the peg is at {worlds.objects(0)["peg"]}, progress {worlds.progress()[0]}')
