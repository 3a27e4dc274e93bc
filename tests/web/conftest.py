# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A headless Chromium and pages whose every error fails the test."""

import contextlib

import pytest
from dashboard_rig import FLAGS, TIMEOUT, Process, Robot, find_browser, wait_for
from ros_graph import spinning


@pytest.fixture(scope='module')
def browser():
    start, path = find_browser()
    with start() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser):
    """``visit(url, **options of the context)`` opens a page as a person of its own."""
    contexts, pages = [], []

    def open_page(url, **options):
        context = browser.new_context(**{'viewport': {'width': 1280, 'height': 800}, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(TIMEOUT * 1000)
        page.errors = []
        page.on('pageerror', lambda error: page.errors.append(str(error)))
        page.on('console', lambda m: page.errors.append(m.text) if m.type == 'error' else None)
        pages.append(page)
        page.goto(url)
        page.wait_for_selector('body[data-connected=true]:not([data-mode=NONE])')
        return page

    yield open_page
    for context in contexts:
        context.close()
    for page in pages:
        assert not page.errors


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


@pytest.fixture(scope='module')
def run_dir(tmp_path_factory):
    return tmp_path_factory.mktemp('run')


@pytest.fixture(scope='module')
def dashboard(robot, run_dir):
    """The dashboard's process, in a list so that a test can replace it."""
    processes = [Process('dashboard', 'port:=0', f'run_dir:={run_dir}')]
    wait_for(lambda: robot.urls or processes[0].process.poll() is not None, 'an address on dashboard/url')
    assert robot.urls, 'the dashboard ended at its start'
    yield processes
    processes[-1].end()


@pytest.fixture
def page(visit, robot, gate, dashboard):
    """An open page whose gate is in control by the policy."""
    from playwright.sync_api import TimeoutError as PlaywrightTimeout

    robot.begin()
    page = visit(robot.urls[-1])
    page.wait_for_selector('#holder:not([data-who=other])')  # the page of the test before is forgotten
    buttons = {'STOP': 'clear', 'FAULT': 'clear', 'HUMAN': 'release', 'DISARMED': 'arm', 'HOLD': 'arm'}
    for _ in range(int(TIMEOUT / 3)):  # a gate that has not heard the robot yet refuses to arm
        mode = page.get_attribute('body', 'data-mode')
        with contextlib.suppress(PlaywrightTimeout):
            if mode in buttons:
                page.click(f'#{buttons[mode]}', timeout=3000)
            page.wait_for_selector('body[data-mode=POLICY]', timeout=3000)
            return page
    page.wait_for_selector('body[data-mode=POLICY]')
    return page
