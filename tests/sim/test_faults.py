# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Fault plans: read strictly, carried out at their times, the same every time."""

import numpy as np
import pytest

from apprentice.sim.faults import KINDS, Fault, FaultPlan, FaultPlanError, FaultyRobot

JOINTS = ('one', 'two')


def robot(*faults, seed=0):
    return FaultyRobot(FaultPlan(tuple(faults), seed), JOINTS)


def frames_through(faulty, count=20, period=0.1):
    """Numbers of the frames that arrive at each time, with the age of their stamps."""
    arrived = []
    for i in range(count):
        now = i * period
        image = faulty.capture('front', np.full((2, 2, 3), i, np.uint8), now)
        faulty.send('front', image, now, now)
        arrived.append([(int(f[0, 0, 0]), round(now - t, 3)) for f, t in faulty.arriving('front', now)])
    return arrived


def test_plans_from_text_and_files(tmp_path):
    text = (
        'seed: 3\nfaults:\n- {kind: camera_drop, at_s: 1, for_s: 2, target: front}\n- {kind: joints_silent}\n'
    )
    path = tmp_path / 'plan.yaml'
    path.write_text(text)
    plan = FaultPlan.parse(str(path))
    assert plan == FaultPlan.parse(text)
    assert plan.seed == 3
    assert plan.faults[0] == Fault('camera_drop', 1, 2, 'front')
    assert plan.faults[0].amount == 1.0
    assert FaultPlan.parse('').faults == ()
    assert FaultPlan.parse('[{kind: slow_model, amount: 2}]').faults[0].amount == 2
    assert plan.check(['front'], JOINTS) is plan


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('[{kind: fire}]', r"fault 0: no fault 'fire'; use one of .*camera_drop"),
        ('[{kind: camera_drop, when: 1}]', r'fault 0 is .*needs kind and may have .*at_s'),
        ('[{at_s: 1}]', 'needs kind'),
        ('[{kind: camera_drop, at_s: soon}]', r"at_s is 'soon'; give a number"),
        ('[{kind: camera_drop, for_s: -1}]', 'for_s is -1'),
        ('[{kind: camera_drop, amount: 1.5}]', 'within 0 to 1'),
        ('[{kind: camera_delay, amount: -1}]', 'amount is -1'),
        ('[{kind: joint_stuck}]', 'name a joint'),
        ('[{kind: dead_node}]', 'name a node'),
        ('[{kind: slow_model, target: policy}]', 'has no target'),
        ('[{kind: joints_silent, amount: 2}]', 'has no amount'),
        ('faults: []\nrobot: x', r"not \['robot'\]"),
        ('hello', 'is a list of faults'),
        ('a: [', 'is not YAML'),
        ('/no/such/plan.yaml', 'No such file'),
        ('seed: -1\nfaults: []', 'seed of the fault plan is -1; give a whole number of 0 or more'),
        ('seed: one\nfaults: []', "seed of the fault plan is 'one'"),
        ('seed: 1.5\nfaults: []', 'seed of the fault plan is 1.5'),
        ('[{kind: [camera_drop]}]', r"no fault \['camera_drop'\]"),
        ('[{kind: camera_drop, at_s: .nan}]', 'at_s is nan; give a number within 0 to'),
        ('[{kind: camera_drop, at_s: .inf}]', 'at_s is inf'),
        ('[{kind: camera_drop, for_s: .nan}]', 'for_s is nan; give a number within 0 to inf'),
        ('[{kind: clock_jump, amount: -.inf}]', 'amount is -inf'),
        ('[{kind: clock_jump, amount: 1.0e+12}]', 'amount is 1000000000000.0'),
        (f'[{{kind: slow_model, amount: {10**400}}}]', 'give a number within -1e.08 to 1e.08'),
        (f'[{{kind: camera_drop, at_s: 1.5, for_s: {10**400}}}]', 'give a number within 0 to inf'),
        ('[{kind: camera_drop, target: [front]}]', r"target is \['front'\]; give a name"),
        ('[{kind: camera_drop, at_s: 2020-13-45}]', 'is not YAML'),
        ('[' * 5000, 'is not YAML'),
        ('~nobody-of-this-name/plan.yaml', 'No such file'),
    ],
)
def test_wrong_plans_name_fault_field_and_remedy(text, message):
    with pytest.raises(FaultPlanError, match=message):
        FaultPlan.parse(text)


