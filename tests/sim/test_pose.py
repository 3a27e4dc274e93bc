# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The humanoid takes the pose it is told."""

import contextlib

import numpy as np
import pytest
from task_checks import check_expert, check_failures, check_starts, spec_of

from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.sim.scene import Scene
from apprentice.sim.tasks.pose import MEASURES, POSES, Pose, PoseExpert, measure, named_pose
from apprentice.sim.worlds import Worlds


@pytest.fixture(scope='module')
def worlds():
    with contextlib.closing(Worlds(spec_of(Pose()), 1, task=Pose())) as worlds:
        yield worlds


def take(worlds, instruction, steps=50):
    """The expert follows the instruction for so many steps; the measures, by name."""
    expert = worlds.expert()
    for _ in range(steps):
        target = expert.act(worlds.joints[0].copy(), worlds.objects(0), instruction)
        worlds.step(target[None], 0.1)
    return dict(zip(MEASURES, measure(worlds.view)[0], strict=True))


def test_expert():
    check_expert(Pose(), range(16))


def test_failures():
    check_failures(Pose(), range(4))


def test_starts():
    check_starts(Pose())


def test_measures_are_what_their_names_say(worlds):
    worlds.reset([0], [0])
    for number, measure_now in enumerate(measure(worlds.view)[0]):
        standing = {'left_knee': 0.45, 'right_foot': 0.07, 'pelvis': 0.9, 'left_hand_over_shoulder': -0.52}
        if MEASURES[number] in standing:
            assert measure_now == pytest.approx(standing[MEASURES[number]], abs=0.05), MEASURES[number]
    left = take(worlds, 'raise the left arm')
    assert left['left_hand_over_head'] > 0.1 > -0.5 > left['right_hand_over_head']
    worlds.reset([0], [0])
    right_foot_up = take(worlds, 'stand on the left leg')
    assert right_foot_up['right_foot'] > 0.25 > 0.1 > right_foot_up['left_foot']


@pytest.mark.parametrize('name', POSES)
def test_a_pose_is_itself_only(worlds, name):
    """Taken from the pose before it; then no other instruction is fulfilled."""
    names = list(POSES)
    worlds.reset([0], [1], name)
    take(worlds, names[names.index(name) - 1])
    take(worlds, name)
    fulfilled = []
    for number, each in enumerate(names):
        worlds.memory['pose'][0] = number
        if worlds.success()[0]:
            fulfilled.append(each)
    assert fulfilled == [name]


def test_a_pose_passed_through_does_not_count(worlds):
    worlds.reset([0], [0], 'raise both arms')
    take(worlds, 'raise both arms')
    assert worlds.success()[0]
    dof = worlds.scene.dof
    worlds.physics.write('qvel', dof, np.full(len(dof), 0.3), [0])
    assert not worlds.success()[0]
    assert worlds.progress()[0] < 1.0


@pytest.mark.parametrize(
    ('said', 'means'),
    [
        ('Please raise your left arm!', 'raise the left arm'),
        ('raise both of your arms', 'raise both arms'),
        ('stretch your arms to both sides', 'stretch both arms out to the sides'),
        ('kneel down', 'kneel'),
        ('stand on your right leg', 'stand on the right leg'),
        ('stand with your right leg raised', 'stand on the left leg'),
        ('raise both your arms to the side', 'stretch both arms out to the sides'),
    ],
)
def test_instructions(said, means):
    assert named_pose(said) == means


@pytest.mark.parametrize(
    'wrong',
    [
        'kneel and squat',
        'stand',
        'raise the left arm and the left leg',
        'raise your left arm and lower the right',
        'let your arms hang at your sides',
        'hold your arms to your sides',
        'stand up, do not raise the arms',
    ],
)
def test_what_is_no_pose_is_refused(wrong):
    with pytest.raises(ValueError, match=r'.+'):
        Pose().check(wrong)


def test_easier_starts_ask_for_arms_only():
    told = {Pose().start(np.random.default_rng(seed), '', 0.0).instruction for seed in range(40)}
    assert len(told) == 4
    assert all('arm' in instruction for instruction in told)


def test_an_arm_cannot_kneel():
    scene = Scene(RobotSpec.load(share('robots', 'sim_arm.yaml')))
    with pytest.raises(ValueError, match='left_knee'):
        PoseExpert(scene)


def test_both_cameras_see_the_whole_body(worlds):
    worlds.reset([0], [0])
    try:
        before = worlds.render([0])
    except OSError as error:
        pytest.skip(str(error))
    take(worlds, 'raise both arms')
    after = worlds.render([0])
    for name in ('front', 'side'):
        changed = np.abs(after[name][0].astype(int) - before[name][0]).max(-1) > 40
        assert 20 < changed.sum() < 1000, name
