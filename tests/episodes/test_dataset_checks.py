# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What `apprentice dataset` finds in recordings, counts, merges and copies."""

from __future__ import annotations

import json

import numpy as np
import pytest
from lerobot_files import change_info, write_dataset
from test_lerobot_dataset import make, same

pytest.importorskip('pyarrow', reason="needs pip install 'apprentice[lerobot-dataset]'")
pytest.importorskip('av', reason="needs pip install 'apprentice[lerobot-dataset]'")

from apprentice.cli.main import main
from apprentice.episodes import checks
from apprentice.episodes.check_lerobot import check_lerobot
from apprentice.episodes.check_logs import check_log
from apprentice.episodes.checks import CheckSettings
from apprentice.episodes.dataset_info import dataset_info
from apprentice.episodes.episode_writer import write_episode
from apprentice.episodes.labels import write_label
from apprentice.episodes.lerobot_dataset import LeRobotSource
from apprentice.episodes.lerobot_export import ExportSettings, export
from apprentice.episodes.lerobot_ledger import read_ledger
from apprentice.episodes.log_writer import LogWriter
from apprentice.episodes.messages import encode, time_fields
from apprentice.robot.parts import share
from apprentice.robot.types import Outcome

ROBOT_FILE = share('robots', 'sim_arm.yaml').read_text()
SECOND = 1_000_000_000
PNG = ExportSettings(images='png')


def plausible(spec, number, steps=40, outcome=Outcome.SUCCESS):
    """An episode in which joint 0 moves slowly and every picture is another one."""
    episode = make(spec, 0, 9, outcome)
    episode.episode_id = f'e{number}'
    episode.stamps = 100.0 + np.arange(steps) * spec.action_dt
    episode.source = np.resize(episode.source, steps)
    episode.takeover_id = np.cumsum(episode.source == 2) * (episode.source == 2)
    episode.state = np.zeros((steps, spec.dim), np.float32)
    episode.state[:, 0] = np.arange(steps) * 0.02
    episode.action = episode.state.copy()
    for place, name in enumerate(episode.images):
        # no two runs alike, or the merge takes them for the same
        rows = [np.full((64, 64, 3), (5 * row + 2 * place + number) % 256, np.uint8) for row in range(steps)]
        episode.images[name] = np.stack(rows)
    episode.state[:, 1] = 0.001 * number
    return episode


def problems(tmp_path, spec, episode):
    path = write_episode(tmp_path / 'logs', episode, spec, ROBOT_FILE)
    return check_log(path, spec)


def test_a_good_episode_is_good(tmp_path, spec):
    assert problems(tmp_path, spec, plausible(spec, 0)) == []


@pytest.mark.parametrize('kind', ['frozen camera', 'joint jump', 'not finite', 'label missing', 'too short'])
def test_faults_are_found_in_logs_and_in_datasets(tmp_path, spec, kind):
    episode = plausible(spec, 0, 4 if kind == 'too short' else 40)
    if kind == 'frozen camera':
        episode.images['wrist'][10:30] = episode.images['wrist'][10]
    elif kind == 'joint jump':
        episode.state[20, 3] += 2.0
    elif kind == 'not finite':
        episode.state[5, 2] = np.nan
    elif kind == 'label missing':
        episode.outcome = Outcome.UNKNOWN
    found = problems(tmp_path, spec, episode)
    assert kind in {problem.kind for problem in found}, found
    if kind == 'frozen camera':
        assert next(problem.text for problem in found if problem.kind == kind).startswith('camera wrist')
    if kind == 'not finite':
        return  # such an episode is not exported
    export([tmp_path / 'logs'], tmp_path / 'set', settings=ExportSettings(images='h264', hardware=False))
    found = check_lerobot(tmp_path / 'set')
    assert {problem.kind for problem in found} == {kind}, found


def test_camera_that_stands_still_with_the_robot_is_not_frozen(tmp_path, spec):
    episode = plausible(spec, 0)
    episode.state[10:30] = episode.state[10]
    episode.images['wrist'][10:30] = episode.images['wrist'][10]
    assert problems(tmp_path, spec, episode) == []


