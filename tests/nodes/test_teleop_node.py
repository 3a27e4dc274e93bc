# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The scripted person as a node: answers whatever order messages come in, and only while in control."""

import numpy as np
from apprentice_interfaces.msg import ControlState, EpisodeState
from sensor_msgs.msg import JointState
from visualization_msgs.msg import Marker, MarkerArray

from apprentice.nodes import convert, qos
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
    objects.publish(MarkerArray(markers=markers))
    gate.publish(ControlState(mode=ControlState.POLICY))
    episode.publish(EpisodeState(phase=EpisodeState.RUNNING, task='pick up the red cube', episode_id='e'))
    joints.publish(convert.joint_state_msg(100.05, SPEC.joint_names, SPEC.vector('home')))
    ros.spin_until(lambda: False, 0.5)
    assert not commands  # the policy drives

    gate.publish(ControlState(mode=ControlState.HUMAN, epoch=1))
    assert ros.spin_until(lambda: commands, 5.0), process.output()
    assert convert.seconds(commands[0].header.stamp) == 100.05
    assert np.all(np.isfinite(convert.joint_vector(commands[0], SPEC.joint_names)))
    assert process.stop() == 0
