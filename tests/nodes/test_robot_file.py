# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What a robot file says to a node: how long an attempt in simulation may take."""

import dataclasses

import pytest
import rclpy

from apprentice.nodes.episode import EpisodeNode
from apprentice.nodes.robot_file import task_duration
from apprentice.nodes.runtime import StartupError
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec

ROBOT = share('robots', 'sim_arm.yaml')
SPEC = RobotSpec.load(ROBOT)


def simulated(**simulator):
    return dataclasses.replace(SPEC, simulator=simulator)


def test_the_task_says_how_long_an_attempt_may_take():
    assert task_duration(SPEC) == 8.0
    assert task_duration(SPEC.with_task('stack')) == 12.0
    assert task_duration(simulated(world='some.world:World')) == 8.0
    assert task_duration(simulated(world='some.world:World', max_duration_s=20)) == 20.0
    assert task_duration(simulated()) == 0.0
    with pytest.raises(StartupError, match=r"no task 'stak'; did you mean 'stack'.*or set max_duration_s"):
        task_duration(SPEC.with_task('stak'))


@pytest.mark.parametrize(
    ('parameters', 'seconds'),
    [
        (('max_duration_s:=0.0', 'sim_task:=drawer'), 12.0),
        (('max_duration_s:=0.0',), 8.0),
        (('max_duration_s:=3.0', 'sim_task:=drawer'), 3.0),
        ((), 10.0),
    ],
)
def test_the_episode_node_asks_the_task_when_told_nothing(parameters, seconds):
    arguments = [word for parameter in parameters for word in ('-p', parameter)]
    rclpy.init(args=['--ros-args', '-p', f'robot:={ROBOT}', *arguments])
    try:
        node = EpisodeNode()
        assert node.machine.settings.max_duration_s == seconds
        node.destroy_node()
    finally:
        rclpy.try_shutdown()
