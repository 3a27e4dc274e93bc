# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What happens to recordings when something dies or jumps: the log opens, says so, and the export goes on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time

import pytest
from apprentice_interfaces.msg import EpisodeState
from test_recorder_node import SPEC, START, player, start_recorder  # noqa: F401 - fixtures

from apprentice.episodes.check_logs import check_log
from apprentice.episodes.join import read_episode
from apprentice.episodes.lerobot_dataset import LeRobotSource
from apprentice.episodes.lerobot_export import ExportSettings, export
from apprentice.robot.types import Outcome

pytest.importorskip('pyarrow', reason="needs pip install 'apprentice[lerobot-dataset]'")
PNG = ExportSettings(images='png', outcomes=tuple(Outcome))


def kinds(path):
    # the player counts ticks in its joints, faster than any arm
    return {problem.kind for problem in check_log(path, SPEC)} - {'joint jump'}


def play_whole(publisher, name, start, ticks=40, pause=0.02):
    publisher.play(name, start, ticks, pause)
    publisher.end(name, start, ticks)
    publisher.wait(lambda: any(path.stem == name for path in publisher.sealed))


def test_killed_recorder_marks_the_episode_and_the_export_goes_on(player, start_recorder, tmp_path):  # noqa: F811
    recorder = start_recorder()
    player.wait_for_recorder()
    play_whole(player, 'ep1', START)
    player.play('ep2', START + 10, 40, pause=0.03)
    recorder.stop(signal.SIGKILL)
    (part,) = tmp_path.glob('episodes/*.part')
    assert kinds(part) >= {'unfinished', 'no end'}
    # nobody starts a recorder again: the export seals what was left
    done = export([tmp_path], tmp_path / 'set', settings=PNG)
    assert (sorted(done.added), done.refused) == (['ep1.mcap', 'ep2.mcap'], {})
    source = LeRobotSource(tmp_path / 'set', SPEC)
    assert [source.episode(n).outcome for n in range(2)] == [Outcome.SUCCESS, Outcome.ABORT]
    assert kinds(tmp_path / 'episodes' / 'ep2.mcap') == {'no end'}
    # a new recorder, a new episode, exported into the same dataset
    player.levels.clear()
    start_recorder()
    publishers = [*player.cameras.values(), player.joints, player.executed, player.rewards, player.states]
    killed = time.monotonic()
    # the dead one is still counted until its lease of 20 s is over
    player.wait(
        lambda: (
            player.levels
            and (all(p.get_subscription_count() > 1 for p in publishers) or time.monotonic() > killed + 30)
        ),
        40.0,
    )
    time.sleep(2.0)  # the other direction of the discovery
    play_whole(player, 'ep3', START + 20, pause=0.05)  # a burst may overtake the news of its start
    done = export([tmp_path], tmp_path / 'set', settings=PNG)
    # ep2 was never ended, so the new recorder may have begun a second file of it
    assert 'ep3.mcap' in done.added
    assert set(done.added) | set(done.refused) <= {'ep2.2.mcap', 'ep3.mcap'}


def test_unplugged_camera_is_marked_and_the_rest_recorded(player, start_recorder, tmp_path):  # noqa: F811
    start_recorder()
    player.wait_for_recorder()
    camera = player.cameras['wrist']

    class Unplugged:
        def publish(self, message):
            pass

    player.state(EpisodeState.RUNNING, 'ep1', START)
    for i in range(60):
        if i == 20:
            player.node.destroy_publisher(camera)
            player.cameras['wrist'] = Unplugged()
        player.tick(i, START)
        time.sleep(0.004)
    player.end('ep1', START, 60)
    player.wait(lambda: player.sealed)
    (path,) = player.sealed
    assert kinds(path) == {'camera silent'}
    episode = read_episode(path, SPEC)
    assert episode.frames_dropped >= 18
    assert len(episode) == 30  # the last picture stands
    assert export([tmp_path], tmp_path / 'set', settings=PNG).added == ['ep1.mcap']


@pytest.mark.parametrize('leap', [-3.0, 60.0])
def test_jumping_clock_is_marked_and_the_next_episode_is_whole(player, start_recorder, tmp_path, leap):  # noqa: F811
    start_recorder(linger_s=0.5)
    player.wait_for_recorder()
    player.state(EpisodeState.RUNNING, 'ep1', START)
    for i in range(60):
        player.tick(i, START + (leap if i >= 30 else 0.0))
        time.sleep(0.004)
    player.end('ep1', START, 60 + 20 * leap if leap > 0 else 30)
    player.wait(lambda: player.sealed, 30.0)
    assert 'clock jump' in kinds(player.sealed[0])
    play_whole(player, 'ep2', START + 200)
    assert kinds(tmp_path / 'episodes' / 'ep2.mcap') == set()
    done = export([tmp_path], tmp_path / 'set', settings=PNG)
    assert 'ep2.mcap' in done.added
    assert set(done.added) | set(done.refused) == {'ep1.mcap', 'ep2.mcap'}


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which('mount') is None, reason='needs root, to mount a small disk'
)
def test_export_onto_a_full_disk_says_so_and_goes_on_with_room(tmp_path, spec_run):
    disk = tmp_path / 'disk'
    disk.mkdir()
    mounted = subprocess.run(
        ['mount', '-t', 'tmpfs', '-o', 'size=200k', 'tmpfs', str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip('this container may not mount')
    try:
        with pytest.raises(OSError, match='No space'):
            export([spec_run], disk / 'set', settings=PNG)
        subprocess.run(['mount', '-o', 'remount,size=50m', str(disk)], check=True)
        done = export([spec_run], disk / 'set', settings=PNG)
        assert len(done.added) + len(done.kept) == 4
        assert len(LeRobotSource(disk / 'set', SPEC)) == 4
    finally:
        subprocess.run(['umount', str(disk)], check=True)


@pytest.fixture
def spec_run(tmp_path):
    import numpy as np

    from apprentice.episodes.episode_writer import write_episode
    from apprentice.robot.types import Episode

    random = np.random.default_rng(0)
    for number in range(4):
        images = {c.name: random.integers(0, 255, (10, 64, 64, 3), dtype=np.uint8) for c in SPEC.cameras}
        vectors = random.normal(size=(2, 10, SPEC.dim)).astype(np.float32)
        episode = Episode(
            f'e{number}', 't', 0, Outcome.SUCCESS, 1, False, 100 + np.arange(10) * SPEC.action_dt, images,
            *vectors, np.full(10, 2, np.uint8), np.ones(10, np.int64), robot=SPEC.name,
        )  # fmt: skip
        write_episode(tmp_path / 'run', episode, SPEC)
    return tmp_path / 'run'
