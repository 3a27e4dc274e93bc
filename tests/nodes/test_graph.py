# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The whole graph as users start it: all nodes as processes on real DDS, learning, reporting, ending."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from apprentice.episodes.files import EpisodeFileError
from apprentice.episodes.join import read_episode
from apprentice.episodes.labels import iter_sealed
from apprentice.learning.weights import WeightStore
from apprentice.policies import checkpoint
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Outcome

SPEC = RobotSpec.load(share('robots', 'sim_arm.yaml'))


@pytest.fixture
def demo(tmp_path):
    """Starts ``apprentice demo`` on small numbers; ends it with the test."""
    started = []

    def start(*options: str) -> subprocess.Popen:
        command = [sys.executable, '-m', 'apprentice.cli.main', 'demo', '--run-dir', str(tmp_path / 'run')]
        command += ['--demonstrations', str(tmp_path / 'demonstrations'), '--demonstration-episodes', '6']
        log = (tmp_path / 'output.txt').open('wb')
        process = subprocess.Popen(
            [*command, '--port', '0', *options], stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def descendants_of_run(run_dir) -> list[str]:
    """Command lines of processes that still work on this run."""
    found = []
    for process in psutil.process_iter(['cmdline']):
        line = ' '.join(process.info['cmdline'] or [])
        if str(run_dir) in line and process.pid != os.getpid():
            found.append(line)
    return found


def test_demo_learns_and_reports(demo, tmp_path):
    # as many demonstrations as the features of the critics need
    process = demo(
        '--trials', '2', '--episodes', '3', '--updates-per-episode', '5', '--demonstration-episodes', '16'
    )  # fmt: skip
    code = process.wait(220)
    output = (tmp_path / 'output.txt').read_text(errors='replace')
    assert code == 0, output[-4000:]
    run = tmp_path / 'run'
    assert 'held-out success before learning' in output
    assert 'dashboard' in output
    report = json.loads((run / 'report' / 'result.json').read_text())
    assert report
    assert (run / 'report' / 'plot.png').stat().st_size > 10_000
    episodes = [read_episode(path, SPEC) for path in iter_sealed(run / 'episodes')]
    assert len(episodes) == 2 + 3 + 2
    assert [e.eval_only for e in episodes] == [True] * 2 + [False] * 3 + [True] * 2
    assert [e.seed for e in episodes[:2]] == [e.seed for e in episodes[-2:]]
    assert all(e.frames_dropped == 0 for e in episodes)
    assert all(e.human_steps == 0 for e in episodes if e.eval_only)
    assert any(e.outcome == Outcome.SUCCESS for e in episodes[2:5])
    models = {r.model for e in episodes for r in e.rewards}
    assert len(models) == 3, models  # the simulator's truth, CLIP, critic
    store = WeightStore(run / 'weights')
    newest = store.describe(store.versions()[-1])
    checkpoint.load(newest.folder, newest.sha256)
    assert newest.about['train_steps'] == 15
    beside = checkpoint.load(newest.folder)[1]['beside']  # the default recipe, whose critics know little yet
    assert (beside['name'], beside['settings']['acts']) == ('critics', False)
    assert episodes[-1].weights_version == newest.version
    assert not descendants_of_run(run)


def test_ctrl_c_leaves_no_process_and_no_torn_file(demo, tmp_path):
    process = demo('--trials', '1', '--episodes', '50')
    output = tmp_path / 'output.txt'
    end = time.monotonic() + 150
    while 'learn 2/50' not in output.read_text(errors='replace'):
        assert process.poll() is None, output.read_text(errors='replace')[-4000:]
        assert time.monotonic() < end, output.read_text(errors='replace')[-4000:]
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    run = tmp_path / 'run'
    assert not descendants_of_run(run)
    assert not list((run / 'episodes').glob('*.part'))
    sealed = list(iter_sealed(run / 'episodes'))
    assert len(sealed) >= 3
    unreadable = []
    for path in sealed:
        try:
            read_episode(path, SPEC)
        except EpisodeFileError as error:
            unreadable.append((path, str(error)))
    # only the last one may have no step: it had just begun
    assert all(path == sealed[-1] and 'ended at once' in reason for path, reason in unreadable)
    for version in WeightStore(run / 'weights').versions():
        checkpoint.load(WeightStore(run / 'weights').folder(version))
