# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Frames, bands and labels of a recorded episode, read by time."""

import numpy as np
import pytest

from apprentice.episodes.episode_writer import write_episode
from apprentice.episodes.files import EpisodeFileError
from apprentice.episodes.join import read_episode
from apprentice.episodes.labels import write_label
from apprentice.episodes.playback import Playback
from apprentice.robot.types import Outcome


@pytest.fixture
def path(tmp_path, episode, spec):
    return write_episode(tmp_path / 'e.mcap', episode, spec)


def test_every_frame_is_found_at_its_time(path, episode, spec):
    with Playback(path) as playback:
        assert playback.cameras == tuple(sorted(c.topic.lstrip('/') for c in spec.cameras))
        begin = playback.stamps(playback.cameras[0])[0]
        for camera in spec.cameras:
            topic = camera.topic.lstrip('/')
            assert len(playback.stamps(topic)) == len(episode.stamps)
            for i in (0, 7, len(episode.stamps) - 1):
                late = begin + i * spec.action_dt + 0.4 * spec.action_dt
                assert np.array_equal(playback.frame(topic, late), episode.images[camera.name][i])
        first = episode.images[spec.cameras[0].name][0]
        assert np.array_equal(playback.frame(spec.cameras[0].topic, -5.0), first), 'before the first frame'
        frames = playback.frames(spec.cameras[0].topic, begin, begin + 0.5, 3)
        assert frames.shape == (3, 64, 64, 3)


def test_the_summary_agrees_with_the_joined_episode(path, spec):
    joined = read_episode(path, spec)
    with Playback(path) as playback:
        summary = playback.summary()
    assert (summary.episode_id, summary.task) == (joined.episode_id, joined.task)
    assert summary.outcome is summary.recorded is Outcome.SUCCESS
    assert summary.seconds == pytest.approx(len(joined.stamps) * spec.action_dt, abs=spec.action_dt)


def test_samples_have_times_and_a_label_overrides_the_outcome(path):
    write_label(path, Outcome.FAILURE, 'test')
    with Playback(path) as playback:
        summary, samples = playback.summary(), playback.samples()
        times = [playback.seconds(sample.t1) for sample in samples]
    assert (summary.outcome, summary.recorded) == (Outcome.FAILURE, Outcome.SUCCESS)
    assert {sample.model for sample in samples} == {'simulator', 'critic'}
    assert min(times) >= -0.2
    assert max(times) == pytest.approx(2.0, abs=0.2)


def test_bands_are_where_a_person_drove(path):
    with Playback(path) as playback:
        begin = playback.stamps(playback.cameras[0])[0]
        assert playback.spans() == [
            (pytest.approx(begin + 1.2, abs=0.06), pytest.approx(begin + 1.7, abs=0.06))
        ]


def test_what_cannot_be_played_says_why(tmp_path, path):
    with Playback(path) as playback, pytest.raises(EpisodeFileError, match='no camera'):
        playback.frame('camera/none', 0.0)
    with pytest.raises(EpisodeFileError, match='cannot be opened'):
        Playback(tmp_path / 'none.mcap')
    cut = tmp_path / 'cut.mcap'
    cut.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(EpisodeFileError):
        Playback(cut)
