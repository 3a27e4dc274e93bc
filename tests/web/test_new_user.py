# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A new user with nothing but the page: the whole graph as users start it, and every button on it."""

import contextlib
import os
import signal
import subprocess
import sys
import urllib.request

import numpy as np
import pytest
from dashboard_rig import SPEC, until, wait_for
from rclpy.node import Node
from ros_graph import spinning
from sensor_msgs.msg import JointState

from apprentice.cli.demo import free_port
from apprentice.episodes.join import read_episode
from apprentice.episodes.labels import iter_sealed
from apprentice.nodes import convert, qos
from apprentice.robot.types import Outcome, Source

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group('new_user'), pytest.mark.timeout(400)]
PATIENCE = 90.0  # two busy cores
LIVE = '#camera-front[data-frames]:not(.late)'


class Joints(Node):
    """Where the robot is."""

    def __init__(self, context):
        super().__init__('watcher', context=context)
        self.position = None
        self.create_subscription(JointState, SPEC.joint_states_topic, self._on_joints, qos.SENSOR)

    def _on_joints(self, message):
        self.position = convert.joint_vector(message, SPEC.joint_names)


@pytest.fixture(scope='module')
def graph(tmp_path_factory):
    """Simulator, gate, policy, teleop, recorder, rewards, learner and dashboard; (address, run folder)."""
    folder = tmp_path_factory.mktemp('user')
    port = free_port(0)
    arguments = {
        'run_dir': folder / 'run',
        'person': '',
        'lockstep': 'true',  # simulated time waits: a busy machine is slow, not late
        'dashboard_port': port,
        'max_duration_s': '120.0',
        'success_topic': '',  # in lock-step a good policy is through before the person has looked
        'updates_per_episode': '2',
    }
    command = [sys.executable, '-m', 'apprentice.cli.main', 'up', 'launch/sim.launch.yaml']
    command += [f'{name}:={value}' for name, value in arguments.items()]
    with (folder / 'output.txt').open('wb') as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    yield f'http://127.0.0.1:{port}', folder / 'run'
    os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(40)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope='module')
def joints(graph):
    with spinning(Joints) as node:
        yield node


def mode(page, wanted, timeout=PATIENCE):
    page.wait_for_selector(f'body[data-mode={wanted}]', timeout=1000 * timeout)


def now(page):
    """(mode, phase) as the page shows them."""
    return page.get_attribute('body', 'data-mode'), page.inner_text('#phase').lower()


def refusals(page):
    """What the page says went wrong; it says so for some seconds."""
    return page.locator('.toast.bad').all_inner_texts()


def begin(page, task=''):
    """Start an episode and wait until the policy drives; a machine too busy for that is started again."""
    told = []
    begun = lambda: now(page)[1] not in ('idle', 'ended')  # noqa: E731
    for _ in range(10):
        if not begun():
            page.wait_for_selector('#start:enabled', timeout=1000 * PATIENCE)
            page.fill('#instruction', task)
            page.click('#start')
        # a press that was answered too late may be served yet
        wait_for(lambda: begun() or refusals(page), 'the beginning', PATIENCE)
        told += refusals(page)
        if begun():
            wait_for(lambda: now(page) == ('POLICY', 'running') or not begun(), f'running {told}', PATIENCE)
        if now(page) == ('POLICY', 'running'):
            return
        page.wait_for_timeout(1000)
    pytest.fail(f'no episode came to run: {told}')


def drive(page, joints):
    """Hold the stick and move it; returns how far the arm went [rad], 0 where the gate did not follow."""
    box = page.query_selector('#stick-move').bounding_box()
    x, y = box['x'] + box['width'] / 2, box['y'] + box['height'] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    try:
        wait_for(lambda: now(page)[0] == 'HUMAN' or now(page)[1] != 'running', 'HUMAN')
        before, moved, far = joints.position.copy(), 0.0, box['width'] / 3
        # every way round: wherever the policy left the arm, it can go somewhere
        for dx, dy in ((far, 0), (0, -far), (-far, 0), (0, far)):
            page.mouse.move(x + dx, y + dy, steps=3)
            page.wait_for_timeout(400)
            moved = max(moved, float(np.abs(joints.position - before).max()))
        return moved if now(page)[0] == 'HUMAN' else 0.0
    finally:
        page.mouse.up()