class Recording:
    """A log message by message, with faults on purpose: a camera, joint states and commands at 20 Hz."""

    def __init__(self, folder, spec):
        self.spec = spec
        self.log = LogWriter(folder, 'e', {'robot': spec.name, 'robot_file': ROBOT_FILE})
        for camera in spec.cameras:
            self.log.add_topic('/' + camera.topic, 'sensor_msgs/msg/Image')
        for name, kind in (('joint_states', 'sensor_msgs/msg/JointState'),
                           ('gate/executed', 'apprentice_interfaces/msg/ExecutedCommand'),
                           ('episode/state', 'apprentice_interfaces/msg/EpisodeState')):  # fmt: skip
            self.log.add_topic('/' + name, kind)
        self.tick = 0

    def write(self, topic, kind, stamp, **fields):
        data = encode(kind, {'header': {'stamp': time_fields(stamp)}, **fields})
        self.log.write('/' + topic, data, stamp)

    def state(self, stamp, phase, start, outcome=0, name='e'):
        ended = stamp if phase == 4 else 0
        facts = {'episode_id': name, 'task': 't', 'phase': phase, 'outcome': outcome}
        facts |= {'started': time_fields(start), 'ended': time_fields(ended)}
        self.write('episode/state', 'apprentice_interfaces/msg/EpisodeState', stamp, **facts)

    def step(self, stamp, cameras=None, joints=True):
        i = self.tick
        self.tick += 1
        for camera in self.spec.cameras if i % 2 == 0 else ():
            if cameras is None or camera.name in cameras:
                picture = np.full((64, 64, 3), i % 256, np.uint8).tobytes()
                self.write(camera.topic, 'sensor_msgs/msg/Image', stamp, height=64, width=64, encoding='rgb8',
                           step=192, data=picture)  # fmt: skip
        position = [0.002 * i] * self.spec.dim
        if joints:
            self.write('joint_states', 'sensor_msgs/msg/JointState', stamp, name=list(self.spec.joint_names),
                       position=position)  # fmt: skip
        self.write('gate/executed', 'apprentice_interfaces/msg/ExecutedCommand', stamp, seq=i, source=2,
                   executed=position)  # fmt: skip

    def seal(self):
        return self.log.seal()


def recording(tmp_path, spec, stamps, end=True, **kept):
    """kept: argument of ``step`` -> function of the number of the tick."""
    made = Recording(tmp_path / 'logs', spec)
    made.state(stamps[0], 3, stamps[0])
    for i, stamp in enumerate(stamps):
        made.step(stamp, **{name: choose(i) for name, choose in kept.items()})
    if end:
        made.state(stamps[-1], 4, stamps[0], 1)
    return made.seal()


GRID = [100 * SECOND + i * SECOND // 20 for i in range(100)]


def kinds(path, spec):
    return {problem.kind for problem in check_log(path, spec)}


def test_nothing_is_found_in_a_good_recording(tmp_path, spec):
    assert check_log(recording(tmp_path, spec, GRID), spec) == []


def test_camera_unplugged_is_silent(tmp_path, spec):
    path = recording(tmp_path, spec, GRID, cameras=lambda i: ['front'] if i > 40 else ['front', 'wrist'])
    (problem,) = check_log(path, spec)
    assert problem.kind == 'camera silent'
    assert 'wrist' in problem.text


def test_joints_that_were_not_recorded(tmp_path, spec):
    path = recording(tmp_path, spec, GRID, joints=lambda i: False)
    assert kinds(path, spec) == {'topic missing'}


def test_gaps_of_cameras_and_joints(tmp_path, spec):
    path = recording(tmp_path, spec, GRID, cameras=lambda i: [] if 30 < i < 50 else None,
                     joints=lambda i: not 60 < i < 70)  # fmt: skip
    found = [problem.text for problem in check_log(path, spec) if problem.kind == 'time gap']
    assert any('camera front: 1.' in text for text in found), found
    assert any('joint states: 0.50 s' in text for text in found), found


@pytest.mark.parametrize('leap', [-3 * SECOND, 30 * SECOND])
def test_clock_that_jumps_is_said_once_and_nothing_else(tmp_path, spec, leap):
    stamps = [stamp + (leap if i >= 50 else 0) for i, stamp in enumerate(GRID)]
    found = check_log(recording(tmp_path, spec, stamps), spec)
    assert [problem.kind for problem in found if problem.kind != 'too short'] == ['clock jump'], found


def test_no_end_unsealed_and_damage(tmp_path, spec):
    path = recording(tmp_path, spec, GRID, end=False)
    assert kinds(path, spec) == {'no end'}
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 4])
    assert 'unreadable' in kinds(path, spec)
    part = path.with_name('other.mcap.part')
    part.write_bytes(content)
    assert kinds(part, spec) == {'unfinished', 'no end'}


