# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The loopback robot: joints that follow, frames that can be told apart, at once and without physics."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from apprentice_interfaces.msg import RewardSample
from apprentice_interfaces.srv import ResetWorld
from sensor_msgs.msg import Image, JointState
from trajectory_msgs.msg import JointTrajectory

from apprentice.nodes import convert, qos
from apprentice.robot.parts import share
from apprentice.robot.spec import CameraSpec, RobotSpec
from apprentice.sim.loopback import BITS, LAG_S, LoopbackWorld, read_number, write_number

ROBOT = share('robots', 'sim_arm.yaml')
SPEC = RobotSpec.load(ROBOT)
HOME = SPEC.vector('home')


def test_joints_follow_with_a_lag_within_the_limits():
    world = LoopbackWorld(SPEC, 0)
    near = HOME + 0.01 * ~SPEC.gripper_mask
    world.step(near, LAG_S)
    np.testing.assert_allclose((world.state() - HOME)[:6], 0.01 * (1 - np.exp(-1)), rtol=1e-6)
    np.testing.assert_allclose(world.velocity()[:6], 0.01 * (1 - np.exp(-1)) / LAG_S, rtol=1e-6)
    world.step(np.full(7, 100.0), 0.05)
    assert np.all(np.abs(world.velocity()) <= SPEC.vector('velocity') + 1e-9)
    for _ in range(200):
        world.step(np.full(7, 100.0), 0.05)
    np.testing.assert_allclose(world.state(), SPEC.vector('upper'), atol=1e-6)
    with pytest.raises(ValueError, match='not finite'):
        world.step(np.full(7, np.nan), 0.05)


def test_a_goal_to_reach_and_seeded_starts():
    world, other = LoopbackWorld(SPEC, 3), LoopbackWorld(SPEC, 4)
    assert not np.array_equal(world.goal, other.goal)
    np.testing.assert_array_equal(world.goal, LoopbackWorld(SPEC, 3).goal)
    assert world.reset(3, 'make tea') == 'make tea'
    progress = [world.progress()]
    while not world.success():
        world.step(world.goal, 0.02)
        progress.append(world.progress())
    assert progress[0] == pytest.approx(0.0, abs=1e-9)
    assert np.all(np.diff(progress) >= 0)
    assert progress[-1] == 1.0 > progress[-2]


def test_numbers_in_pixels():
    for shape in ((64, 64, 3), (9, 16, 3), (224, 224, 3)):
        for number in (0, 1, 513, 2**BITS - 1):
            image = np.full(shape, 90, np.uint8)
            write_number(image, number)
            assert read_number(image) == number
    world = LoopbackWorld(SPEC)
    numbers = [{read_number(frame) for frame in world.render().values()} for _ in range(3)]
    assert numbers == [{1}, {2}, {3}]
    narrow = dataclasses.replace(SPEC, cameras=(CameraSpec('top', 'top', 8, 8, 10.0),))
    with pytest.raises(ValueError, match='top is 8 wide'):
        LoopbackWorld(narrow)


def test_it_needs_no_mujoco():
    code = "import sys, apprentice.nodes.loopback_robot; sys.exit('mujoco' in sys.modules)"
    assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0


class Rig:
    """Stands where the gate stands."""

    def __init__(self, ros):
        self.ros = ros
        self.joints: list[JointState] = []
        self.images: dict[str, list[Image]] = {'front': [], 'wrist': []}
        self.truth: list[RewardSample] = []
        node = ros.node
        node.create_subscription(JointState, 'joint_states', self.joints.append, qos.SENSOR)
        for camera in SPEC.cameras:
            node.create_subscription(Image, camera.topic, self.images[camera.name].append, qos.SENSOR)
        node.create_subscription(RewardSample, 'sim/truth', self.truth.append, qos.LOG)
        self.publisher = node.create_publisher(JointTrajectory, SPEC.command.topic, qos.COMMAND)
        self.reset = node.create_client(ResetWorld, 'reset_world')

    def step(self, target):
        """Answer the newest tick, and again where it is repeated; joint positions at the next."""
        tick, answered = self.joints[-1], 0
        stamp = convert.seconds(tick.header.stamp)

        def over():
            nonlocal answered
            if self.joints[-1].header.stamp != tick.header.stamp:
                return True
            if len(self.joints) > answered:  # the answer before may have expired unheard
                answered = len(self.joints)
                self.publisher.publish(convert.trajectory_msg(stamp, SPEC.joint_names, target, 0.05))
            return False

        assert self.ros.spin_until(over, 10.0)
        return convert.joint_vector(self.joints[-1], SPEC.joint_names)


def test_lockstep(ros, start_node):
    start_node(
        'loopback_robot', '-p', f'robot:={ROBOT}', '-p', 'lockstep:=true', '-p', 'lockstep_timeout_s:=0.3'
    )
    rig = Rig(ros)
    assert ros.spin_until(lambda: rig.joints and rig.publisher.get_subscription_count(), 30.0)
    assert ros.call(rig.reset, ResetWorld.Request(seed=5, task='')).task == 'move to the goal'
    goal = LoopbackWorld(SPEC, 5).goal
    for _ in range(20):
        rig.step(goal)
        if rig.truth and rig.truth[-1].done:
            break
    assert rig.truth[-1].done
    assert rig.truth[-1].value == 1.0
    assert ros.spin_until(lambda: len(rig.images['wrist']) == len(rig.images['front']), 5.0)
    stamps, numbers = [], []
    for front, wrist in zip(rig.images['front'], rig.images['wrist']):
        assert front.header.stamp == wrist.header.stamp
        numbers.append(read_number(convert.image_array(front)))
        assert numbers[-1] == read_number(convert.image_array(wrist))
        stamps.append(convert.seconds(front.header.stamp))
    assert np.all(np.diff(numbers) == 1)  # none is lost, none comes twice
    np.testing.assert_allclose(np.diff(stamps)[1:], 0.1, atol=2e-6)


def test_live(ros, start_node):
    process = start_node('loopback_robot', '-p', f'robot:={ROBOT}', '-p', 'rate_hz:=50.0')
    rig = Rig(ros)
    assert ros.spin_until(lambda: len(rig.joints) >= 20 and len(rig.images['front']) >= 5, 30.0)
    target = HOME + 0.2 * ~SPEC.gripper_mask

    def arrived():  # commands come again and again, as the gate's do: a single one may expire unheard
        rig.publisher.publish(convert.trajectory_msg(0.0, SPEC.joint_names, target, 0.02))
        return np.allclose(convert.joint_vector(rig.joints[-1], SPEC.joint_names), target, atol=1e-3)

    assert ros.spin_until(arrived, 10.0)
    assert process.stop() == 0
