# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""``apprentice replay``: summaries without ROS, and an episode published again on a real graph."""

import argparse
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest
import rclpy
from apprentice_interfaces.msg import ExecutedCommand
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import Image
from trajectory_msgs.msg import JointTrajectory

from apprentice.cli import replay
from apprentice.episodes.episode_writer import write_episode
from apprentice.nodes import convert, qos
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Episode, Outcome, Reward, RewardKind

SPEC = RobotSpec.load(share('robots', 'sim_arm.yaml'))
STEPS = 10
SCRIPT = """
import sys
from apprentice.cli.main import main
sys.exit(main(['replay', *sys.argv[1:]]))
"""


@pytest.fixture
def file(tmp_path):
    episode = Episode(
        episode_id='ep1', task='pick up the red cube', seed=1, outcome=Outcome.FAILURE, end_cause=3,
        eval_only=True, stamps=50.0 + np.arange(STEPS) * 0.1,
        images={c.name: np.full((STEPS, 8, 8, 3), 7, np.uint8) for c in SPEC.cameras},
        state=np.zeros((STEPS, SPEC.dim), np.float32), action=np.ones((STEPS, SPEC.dim), np.float32),
        source=np.array([1] * 7 + [2] * 3, np.uint8), takeover_id=np.array([0] * 7 + [4] * 3),
        rewards=[Reward(50.1, 50.5, RewardKind.ABS_PROGRESS, 0.25, model='critic')], weights_version=9,
    )  # fmt: skip
    return write_episode(tmp_path, episode, SPEC)


def run(*arguments):
    parser = argparse.ArgumentParser()
    replay.add_arguments(parser)
    return replay.run(parser.parse_args(list(map(str, arguments))))


def test_info_of_files_and_folders(file, capsys):
    assert run(file.parent, '--info') == 0
    text = capsys.readouterr().out
    for part in (
        'outcome FAILURE  steps 10  interventions 1 (3 steps)  weights version 9  held out',
        'frames dropped 0',
        'reward critic: 1 valid, first 0.250',
        "task 'pick up the red cube'",
    ):
        assert part in text
    assert any(line.split()[:2] == ['/camera/front/image_raw', '10'] for line in text.splitlines())
    part = file.with_name('cut.mcap.part')
    part.write_bytes(file.read_bytes()[:3000])
    (file.parent / 'foreign.mcap').write_text('hello')
    assert run(file, file.parent / 'foreign.mcap', '--info') == 1
    assert 'foreign.mcap is not an MCAP file' in capsys.readouterr().err
    assert run(part, '--info') == 0


def test_the_robot_by_name(file, capsys):
    assert run(file, '--info', '--robot', 'sim_arm') == 0
    assert 'outcome FAILURE' in capsys.readouterr().out
    for missing in ('nonesuch', 'some/where.yaml'):
        assert run(file, '--info', '--robot', missing) == 1
        error = capsys.readouterr().err
        assert error.startswith('error: robot file')
        assert 'does not exist' in error


def test_reading_through_and_wrong_arguments(file, capsys):
    assert run(file, '--no-publish') == 0
    assert run(file, '--no-publish', '--topic', '/nothing') == 1
    assert '/camera/front/image_raw' in capsys.readouterr().err
    assert run(file, '--rate', '0') == 2
    assert run(file.parent / 'none', '--no-publish') == 1


def test_published_with_the_original_spacing(file):
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node('listener', context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    executed: list[Any] = []
    times: list[float] = []  # when each was published, by the clock of that process
    images: list[Any] = []
    commands: list[Any] = []

    def on_executed(message, info):
        executed.append(message)
        times.append(info['source_timestamp'] * 1e-9)

    node.create_subscription(ExecutedCommand, '/gate/executed', on_executed, qos.LOG)
    node.create_subscription(Image, '/camera/front/image_raw', images.append, qos.SENSOR)
    node.create_subscription(JointTrajectory, '/' + SPEC.command.topic, commands.append, qos.LOG)
    process = subprocess.Popen(
        [sys.executable, '-c', SCRIPT, str(file), '--rate', '0.5', '--delay', '5'],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 90
        while process.poll() is None and time.monotonic() < deadline:
            executor.spin_once(timeout_sec=0.02)
        for _ in range(20):
            executor.spin_once(timeout_sec=0.01)
        output, _ = process.communicate(timeout=10)
    finally:
        process.kill()
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown(context=context)
    assert process.returncode == 0, output
    assert len(executed) == STEPS
    assert executed[3].executed[0] == 1.0
    assert convert.seconds(executed[3].header.stamp) == pytest.approx(50.3)
    # one that comes late is made up for
    assert np.median(np.diff(times)) == pytest.approx(0.2, abs=0.06)
    assert times[-1] - times[0] > 1.4
    assert len(images) >= STEPS - 1
    # a recording does not move a robot unless its command topic is named
    assert not commands
    assert 'would move a robot' in output