def test_pure_checks():
    settings = CheckSettings()
    stamps = np.array([0, 1, 2, 9, 10]) * SECOND // 10
    assert checks.gaps(stamps, 0.1, settings) == ['0.70 s without a message from 0.20 s on']
    assert checks.clock_jumps(stamps, np.array([0, 1, 2, 9, 10]), 0.05) == []  # six messages are missing
    assert checks.clock_jumps(stamps, np.arange(5), 0.05) == [
        'the clock leapt by 0.70 s although no message is missing'
    ]
    assert checks.frozen(np.zeros(0, bool), stamps[:0], np.zeros((0, 2)), stamps[:0], settings) == []


# datasets


@pytest.fixture
def runs(tmp_path, spec):
    for run, numbers in (('a', (0, 1)), ('b', (1, 2))):
        for number in numbers:
            episode = plausible(spec, number, 12 + number)
            episode.state[:, 2] += 0.1 * (run == 'b')  # the same name, another recording
            write_episode(tmp_path / run / 'episodes', episode, spec, ROBOT_FILE)
    write_label(tmp_path / 'b' / 'episodes' / 'e2.mcap', Outcome.FAILURE, 'test')
    return tmp_path / 'a', tmp_path / 'b'


def test_info_counts(tmp_path, runs, capsys):
    info = dataset_info(runs[1])
    assert (info.episodes, info.outcomes, info.interventions) == (2, {'SUCCESS': 1, 'FAILURE': 1}, 2)
    assert info.seconds == pytest.approx(2.7)
    export(runs, tmp_path / 'set', settings=PNG)
    of_set = dataset_info(tmp_path / 'set')
    assert (of_set.episodes, of_set.frames, of_set.outcomes['FAILURE']) == (4, 12 + 13 + 13 + 14, 1)
    assert main(['dataset', 'info', str(tmp_path / 'set'), str(runs[0]), '--json']) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line['episodes'] for line in lines] == [4, 2]
    assert main(['dataset', 'info', str(tmp_path / 'nothing')]) == 2


@pytest.mark.parametrize('images', ['png', 'h264'])
def test_merge_of_datasets(tmp_path, runs, spec, images):
    settings = ExportSettings(images=images, hardware=False)
    export(runs[:1], tmp_path / 'one', settings=settings)
    export(runs[1:], tmp_path / 'two', settings=settings)
    words = [
        'dataset',
        'merge',
        str(tmp_path / 'one'),
        str(tmp_path / 'two'),
        '--out',
        str(tmp_path / 'both'),
    ]
    assert main(words) == 0
    assert [entry.episode_id for entry in read_ledger(tmp_path / 'both')] == ['e0', 'e1', 'e1.2', 'e2']
    both, parts = LeRobotSource(tmp_path / 'both', spec), []
    for name in ('one', 'two'):
        source = LeRobotSource(tmp_path / name, spec)
        parts += [source.episode(number) for number in range(len(source))]
    for number, wanted in enumerate(parts):
        same(both.episode(number), wanted)
    assert check_lerobot(tmp_path / 'both') == []
    assert main(words) == 0  # again: nothing new
    assert len(LeRobotSource(tmp_path / 'both', spec)) == 4


