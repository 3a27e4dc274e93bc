# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The dashboard's page in headless Chromium, with the real dashboard and gate nodes."""

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
from ros_graph import spinning
from sensor_msgs.msg import Image, JointState
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
# what the front camera sees: red left, blue right
SCENE = np.zeros((64, 64, 3), np.uint8)
SCENE[:, :32], SCENE[:, 32:] = (210, 30, 30), (30, 30, 210)
PIXEL = """([id, x, y]) => {
  const canvas = document.querySelector(`[data-testid="${id}"]`);
  return [...canvas.getContext('2d').getImageData(x, y, 1, 1).data];
}"""
# coloured pixels of the chart: its grid and numbers are grey
INK = """() => {
  const canvas = document.getElementById('chart');
  const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  let count = 0;
  for (let i = 0; i < data.length; i += 4) {
    const [red, green, blue, alpha] = data.slice(i, i + 4);
    if (alpha && Math.max(red, green, blue) - Math.min(red, green, blue) > 60) count++;
  }
  return count;
}"""
TIMEOUT = 30.0


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
        self.create_service(SetBool, 'episode/end', self._end)
        self.create_service(Trigger, 'episode/abort', self._abort)
        self.create_service(LabelEpisode, 'episode/label', self._label)
        self.calls, self.urls, self.epoch, self.seq = [], [], 0, 0
        self.start = time.time()
        self.phase, self.outcome = EpisodeState.RUNNING, EpisodeState.UNKNOWN
        self.create_timer(0.02, self._fast)
        self.create_timer(0.1, self._slow)

    def _on_gate(self, message):
        self.epoch = message.epoch

    def _on_url(self, message):
        self.urls.append(message.data)

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
        self.calls.append(('label', request.outcome))
        self.outcome = request.outcome
        response.success = True
        return response

    def _fast(self):
        for publisher in (self.joints, self.human):
            publisher.publish(convert.joint_state_msg(time.time(), SPEC.joint_names, HOME))

    def _slow(self):
        now = time.time()
        self.seq += 1
        for publisher in self.cameras:
            publisher.publish(convert.image_msg(SCENE, now, 'camera'))
        chunk = convert.ActionChunk(
            now, np.tile(HOME, (8, 1)), SPEC.action_dt, self.seq, self.epoch, names=SPEC.joint_names
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


@pytest.fixture(scope='module')
def robot():
    with spinning(Robot) as node:
        yield node


@pytest.fixture(scope='module')
def gate():
    # a loaded machine must not look like a dead driver: that is the gate's own test
    process = Process('gate', 'joint_timeout_s:=2.0', 'human_timeout_s:=2.0')
    yield process
    process.end()


def wait_for(condition, what):
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, f'{what} within {TIMEOUT:.0f} s'
        time.sleep(0.05)


@pytest.fixture(scope='module')
def dashboard(robot):
    """The dashboard's process, in a list so that a test can replace it."""
    processes = [Process('dashboard', 'port:=0')]
    wait_for(lambda: robot.urls or processes[0].process.poll() is not None, 'an address on dashboard/url')
    assert robot.urls, 'the dashboard ended at its start'
    yield processes
    processes[-1].end()


@pytest.fixture(scope='module')
def browser():
    names = ('chromium', 'chromium-browser', 'google-chrome')
    path = next(filter(None, map(shutil.which, names)), None)
    remedy = None if path else 'no Chromium: apt-get install chromium'
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        remedy = 'no playwright: pip install playwright'
    if remedy:
        if os.environ.get('CI') == 'true':
            pytest.fail(remedy)
        pytest.skip(remedy)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser, robot, gate, dashboard):
    """An open page whose gate is in control by the policy; fails on any error in its console."""
    context = browser.new_context(viewport={'width': 1280, 'height': 800})
    page = context.new_page()
    page.set_default_timeout(TIMEOUT * 1000)
    errors = []
    page.on('pageerror', lambda error: errors.append(str(error)))
    page.on('console', lambda message: errors.append(message.text) if message.type == 'error' else None)
    page.errors = errors
    robot.start, robot.phase, robot.outcome = time.time(), EpisodeState.RUNNING, EpisodeState.UNKNOWN
    robot.calls.clear()
    page.goto(robot.urls[-1])
    page.wait_for_selector('body[data-connected=true]:not([data-mode=NONE])')
    for mode, button in (('STOP', 'clear'), ('FAULT', 'clear'), ('HUMAN', 'release')):
        if page.get_attribute('body', 'data-mode') == mode:
            page.click(f'#{button}')
            page.wait_for_selector(f'body:not([data-mode={mode}])')
    if page.get_attribute('body', 'data-mode') in ('DISARMED', 'HOLD'):
        page.click('#arm')
    page.wait_for_selector('body[data-mode=POLICY]')
    yield page
    context.close()
    assert not errors


