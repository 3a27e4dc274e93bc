# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Preference optimisation of one of two heads: that head makes the chunks, is trained, and acts then."""

from __future__ import annotations

import dataclasses
import logging
import re

import numpy as np
import pytest
from clone_rig import ROBOT, make_episode
from preference_rig import JOINT, TRAINING, make_pairs, make_policy, save_policy

from apprentice.cli.main import main
from apprentice.episodes.episode_writer import write_episode
from apprentice.learning.preference.online import OnlinePreference
from apprentice.learning.preference.shadows import replayed_shadows
from apprentice.learning.preference.store import PairStore
from apprentice.learning.preference.train import train_dpo
from apprentice.learning.sampling import load_policy
from apprentice.policies import checkpoint
from apprentice.robot.types import Observation

WORDS = ['steps=1', 'warm_up=1', 'algorithm.batch=4', 'validation=0', 'device=cpu']


def helped():
    source = np.full(12, 1, np.uint8)
    source[6:] = 2
    takeover = np.where(source == 2, 1, 0).astype(np.int64)
    return dataclasses.replace(make_episode(0), source=source, takeover_id=takeover)


@pytest.mark.parametrize(('trained', 'acted'), [('fast', 'flow'), ('flow', 'fast')])
def test_the_head_that_was_trained_acts(tmp_path, trained, acted):
    starter = save_policy(tmp_path / 'starter', dataclasses.replace(JOINT, head=acted))
    config = dataclasses.replace(TRAINING, head=trained)
    made = train_dpo(starter, make_pairs(), tmp_path / 'out', config)
    policy, manifest = checkpoint.load(tmp_path / 'out')
    assert made.config.head == policy.config.head == manifest['config']['head'] == trained
    assert checkpoint.load(starter)[0].config.head == acted
    # what the command says to evaluate it with asks that head
    episode = make_episode(0)
    seen = Observation(1.0, {n: i[0] for n, i in episode.images.items()}, episode.state[0], episode.task)
    acting, turn = load_policy(str(tmp_path / 'out'), ROBOT).act.act, [(7, 0, 0)]
    np.testing.assert_array_equal(
        acting([seen], turn), load_policy(str(tmp_path / 'out'), ROBOT, head=trained).act.act([seen], turn)
    )
    assert trained in (tmp_path / 'out' / 'README.md').read_text()


def test_shadows_of_a_head():
    policy, episode = make_policy(JOINT), helped()
    flow, fast = (replayed_shadows(policy, head=head)(episode) for head in ('flow', 'fast'))
    np.testing.assert_array_equal(replayed_shadows(policy)(episode)[6], flow[6])
    assert np.abs(flow[6] - fast[6]).max() > 1e-3
    again = dataclasses.replace(policy.config, head='fast')
    policy.config = again
    np.testing.assert_array_equal(replayed_shadows(policy)(episode)[6], fast[6])
    # while the robot learns, the flow is what preferences move
    made = OnlinePreference(policy)._built(episode)
    np.testing.assert_allclose(made.loser[0], flow[6], atol=1e-6)


def test_the_command_plans_shadows_by_the_head_that_is_trained(tmp_path, caplog):
    starter = save_policy(tmp_path / 'starter', JOINT)
    write_episode(tmp_path / 'logs', helped(), ROBOT)
    options = ['--policy', str(starter), '--data', str(tmp_path / 'logs'), '--pairs-by', 'interventions']
    found = {}
    for head in ('flow', 'fast'):
        place = ['--pairs', str(tmp_path / head), '--build-only', '--out', str(tmp_path / 'out')]
        assert main(['train', 'dpo', *options, '--replan', *place, *WORDS, f'head={head}']) == 0
        store = PairStore(tmp_path / head)
        assert store.settings['shadows'].endswith(' fast') == (head == 'fast')
        found[head] = store.read()
    assert np.abs(found['flow'].loser[0] - found['fast'].loser[0]).max() > 1e-3
    # pairs of one head are not gone on with by the other one
    place = ['--pairs', str(tmp_path / 'flow'), '--build-only', '--out', str(tmp_path / 'out')]
    assert main(['train', 'dpo', *options, '--replan', *place, *WORDS, 'head=fast']) == 2
    # what is logged was planned by whatever acted
    with caplog.at_level(logging.WARNING):
        main(
            ['train', 'dpo', *options, '--build-only', '--out', str(tmp_path / 'logged'), *WORDS, 'head=fast']
        )
    assert re.search('shadow chunks in the log are of the head that acted .flow', caplog.text)
