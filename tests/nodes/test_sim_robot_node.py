# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The simulated robot as a driver: lock-step waits for nobody else's mistakes, bad commands hold."""

import numpy as np
import pytest
import yaml
from apprentice_interfaces.msg import RewardSample
from apprentice_interfaces.srv import ResetWorld
from sensor_msgs.msg import Image, JointState
from trajectory_msgs.msg import JointTrajectory

from apprentice.nodes import convert, qos
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec

ROBOT = share('robots', 'sim_arm.yaml')
SPEC = RobotSpec.load(ROBOT)


class Rig:
    """Stands where the gate stands."""

    def __init__(self, ros):
        self.ros = ros
        self.joints: list[JointState] = []
        self.images: list[Image] = []
        self.truth: list[RewardSample] = []
        node = ros.node
        node.create_subscription(JointState, 'joint_states', self.joints.append, qos.SENSOR)
        node.create_subscription(Image, 'camera/front/image_raw', self.images.append, qos.SENSOR)
        node.create_subscription(RewardSample, 'sim/truth', self.truth.append, qos.LOG)
        self.publisher = node.create_publisher(JointTrajectory, SPEC.command.topic, qos.COMMAND)
        self.reset = node.create_client(ResetWorld, 'reset_world')

    def step(self, target: np.ndarray) -> JointState:
        """Answer the newest tick and return the next."""
        tick = self.joints[-1]
        stamp = convert.seconds(tick.header.stamp)
        self.publisher.publish(convert.trajectory_msg(stamp, SPEC.joint_names, target, 0.05))
        assert self.ros.spin_until(lambda: self.joints[-1].header.stamp != tick.header.stamp, 5.0)
        return self.joints[-1]


@pytest.fixture
def rig(ros, start_node):
    start_node('sim_robot', '-p', f'robot:={ROBOT}', '-p', 'lockstep:=true', '-p', 'lockstep_timeout_s:=0.3')
    made = Rig(ros)
    assert ros.spin_until(lambda: made.joints and made.publisher.get_subscription_count(), 30.0)
    return made


def test_lockstep(rig):
    home = SPEC.vector('home')
    first = convert.seconds(rig.joints[-1].header.stamp)
    stamps = [convert.seconds(rig.step(home).header.stamp) for _ in range(8)]
    np.testing.assert_allclose(np.diff([first, *stamps]), 0.05, atol=2e-6)
    # cameras on the action grid: a frame every second tick
    assert rig.ros.spin_until(lambda: len(rig.images) >= 4, 5.0)
    image = convert.image_array(rig.images[-1])
    assert image.shape == (64, 64, 3)
    assert image.std() > 10

    # nobody answers: time stands still, the tick is repeated
    waiting, count = rig.joints[-1].header.stamp, len(rig.joints)
    assert rig.ros.spin_until(lambda: len(rig.joints) >= count + 2, 5.0)
    assert rig.joints[-1].header.stamp == waiting

    # a NaN command moves nothing
    before = convert.joint_vector(rig.joints[-1], SPEC.joint_names)
    rig.step(np.full(7, np.nan))
    after = convert.joint_vector(rig.joints[-1], SPEC.joint_names)
    np.testing.assert_allclose(after, before, atol=0.02)

    # a seeded reset is a new start on a later stamp
    answer = rig.ros.call(rig.reset, ResetWorld.Request(seed=5, task='pick up the red cube'))
    assert answer.success
    assert answer.task == 'pick up the red cube'
    assert rig.ros.spin_until(lambda: convert.seconds(rig.joints[-1].header.stamp) > stamps[-1], 5.0)
    refused = rig.ros.call(rig.reset, ResetWorld.Request(seed=5, task='make tea'))
    assert not refused.success
    assert 'colour' in refused.message


def test_live_runs_on_the_wall_clock(ros, start_node):
    start_node('sim_robot', '-p', f'robot:={ROBOT}', '-p', 'rate_hz:=20.0')
    rig = Rig(ros)
    assert ros.spin_until(lambda: len(rig.joints) >= 20 and len(rig.images) >= 5, 40.0)
    stamps = [convert.seconds(j.header.stamp) for j in rig.joints]
    assert abs(stamps[-1] - convert.now(ros.node)) < 1.0
    assert np.all(np.diff(stamps) > 0)


def test_live_cameras_keep_their_rate(ros, start_node):
    # 13 Hz: most ticks are early or late for a 10 Hz camera, which must not speed it up
    start_node('sim_robot', '-p', f'robot:={ROBOT}', '-p', 'rate_hz:=13.0')
    rig = Rig(ros)
    assert ros.spin_until(lambda: len(rig.images) >= 20, 40.0)
    stamps = [convert.seconds(image.header.stamp) for image in rig.images]
    assert np.mean(np.diff(stamps)) > 0.095


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'simulator': {}}, 'simulator.model is missing'),
        ({'simulator': {'model': 'no.such:Arm', 'task': 'x:y'}}, 'is the package installed'),
        ({'joints': []}, 'joints is empty'),
        ({'command': {'type': 'forward_position', 'topic': 'x'}}, 'joint_trajectory'),
    ],
)
def test_wrong_robot_file_ends_with_cause_and_remedy(start_node, tmp_path, change, message):
    data = {**yaml.safe_load(ROBOT.read_text()), **change}
    path = tmp_path / 'wrong.yaml'
    path.write_text(yaml.safe_dump(data))
    process = start_node('sim_robot', '-p', f'robot:={path}', '-p', 'lockstep:=true')
    assert process.popen.wait(60) == 2
    assert message in process.output()
    assert 'Traceback' not in process.output()
