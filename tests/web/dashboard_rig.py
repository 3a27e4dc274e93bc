# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What tests of the dashboard's page share: a stand-in robot, nodes as processes, and waiting."""

import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from apprentice_interfaces.msg import ActionChunk, ControlState, EpisodeState, RewardSample
from apprentice_interfaces.srv import LabelEpisode
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState, Joy
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger

from apprentice.nodes import convert, qos
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Reward, RewardKind

ROBOT = str(share('robots', 'sim_arm.yaml'))
SPEC = RobotSpec.load(ROBOT)
HOME = SPEC.vector('home')
FLAGS = (
    '--no-sandbox',
    '--disable-gpu',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
    '--no-first-run',
    '--disable-quic',
)
# what the cameras see: red left, blue right
SCENE = np.zeros((64, 64, 3), np.uint8)
SCENE[:, :32], SCENE[:, 32:] = (210, 30, 30), (30, 30, 210)
TIMEOUT = 60.0  # two busy cores


class Robot(Node):
    """Cameras, joint states, a policy that stays, a person who holds, and an episode with its services."""

    def __init__(self, context):
        super().__init__('robot', context=context)
        self.cameras = [self.create_publisher(Image, c.topic, qos.SENSOR_PUBLISHER) for c in SPEC.cameras]
        self.joints = self.create_publisher(JointState, SPEC.joint_states_topic, qos.SENSOR_PUBLISHER)
        self.human = self.create_publisher(JointState, 'human/command', qos.SENSOR_PUBLISHER)
        self.chunks = self.create_publisher(ActionChunk, 'policy/chunk', qos.COMMAND)
        self.episode = self.create_publisher(EpisodeState, 'episode/state', qos.STATE)
        self.rewards = self.create_publisher(RewardSample, 'reward/sample', qos.LOG)
        self.create_subscription(ControlState, 'gate/state', self._on_gate, qos.STATE)
        self.create_subscription(String, 'dashboard/url', self._on_url, qos.STATE)
        self.create_subscription(Joy, 'teleop/joy', self._on_joy, qos.SENSOR)
        self.create_service(SetBool, 'episode/end', self._end)
        self.create_service(Trigger, 'episode/abort', self._abort)
        self.create_service(LabelEpisode, 'episode/label', self._label)
        self.calls, self.urls, self.epoch, self.seq = [], [], 0, 0
        self.joys = []  # (arrival, message)
        self.start = time.time()
        self.phase, self.outcome = EpisodeState.RUNNING, EpisodeState.UNKNOWN
        self.silent = set()  # indices of cameras that died
        self.create_timer(0.02, self._fast)
        self.create_timer(0.1, self._slow)

    def begin(self):
        """A new episode, as if nothing had been pressed."""
        self.start, self.phase, self.outcome = time.time(), EpisodeState.RUNNING, EpisodeState.UNKNOWN
        self.calls.clear()
        self.joys.clear()
        self.silent.clear()

    def _on_gate(self, message):
        self.epoch = message.epoch

    def _on_url(self, message):
        self.urls.append(message.data)

    def _on_joy(self, message):
        self.joys.append((time.monotonic(), message))

    def _end(self, request, response):
        self.calls.append(('end', request.data))
        self.phase = EpisodeState.ENDED
        self.outcome = EpisodeState.SUCCESS if request.data else EpisodeState.FAILURE
        response.success = True
        return response

    def _abort(self, request, response):
        self.calls.append(('abort', None))
        response.success = True
        return response

    def _label(self, request, response):
        self.calls.append(('label', request.episode_id, request.outcome))
        if request.episode_id == 'e1':
            self.outcome = request.outcome
        response.success = True
        return response

    def _fast(self):
        for publisher in (self.joints, self.human):
            publisher.publish(convert.joint_state_msg(time.time(), SPEC.joint_names, HOME))

    def _slow(self):
        now = time.time()
        self.seq += 1
        for index, publisher in enumerate(self.cameras):
            if index not in self.silent:
                publisher.publish(convert.image_msg(SCENE, now, 'camera'))
        # so many rows that the policy outlasts a pause of a busy machine
        chunk = convert.ActionChunk(
            now, np.tile(HOME, (100, 1)), SPEC.action_dt, self.seq, self.epoch, names=SPEC.joint_names
        )
        self.chunks.publish(convert.chunk_msg(chunk, SPEC.base_frame))
        self.episode.publish(
            EpisodeState(
                episode_id='e1',
                task='pick up the red cube',
                phase=self.phase,
                outcome=self.outcome,
                started=convert.stamp_of(self.start),
                elapsed_s=now - self.start,
            )
        )
        progress = min(1.0, (now - self.start) / 20)
        reward = Reward(now - 0.1, now, RewardKind.PROGRESS_DELTA, 0.1, progress, model='critic')
        self.rewards.publish(convert.reward_msg(reward, 'e1', 'pick up the red cube'))


class Process:
    """A node in a process of its own."""

    def __init__(self, node, *parameters):
        options = [part for parameter in (f'robot:={ROBOT}', *parameters) for part in ('-p', parameter)]
        self.process = subprocess.Popen(
            [sys.executable, '-m', f'apprentice.nodes.{node}', '--ros-args', *options]
        )

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(20)


def wait_for(condition, what, timeout=TIMEOUT):
    """Wait until a condition holds; fails the test with ``what`` was expected."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, f'{what} within {timeout:.0f} s'
        time.sleep(0.05)
    return value


def until(page, script, condition, timeout=TIMEOUT):
    """Wait for a value; not page.wait_for_function, whose eval the page's security policy refuses."""
    deadline = time.monotonic() + timeout
    while not condition(value := page.evaluate(script)):
        assert time.monotonic() < deadline, f'{script} is still {value!r} after {timeout:.0f} s'
        page.wait_for_timeout(50)
    return value


def held(robot):
    """Of every message that the robot heard: whether it was held on."""
    return [message.buttons[0] for _, message in robot.joys]


def streams(robot, count=4):
    """Whether somebody holds on, for ``count`` messages by now."""
    return held(robot)[-count:] == [1] * count


def hold_until(page, press, condition, what, let_go=None):
    """Press, and press anew whenever the page has let go: a pause of a busy machine is a lost connection."""

    def looked():
        if page.get_attribute('#drive', 'data-held') != 'true':
            (let_go or page.mouse.up)()
            press()
        return condition()

    return wait_for(looked, what)


def middle(page, name):
    """Where something is on the page: x and y of its middle, and its width."""
    box = page.query_selector(f'#{name}').bounding_box()
    return box['x'] + box['width'] / 2, box['y'] + box['height'] / 2, box['width']


def find_browser():
    """(playwright's sync_playwright, path of Chromium); skips with the remedy, fails in CI."""
    names = ('chromium', 'chromium-browser', 'google-chrome')
    path = next(filter(None, map(shutil.which, names)), None)
    remedy, start = None if path else 'no Chromium: apt-get install chromium', None
    try:
        from playwright.sync_api import sync_playwright as start
    except ImportError:
        remedy = 'no playwright: pip install playwright'
    if remedy:
        if os.environ.get('CI') == 'true':
            pytest.fail(remedy)
        pytest.skip(remedy)
    return start, path
