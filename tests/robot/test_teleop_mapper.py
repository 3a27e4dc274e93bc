# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Commands to joint targets: on an arm of pure numpy, and with garbage that must never leave the limits."""

import numpy as np
import pytest

from apprentice.robot.spec import RobotSpec
from apprentice.robot.teleop import TeleopCommand, rotation_matrix, rotation_vector
from apprentice.robot.teleop_cartesian import damped_inverse
from apprentice.robot.teleop_mapper import ClutchedMapper, MapperLimits

DT = 0.02
AXES = np.array([[0, 0, 1], [0, 1, 0], [0, 1, 0], [0, 0, 1], [0, 1, 0], [0, 0, 1]], float)
LINKS = np.array([[0, 0, 0.2], [0, 0, 0.26], [0, 0, 0.12], [0, 0, 0.12], [0, 0, 0.05], [0, 0, 0.1]])


class NumpyArm:
    """Revolute joints in a row, each about its axis, each with a link behind it."""

    def __init__(self, joints: int = 6):
        self.axes, self.links = AXES[:joints], LINKS[:joints]

    def _frames(self, joints):
        at, turned, frames = np.zeros(3), np.eye(3), []
        for angle, axis, link in zip(joints, self.axes, self.links, strict=True):
            frames.append((at, turned @ axis))
            turned = turned @ rotation_matrix(axis * angle)
            at = at + turned @ link
        return at, turned, frames

    def forward(self, joints):
        at, turned, _ = self._frames(joints)
        return at, turned

    def jacobian(self, joints):
        tip, _, frames = self._frames(joints)
        return np.array([np.concatenate([np.cross(axis, tip - at), axis]) for at, axis in frames]).T


def robot(joints: int = 6) -> RobotSpec:
    names = [f'joint{i}' for i in range(joints)]
    arm = [
        {'name': n, 'lower': -2.6, 'upper': 2.6, 'velocity': 2.0, 'jump': 0.35, 'home': 0.0} for n in names
    ]
    hand = {'name': 'hand', 'lower': 0.0, 'upper': 0.04, 'velocity': 0.2, 'jump': 0.03, 'home': 0.04}
    return RobotSpec.from_dict({'name': 'r', 'joints': [*arm, {**hand, 'gripper': True}], 'cameras': []})


SPEC, ARM = robot(), NumpyArm()
BENT = np.array([0.1, 0.3, 1.5, 0.1, 1.0, 0.2, 0.04])


def twist(linear=(0, 0, 0), angular=(0, 0, 0), **more) -> TeleopCommand:
    return TeleopCommand(
        0.0, held=True, linear=np.array(linear, float), angular=np.array(angular, float), **more
    )


def drive(mapper, command, seconds, start, chain=ARM):
    """A robot that reaches every target at once; the tool's path [steps, 3] and where it ends."""
    joints, path = start, []
    for _ in range(round(seconds / DT)):
        joints = mapper.step(command, joints, DT)
        path.append(chain.forward(joints[:-1])[0])
    return np.array(path), joints


def test_rotation_vectors_and_back():
    rng = np.random.default_rng(0)
    for _ in range(200):
        vector = rng.normal(size=3)
        vector *= rng.uniform(0, np.pi - 1e-3) / np.linalg.norm(vector)
        np.testing.assert_allclose(rotation_vector(rotation_matrix(vector)), vector, atol=1e-9)
    for axis in np.eye(3):
        half = rotation_vector(rotation_matrix(np.pi * axis))
        np.testing.assert_allclose(np.abs(half), np.pi * axis, atol=1e-6)
    np.testing.assert_array_equal(rotation_vector(np.eye(3)), np.zeros(3))


def test_the_damped_inverse_is_exact_where_it_can_be_and_bounded_where_not():
    rng = np.random.default_rng(1)
    matrix = rng.normal(size=(3, 6))
    np.testing.assert_allclose(damped_inverse(matrix, 0.01, 0.01), np.linalg.pinv(matrix))
    singular = np.diag([1.0, 1e-4, 0.0])
    inverse = damped_inverse(singular, 0.1, 0.1)
    assert inverse[0, 0] == pytest.approx(1.0)
    assert 0 <= inverse[1, 1] < 0.1
    assert inverse[2, 2] == 0.0
    assert np.max(damped_inverse(np.diag(np.linspace(0.0, 0.2, 50)), 0.1, 0.1)) < 10.5


