# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Scores that were made of demonstrations later, and where they lie."""

import dataclasses

import numpy as np
import pytest
from clone_rig import ROBOT, make_episode
from test_online_recipe import ALGORITHM, ONLINE
from test_online_recipe import starter as starter

from apprentice.episodes.episode_writer import write_episode
from apprentice.learning.fleet import Fleet
from apprentice.learning.learner import Learner, LearnerConfig
from apprentice.learning.rescore import ledger_path
from apprentice.reward_models.base import RewardModelError
from apprentice.reward_models.ledger import Ledger
from apprentice.robot.types import Reward, RewardKind


def test_demonstrations_are_learned_with_the_scores_made_later(tmp_path, starter):
    config = LearnerConfig(online=ONLINE, algorithm=ALGORITHM)
    made = [dataclasses.replace(make_episode(i, length=16), rewards=[]) for i in range(2)]
    paths = [write_episode(tmp_path / 'shown', episode, ROBOT) for episode in made]
    without = Learner(ROBOT, tmp_path / 'without', starter, config)
    assert without.demonstrate(paths) == 2
    ledger = Ledger(ledger_path(tmp_path / 'shown'))
    for episode in made:
        steps = zip(episode.stamps, np.linspace(0, 1, len(episode)), strict=True)
        ledger.append_revision(
            episode.episode_id,
            [Reward(t, t, RewardKind.ABS_PROGRESS, x, model='critic', version='1') for t, x in steps],
        )
    scored = Learner(ROBOT, tmp_path / 'scored', starter, config)
    assert scored.demonstrate(paths) == 2
    name = made[0].episode_id
    plain, measured = (one.online.buffer.of(name)[1].reward for one in (without, scored))
    assert (measured - plain)[:-4].min() > 0.01  # nobody measured the others: success alone, at the end
    ledger.path.write_text('{}\n')
    with pytest.raises(RewardModelError, match='is damaged'):  # and not a run without demonstrations
        Learner(ROBOT, tmp_path / 'damaged', starter, config).demonstrate(paths)


def test_scores_of_a_run_whose_episodes_are_elsewhere(tmp_path):
    (tmp_path / 'disk').mkdir()
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run' / 'episodes').symlink_to(tmp_path / 'disk')
    assert ledger_path(tmp_path / 'run' / 'episodes') == Fleet({'': tmp_path / 'run'}).members[0].ledger.path
