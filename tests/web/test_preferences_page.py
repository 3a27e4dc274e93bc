# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The page of preferences in headless Chromium, on recorded episodes, as `apprentice label` serves it."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest
import rclpy
from label_rig import SPEC, make, record
from ros_graph import spinning
from std_msgs.msg import String

from apprentice.cli.label_panels import PairPanel, VerdictPanel
from apprentice.cli.label_server import LabelServer
from apprentice.episodes.answers import AnswerFile
from apprentice.episodes.audits import AuditFile
from apprentice.episodes.doubts import ending_of
from apprentice.episodes.labels import read_label
from apprentice.episodes.sources import readers_by_name
from apprentice.learning.preference.desk import Desk, DeskConfig
from apprentice.learning.preference.selection import SelectionConfig
from apprentice.nodes import qos
from apprentice.robot.parts import share
from apprentice.robot.types import Outcome

FLAGS = ('--no-sandbox', '--disable-gpu', '--disable-background-networking', '--no-first-run')
SHOTS = os.environ.get('APPRENTICE_SCREENSHOTS', '')


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


class Serving:
    """A served panel, until the end of a test."""

    def __init__(self, panel, work=None):
        self.panel, self.over = panel, False
        self.server = LabelServer(panel, SPEC, 0)
        self.thread = threading.Thread(target=self.server.serve, args=(work, lambda: self.over), daemon=True)
        self.thread.start()

    def end(self):
        self.over = True
        self.thread.join(40)
        assert not self.thread.is_alive()


@pytest.fixture
def folder(tmp_path):
    return record(tmp_path, [make(number) for number in range(8)]) / 'episodes'


@pytest.fixture
def pairs(folder):
    file = AnswerFile(folder / 'preferences.jsonl')
    desk = Desk(file, SPEC.action_dt, None, SelectionConfig(seconds=1.5), DeskConfig(repeat_every=0))
    panel = PairPanel(desk, readers_by_name([folder], SPEC), SPEC, [folder], 'anna')
    serving = Serving(panel, panel.work)
    serving.file = file
    yield serving
    serving.end()


@pytest.fixture
def page(browser):
    context = browser.new_context(viewport={'width': 1280, 'height': 800})
    page = context.new_page()
    page.set_default_timeout(30_000)
    errors = []
    page.on('pageerror', lambda error: errors.append(str(error)))
    page.on('console', lambda message: errors.append(message.text) if message.type == 'error' else None)
    yield page
    context.close()
    assert errors == []


def shot(page, name):
    if SHOTS:
        page.screenshot(path=f'{SHOTS}/{name}.png')


def wait_for(condition, what):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def asked(page):
    page.wait_for_selector('body[data-kind=pair][data-connected=true]')
    return page.get_attribute('body', 'data-id')


def next_pair(page, before):
    page.wait_for_selector(f'body[data-kind=pair]:not([data-id="{before}"])')
    return page.get_attribute('body', 'data-id')


def test_keys_buttons_and_going_back(page, pairs):
    page.goto(pairs.server.url)
    key = asked(page)
    assert page.inner_text('#instruction') == 'pick up the red cube'
    page.wait_for_function(
        "() => [...document.querySelectorAll('figure canvas')].every(c => c.dataset.frame > 3)"
    )
    frames = page.evaluate("() => [...document.querySelectorAll('figure canvas')].map(c => c.dataset.frame)")
    assert len(frames) == 4, 'two cameras on two sides'
    assert len(set(frames)) == 1, 'all clips show the same moment'
    drawn = page.evaluate(
        "() => [...document.querySelector('#left canvas').getContext('2d').getImageData(30, 30, 1, 1).data]"
    )
    assert drawn[0] > 40, 'the picture of the episode is on the canvas'
    shot(page, 'pair')
    given, first = [], key
    for press, choice in (
        ('ArrowLeft', 'left'),
        ('2', 'right'),
        ('ArrowDown', 'equal'),
        ('4', 'cannot tell'),
    ):
        page.keyboard.press(press)
        given.append((key, choice))
        key = next_pair(page, key)
    page.click('[data-testid=answer-equal]')
    given.append((key, 'equal'))
    key = next_pair(page, key)
    page.click('[data-testid=side-right]')
    given.append((key, 'right'))
    after = next_pair(page, key)
    wait_for(lambda: len(pairs.file.read()) == 6, 'six answers in the file')
    assert [(a.pair.pair_id, a.choice) for a in pairs.file.read()] == given
    assert {a.person for a in pairs.file.read()} == {'anna'}

    page.keyboard.press('z')
    page.wait_for_selector(f'body[data-id="{key}"]')
    time.sleep(0.5)  # the node goes on asking the newest pair; the page stays where the person went
    page.keyboard.press('z')
    page.wait_for_selector(f'body[data-id="{given[-2][0]}"]')
    page.keyboard.press('ArrowLeft')
    page.wait_for_selector(f'body[data-id="{after}"]')
    wait_for(
        lambda: dict((a.pair.pair_id, a.choice) for a in pairs.file.read())[given[-2][0]] == 'left',
        'it counts',
    )
    assert len(pairs.file.read()) == 6
    assert '6 answered' in page.inner_text('[data-testid=progress]')
    assert first != after


def test_the_page_goes_on_after_a_reload_and_keeps_the_name(page, pairs):
    page.goto(pairs.server.url)
    key = asked(page)
    page.fill('#person', 'bo')
    page.press('#person', 'Tab')
    page.keyboard.press('ArrowRight')
    after = next_pair(page, key)
    page.reload()
    assert asked(page) == after
    assert page.input_value('#person') == 'bo'
    page.keyboard.press('ArrowLeft')
    wait_for(lambda: len(pairs.file.read()) == 2, 'two answers')
    assert {a.person for a in pairs.file.read()} == {'bo'}


