# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Several people at the page, driving from it, and the recordings tab; real dashboard and gate nodes."""

import time

import pytest
from apprentice_interfaces.msg import EpisodeState
from dashboard_rig import SPEC, Process, held, hold_until, middle, streams, until, wait_for

from apprentice.episodes.episode_writer import write_episode
from apprentice.robot.types import Episode, Outcome, Reward, RewardKind

np = pytest.importorskip('numpy')
pytestmark = pytest.mark.xdist_group('dashboard_people')


def take(page):
    """Have the controls; arming for the test may have taken them already."""
    page.wait_for_selector('#holder:not([data-who=other])')
    if page.get_attribute('#holder', 'data-who') == 'nobody':
        page.click('#take')
    page.wait_for_selector('#holder[data-who=me]')


def test_one_person_has_the_controls_and_everybody_may_stop(page, visit, robot):
    other = visit(robot.urls[-1])
    for who, name in ((page, 'Anna'), (other, 'Ben')):
        who.fill('#person', name)
        who.press('#person', 'Enter')
    take(page)
    other.wait_for_selector('#holder:has-text("Anna has the controls")')
    page.wait_for_selector('#holder:has-text("you have the controls")')
    other.wait_for_selector('#takeover:disabled')
    # the sticks say so too, and drive nothing
    other.wait_for_selector('#drive-note:has-text("Anna has the controls")')
    assert other.get_attribute('#stick-move', 'aria-disabled') == 'true'
    assert (
        float(other.evaluate("() => getComputedStyle(document.getElementById('stick-move')).opacity")) < 0.5
    )
    assert other.is_disabled('#grip-open')
    x, y, _ = middle(other, 'stick-move')
    other.mouse.move(x, y)
    other.mouse.down()
    time.sleep(0.3)
    other.mouse.up()
    assert not robot.joys
    assert page.get_attribute('#stick-move', 'aria-disabled') == 'false'
    assert other.is_hidden('#take')
    assert other.is_enabled('#stop')
    other.keyboard.press(' ')  # no controls, and yet
    page.wait_for_selector('body[data-mode=STOP]')
    page.click('#clear')
    page.wait_for_selector('body[data-mode=DISARMED]')
    page.click('#give')
    other.wait_for_selector('#holder:has-text("controls are free")')
    other.click('#arm')  # free controls are taken by using them
    page.wait_for_selector('#holder:has-text("Ben has the controls")')
    other.wait_for_selector('body[data-mode=POLICY]')


def test_stop_is_on_the_page_of_preferences_too(page, visit, robot):
    asking = visit(f'{robot.urls[-1]}/preferences')
    asking.click('#stop')
    page.wait_for_selector('body[data-mode=STOP]')
    asking.wait_for_selector('.toast:has-text("stop: stopped")')


def test_a_reload_keeps_the_controls_and_a_closed_page_frees_them(page, visit, robot):
    other = visit(robot.urls[-1])
    take(page)
    other.wait_for_selector('#holder[data-who=other]')
    page.reload()
    page.wait_for_selector('#holder[data-who=me]')
    page.close()
    take(other)


def test_the_stick_streams_while_held_and_only_then(page, robot):
    x, y, width = middle(page, 'stick-move')
    time.sleep(0.3)
    assert not robot.joys, 'nothing is published before somebody holds on'

    def press():
        page.mouse.move(x, y)
        page.mouse.down()

    def push():
        page.mouse.move(x + width / 6, y - width / 3, steps=4)

    def press_and_push():
        press()
        push()

    def forward():
        return robot.joys[-1][1] if robot.joys[-1][1].axes[0] > 0.8 else None

    hold_until(page, press, lambda: streams(robot), 'a stream')
    assert robot.joys[-1][1].axes[0] == 0.0, 'pressing alone moves nothing'
    push()
    message = hold_until(page, press_and_push, forward, 'forward')
    assert message.axes[1] == pytest.approx(-0.45, abs=0.1), 'right is -y'
    assert message.header.frame_id.startswith('page ')
    robot.joys.clear()
    hold_until(page, press_and_push, lambda: streams(robot, 41), 'forty more')
    times = [arrival for arrival, _ in robot.joys[-41:]]
    assert times[-1] - times[0] > 1.2, 'about 20 a second, and on a busy machine fewer'
    page.mouse.up()
    wait_for(lambda: not held(robot)[-1], 'the release')
    assert list(robot.joys[-1][1].axes) == [0.0] * 6
    time.sleep(0.3)
    count = len(robot.joys)
    time.sleep(0.5)
    assert len(robot.joys) == count, 'silence after letting go'


