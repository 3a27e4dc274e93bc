# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Calibration from recorded episodes."""

import dataclasses

import numpy as np
import pytest
from clone_rig import ROBOT, make_episode

from apprentice.cli.main import main
from apprentice.episodes.episode_writer import write_episode
from apprentice.learning.calibrate import calibrate, samples
from apprentice.reward_models.base import RewardModelError
from apprentice.reward_models.calibration.calibrate import ScoreCalibrator
from apprentice.robot.types import Outcome, Reward, RewardKind


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
