# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Joining a log by stamp, on examples worked out by hand."""

import dataclasses
import math
import time

import numpy as np
import pytest

from apprentice.episodes.episode_writer import write_episode
from apprentice.episodes.files import EpisodeFileError
from apprentice.episodes.join import frames_missing, read_episode
from apprentice.episodes.labels import iter_sealed, label_path, read_label, write_label
from apprentice.episodes.log_writer import LogWriter
from apprentice.episodes.messages import encode, time_fields
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Outcome, RewardKind, Source

MS = 1_000_000
T0 = 1_700_000_000_000_000_000  # a wall clock, where a float has no nanoseconds
SMALL = RobotSpec.from_dict(
    {
        'name': 'small',
        'control_hz': 20.0,
        'action_dt': 0.1,
        'joints': [
            {'name': name, 'lower': -1.0, 'upper': 1.0, 'velocity': 1.0, 'jump': 1.0, 'home': 0.0}
            for name in ('a', 'b')
        ],
        'cameras': [
            {'name': 'fast', 'topic': 'fast/image_raw', 'width': 2, 'height': 1, 'rate_hz': 20.0},
            {'name': 'slow', 'topic': 'slow/image_raw', 'width': 2, 'height': 1, 'rate_hz': 10.0},
        ],
    }
)


class Log:
    """A log written message by message; times in milliseconds after T0."""

    def __init__(self, folder, name='ep', robot='small'):
        self.writer = LogWriter(folder, name, {'robot': robot})

    def _write(self, name, kind, at, fields):
        self.writer.add_topic('/robot1/' + name, kind, name)
        self.writer.write('/robot1/' + name, encode(kind, fields), T0 + round(at * MS))

    def frame(self, camera, at, value):
        fields = {
            'header': self.header(at), 'height': 1, 'width': 2, 'encoding': 'rgb8', 'step': 6,
            'data': bytes([value] * 6),
        }  # fmt: skip
        self._write(f'{camera}/image_raw', 'sensor_msgs/msg/Image', at, fields)

    def joints(self, at, a, b, names=('b', 'x', 'a')):
        fields = {'header': self.header(at), 'name': list(names), 'position': [b, 9.0, a]}
        self._write('joint_states', 'sensor_msgs/msg/JointState', at, fields)

    def executed(self, at, a, b, source=1, takeover=0):
        fields = {'header': self.header(at), 'executed': [a, b], 'source': source, 'takeover_id': takeover}
        self._write('gate/executed', 'apprentice_interfaces/msg/ExecutedCommand', at, fields)

    def state(self, at, phase, started=0, ended=None, outcome=0, episode_id='ep', cause=0):
        fields = {
            'header': self.header(at), 'episode_id': episode_id, 'task': 'lift', 'seed': 5, 'phase': phase,
            'outcome': outcome, 'end_cause': cause, 'started': self.time(started),
            'ended': time_fields(0) if ended is None else self.time(ended),
        }  # fmt: skip
        self._write('episode/state', 'apprentice_interfaces/msg/EpisodeState', at, fields)

    def reward(self, at, value, episode_id='ep', kind=1, topic='reward/sample', model='critic'):
        fields = {
            'header': self.header(at), 'episode_id': episode_id, 'kind': kind, 't0': self.time(at - 100),
            't1': self.time(at), 'value': value, 'valid': True, 'model': model,
        }  # fmt: skip
        self._write(topic, 'apprentice_interfaces/msg/RewardSample', at, fields)

    def chunk(self, at, version):
        fields = {'header': self.header(at), 'weights_version': version}
        self._write('policy/chunk', 'apprentice_interfaces/msg/ActionChunk', at, fields)

    def header(self, at):
        return {'stamp': self.time(at)}

    @staticmethod
    def time(at):
        return time_fields(T0 + round(at * MS))