@pytest.mark.parametrize('how', ['blur', 'stop', 'closed', 'hidden'])
def test_whatever_ends_the_hold_ends_the_stream(page, robot, how):
    x, y, _ = middle(page, 'stick-turn')
    page.mouse.move(x, y)
    hold_until(page, page.mouse.down, lambda: streams(robot), 'a stream')
    if how == 'blur':
        page.evaluate("() => window.dispatchEvent(new Event('blur'))")
    elif how == 'stop':
        page.evaluate("() => document.getElementById('stop').click()")
    elif how == 'closed':
        page.close()
    else:
        page.evaluate(
            "() => { Object.defineProperty(document, 'hidden', { value: true, configurable: true });"
            "document.dispatchEvent(new Event('visibilitychange')); }"
        )
    wait_for(lambda: not held(robot)[-1], 'the release')
    time.sleep(0.3)
    count = len(robot.joys)
    time.sleep(0.4)
    assert len(robot.joys) == count, 'the stream went on'


def test_two_fingers_drive_two_sticks(browser, visit, page, robot):
    take(page)
    page.click('#give')
    phone = visit(robot.urls[-1], viewport={'width': 390, 'height': 844}, has_touch=True, is_mobile=True)
    session = phone.context.new_cdp_session(phone)
    phone.evaluate("() => document.getElementById('drive').scrollIntoView({ block: 'center' })")

    def sticks():
        return middle(phone, 'stick-move'), middle(phone, 'stick-turn')

    def rest():
        before = sticks()
        time.sleep(0.5)
        return before == sticks()

    wait_for(rest, 'a page at rest')  # charts and pictures that arrive push the sticks down
    (ax, ay, aw), (bx, by, bw) = sticks()

    def touch(kind, *points):
        touches = [{'x': x, 'y': y, 'id': number} for number, (x, y) in enumerate(points)]
        session.send('Input.dispatchTouchEvent', {'type': kind, 'touchPoints': touches})

    def press():
        touch('touchStart', (ax, ay), (bx, by))
        touch('touchMove', (ax, ay - aw / 3), (bx - bw / 3, by))

    def both():
        return next((m for _, m in robot.joys if m.axes[0] > 0.8 and m.axes[5] > 0.8), None)

    press()  # fingers that do not touch cannot be lifted
    message = hold_until(phone, press, both, 'both sticks', let_go=lambda: touch('touchEnd'))
    assert message.buttons[0] == 1
    touch('touchEnd')
    wait_for(lambda: not held(robot)[-1], 'the release')


def test_keys_drive_only_while_h_is_held(page, robot):
    page.keyboard.down('ArrowUp')
    time.sleep(0.3)
    assert not robot.joys, 'an arrow alone drives nothing'
    page.keyboard.up('ArrowUp')

    def press():
        for key in ('h', 'ArrowLeft', 'o'):
            page.keyboard.down(key)

    def let_go():
        for key in ('o', 'ArrowLeft', 'h'):
            page.keyboard.up(key)

    def opening():
        return next((m for _, m in robot.joys if list(m.buttons) == [1, 0, 0, 1, 0]), None)

    message = hold_until(page, press, opening, 'held, and opening', let_go)
    assert list(message.axes[:3]) == [0.0, 1.0, 0.0]
    page.keyboard.up('h')
    wait_for(lambda: not held(robot)[-1], 'the release')


def hold_h(page, robot):
    down, up = (lambda: page.keyboard.down('h')), (lambda: page.keyboard.up('h'))
    hold_until(page, down, lambda: streams(robot), 'held', let_go=up)


def test_letting_go_of_h_counts_with_a_modifier_held(page, robot):
    hold_h(page, robot)
    page.keyboard.down('Control')
    page.keyboard.up('h')
    wait_for(lambda: not held(robot)[-1], 'the release')
    page.keyboard.up('Control')


def test_meta_lets_go_because_macos_says_nothing_of_other_keys_while_it_is_held(page, robot):
    hold_h(page, robot)
    page.keyboard.down('Meta')
    wait_for(lambda: not held(robot)[-1], 'the release')
    page.keyboard.up('Meta')
    time.sleep(0.3)
    assert not held(robot)[-1]
    page.keyboard.up('h')


STALL = """() => {
  const send = WebSocket.prototype.send;
  let kept = null;
  window.stall = () => { kept = []; };
  window.flow = () => {
    const all = kept;
    kept = null;
    for (const [socket, text] of all) send.call(socket, text);
  };
  WebSocket.prototype.send = function (text) {
    if (kept) kept.push([this, text]); else send.call(this, text);
  };
}"""


def test_a_stalled_connection_lets_go_and_the_page_waits_for_a_new_hold(page, robot):
    """What the page sends is kept for a second, as a stalled network does, and then comes all at once."""
    page.evaluate(STALL)
    x, y, _ = middle(page, 'stick-move')
    page.mouse.move(x, y)
    hold_until(page, page.mouse.down, lambda: streams(robot), 'a stream')
    page.evaluate('() => window.stall()')
    wait_for(lambda: not held(robot)[-1], 'let go by the node')
    time.sleep(0.5)
    count = len(robot.joys)
    page.evaluate('() => window.flow()')
    page.wait_for_selector('.toast:has-text("let go, then hold again")')
    page.wait_for_selector('#drive[data-held=false]')
    time.sleep(0.3)
    assert not any(held(robot)[count:]), 'old messages drove'
    hold_until(page, page.mouse.down, lambda: held(robot)[-1], 'a new hold')
    page.mouse.up()