def test_merge_of_datasets_of_lerobot_s_layout(tmp_path, spec):
    """Several episodes in one parquet and one mp4 file."""
    for name, seed in (('one', 0), ('two', 3)):
        episodes = [make(spec, seed + number, 12) for number in range(3)]
        write_dataset(tmp_path / name, episodes, spec.joint_names, video=True, files=3)
    words = [
        'dataset',
        'merge',
        str(tmp_path / 'one'),
        str(tmp_path / 'two'),
        '--out',
        str(tmp_path / 'both'),
    ]
    assert main(words) == 0
    both, other = LeRobotSource(tmp_path / 'both', spec), LeRobotSource(tmp_path / 'two', spec)
    assert len(both) == 6
    for number in range(3):
        same(both.episode(3 + number), other.episode(number))
    assert len(list((tmp_path / 'both').rglob('*.mp4'))) == 2 * len(spec.cameras)


def test_merge_refuses_other_columns_and_mixtures(tmp_path, runs, capsys):
    export(runs[:1], tmp_path / 'one', settings=PNG)
    export(runs[:1], tmp_path / 'two', settings=ExportSettings(images='h264', hardware=False))
    out = ['--out', str(tmp_path / 'both')]
    assert main(['dataset', 'merge', str(tmp_path / 'one'), str(tmp_path / 'two'), *out]) == 2
    assert 'observation.images.front' in capsys.readouterr().err
    assert main(['dataset', 'merge', str(tmp_path / 'one'), str(runs[0]), *out]) == 2
    assert 'export the logs first' in capsys.readouterr().err


def test_merge_of_logs_keeps_names_unique_and_labels(tmp_path, runs):
    out = tmp_path / 'all'
    for _ in range(2):
        assert main(['dataset', 'merge', *map(str, runs), '--out', str(out)]) == 0
        assert sorted(path.name for path in out.iterdir()) == [
            'e0.mcap', 'e1.2.mcap', 'e1.mcap', 'e2.label.json', 'e2.mcap',
        ]  # fmt: skip


def test_check_command(tmp_path, runs, spec, capsys):
    assert main(['dataset', 'check', str(runs[0])]) == 0
    bad = plausible(spec, 9)
    bad.outcome = Outcome.UNKNOWN
    write_episode(runs[0] / 'episodes', bad, spec, ROBOT_FILE)
    assert main(['dataset', 'check', str(runs[0]), '--json']) == 1
    (line,) = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith('{')]
    assert [problem['kind'] for problem in line['problems']] == ['label missing']
    assert main(['dataset', 'check', str(runs[0]), '--ignore', 'label missing']) == 0
    assert main(['dataset', 'check', str(runs[0]), '--ignore', 'lable']) == 2


def test_damaged_datasets(tmp_path, runs):
    export(runs[:1], tmp_path / 'set', settings=ExportSettings(images='h264', hardware=False))
    video = next((tmp_path / 'set' / 'videos').rglob('*.mp4'))
    video.write_bytes(video.read_bytes()[:300])
    assert {problem.kind for problem in check_lerobot(tmp_path / 'set')} == {'unreadable'}
    change_info(tmp_path / 'set', total_frames=5)
    (problem,) = check_lerobot(tmp_path / 'set')
    assert 'not finalised' in problem.text


def test_push_folder_copies_with_a_card_and_says_that_nothing_is_uploaded(tmp_path, runs, spec, capsys):
    export(runs, tmp_path / 'set', settings=PNG)
    target = tmp_path / 'hub' / 'set'
    words = ['dataset', 'push-folder', str(tmp_path / 'set'), str(target)]
    assert main(words) == 0
    assert 'nothing was uploaded' in capsys.readouterr().out
    assert len(LeRobotSource(target, spec)) == 4
    text = (target / 'README.md').read_text()
    assert text.startswith('---\nlicense: apache-2.0')
    assert 'LeRobot' in text
    (target / 'README.md').write_text('mine')
    write_label(runs[0] / 'episodes' / 'e0.mcap', Outcome.ABORT, 'test')
    export(runs, tmp_path / 'set', settings=PNG)
    assert main(words) == 0
    assert len(LeRobotSource(target, spec)) == 3
    assert (target / 'README.md').read_text() == 'mine'
    assert len(list((target / 'data').rglob('*.parquet'))) == 3
    (tmp_path / 'full').mkdir()
    (tmp_path / 'full' / 'thesis.tex').touch()
    assert main(['dataset', 'push-folder', str(tmp_path / 'set'), str(tmp_path / 'full')]) == 2