def example(folder, end=330) -> Log:
    """Running from 0 ms; first frame of the running phase at 20 ms; steps at 20, 120 and 220 ms."""
    log = Log(folder)
    log.frame('slow', -30, 1)
    log.joints(-20, 0.01, 0.02)
    log.executed(-10, 0.9, 0.9, source=3)
    log.state(0, 3)
    for at, value in ((20.0, 10), (70, 11), (120, 12), (170, 13), (220, 14), (270, 15), (320, 16)):
        log.frame('fast', at, value)
    for at, value in ((70, 2), (120.0005, 3), (280, 4)):
        log.frame('slow', at, value)
    for at, a in ((0.0, 0.1), (50, 0.2), (119, 0.3), (121, 0.4), (200, 0.5), (230, 0.6)):
        log.joints(at, a, -a)
    log.executed(0, 0.8, 0.8, source=3)
    log.executed(20, 0.11, 0.12)
    log.executed(70, 0.21, 0.22)
    log.executed(120, 0.31, 0.32, source=2, takeover=6)
    log.executed(170, 0.41, 0.42, source=2, takeover=6)
    log.executed(220, 0.51, 0.52)
    log.executed(300, 0.61, 0.62)
    log.executed(320, 0.71, 0.72)
    log.chunk(-500, 1)
    log.chunk(20, 2)
    log.chunk(220, 3)
    log.reward(-300, 0.1)
    log.reward(120, 0.2)
    log.reward(120, 0.3, episode_id='other')
    log.reward(220, 0.4, episode_id='', kind=5, topic='sim/truth', model='simulator')
    log.reward(400, 0.5)
    log.reward(400, 1.0, kind=4, model='person')
    log.state(332, 4, ended=end, outcome=1, cause=2)
    log.state(400, 1, outcome=0, episode_id='')
    return log


def test_hand_computed_example(tmp_path):
    episode = read_episode(example(tmp_path).writer.seal(), SMALL)
    assert np.round((episode.stamps - T0 * 1e-9) * 1e3).tolist() == [20, 120, 220]
    # newest at or before 20, 120, 220 ms; a frame half a microsecond late counts as on time
    assert episode.images['fast'][:, 0, 0, 0].tolist() == [10, 12, 14]
    assert episode.images['slow'][:, 0, 0, 0].tolist() == [1, 3, 3]
    assert episode.images['fast'].shape == (3, 1, 2, 3)
    # by name: the message has another order and one joint more
    assert np.allclose(episode.state, [[0.1, -0.1], [0.3, -0.3], [0.5, -0.5]])
    # last control tick before 120, 220 and 320 ms; the command at 320 belongs to the next step
    assert np.allclose(episode.action, [[0.21, 0.22], [0.41, 0.42], [0.61, 0.62]])
    assert episode.source.tolist() == [Source.POLICY, Source.HUMAN, Source.POLICY]
    assert episode.takeover_id.tolist() == [0, 6, 0]
    assert [(round(r.value, 3), r.kind) for r in episode.rewards] == [
        (0.2, RewardKind.ABS_PROGRESS), (0.4, RewardKind.TRUTH), (1.0, RewardKind.HUMAN),
    ]  # fmt: skip
    assert (episode.outcome, episode.end_cause, episode.task, episode.seed) == (Outcome.SUCCESS, 2, 'lift', 5)
    assert (episode.episode_id, episode.robot, episode.weights_version) == ('ep', 'small', 3)
    # slow: -30, 70, 120, 280: one frame missing before the last
    assert episode.frames_dropped == 1


def test_frames_missing():
    stamps = np.array([0, 100, 220, 400, 500]) * MS
    assert frames_missing(stamps, 10.0) == 1
    assert frames_missing(stamps, 10.0, 900 * MS) == 1 + 3
    assert frames_missing(stamps, 10.0, 600 * MS) == 1
    assert frames_missing(np.array([], np.int64), 10.0) == 0


def test_incomplete_last_step_is_left_out(tmp_path):
    assert len(read_episode(example(tmp_path, end=319).writer.seal(), SMALL)) == 2


def test_gap_in_the_commands_repeats_without_a_source(tmp_path):
    log = example(tmp_path, end=620)
    log.executed(560, 0.81, 0.82)
    episode = read_episode(log.writer.seal(), SMALL)
    assert len(episode) == 6
    assert episode.source.tolist() == [1, 2, 1, 1, 0, 1]
    assert np.allclose(episode.action[4], [0.71, 0.72])


def test_unfinished_episode_reads_as_aborted(tmp_path):
    log = Log(tmp_path)
    log.state(0, 3)
    for i in range(8):
        log.frame('fast', i * 50, i)
        log.frame('slow', i * 50, i)
        log.joints(i * 50, 0.0, 0.0)
        log.executed(i * 50, 0.0, 0.0)
    log.writer.flush()
    with pytest.raises(EpisodeFileError, match='cut off'):
        read_episode(log.writer.part, SMALL)
    episode = read_episode(log.writer.part, SMALL, salvage=True)
    assert (episode.outcome, len(episode)) == (Outcome.ABORT, 4)
    write_label(log.writer.part, Outcome.SUCCESS, 'a person')
    assert read_episode(log.writer.seal(), SMALL).outcome == Outcome.SUCCESS