def until(page, script, condition):
    """Wait for a value; not page.wait_for_function, whose eval the page's security policy refuses."""
    deadline = time.monotonic() + TIMEOUT
    while not condition(value := page.evaluate(script)):
        assert time.monotonic() < deadline, f'{script} is still {value!r} after {TIMEOUT:.0f} s'
        page.wait_for_timeout(50)


def disabled(page):
    return {b.get_attribute('id') for b in page.query_selector_all('button[data-action]:disabled')}


def test_cameras_and_curves_are_drawn(page):
    for camera in SPEC.cameras:
        page.wait_for_selector(f'#camera-{camera.name}[data-frames]:not(.late)')
        left, right = (page.evaluate(PIXEL, [f'camera-{camera.name}', x, 20]) for x in (10, 54))
        assert left == pytest.approx([210, 30, 30, 255], abs=12)
        assert right == pytest.approx([30, 30, 210, 255], abs=12)
        assert 'Hz' in page.inner_text(f'#camera-{camera.name}')
    page.wait_for_selector('[data-series="critic progress"]')
    until(page, INK, lambda count: count > 20)
    assert page.inner_text('#task') == 'pick up the red cube'
    assert page.inner_text('#phase').upper() == 'RUNNING'
    rows = page.query_selector_all('#nodes li')
    assert {'gate', 'dashboard'} <= {row.get_attribute('data-node') for row in rows}


def test_takeover_and_release_change_who_is_in_control(page):
    before = int(page.inner_text('#interventions'))
    assert {'release', 'arm', 'clear'} <= disabled(page)
    page.click('[data-testid=takeover]')
    page.wait_for_selector('body[data-mode=HUMAN]')
    assert page.inner_text('[data-testid=mode]') == 'HUMAN'
    assert 'person' in page.inner_text('[data-testid=owner]')
    page.wait_for_selector('#takeover:disabled')
    until(page, "() => document.getElementById('interventions').textContent", str(before + 1).__eq__)
    page.wait_for_selector('#legend .span', state='attached')
    page.keyboard.press('r')
    page.wait_for_selector('body[data-mode=POLICY]')


def test_stop_by_button_and_by_space_bar(page):
    page.click('[data-testid=stop]')
    page.wait_for_selector('body[data-mode=STOP]')
    assert page.inner_text('[data-testid=mode]') == 'STOP'
    assert {'takeover', 'release', 'arm'} <= disabled(page)
    page.click('#clear')
    page.wait_for_selector('body[data-mode=DISARMED]')
    page.click('#arm')
    page.wait_for_selector('body[data-mode=POLICY]')
    page.focus('#takeover')  # the space bar must stop, not press the focused button
    page.keyboard.press(' ')
    page.wait_for_selector('body[data-mode=STOP]')


def test_labels_end_the_episode_and_count(page, robot):
    before = int(page.inner_text('#successes'))
    page.click('[data-testid=success]')
    wait_for(lambda: ('end', True) in robot.calls, 'a call of episode/end')
    page.wait_for_selector('#outcome:has-text("SUCCESS")')
    assert int(page.inner_text('#successes')) == before + 1
    page.click('[data-testid=failure]')  # a second thought: the ended episode is labelled again
    wait_for(lambda: ('label', EpisodeState.FAILURE) in robot.calls, 'a call of episode/label')
    page.wait_for_selector('#outcome:has-text("FAILURE")')
    robot.start, robot.phase, robot.outcome = time.time(), EpisodeState.RUNNING, EpisodeState.UNKNOWN
    page.wait_for_selector('#phase:has-text("RUNNING")')
    page.keyboard.press('d')
    wait_for(lambda: ('abort', None) in robot.calls, 'a call of episode/abort')


def test_the_page_fits_a_phone(page):
    page.set_viewport_size({'width': 390, 'height': 844})
    assert page.evaluate('document.documentElement.scrollWidth') <= 390
    stop = page.query_selector('#stop').bounding_box()
    assert stop['y'] + stop['height'] <= 844, 'stop must be on the screen without scrolling'
    assert stop['height'] >= 44


def test_the_page_survives_a_restart_of_the_node(page, robot, dashboard):
    port = int(robot.urls[-1].rsplit(':', 1)[1])
    assert dashboard[-1].end() == 0
    page.wait_for_selector('body[data-connected=false]')
    assert page.is_visible('#lost')
    assert page.is_disabled('#takeover')
    dashboard.append(Process('dashboard', f'port:={port}'))
    page.wait_for_selector('body[data-connected=true]')
    assert not page.is_visible('#lost')
    frames = int(page.get_attribute('#camera-front', 'data-frames'))
    until(page, "() => document.getElementById('camera-front').dataset.frames", lambda n: int(n) > frames)
    page.wait_for_selector('body[data-mode=POLICY]')
    # the failed attempts to connect are in the console, and nothing else
    page.errors[:] = [error for error in page.errors if 'WebSocket' not in error]
