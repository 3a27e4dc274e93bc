# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The simulated robot as a driver: lock-step waits for nobody else's mistakes, bad commands hold."""

import numpy as np
import pytest
import yaml
from apprentice_interfaces.msg import RewardSample
from apprentice_interfaces.srv import ResetWorld
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from sensor_msgs.msg import Image, JointState
from trajectory_msgs.msg import JointTrajectory
from visualization_msgs.msg import MarkerArray

from apprentice.nodes import convert, qos
from apprentice.nodes.sim_poses import object_poses
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


UNSTABLE = """
import numpy as np
from apprentice.sim.world import World


class Unstable(World):
    def step(self, target, duration_s):
        if target[0] > 1.0:
            self.worlds.physics.write('qvel', 0, np.nan, [0])
        super().step(target, duration_s)
"""


def test_physics_that_diverges_stands_still_until_the_reset(ros, start_node, tmp_path):
    (tmp_path / 'unstable.py').write_text(UNSTABLE)
    data = yaml.safe_load(ROBOT.read_text())
    data['simulator']['world'] = 'unstable:Unstable'
    path = tmp_path / 'unstable.yaml'
    path.write_text(yaml.safe_dump(data))
    process = start_node(
        'sim_robot', '-p', f'robot:={path}', '-p', 'lockstep:=true',
        environment={'PYTHONPATH': str(tmp_path)},
    )  # fmt: skip
    rig = Rig(ros)
    statuses: list[DiagnosticStatus] = []
    poses: list[MarkerArray] = []
    node = ros.node
    node.create_subscription(DiagnosticArray, '/diagnostics', lambda m: statuses.extend(m.status), 10)
    node.create_subscription(MarkerArray, 'sim/object_poses', poses.append, qos.SENSOR)
    assert ros.spin_until(lambda: rig.joints and rig.publisher.get_subscription_count(), 30.0), (
        process.output()
    )
    home = SPEC.vector('home')
    for _ in range(4):
        before = rig.step(home)
    away = home + np.eye(7)[0] * 2
    for _ in range(6):
        after = rig.step(away)
        np.testing.assert_array_equal(after.position, before.position)
        assert not np.any(after.velocity)
    assert ros.spin_until(lambda: any(s.level == DiagnosticStatus.ERROR for s in statuses), 5.0)
    assert 'diverged' in statuses[-1].message
    assert 'reset_world' in statuses[-1].message
    assert process.output().count('diverged') == 1
    assert np.all(np.isfinite([list(object_poses(m).values()) for m in poses]))
    assert not rig.truth[-1].done
    assert np.isfinite(rig.truth[-1].value)

    assert ros.call(rig.reset, ResetWorld.Request(seed=5, task='')).success
    statuses.clear()
    assert ros.spin_until(
        lambda: convert.joint_vector(rig.joints[-1], SPEC.joint_names)[0] != after.position[0]
    )
    start = convert.joint_vector(rig.joints[-1], SPEC.joint_names)
    for _ in range(6):
        moved = convert.joint_vector(rig.step(start + 0.3 * ~SPEC.gripper_mask), SPEC.joint_names)
    assert moved[0] > start[0] + 0.02
    assert ros.spin_until(lambda: bool(statuses), 5.0)
    assert {s.level for s in statuses} == {DiagnosticStatus.OK}


def test_silent_joints_end_also_in_lockstep(ros, start_node, tmp_path):
    plan = tmp_path / 'plan.yaml'
    plan.write_text(
        '- {kind: joints_silent, at_s: 0.1, for_s: 0.4}\n- {kind: slow_model}\n'
        '- {kind: dead_node, target: policy}\n- {kind: dead_node, target: gate}\n'
    )
    process = start_node(
        'sim_robot', '-p', f'robot:={ROBOT}', '-p', 'lockstep:=true', '-p', 'lockstep_timeout_s:=0.3',
        '-p', f'faults:={plan}',
    )  # fmt: skip
    rig = Rig(ros)
    home = SPEC.vector('home')

    def stepped():
        # once more than needed: the node drops answers to ticks that are past
        if rig.joints:
            stamp = convert.seconds(rig.joints[-1].header.stamp)
            rig.publisher.publish(convert.trajectory_msg(stamp, SPEC.joint_names, home, 0.05))
        return len({convert.seconds(joints.header.stamp) for joints in rig.joints}) >= 5

    assert ros.spin_until(stepped, 40.0), process.output()
    stamps = np.unique([convert.seconds(joints.header.stamp) for joints in rig.joints])
    assert 0.39 < np.max(np.diff(stamps)) < 0.51
    # who carries out what
    output = process.output()
    assert 'faults on purpose here: joints_silent\n' in output
    assert 'does not carry out: slow_model, dead_node policy\n' in output
    assert 'nobody carries out: dead_node gate' in output


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