def test_label_overrides_and_names_what_is_wrong(tmp_path):
    path = example(tmp_path).writer.seal()
    assert read_label(path) is None
    write_label(path, Outcome.FAILURE, 'a person')
    assert read_episode(path, SMALL).outcome == Outcome.FAILURE
    assert list(iter_sealed(tmp_path)) == [path]
    assert list(iter_sealed(tmp_path / 'none')) == []
    label_path(path).write_text('{"outcome": "GOOD"}')
    with pytest.raises(EpisodeFileError, match='SUCCESS, FAILURE'):
        read_episode(path, SMALL)


def test_wrong_robot_and_missing_topics(tmp_path):
    path = example(tmp_path).writer.seal()
    with pytest.raises(EpisodeFileError, match="'small', not 'big'"):
        read_episode(path, dataclasses.replace(SMALL, name='big'))
    camera = dataclasses.replace(SMALL.cameras[0], name='top', topic='top/image_raw')
    with pytest.raises(EpisodeFileError, match=r"no frames of camera 'top'"):
        read_episode(path, dataclasses.replace(SMALL, cameras=(camera,)))
    joint = dataclasses.replace(SMALL.joints[0], name='elbow')
    with pytest.raises(EpisodeFileError, match=r"lack \['elbow'\]"):
        read_episode(path, dataclasses.replace(SMALL, joints=(joint, SMALL.joints[1])))
    short = Log(tmp_path, 'short')
    short.frame('fast', 0, 1)
    with pytest.raises(EpisodeFileError, match='no running episode'):
        read_episode(short.writer.seal(), SMALL)
    with pytest.raises(EpisodeFileError, match='no complete step'):
        read_episode(example(tmp_path / 'b', end=30).writer.seal(), SMALL)


def test_written_episode_reads_back(tmp_path, episode, spec):
    path = write_episode(tmp_path, episode, spec)
    assert path == tmp_path / 's1_ep0007.mcap'
    back = read_episode(path, spec)
    for name, images in episode.images.items():
        assert np.array_equal(back.images[name], images)
    for name in ('state', 'action', 'source', 'takeover_id'):
        assert np.array_equal(getattr(back, name), getattr(episode, name)), name
    assert np.allclose(back.stamps, episode.stamps, atol=1e-9)
    for name in (
        'episode_id', 'task', 'seed', 'outcome', 'end_cause', 'eval_only', 'robot', 'frames_dropped',
        'weights_version',
    ):  # fmt: skip
        assert getattr(back, name) == getattr(episode, name), name
    assert len(back.rewards) == len(episode.rewards)
    for ours, theirs in zip(back.rewards, sorted(episode.rewards, key=lambda r: r.t1)):
        for field in dataclasses.fields(ours):
            left, right = getattr(ours, field.name), getattr(theirs, field.name)
            same = left == pytest.approx(right, nan_ok=True) if isinstance(right, float) else left == right
            assert same, field.name
    assert math.isnan(back.rewards[0].progress)
    with pytest.raises(FileExistsError, match='never changed'):
        write_episode(path, episode, spec)


def test_arrays_that_do_not_fit_are_refused(tmp_path, episode, spec):
    for change, text in (
        ({'action': episode.action[:, :3]}, 'action has shape'),
        ({'images': {}}, r"no images of \['front', 'wrist'\]"),
        ({'stamps': episode.stamps * 2}, '0.1 s apart'),
        ({'source': episode.source[1:]}, 'source'),
    ):
        with pytest.raises(ValueError, match=text):
            write_episode(tmp_path, dataclasses.replace(episode, **change), spec)
    assert not list(tmp_path.iterdir())


def test_reading_is_fast(tmp_path, episode, spec):
    repeat = 8  # 160 steps
    episode = dataclasses.replace(
        episode,
        stamps=100.0 + np.arange(20 * repeat) * spec.action_dt,
        images={name: np.concatenate([images] * repeat) for name, images in episode.images.items()},
        rewards=episode.rewards * repeat,
        **{
            name: np.concatenate([getattr(episode, name)] * repeat)
            for name in ('state', 'action', 'source', 'takeover_id')
        },
    )
    path = write_episode(tmp_path, episode, spec)
    begin = time.process_time()
    assert len(read_episode(path, spec)) == 160
    assert time.process_time() - begin < 0.5