@pytest.mark.parametrize('axis', range(3))
@pytest.mark.parametrize('sign', [-1.0, 1.0])
def test_the_tool_goes_where_it_is_sent_and_turns_no_further(axis, sign):
    mapper = ClutchedMapper(SPEC, ARM)
    mapper.engage(BENT)
    at, turned = ARM.forward(BENT[:-1])
    push = np.zeros(3)
    push[axis] = 0.1 * sign
    path, joints = drive(mapper, twist(push), 0.5, BENT)
    np.testing.assert_allclose(path[-1] - at, push * (0.5 - 0.05), atol=3e-3)  # less the smoothing
    off = np.delete(path - at, axis, axis=1)
    assert np.max(np.abs(off)) < 2e-3
    assert np.linalg.norm(rotation_vector(ARM.forward(joints[:-1])[1] @ turned.T)) < 0.01
    # it turns on the spot, too
    mapper.engage(joints)
    here = ARM.forward(joints[:-1])[0]
    path, joints = drive(mapper, twist(angular=push * 5), 0.5, joints)
    np.testing.assert_allclose(path[-1], here, atol=3e-3)
    turn = rotation_vector(ARM.forward(joints[:-1])[1] @ turned.T)
    np.testing.assert_allclose(turn, push * 5 * 0.45, atol=0.03)


def test_motion_in_the_frame_of_the_tool():
    mapper = ClutchedMapper(SPEC, ARM)
    mapper.engage(BENT)
    at, turned = ARM.forward(BENT[:-1])
    path, _ = drive(mapper, twist([0, 0, 0.1], frame='tool'), 0.5, BENT)
    np.testing.assert_allclose(path[-1] - at, turned @ [0, 0, 0.045], atol=2e-3)


@pytest.mark.parametrize('push', [[0.2, 0, 0], [-0.2, 0, 0], [0, 0.2, 0.1], [0, 0, 0.2], [0, 0, -0.2]])
def test_where_the_arm_ends_the_tool_stops_and_comes_back(push):
    mapper = ClutchedMapper(SPEC, ARM)
    mapper.engage(BENT)
    at, _ = ARM.forward(BENT[:-1])
    path, joints = drive(mapper, twist(push), 8.0, BENT)
    direction = np.array(push) / np.linalg.norm(push)
    along = (path - at) @ direction
    across = np.linalg.norm(path - at - along[:, None] * direction, axis=1)
    assert np.max(across) < 5e-3  # it did not slide away
    np.testing.assert_allclose(path[-1], path[-50], atol=0.02)  # it stands, or hardly moves
    back, _ = drive(mapper, twist(-np.array(push)), 0.6, joints)
    assert (back[-1] - path[-1]) @ direction < -0.005  # and does not have to unwind first


def test_an_arm_of_five_joints_keeps_the_position():
    spec, arm = robot(5), NumpyArm(5)
    start = np.array([0.1, 0.3, 1.5, 0.1, 1.0, 0.04])
    mapper = ClutchedMapper(spec, arm)
    mapper.engage(start)
    at, _ = arm.forward(start[:-1])
    path, _ = drive(mapper, twist([0.0, 0.1, 0.0]), 0.5, start, arm)
    np.testing.assert_allclose(path[-1] - at, [0, 0.045, 0], atol=4e-3)


def test_without_kinematics_the_six_axes_drive_six_joints():
    mapper = ClutchedMapper(SPEC, None)
    assert not mapper.cartesian
    mapper.engage(BENT)
    speeds = np.array([0.5, 0, -0.5, 0, 0, 9.0])
    _, joints = drive(mapper, twist([1, 1, 1], joint_velocity=speeds), 0.5, BENT)
    moved = joints - BENT
    np.testing.assert_allclose(moved[:3], [0.225, 0, -0.225], atol=0.01)
    assert 0.3 < moved[5] < 2.0 * 0.5 * 0.5 + 1e-9  # no faster than half of the robot file's speed


def test_the_clutch_holds_and_what_follows_is_relative():
    mapper = ClutchedMapper(SPEC, ARM)
    mapper.engage(BENT)
    _, joints = drive(mapper, twist([0.1, 0, 0], clutch=True), 0.3, BENT)
    np.testing.assert_allclose(joints, BENT, atol=1e-9)
    leader = TeleopCommand(0.0, held=True, joints=BENT + 1.0)
    joints = mapper.step(leader, joints, DT)
    np.testing.assert_allclose(joints[:6], BENT[:6], atol=1e-9)  # wherever the leader is
    moved = TeleopCommand(0.0, held=True, joints=BENT + 1.1)
    for _ in range(50):
        joints = mapper.step(moved, joints, DT)
    np.testing.assert_allclose(joints[:6], BENT[:6] + 0.1, atol=1e-6)


