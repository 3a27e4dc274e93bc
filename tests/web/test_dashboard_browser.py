# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The dashboard's page in headless Chromium, with the real dashboard and gate nodes."""

import pytest
from apprentice_interfaces.msg import EpisodeState
from dashboard_rig import SPEC, Process, until, wait_for

pytestmark = pytest.mark.xdist_group('dashboard_browser')

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


def disabled(page):
    return {b.get_attribute('id') for b in page.query_selector_all('button[data-action]:disabled')}


def test_cameras_and_curves_are_drawn(page):
    for camera in SPEC.cameras:
        page.wait_for_selector(f'#camera-{camera.name}[data-frames]:not(.late)')
        left, right = (page.evaluate(PIXEL, [f'camera-{camera.name}', x, 20]) for x in (10, 54))
        assert left == pytest.approx([210, 30, 30, 255], abs=12)
        assert right == pytest.approx([30, 30, 210, 255], abs=12)
        page.wait_for_selector(f'#camera-{camera.name} p:has-text("Hz")')
    page.wait_for_selector('[data-series="critic progress"]')
    until(page, INK, lambda count: count > 20)
    assert page.inner_text('#task') == 'pick up the red cube'
    assert page.inner_text('#phase').upper() == 'RUNNING'
    page.click('#tab-health')
    for node in ('gate', 'dashboard'):
        page.wait_for_selector(f'#nodes li[data-node={node}]')


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
    page.wait_for_selector('#outcome[data-outcome=SUCCESS]')
    assert int(page.inner_text('#successes')) == before + 1
    page.click('[data-testid=failure]')  # a second thought: the ended episode is labelled again
    wait_for(lambda: ('label', 'e1', EpisodeState.FAILURE) in robot.calls, 'a call of episode/label')
    page.wait_for_selector('#outcome[data-outcome=FAILURE]')
    robot.begin()
    page.wait_for_selector('#phase:has-text("running")')
    page.keyboard.press('d')
    wait_for(lambda: ('abort', None) in robot.calls, 'a call of episode/abort')


@pytest.mark.parametrize('tab', ['live', 'recordings', 'health'])
def test_the_page_fits_a_phone(page, tab):
    page.set_viewport_size({'width': 390, 'height': 844})
    page.click(f'#tab-{tab}')
    assert page.evaluate('document.documentElement.scrollWidth') <= 390
    stop = page.query_selector('#stop').bounding_box()
    assert stop['y'] + stop['height'] <= 844, 'stop must be on the screen without scrolling'
    assert stop['height'] >= 44
    page.evaluate('scrollTo(0, document.body.scrollHeight)')
    assert page.query_selector('#stop').bounding_box() == stop, 'stop must stay where it is'


def test_a_stale_camera_is_named_and_the_other_is_not(page, robot):
    page.wait_for_selector('#camera-wrist:not(.late)')
    robot.silent.add(1)
    page.wait_for_selector('#camera-wrist.late .stale:has-text("wrist is stale")')
    assert page.is_hidden('#camera-front .stale')
    assert 'no frame for' in page.inner_text('#camera-wrist p')


def test_every_control_is_reached_by_keyboard(page):
    """Tab visits every enabled button in the order of the page, and shows where it is."""
    wanted = page.evaluate(
        "() => [...document.querySelectorAll('button, input, select')]"
        '.filter(e => !e.disabled && e.offsetParent !== null && e.tabIndex >= 0).map(e => e.id)'
    )
    seen = []
    for _ in range(len(wanted) + 5):
        page.keyboard.press('Tab')
        seen.append(page.evaluate('() => document.activeElement.id'))
    assert {'stop', 'takeover', 'take', 'instruction', 'tab-live'} <= set(wanted)
    assert set(wanted) - {''} <= set(seen)
    page.focus('#tab-live')
    page.keyboard.press('ArrowRight')
    assert page.is_visible('#view-recordings')
    page.focus('#instruction') if page.is_visible('#instruction') else page.click('#tab-live')
    page.fill('#instruction', 'pick up the space bar')
    page.focus('#instruction')
    page.keyboard.press(' ')
    assert page.get_attribute('body', 'data-mode') != 'STOP', 'a space in the instruction is no stop'


def test_light_and_dark_follow_the_system_and_the_button(page):
    back = '() => getComputedStyle(document.body).backgroundColor'
    page.emulate_media(color_scheme='dark')
    dark = page.evaluate(back)
    page.emulate_media(color_scheme='light')
    light = page.evaluate(back)
    assert dark != light
    page.click('#theme')
    assert page.evaluate(back) == dark
    page.reload()
    assert page.evaluate(back) == dark, 'the choice is remembered'


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
    refused = ('WebSocket', 'ERR_CONNECTION_REFUSED')
    page.errors[:] = [error for error in page.errors if not any(word in error for word in refused)]