def test_a_plan_file_must_be_text(tmp_path):
    path = tmp_path / 'plan.yaml'
    path.write_bytes(b'- {kind: \xff}')
    with pytest.raises(FaultPlanError, match=r'plan\.yaml is not UTF-8 text'):
        FaultPlan.parse(str(path))


def test_targets_must_be_there():
    with pytest.raises(FaultPlanError, match=r"no camera 'top'; it has \['front'\]"):
        FaultPlan((Fault('camera_drop', target='top'),)).check(['front'], JOINTS)
    with pytest.raises(FaultPlanError, match="no joint 'three'"):
        FaultPlan((Fault('joint_stuck', target='three'),)).check(['front'], JOINTS)


def test_without_faults_everything_arrives_at_once():
    assert frames_through(robot()) == [[(i, 0.0)] for i in range(20)]
    target = np.array([0.1, 0.2])
    np.testing.assert_array_equal(robot().obey(target, np.zeros(2), 0.0), target)
    assert not robot().silent(0.0)
    assert robot().clock_error(0.0) == 0.0


def test_dropped_frames_never_arrive():
    arrived = frames_through(robot(Fault('camera_drop', 0.5, 1.0)))
    assert [bool(a) for a in arrived] == [True] * 5 + [False] * 10 + [True] * 5
    other = robot(Fault('camera_drop', target='wrist'))
    assert frames_through(other) == frames_through(robot())
    half = [frames_through(robot(Fault('camera_drop', amount=0.5), seed=s), 200) for s in (1, 1, 2)]
    assert half[0] == half[1] != half[2]
    assert 70 < sum(bool(a) for a in half[0]) < 130


def test_delayed_frames_keep_the_stamp_of_their_capture():
    arrived = frames_through(robot(Fault('camera_delay', 0.5, 0.5, amount=0.25)))
    assert arrived[4] == [(4, 0.0)]
    assert arrived[5] == arrived[6] == arrived[7] == []
    assert arrived[8] == [(5, 0.3)]
    assert [number for a in arrived for number, _ in a] == list(range(20))  # none lost, none overtakes


def test_a_frozen_camera_goes_on_stamping():
    arrived = frames_through(robot(Fault('camera_freeze', 0.5, 0.5)))
    assert [number for a in arrived for number, _ in a] == [0, 1, 2, 3, 4, 5, 5, 5, 5, 5, *range(10, 20)]
    assert all(age == 0.0 for a in arrived for _, age in a)


def test_a_stuck_joint_stays_and_comes_free():
    faulty = robot(Fault('joint_stuck', 1.0, 1.0, 'two'))
    target = np.array([0.5, 0.5])
    moves = [faulty.obey(target, np.array([t, t]), t) for t in (0.5, 1.0, 1.5, 2.5)]
    np.testing.assert_array_equal(moves, [[0.5, 0.5], [0.5, 1.0], [0.5, 1.0], [0.5, 0.5]])
    np.testing.assert_array_equal(target, [0.5, 0.5])


def test_silence_and_a_clock_that_jumps():
    faulty = robot(Fault('joints_silent', 1.0, 1.0), Fault('clock_jump', 2.0, 1.0, amount=-5.0))
    assert [faulty.silent(t) for t in (0.5, 1.0, 1.9, 2.0)] == [False, True, True, False]
    assert [faulty.clock_error(t) for t in (1.9, 2.0, 3.0)] == [0.0, -5.0, 0.0]


def test_every_kind_is_described():
    assert set(KINDS) >= {'camera_drop', 'camera_delay', 'camera_freeze', 'joint_stuck', 'clock_jump'}
    assert all(of in ('', 'camera', 'joint', 'node') for of, _, _ in KINDS.values())