def helped_episode(page, joints):
    """An episode in which the person drove and the policy went on afterwards, labelled a success."""
    for _ in range(6):
        begin(page, 'pick up the red cube')
        assert page.inner_text('#task') == 'pick up the red cube'
        wait_for(lambda: page.query_selector(LIVE) or now(page)[1] != 'running', 'pictures')
        if drive(page, joints) > 0.05:
            # letting go gives it back, and the policy plans afresh
            wait_for(lambda: now(page)[0] in ('POLICY', 'HOLD') or now(page)[1] == 'ended', 'the way back')
            if now(page) == ('POLICY', 'running'):
                page.click('#success')
                page.wait_for_selector('#outcome[data-outcome=SUCCESS]')
                return
        if now(page)[1] == 'running':
            page.click('#discard')
    pytest.fail('the stick never drove the arm to the end of an episode')


def open_page(visit, url):
    def answers():
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status == 200

    wait_for(answers, 'the page', PATIENCE)
    return visit(url)


def test_start_take_over_label_and_see_it_learned(graph, joints, visit):
    url, run_dir = graph
    page = open_page(visit, url)
    wait_for(lambda: joints.position is not None, 'joint states', PATIENCE)
    page.wait_for_selector('#learner-phase:has-text("waiting")', timeout=1000 * PATIENCE)
    learned = int(page.inner_text('#learned'))
    for _ in range(2):  # the learner begins with the second episode
        helped_episode(page, joints)
    assert int(page.inner_text('#interventions')) >= 2
    script = "() => Number(document.getElementById('learned').textContent)"
    until(page, script, lambda count: count >= learned + 2, PATIENCE)
    page.wait_for_selector('#learner-note:has-text("steps by people")', timeout=1000 * PATIENCE)
    # nobody succeeded without help, and the page does not claim it
    assert page.inner_text('#count-learning').startswith('0 of ')

    def helped():
        episodes = [(path, read_episode(path, SPEC)) for path in iter_sealed(run_dir / 'episodes')]
        found = [path for path, episode in episodes if episode.outcome is Outcome.SUCCESS]
        driven = [(episode.source == int(Source.HUMAN)).sum() for _, episode in episodes]
        return found if len(found) == 2 and max(driven) >= 5 else None

    recorded = wait_for(helped, 'two logs that say who drove', PATIENCE)

    page.click('#tab-recordings')
    page.click(f'#recordings button[data-episode="{recorded[-1].stem}"]')
    page.wait_for_selector('#bands i', state='attached')
    page.wait_for_selector('#player-cameras img[data-time]')
    page.click('[data-testid=relabel-failure]')
    page.wait_for_selector('#player-outcome[data-outcome=FAILURE]', timeout=1000 * PATIENCE)
    assert read_episode(recorded[-1], SPEC).outcome is Outcome.FAILURE


def test_every_other_button_on_the_whole_graph(graph, joints, visit):
    url, _ = graph
    page = open_page(visit, url)
    page.wait_for_selector('#holder:not([data-who=other])')
    begin(page)
    page.keyboard.press(' ')
    mode(page, 'STOP')
    page.click('#clear')
    mode(page, 'DISARMED')
    wait_for(lambda: now(page)[1] == 'ended', 'a stop ends the episode', PATIENCE)
    page.click('#arm')
    page.wait_for_selector('body:not([data-mode=DISARMED])')
    begin(page)
    page.click('#takeover')  # nobody holds a stick: the gate must notice
    mode(page, 'HOLD')
    wait_for(lambda: now(page)[1] == 'ended', 'holding ends the episode', PATIENCE)
    begin(page)
    page.click('#discard')
    page.wait_for_selector('#outcome[data-outcome=ABORT]')
    begin(page)
    page.click('#failure')
    page.wait_for_selector('#outcome[data-outcome=FAILURE]')
    page.click('#learner-pause')
    page.wait_for_selector('#learner-phase:has-text("paused")', timeout=1000 * PATIENCE)
    page.click('#learner-go-on')
    page.wait_for_selector('#learner-phase:not(:has-text("paused"))', timeout=1000 * PATIENCE)
    page.click('#tab-health')
    nodes = {row.get_attribute('data-node') for row in page.query_selector_all('#nodes li')}
    assert {'gate', 'episode', 'policy', 'recorder', 'learner', 'teleop', 'dashboard', 'sim_robot'} <= nodes
    page.click('#nodes li[data-node=recorder] button')
    page.wait_for_selector('#nodes li[data-node=recorder] dl >> text=free MB')
    page.wait_for_selector('#rewards li', timeout=1000 * PATIENCE)