@pytest.fixture(scope='module')
def recorded(run_dir):
    """Two episodes in the run folder of the dashboard: one helped, one not."""
    folder = run_dir / 'episodes'
    folder.mkdir()
    steps, episodes = 30, []
    for number, outcome in enumerate((Outcome.SUCCESS, Outcome.FAILURE)):
        source = np.ones(steps, np.uint8)
        if number == 0:
            source[10:20] = 2
        shade = np.linspace(0, 240, steps).astype(np.uint8)
        images = {c.name: np.tile(shade[:, None, None, None], (1, 64, 64, 3)) for c in SPEC.cameras}
        zeros = np.zeros((steps, SPEC.dim), np.float32)
        times = 100.0 + np.arange(steps) * SPEC.action_dt
        rewards = [
            Reward(t, t, RewardKind.ABS_PROGRESS, i / steps, i / steps, model='critic')
            for i, t in enumerate(times)
        ]
        episode = Episode(
            f's-{number}',
            'pick up the red cube',
            0,
            outcome,
            1,
            False,
            times,
            images,
            zeros,
            zeros,
            source,
            np.where(source == 2, 1, 0).astype(np.int64),
            rewards,
            'sim_arm',
            0,
            0,
        )
        write_episode(folder / f's-{number}.mcap', episode, SPEC)
        episodes.append(episode)
    return episodes


BRIGHTNESS = """() => {
  const image = document.querySelector('#player-cameras img'), canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [4, 4];
  const pen = canvas.getContext('2d');
  pen.drawImage(image, 0, 0, 4, 4);
  return pen.getImageData(1, 1, 1, 1).data[0];
}"""


def test_a_recorded_episode_is_scrubbed_and_relabelled(page, robot, recorded):
    page.click('#tab-recordings')
    page.wait_for_selector('#recordings button[data-episode="s-1"] [data-outcome=FAILURE]')
    helped = page.wait_for_selector('#recordings button[data-episode="s-0"]')
    assert '33 % by a person' in helped.inner_text()
    helped.click()
    page.wait_for_selector('#player-outcome[data-outcome=SUCCESS]')
    page.wait_for_selector('#player-cameras img[data-time]')
    band = page.query_selector('#bands i')
    assert band.get_attribute('title') == 'a person drove from 1.0 to 2.0 s'
    dark = page.evaluate(BRIGHTNESS)
    page.evaluate(
        "() => { const scrub = document.getElementById('scrub');"
        "scrub.value = 2.9; scrub.dispatchEvent(new Event('input')); }"
    )
    until(page, BRIGHTNESS, lambda value: value > dark + 200)
    assert '2.9' in page.inner_text('#player-time')
    page.focus('#scrub')
    page.keyboard.press('Home')
    until(page, BRIGHTNESS, lambda value: value < 30)
    page.click('#play')
    until(page, "() => Number(document.getElementById('scrub').value)", lambda value: value > 0.5)
    page.click('[data-testid=relabel-failure]')
    wait_for(lambda: ('label', 's-0', EpisodeState.FAILURE) in robot.calls, 'a call of episode/label')
    page.select_option('#filter', 'HELPED')
    assert page.locator('#recordings button').count() == 1
    page.select_option('#filter', '')


def test_with_a_token_one_watches_until_it_is_typed(visit, robot, gate, dashboard, tmp_path):
    file = tmp_path / 'token'
    file.write_text('open+sesame/ %41=\n')  # as base64 and worse
    before = len(robot.urls)
    locked = Process('dashboard', 'port:=0', f'token_file:={file}')
    try:
        wait_for(lambda: len(robot.urls) > before, 'an address of the locked dashboard')
        page = visit(robot.urls[-1])
        page.wait_for_selector('#token-form:not([hidden])')
        assert page.is_enabled('#stop')
        assert {'arm', 'takeover', 'success'} <= {
            b.get_attribute('id') for b in page.query_selector_all('button[data-action]:disabled')
        }
        page.fill('#token', 'wrong')
        page.press('#token', 'Enter')
        page.wait_for_selector('#refusal:has-text("wrong")')
        page.fill('#token', 'open+sesame/ %41=')
        page.press('#token', 'Enter')
        page.wait_for_selector('#success:enabled')
        page.reload()
        page.wait_for_selector('#success:enabled')
        linked = visit(f'{robot.urls[-1]}/#token=open+sesame/%20%2541=')
        linked.wait_for_selector('#holder:not(:has-text("watch"))')
        assert 'token' not in linked.url, 'the token must not stay in the address bar'
        for closing in (page, linked):
            closing.context.close()  # before the node: a lost connection is an error in the console
    finally:
        del robot.urls[before:]
        assert locked.end() == 0
