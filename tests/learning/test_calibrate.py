# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Calibration from recorded episodes."""

import dataclasses

import numpy as np
import pytest
from clone_rig import ROBOT, make_episode

from apprentice.cli.main import main
from apprentice.episodes.episode_writer import write_episode
from apprentice.learning.calibrate import calibrate, samples, scored
from apprentice.reward_models.base import Needs, RewardModelError, Score
from apprentice.reward_models.calibration.calibrate import ScoreCalibrator
from apprentice.robot.types import Outcome, Reward, RewardKind
from apprentice.sim.acting import ActedAttempt


def recorded(number, outcome, version='v1', length=41):
    """Similarity rises to 0.7 in a success and to 0.5 in a failure."""
    item = make_episode(number, length=length)
    share = np.linspace(0, 1, length)
    noise = np.random.default_rng(number).normal(0, 0.01, length)
    values = 0.3 + (0.4 if outcome == Outcome.SUCCESS else 0.2) * share**2 + noise
    rewards = [
        Reward(t, t, RewardKind.CLIP_SIM, v, model='clip', version=version, std=0.01)
        for t, v in zip(item.stamps, values)
    ]
    return dataclasses.replace(item, outcome=outcome, rewards=rewards)


def both(count, begin=0):
    return [recorded(begin + i, Outcome.SUCCESS if i % 2 else Outcome.FAILURE) for i in range(count)]


def test_done_labels_leave_out_what_nobody_knows():
    found = samples([recorded(0, Outcome.SUCCESS), recorded(1, Outcome.FAILURE)], 'clip')
    # 41 samples: 32 before 80 %, 2 after 95 %; all of the failure
    assert (int(found.targets.sum()), len(found.values), found.episodes) == (2, 32 + 2 + 41, 2)
    progress = samples([recorded(0, Outcome.SUCCESS), recorded(1, Outcome.FAILURE)], 'clip', 'progress')
    np.testing.assert_allclose(progress.targets, np.linspace(0, 1, 41))
    aborted = dataclasses.replace(recorded(2, Outcome.SUCCESS), outcome=Outcome.ABORT)
    with pytest.raises(RewardModelError, match='measured nothing'):
        samples([aborted], 'clip')


def test_a_calibration_from_some_episodes_holds_on_others():
    made = calibrate(samples(both(20), 'clip'), 'clip')
    fresh = samples(both(20, 100), 'clip')
    phi, std = made.of_values(fresh.values, np.full(len(fresh.values), 0.01), fresh.texts)
    assert phi[fresh.targets == 1].mean() > 0.8
    assert phi[fresh.targets == 0].mean() < 0.02
    assert np.all(std > 0)


def test_several_versions_or_a_family_without_samples_are_refused():
    with pytest.raises(RewardModelError, match='2 versions'):
        samples([recorded(0, Outcome.SUCCESS), recorded(1, Outcome.FAILURE, 'v2')], 'clip')
    with pytest.raises(RewardModelError, match="family 'wipe \\*': 0 finite samples"):
        calibrate(samples(both(4), 'clip'), 'clip', ['pick *', 'wipe *'])


def test_the_command_writes_the_file_beside_the_weights(tmp_path, capsys):
    for item in both(6):
        write_episode(tmp_path / 'episodes', item, ROBOT)
    command = ['train', 'calibration', '--data', str(tmp_path / 'episodes'), '--out', str(tmp_path / 'clip')]
    assert main([*command, '--model', 'clip', '--family', 'pick *']) == 0
    made = ScoreCalibrator.load(tmp_path / 'clip')
    assert (made.model, made.version, made.kind) == ('clip', 'v1', RewardKind.CLIP_SIM)
    assert list(made.curves) == ['pick *']
    assert made.sha256[:12] in capsys.readouterr().out
    assert main([*command, '--model', 'critic']) == 2
    assert 'critic measured nothing' in capsys.readouterr().err


class Rising:
    """A reward model without pairs: how bright the first camera is."""

    model, version, kind = 'bright', 'v1', RewardKind.ABS_PROGRESS
    needs = Needs()

    def negatives(self, text):
        return []

    def encode(self, frames):
        return frames.mean(axis=(2, 3, 4))[..., None] / 255.0

    def score(self, request):
        value = request.emb[:, -1, 0, 0].astype(np.float32)
        unknown = np.full(len(value), np.nan, np.float32)
        return Score(
            kind=self.kind, value=value, std=unknown, done_prob=value, margin=unknown,
            valid=np.isfinite(value), model=self.model, version=self.version,
        )  # fmt: skip


def test_a_simulated_attempt_counts_like_a_recorded_one():
    levels = np.linspace(0, 250, 21).astype(np.uint8)
    frames = np.tile(levels[:, None, None, None, None], (1, 2, 4, 4, 3))
    solved = np.arange(21) >= 20
    attempt = ActedAttempt('pick', 'pick it', 'expert', 7, np.arange(21) / 5, frames, solved * 1.0, solved)
    failed = dataclasses.replace(attempt, solved=np.zeros(21, bool))
    found = samples([scored(Rising(), attempt), scored(Rising(), failed)], 'bright')
    assert (found.version, found.episodes, set(found.texts)) == ('v1', 2, {'pick it'})
    assert int(found.targets.sum()) == 1  # the last 5 % of the success
    assert found.values[found.targets == 1].min() > 0.95