def test_a_leader_that_is_far_is_waited_for():
    mapper = ClutchedMapper(SPEC, ARM)
    mapper.engage(BENT)
    target = BENT + np.array([0, 0.5, 0, 0, 0, 0, -0.02])
    joints = mapper.step(TeleopCommand(0.0, held=True, joints=target, align=0.3), BENT, DT)
    np.testing.assert_array_equal(joints, BENT)
    assert mapper.notice == 'leader joint1 is 0.50 rad off; move it closer'
    near = BENT + np.array([0, 0.2, 0, 0, 0, 0, -0.02])
    for _ in range(50):
        joints = mapper.step(TeleopCommand(0.0, held=True, joints=near, align=0.3), joints, DT)
    np.testing.assert_allclose(joints, near, atol=1e-6)
    assert mapper.notice == ''
    # once followed it is followed as far as it goes, but slowly
    joints = mapper.step(TeleopCommand(0.0, held=True, joints=near + 0.5, align=0.3), joints, DT)
    assert np.all(np.abs(joints - near)[:6] <= 0.5 * 2.0 * DT + 1e-9)
    unknown = TeleopCommand(0.0, held=True, joints=np.full(7, np.nan), align=0.3)
    np.testing.assert_array_equal(mapper.step(unknown, joints, DT), joints)
    assert 'no joint of this robot' in mapper.notice


def test_the_gripper_holds_what_it_holds():
    mapper = ClutchedMapper(SPEC, ARM)
    holding, told = BENT.copy(), BENT.copy()
    holding[6], told[6] = 0.02, 0.0  # a cube is between the fingers
    assert mapper.engage(holding, told)[6] == 0.0
    assert mapper.step(twist(), holding, DT)[6] == 0.0
    np.testing.assert_array_equal(mapper.engage(holding, np.full(7, np.nan))[:6], holding[:6])
    opened = holding
    for _ in range(100):
        opened = mapper.step(twist(gripper=1.0), opened, DT)
    assert opened[6] == 0.04
    mapper.toggle_gripper()
    for _ in range(100):
        opened = mapper.step(twist(), opened, DT)
    assert opened[6] == 0.0


def test_an_arm_that_is_pushed_away_is_followed():
    mapper = ClutchedMapper(SPEC, ARM)
    mapper.engage(BENT)
    pushed = BENT + np.array([0.6, 0, 0, 0, 0, 0, 0])
    np.testing.assert_allclose(mapper.step(twist(), pushed, DT)[:6], pushed[:6], atol=1e-9)


@pytest.mark.parametrize('seed', range(6))
@pytest.mark.parametrize('chain', [ARM, None], ids=['tool', 'joints'])
def test_garbage_never_leaves_the_limits(seed, chain):
    rng = np.random.default_rng(seed)
    mapper = ClutchedMapper(SPEC, chain, MapperLimits(margin=0.0))
    lower, upper, velocity = (SPEC.vector(key) for key in ('lower', 'upper', 'velocity'))
    measured = rng.uniform(lower, upper)
    values = np.array([np.nan, np.inf, -np.inf, 1e300, -1e300, 0.0, 1.0, -1.0, 0.1])

    def some(size):
        return rng.choice(values, size) if rng.random() < 0.7 else rng.normal(size=size)

    target = mapper.engage(measured)
    for _ in range(300):
        command = TeleopCommand(
            stamp=float(some(1)[0]),
            held=bool(rng.random() < 0.9),
            clutch=bool(rng.random() < 0.1),
            linear=some(3),
            angular=some(3),
            frame=str(rng.choice(['base', 'tool'])),
            joint_velocity=some(6) if rng.random() < 0.8 else None,
            joints=some(int(rng.integers(5, 9))) if rng.random() < 0.2 else None,
            align=None if rng.random() < 0.5 else 0.3,
            gripper=float(some(1)[0]),
        )
        dt = float(rng.choice([DT, DT, DT, 0.0, -1.0, 5.0, np.nan]))
        before, target = target, mapper.step(command, measured, dt)
        assert np.all(np.isfinite(target))
        assert np.all(target >= lower)
        assert np.all(target <= upper)
        step = velocity * (min(max(dt, 0.0), 0.1) if np.isfinite(dt) else 0.0)
        pushed = np.abs(before - measured) > SPEC.vector('jump')
        if not np.any(pushed[:6]):
            assert np.all(np.abs(target - before) <= step + 1e-9)
            assert np.all(np.abs(target - measured)[:6] <= SPEC.vector('jump')[:6] + 1e-9)
        measured = target + rng.normal(size=7) * 0.02 * (velocity / 2.0)
        if rng.random() < 0.02:
            measured = rng.uniform(lower, upper)
