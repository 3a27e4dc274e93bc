# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Faults on the real graph: the gate holds for the right reason, and goes on when the fault is over."""

import time

import numpy as np
import pytest
import rclpy.parameter
import torch
from apprentice_interfaces.msg import ControlState, EpisodeState
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from sensor_msgs.msg import Image, JointState
from std_srvs.srv import SetBool

from apprentice.nodes import convert, qos
from apprentice.nodes.fault_injection import MODEL_FAULTS, Faults
from apprentice.policies import checkpoint
from apprentice.policies.backbones.tiny import TinyConfig
from apprentice.policies.config import PolicyConfig
from apprentice.policies.policy import FlowPolicy
from apprentice.policies.spec import PolicySpec
from apprentice.robot.normalize import Statistics
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import ControlMode
from apprentice.sim.loopback import read_number

ROBOT = share('robots', 'sim_arm.yaml')
SPEC = RobotSpec.load(ROBOT)
HOME = SPEC.vector('home')
AWAY = HOME + np.array([0.6, 0, 0, 0, 0, 0, 0])


def make_weights(folder):
    """A policy that has learned nothing but to stay where it is, gripper open."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    states = Statistics.of(rng.normal(HOME, 0.3, (50, 7)), SPEC.joint_names, 'x')
    moves = Statistics.of(rng.normal(HOME * SPEC.gripper_mask, 0.002, (50, 7)), SPEC.joint_names, 'x')
    sizes = {c.name: (64, 64) for c in SPEC.cameras}
    relative = tuple(bool(x) for x in ~SPEC.gripper_mask)
    spec = PolicySpec(SPEC.name, SPEC.joint_names, relative, sizes, 8, 0.1, states, moves)
    config = PolicyConfig(backbone=TinyConfig(width=32, layers=1, heads=2, channels=(8, 8, 16)))
    checkpoint.save(FlowPolicy(spec, config), folder, {'name': 'test'})
    return folder


class Rig:
    """The operator: arms, gives tasks, makes nodes fail."""

    def __init__(self, ros):
        self.ros = ros
        self.states: list[ControlState] = []
        self.joints: list[JointState] = []
        self.images: list[Image] = []
        node = ros.node
        node.create_subscription(ControlState, 'gate/state', self.states.append, qos.STATE)
        node.create_subscription(JointState, 'joint_states', self.joints.append, qos.SENSOR)
        node.create_subscription(Image, 'camera/front/image_raw', self.images.append, qos.SENSOR)
        self.episode = node.create_publisher(EpisodeState, 'episode/state', qos.STATE)
        self.human = node.create_publisher(JointState, 'human/command', qos.SENSOR_PUBLISHER)
        self.arming = node.create_client(SetBool, 'gate/arm')
        self.control = node.create_client(SetBool, 'gate/request_control')

    def until_mode(self, mode, timeout=30.0):
        assert self.ros.spin_until(lambda: self.states and self.states[-1].mode == mode, timeout), (
            f'{ControlMode(self.states[-1].mode).name}: {self.states[-1].reason}'
            if self.states
            else 'no gate'
        )
        return self.states[-1].reason

    def armed(self, mode):
        """Arm until the gate is in a mode; early refusals are right as long as something is stale."""

        def tried():
            answer = self.ros.call(self.arming, SetBool.Request(data=True), 30.0)
            return answer.success

        assert self.ros.spin_until(tried, 30.0)
        return self.until_mode(mode)

    def fail(self, node, plan):
        """Give a node a fault plan; why it was refused, or ''."""
        client = self.ros.node.create_client(SetParameters, f'{node}/set_parameters')
        value = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=plan)
        request = SetParameters.Request(parameters=[Parameter(name='faults', value=value)])
        (result,) = self.ros.call(client, request, 30.0).results
        assert result.successful == (not result.reason)
        return result.reason

    def drive(self, target, done):
        """Take control and steer to a joint vector, slower than any limit, until ``done``."""
        begin, position = time.monotonic(), self.position()

        def steering():
            reach = 0.5 * (time.monotonic() - begin)
            step = position + np.clip(target - position, -reach, reach)
            stamp = convert.now(self.ros.node)
            self.human.publish(convert.joint_state_msg(stamp, SPEC.joint_names, step))
            return done()

        assert self.ros.spin_until(
            lambda: steering() or self.ros.call(self.control, SetBool.Request(data=True)).success, 10.0
        )
        assert self.ros.spin_until(steering, 20.0), self.states[-1].reason

    def position(self):
        return convert.joint_vector(self.joints[-1], SPEC.joint_names)


def test_robot_faults_live(ros, start_node):
    robot = start_node('loopback_robot', '-p', f'robot:={ROBOT}')
    # patient: what the machine itself delays must not look like a fault
    start_node(
        'gate', '-p', f'robot:={ROBOT}', '-p', 'joint_timeout_s:=2.0', '-p', 'clock_tolerance_s:=0.5',
        '-p', 'human_timeout_s:=1.0', '-p', 'human_latch_s:=5.0',
    )  # fmt: skip
    rig = Rig(ros)
    rig.armed(ControlMode.PAUSED)
    for plan, reason in (
        ('[{kind: joints_silent, for_s: 4.0}]', 'joint states on joint_states are'),
        ('[{kind: clock_jump, for_s: 1.5, amount: -30}]', 'joint states on joint_states are'),
        ('[{kind: clock_jump, for_s: 1.5, amount: 30}]', 'joint states on joint_states are'),
    ):
        assert rig.fail('loopback_robot', plan) == ''
        assert reason in rig.until_mode(ControlMode.HOLD), plan
        rig.armed(ControlMode.PAUSED)  # succeeds once the fault is over

    # a stuck joint: the setpoint runs ahead of it until the gate has cut too many steps
    rig.fail('loopback_robot', '[{kind: joint_stuck, target: joint1}]')
    rig.drive(AWAY, lambda: rig.states[-1].mode == ControlMode.HOLD)
    assert 'exceeded a limit' in rig.states[-1].reason
    assert 'jump' in rig.states[-1].reason
    assert abs(rig.position()[0] - HOME[0]) < 0.01
    rig.fail('loopback_robot', '')
    rig.armed(ControlMode.PAUSED)
    rig.drive(AWAY, lambda: rig.position()[0] > 0.5)
    rig.ros.call(rig.control, SetBool.Request(data=False))

    # cameras: frozen frames go on being stamped, late ones keep the stamps of their capture
    rig.fail('loopback_robot', '[{kind: camera_freeze, target: front}]')
    ros.spin_until(lambda: False, 0.5)
    count = len(rig.images)
    assert ros.spin_until(lambda: len(rig.images) >= count + 4, 10.0)
    seen = rig.images[count:]
    assert len({read_number(convert.image_array(image)) for image in seen}) == 1
    assert len({convert.seconds(image.header.stamp) for image in seen}) == len(seen)
    rig.fail('loopback_robot', '[{kind: camera_delay, amount: 0.8}]')
    ros.spin_until(lambda: False, 1.5)
    count = len(rig.images)
    assert ros.spin_until(lambda: len(rig.images) > count, 10.0)
    age = convert.seconds(rig.joints[-1].header.stamp) - convert.seconds(rig.images[-1].header.stamp)
    assert 0.6 < age < 2.0

    why = rig.fail('loopback_robot', '[{kind: camera_drop, target: top}]')
    assert why == "camera_drop: the robot has no camera 'top'; it has ['front', 'wrist']"
    assert 'seed of the fault plan' in rig.fail('loopback_robot', '{seed: one, faults: []}')
    assert 'no fault' in rig.fail('loopback_robot', '[{kind: [camera_drop]}]')
    assert rig.fail('loopback_robot', '[{kind: dead_node, target: loopback_robot}]') == ''
    assert 'joint states on joint_states are' in rig.until_mode(ControlMode.HOLD)
    assert robot.popen.wait(10.0) == -9
    start_node('loopback_robot', '-p', f'robot:={ROBOT}')
    rig.armed(ControlMode.PAUSED)


def test_camera_and_policy_faults_in_lockstep(ros, start_node, tmp_path):
    weights = make_weights(tmp_path / 'weights')
    lockstep = ('-p', f'robot:={ROBOT}', '-p', 'lockstep:=true', '-p', 'use_sim_time:=true')

    def policy():
        return start_node('policy', *lockstep, '-p', f'weights:={weights}')

    first = policy()
    start_node('gate', *lockstep, '-p', 'policy_wait_s:=2.0')
    start_node('loopback_robot', *lockstep)
    rig = Rig(ros)
    rig.episode.publish(EpisodeState(phase=EpisodeState.RUNNING, task='move to the goal', episode_id='e'))

    # the cameras are gone, the model takes too long, the policy's process is dead
    for node, plan in (
        ('loopback_robot', '[{kind: camera_drop}]'),
        ('policy', '[{kind: slow_model, amount: 3.0}]'),
        ('policy', '[{kind: dead_node, target: policy}]'),
    ):
        rig.armed(ControlMode.POLICY)
        assert rig.fail(node, plan) == ''
        reason = rig.until_mode(ControlMode.HOLD)
        assert 'check the policy' in reason, (plan, reason)
        if 'dead' in plan:
            assert first.popen.wait(10.0) == -9
            policy()
        else:
            rig.fail(node, '')
    rig.armed(ControlMode.POLICY)


def test_a_plan_given_before_the_clock_counts_from_its_first_time(ros):
    clock = [0.0]
    faults = Faults(ros.node, SPEC, lambda: clock[0], MODEL_FAULTS)
    plan = '[{kind: slow_model, at_s: 1.0, for_s: 2.0, amount: 0.5}]'
    (result,) = ros.node.set_parameters([rclpy.parameter.Parameter('faults', value=plan)])
    assert result.successful
    slowness = [faults.slowness()]
    for now in (1.7e9, 1.7e9 + 1.5, 1.7e9 + 3.5):
        clock[0] = now
        slowness.append(faults.slowness())
    assert slowness == [0.0, 0.0, 0.5, 0.0]


@pytest.mark.parametrize(
    ('node', 'plan', 'message'),
    [
        ('loopback_robot', '[{kind: flood}]', "no fault 'flood'"),
        ('loopback_robot', '[{kind: joint_stuck, target: elbow}]', "no joint 'elbow'"),
    ],
)
def test_a_wrong_plan_ends_the_start_with_cause_and_remedy(start_node, node, plan, message):
    process = start_node(node, '-p', f'robot:={ROBOT}', '-p', f'faults:="{plan}"')
    assert process.popen.wait(60) == 2
    assert message in process.output()
    assert 'Traceback' not in process.output()
