# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The recorder as a process of its own, fed by a publisher that plays an episode on a real graph."""

import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rclpy
from apprentice_interfaces.msg import EpisodeState, ExecutedCommand, RewardSample
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String
from std_srvs.srv import Trigger

from apprentice.episodes.files import EpisodeFileError
from apprentice.episodes.join import read_episode
from apprentice.episodes.labels import read_label
from apprentice.episodes.log_reader import LogReader
from apprentice.nodes import convert, qos
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Outcome, Reward, RewardKind

SPEC = RobotSpec.load(share('robots', 'sim_arm.yaml'))
START = 1000.0


class Player:
    """Plays episodes: cameras at 10 Hz, joint states and executed commands at 20 Hz, in its own time."""

    def __init__(self):
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node('player', context=self.context, namespace='robot1')
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        make = self.node.create_publisher
        self.cameras = {c.name: make(Image, c.topic, qos.SENSOR_PUBLISHER) for c in SPEC.cameras}
        self.joints = make(JointState, 'joint_states', qos.SENSOR_PUBLISHER)
        self.executed = make(ExecutedCommand, 'gate/executed', qos.LOG)
        self.rewards = make(RewardSample, 'reward/sample', qos.LOG)
        self.states = make(EpisodeState, 'episode/state', qos.STATE)
        self.poses = make(PoseStamped, 'sim/object_poses', qos.SENSOR_PUBLISHER)
        self.sealed: list[Path] = []
        self.diagnostics: list[dict[str, str]] = []
        self.levels: list[tuple[bytes, str]] = []
        latched = QoSProfile(depth=50, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.node.create_subscription(String, 'recorder/sealed', self._on_sealed, latched)
        self.node.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)

    def _on_sealed(self, message):
        self.sealed.append(Path(message.data))

    def _on_diagnostics(self, message):
        for status in message.status:
            if status.name.endswith('recorder'):
                self.diagnostics.append({value.key: value.value for value in status.values})
                self.levels.append((status.level, status.message))

    def close(self):
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)

    def wait(self, condition, timeout=20.0):
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, 'timed out'
            self.executor.spin_once(timeout_sec=0.02)

    def wait_for_recorder(self):
        publishers = [
            *self.cameras.values(),
            self.joints,
            self.executed,
            self.rewards,
            self.states,
            self.poses,
        ]
        self.wait(lambda: all(p.get_subscription_count() for p in publishers) and self.levels)

    def state(self, phase, episode_id, start, end=0.0, outcome=0):
        message = EpisodeState(
            session_id='s1', episode_id=episode_id, task='pick up the red cube', seed=3, phase=phase,
            outcome=outcome, end_cause=2 if outcome else 0,
        )  # fmt: skip
        message.header.stamp = convert.stamp_of(end or start)
        message.started = convert.stamp_of(start)
        message.ended = convert.stamp_of(end)
        self.states.publish(message)

    def tick(self, i, start):
        """Control tick ``i``, 20 a second of the episode's time."""
        stamp = start + i * 0.05
        if i % 2 == 0:
            for camera in SPEC.cameras:
                image = np.full((64, 64, 3), i % 250, np.uint8)
                self.cameras[camera.name].publish(convert.image_msg(image, stamp, camera.frame_id))
        vector = np.full(SPEC.dim, i, np.float64)
        self.joints.publish(convert.joint_state_msg(stamp, SPEC.joint_names, vector))
        pose = PoseStamped()
        pose.header.stamp = convert.stamp_of(stamp)
        self.poses.publish(pose)
        command = ExecutedCommand(seq=i + 100, source=1, executed=[float(i)] * SPEC.dim)
        command.header.stamp = convert.stamp_of(stamp)
        self.executed.publish(command)

    def play(self, episode_id, start, ticks, pause=0.02, before=4):
        for i in range(-before, ticks + 1):
            if i == 2:  # the news of the start arrives after its first images
                self.state(EpisodeState.RUNNING, episode_id, start)
            self.tick(i, start)
            time.sleep(pause)

    def end(self, episode_id, start, ticks, outcome=1, reward=True):
        end = start + ticks * 0.05
        self.state(EpisodeState.ENDED, episode_id, start, end, outcome)
        if reward:
            sample = Reward(end - 0.1, end, RewardKind.ABS_PROGRESS, 0.75, model='critic')
            self.rewards.publish(convert.reward_msg(sample, episode_id, 'pick up the red cube'))


class Recorder:
    """The recorder node as a child process."""

    def __init__(self, run_dir, **parameters):
        arguments = [f'run_dir:={run_dir}', 'min_free_mb:=0.0']
        arguments += [f'{key}:={value}' for key, value in parameters.items()]
        command = [sys.executable, '-m', 'apprentice.nodes.recorder', '--ros-args', '-r', '__ns:=/robot1']
        for argument in arguments:
            command += ['-p', argument]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        output, _ = self.process.communicate(timeout=20)
        return output


@pytest.fixture
def player():
    player = Player()
    yield player
    player.close()


@pytest.fixture
def start_recorder(tmp_path):
    started = []

    def start(**parameters):
        started.append(Recorder(tmp_path, **parameters))
        return started[-1]

    yield start
    for recorder in started:
        if recorder.process.poll() is None:
            recorder.process.kill()
            recorder.process.communicate()


