# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Recorded episodes over HTTP from the real dashboard node."""

import http.client
import io
import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
from PIL import Image as Picture

from apprentice.cli.demo import free_port
from apprentice.episodes.episode_writer import write_episode
from apprentice.episodes.labels import write_label
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Episode, Outcome, Reward, RewardKind

ROBOT = str(share('robots', 'sim_arm.yaml'))
SPEC = RobotSpec.load(ROBOT)
STEPS = 20


def an_episode(name, outcome):
    source = np.ones(STEPS, np.uint8)
    source[5:10] = 2
    shade = np.linspace(0, 190, STEPS).astype(np.uint8)
    images = {c.name: np.tile(shade[:, None, None, None], (1, 64, 64, 3)) for c in SPEC.cameras}
    zeros, stamps = np.zeros((STEPS, SPEC.dim), np.float32), 100.0 + np.arange(STEPS) * SPEC.action_dt
    rewards = [Reward(t, t, RewardKind.ABS_PROGRESS, 0.5, 0.5, model='critic') for t in stamps]
    takeovers = np.where(source == 2, 1, 0).astype(np.int64)
    return Episode(
        name,
        'pick up the red cube',
        0,
        outcome,
        1,
        False,
        stamps,
        images,
        zeros,
        zeros,
        source,
        takeovers,
        rewards,
        'sim_arm',
        0,
        0,
    )


@pytest.fixture(scope='module')
def server(tmp_path_factory):
    """(address, folder of the episodes) of a dashboard with two episodes and a file that is none."""
    folder = tmp_path_factory.mktemp('run') / 'episodes'
    folder.mkdir()
    for name, outcome in (('s-0', Outcome.SUCCESS), ('s-1', Outcome.FAILURE)):
        write_episode(folder / f'{name}.mcap', an_episode(name, outcome), SPEC)
    (folder / 'broken.mcap').write_bytes(b'not a log')
    (folder.parent / 'secret.mcap').write_bytes(b'not for everybody')
    port = free_port(0)  # another worker may do the same at this moment
    words = [f'robot:={ROBOT}', f'port:={port}', f'run_dir:={folder.parent}']
    options = [part for word in words for part in ('-p', word)]
    process = subprocess.Popen([sys.executable, '-m', 'apprentice.nodes.dashboard', '--ros-args', *options])
    url, deadline = f'http://127.0.0.1:{port}', time.monotonic() + 60
    while True:
        try:
            get(url + '/')
            break
        except OSError:
            assert process.poll() is None, 'the dashboard ended at its start'
            assert time.monotonic() < deadline
            time.sleep(0.1)
    yield url, folder
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0


def get(url, **headers):
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as answer:
        return answer.read()


def refusal(url, **headers):
    with pytest.raises(urllib.error.HTTPError) as error:
        get(url, **headers)
    return error.value.code, error.value.read().decode()


def test_the_list_says_what_became_of_each(server):
    url, folder = server
    rows = {row['id']: row for row in json.loads(get(url + '/api/episodes'))['episodes']}
    assert list(rows) == ['s-1', 's-0', 'broken'], 'newest name first'
    assert (rows['s-0']['outcome'], rows['s-0']['driven']) == ('SUCCESS', 0.25)
    assert 'MCAP' in rows['broken']['error'] or 'broken.mcap' in rows['broken']['error']
    write_label(folder / 's-0.mcap', Outcome.FAILURE, 'test')
    rows = {row['id']: row for row in json.loads(get(url + '/api/episodes'))['episodes']}
    assert (rows['s-0']['outcome'], rows['s-0']['recorded']) == ('FAILURE', 'SUCCESS')


def test_one_episode_has_bands_curves_and_frames(server):
    url, _ = server
    details = json.loads(get(url + '/api/episode?id=s-1'))
    assert details['spans'] == [[pytest.approx(0.5, abs=0.06), pytest.approx(1.0, abs=0.06)]]
    assert len(details['series']['critic progress']) == STEPS
    assert [camera['name'] for camera in details['cameras']] == [c.name for c in SPEC.cameras]
    for time_s, shade in ((0.0, 0), (1.0, 100), (99.0, 190)):
        picture = get(f'{url}/api/frame?id=s-1&camera=wrist&t={time_s}')
        assert np.asarray(Picture.open(io.BytesIO(picture))).mean() == pytest.approx(shade, abs=4)


@pytest.mark.parametrize(
    ('path', 'code'),
    [
        ('/api/frame?id=s-1&camera=wrist&t=nan', 400),
        ('/api/frame?id=s-1&camera=wrist', 400),
        ('/api/frame?id=s-1&camera=none&t=0', 404),
        ('/api/episode?id=none', 404),
        ('/api/episode?id=broken', 404),
        ('/api/episode?id=../secret', 400),
        ('/api/episode?id=..%2Fsecret', 400),
        ('/api/episode', 400),
        ('/../secret.mcap', 404),
        ('/rewards.html', 404),
    ],
)
def test_what_cannot_be_served_says_so_and_leaks_nothing(server, path, code):
    found, text = refusal(server[0] + path)
    assert found == code
    assert 'not for everybody' not in text


def test_pages_are_guarded(server):
    url, _ = server
    assert refusal(url + '/api/episodes', Host='evil.example')[0] == 403
    with urllib.request.urlopen(url + '/', timeout=30) as answer:
        assert "default-src 'self'" in answer.headers['Content-Security-Policy']
        assert answer.headers['X-Content-Type-Options'] == 'nosniff'
    # one connection: a slow machine must be able to ask faster than it may
    connection = http.client.HTTPConnection(url.removeprefix('http://'), timeout=30)
    for _ in range(2000):
        connection.request('HEAD', '/text.js')
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            break
    connection.close()
    assert answer.status == 429
    time.sleep(1.0)
    assert get(url + '/text.js')
