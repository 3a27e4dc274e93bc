# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The scripted person as a node: answers whatever order messages come in, and only while in control."""

import numpy as np
from apprentice_interfaces.msg import ControlState, EpisodeState
from sensor_msgs.msg import JointState
from visualization_msgs.msg import Marker, MarkerArray

from apprentice.nodes import convert, qos
from apprentice.nodes.sim_poses import object_markers, object_poses
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec

ROBOT = share('robots', 'sim_arm.yaml')
SPEC = RobotSpec.load(ROBOT)


def test_answers_the_joint_state_that_overtook_the_takeover(ros, start_node):
    process = start_node('teleop', '-p', f'robot:={ROBOT}')
    commands: list[JointState] = []
    node = ros.node
    node.create_subscription(JointState, 'human/command', commands.append, qos.SENSOR)
    gate = node.create_publisher(ControlState, 'gate/state', qos.STATE)
    episode = node.create_publisher(EpisodeState, 'episode/state', qos.STATE)
    objects = node.create_publisher(MarkerArray, 'sim/object_poses', qos.SENSOR_PUBLISHER)
    joints = node.create_publisher(JointState, 'joint_states', qos.SENSOR_PUBLISHER)
    publishers = (gate, episode, objects, joints)
    assert ros.spin_until(lambda: all(p.get_subscription_count() for p in publishers), 60.0), process.output()

    markers = []
    for number, name in enumerate(('cube_red', 'cube_green', 'cube_blue')):
        marker = Marker(ns=name, id=number)
        marker.pose.position.x, marker.pose.position.y, marker.pose.position.z = 0.4, 0.1 * number, 0.02
        markers.append(marker)
    gate.publish(ControlState(mode=ControlState.POLICY))
    episode.publish(EpisodeState(phase=EpisodeState.RUNNING, task='pick up the red cube', episode_id='e'))
    for _ in range(10):
        # sensors are best effort: what is sent before both sides know of each other is lost
        objects.publish(MarkerArray(markers=markers))
        joints.publish(convert.joint_state_msg(100.05, SPEC.joint_names, SPEC.vector('home')))
        ros.spin_until(lambda: False, 0.1)
    assert not commands  # the policy drives

    gate.publish(ControlState(mode=ControlState.HUMAN, epoch=1))
    assert ros.spin_until(lambda: commands, 10.0), process.output()
    assert convert.seconds(commands[0].header.stamp) == 100.05
    assert np.all(np.isfinite(convert.joint_vector(commands[0], SPEC.joint_names)))
    assert process.stop() == 0


PERSON = """
class Tells:
    def __init__(self, expert, seed):
        pass

    def reset(self, now):
        pass

    def act(self, state, objects, task):
        next(name for name in objects if name.startswith('cube'))
        print('sees', sorted(objects), flush=True)
        return state
"""


def test_an_object_that_is_gone_is_not_there_any_more(ros, start_node, tmp_path):
    (tmp_path / 'person_who_tells.py').write_text(PERSON)
    process = start_node(
        'teleop', '-p', f'robot:={ROBOT}', '-p', 'person:=person_who_tells:Tells',
        environment={'PYTHONPATH': str(tmp_path)},
    )  # fmt: skip
    commands: list[JointState] = []
    node = ros.node
    node.create_subscription(JointState, 'human/command', commands.append, qos.SENSOR)
    gate = node.create_publisher(ControlState, 'gate/state', qos.STATE)
    episode = node.create_publisher(EpisodeState, 'episode/state', qos.STATE)
    objects = node.create_publisher(MarkerArray, 'sim/object_poses', qos.SENSOR_PUBLISHER)
    joints = node.create_publisher(JointState, 'joint_states', qos.SENSOR_PUBLISHER)
    publishers = (gate, episode, objects, joints)
    assert ros.spin_until(lambda: all(p.get_subscription_count() for p in publishers), 60.0), process.output()
    gate.publish(ControlState(mode=ControlState.HUMAN, epoch=1))
    episode.publish(EpisodeState(phase=EpisodeState.RUNNING, task='wipe', episode_id='e'))
    ros.spin_until(lambda: False, 0.5)

    pose, now = np.array([0.4, 0.1, 0.02, 1, 0, 0, 0]), 100.0

    def until(text, *names):
        nonlocal now
        objects.publish(object_markers(dict.fromkeys(names, pose), now, 'base_link'))
        ros.spin_until(lambda: False, 0.2)

        def told():
            nonlocal now
            now += SPEC.action_dt
            joints.publish(convert.joint_state_msg(now, SPEC.joint_names, SPEC.vector('home')))
            ros.spin_until(lambda: False, 0.05)
            return text in process.output()

        assert ros.spin_until(told, 10.0), process.output()

    until("sees ['cube_red', 'stain_0', 'stain_1']", 'cube_red', 'stain_0', 'stain_1')
    until("sees ['cube_red', 'stain_1']", 'cube_red', 'stain_1')
    # what the expert looks for is not there: it says so, and goes on when it is
    until("cannot drive 'wipe': something it needs; there are ['stain_1']", 'stain_1')
    count = len(commands)
    until("cannot drive 'wipe': something it needs; there are []")
    until("sees ['cube_red']", 'cube_red')
    assert ros.spin_until(lambda: len(commands) > count, 5.0)


def test_markers_begin_with_one_that_takes_away_those_before():
    message = object_markers({'cube_red': np.array([0.4, 0.1, 0.02, 1, 0, 0, 0])}, 2.5, 'base_link')
    assert [marker.action for marker in message.markers] == [Marker.DELETEALL, Marker.ADD]
    assert {convert.seconds(marker.header.stamp) for marker in message.markers} == {2.5}
    (name, pose), *more = object_poses(message).items()
    assert (name, more) == ('cube_red', [])
    np.testing.assert_array_equal(pose, [0.4, 0.1, 0.02, 1, 0, 0, 0])