def test_it_fits_a_phone(page, pairs):
    page.set_viewport_size({'width': 390, 'height': 844})
    page.goto(pairs.server.url)
    key = asked(page)
    page.wait_for_function(
        "() => [...document.querySelectorAll('figure canvas')].every(c => c.dataset.frame > 3)"
    )
    shot(page, 'phone')
    assert page.evaluate('document.documentElement.scrollWidth') <= 390
    for name in ('left', 'right', 'equal', 'cannot-tell'):
        box = page.query_selector(f'[data-testid=answer-{name}]').bounding_box()
        assert box['y'] + box['height'] <= 844, f'{name} must be on the screen without scrolling'
        assert box['height'] >= 44
    page.click('[data-testid=answer-left]')
    next_pair(page, key)


def test_what_a_stranger_sends_is_refused(page, pairs):
    page.goto(pairs.server.url)
    key = asked(page)
    page.evaluate(
        """async () => {
      const { connection } = await import('/connection.js');
      window.replies = [];
      connection.on('reply', message => window.replies.push(message.message));
      window.say = (id, answer) => connection.send('answer', { id, answer });
    }"""
    )
    # one after the other: a newer reply replaces one that was not sent yet
    for count, said in enumerate((['never asked', 'left'], [key, 'best'], [3, None]), 1):
        page.evaluate('said => window.say(...said)', said)
        page.wait_for_function('count => window.replies.length === count', arg=count)
    assert page.evaluate('() => window.replies')[1] == "'best' is no answer to this question"
    assert pairs.file.read() == []
    answer = page.request.get(pairs.server.url.replace('/preferences', '/api/strip?id=../x&camera=front'))
    assert answer.status == 400
    answer = page.request.get(
        pairs.server.url.replace('/preferences', '/api/strip?id=none&camera=front&begin=0&end=1&count=4')
    )
    assert answer.status == 404


def test_episodes_are_judged(page, folder):
    endings = [
        (ending_of(path), 'ended as a success automatically') for path in sorted(folder.glob('*.mcap'))[4:7]
    ]
    audits = AuditFile(folder / 'audit.jsonl')
    serving = Serving(VerdictPanel(endings, SPEC, [folder], 'anna', audits))
    page.goto(serving.server.url)
    page.wait_for_selector('body[data-kind=episode]')
    page.wait_for_function(
        "() => [...document.querySelectorAll('#left canvas')].every(c => c.dataset.frame > 3)"
    )
    assert page.is_hidden('#right')
    shot(page, 'episode')
    names = []
    for press in ('ArrowRight', 'ArrowLeft', 'ArrowUp'):
        name = page.get_attribute('body', 'data-id')
        names.append(name)
        page.keyboard.press(press)
        page.wait_for_selector(f'body:not([data-id="{name}"])')
    page.wait_for_selector('#note:has-text("Thank you")')
    assert [(audit.episode, audit.right) for audit in audits.read()] == [(names[0], True), (names[1], False)]
    assert read_label(folder / f'{names[0]}.mcap') == Outcome.SUCCESS
    assert read_label(folder / f'{names[1]}.mcap') == Outcome.FAILURE
    assert read_label(folder / f'{names[2]}.mcap') is None
    assert '50 %' in page.inner_text('[data-testid=progress]')
    serving.end()


def test_the_dashboard_asks_what_the_node_asks(page, tmp_path):
    run = record(tmp_path / 'run', [make(number) for number in range(6)])
    with spinning(lambda context: rclpy.create_node('listener', context=context)) as listener:
        urls = []
        listener.create_subscription(
            String, 'dashboard/url', lambda message: urls.append(message.data), qos.STATE
        )
        options = ['robot:=' + str(share('robots', 'sim_arm.yaml')), f'run_dir:={run}']
        nodes = [
            start('preferences', *options, 'weights:=none', 'seconds:=1.5', 'repeat_every:=0'),
            start('dashboard', *options, 'port:=0'),
        ]
        try:
            wait_for(lambda: urls, 'an address on dashboard/url')
            page.goto(urls[-1])
            page.wait_for_selector('a[href="/preferences"]')
            page.goto(urls[-1] + '/preferences')
            page.fill('#person', 'anna')
            page.press('#person', 'Tab')
            key, given = asked(page), []
            for press, choice in (('ArrowLeft', 'left'), ('ArrowDown', 'equal'), ('3', 'equal')):
                page.keyboard.press(press)
                given.append((key, choice))
                key = next_pair(page, key)
            file = AnswerFile(run / 'episodes' / 'preferences.jsonl')
            wait_for(lambda: len(file.read()) == 3, 'three answers')
            assert [(a.pair.pair_id, a.choice, a.person) for a in file.read()] == [
                (*g, 'anna') for g in given
            ]
            page.wait_for_selector('[data-testid=progress]:has-text("3 answered")')
            assert page.is_visible('#home')
            shot(page, 'dashboard')
            page.goto('about:blank')  # before the server goes, so that the page does not complain
        finally:
            codes = [end(node) for node in nodes]
    assert codes == [0, 0]


def start(node, *parameters):
    options = [part for parameter in parameters for part in ('-p', parameter)]
    command = [
        sys.executable,
        '-c',
        f'from apprentice.nodes.{node} import main; main()',
        '--ros-args',
        *options,
    ]
    return subprocess.Popen(command)


def end(process):
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    return process.wait(30)