def test_episodes_are_sealed_joined_and_relabelled(player, start_recorder, tmp_path):
    recorder = start_recorder(linger_s=30.0)
    player.wait_for_recorder()
    player.play('ep1', START, 40)
    player.end('ep1', START, 40)
    player.wait(lambda: player.sealed)  # the reward came: nobody waits for linger_s
    path = player.sealed[0]
    assert path == tmp_path / 'episodes' / 'ep1.mcap'
    episode = read_episode(path, SPEC)
    assert np.allclose(episode.stamps, START + np.arange(20) * 0.1)
    assert episode.images['front'][:, 0, 0, 0].tolist() == list(range(0, 40, 2))
    assert episode.state[:, 0].tolist() == list(range(0, 40, 2))
    assert episode.action[:, 0].tolist() == list(range(1, 41, 2))
    assert (episode.outcome, episode.frames_dropped, episode.seed) == (Outcome.SUCCESS, 0, 3)
    assert [round(reward.value, 2) for reward in episode.rewards] == [0.75]
    reader = LogReader(path)
    assert reader.metadata['robot'] == 'sim_arm'
    assert 'joints:' in reader.metadata['robot_file']
    messages = list(reader.messages())
    assert {m.topic for m in messages} >= {'/robot1/joint_states', '/robot1/sim/object_poses'}
    frames = [m for m in messages if m.name == 'camera/front/image_raw']
    assert all(m.log_time == m.publish_time for m in frames[1:])
    # a person says later that it failed: the sealed file stays, the label lies beside it
    content = path.read_bytes()
    player.end('ep1', START, 40, outcome=int(EpisodeState.FAILURE), reward=False)
    player.wait(lambda: read_label(path) is not None)
    assert path.read_bytes() == content
    assert read_episode(path, SPEC).outcome == Outcome.FAILURE
    # one that begins before the rewards of the one before it have come; nothing of either is lost
    player.play('ep2', START + 10, 10)
    player.end('ep2', START + 10, 10, reward=False)
    player.play('ep3', START + 20, 10)
    player.wait(lambda: len(player.sealed) == 2)
    output = recorder.stop()  # seals what is open
    assert recorder.process.returncode == 0, output
    assert len(read_episode(tmp_path / 'episodes' / 'ep2.mcap', SPEC)) == 5
    last = read_episode(tmp_path / 'episodes' / 'ep3.mcap', SPEC)
    assert (last.outcome, len(last)) == (Outcome.ABORT, 5)
    assert not list(tmp_path.glob('episodes/*.part'))


def test_killed_recorder_loses_at_most_a_second_and_recovers(player, start_recorder, tmp_path):
    recorder = start_recorder()
    player.wait_for_recorder()
    ticks = 100
    player.play('ep1', START, ticks, pause=0.05)  # real time, so that a second is 20 ticks
    recorder.stop(signal.SIGKILL)
    (part,) = tmp_path.glob('episodes/*.part')
    with pytest.raises(EpisodeFileError):
        read_episode(part, SPEC)
    kept = read_episode(part, SPEC, salvage=True)
    # a second, and another one for a busy machine
    assert len(kept) >= ticks / 2 - 20
    assert kept.action[:, 0].tolist() == list(range(1, 2 * len(kept), 2))
    player.levels.clear()
    start_recorder()
    player.wait(lambda: player.sealed)
    assert player.sealed == [tmp_path / 'episodes' / 'ep1.mcap']
    recovered = read_episode(player.sealed[0], SPEC)
    assert (recovered.outcome, len(recovered)) == (Outcome.ABORT, len(kept))


def test_full_disk_is_reported_and_nothing_is_lost(player, start_recorder, tmp_path):
    recorder = start_recorder(linger_s=0.1)
    player.wait_for_recorder()
    pid = recorder.process.pid
    soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (200_000, hard))
    player.play('ep1', START, 40)
    player.end('ep1', START, 40, reward=False)
    player.wait(lambda: player.levels and 'limit is reached: raise it' in player.levels[-1][1])
    assert player.levels[-1][0] == b'\x02'
    assert not player.sealed
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))
    player.wait(lambda: player.sealed)
    assert len(read_episode(player.sealed[0], SPEC)) == 20
    player.wait(lambda: player.levels[-1][0] == b'\x00')
    assert player.diagnostics[-1]['messages lost'] == '0'


def test_flush_service_and_extra_topics(player, start_recorder, tmp_path):
    start_recorder(extra_topics='["ee_pose:geometry_msgs/msg/PoseStamped"]')
    pose = player.node.create_publisher(PoseStamped, 'ee_pose', qos.SENSOR_PUBLISHER)
    player.wait_for_recorder()
    player.wait(lambda: pose.get_subscription_count())
    pose.publish(PoseStamped())
    player.play('ep1', START, 10)
    flush = player.node.create_client(Trigger, 'recorder/flush')
    assert flush.wait_for_service(10.0)
    future = flush.call_async(Trigger.Request())
    player.wait(future.done)
    assert future.result().success
    (part,) = tmp_path.glob('episodes/*.part')
    assert 'ee_pose' in {message.name for message in LogReader(part, salvage=True).messages()}


def test_wrong_robot_file_is_named(start_recorder, tmp_path):
    recorder = start_recorder(robot=tmp_path / 'none.yaml')
    output, _ = recorder.process.communicate(timeout=20)
    assert recorder.process.returncode == 2
    assert 'none.yaml does not exist' in output
