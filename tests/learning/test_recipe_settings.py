# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Recipes and settings that mean nothing are refused when they are read, not when they are used."""

import dataclasses

import pytest

from apprentice.learning.preference.dpo import DpoConfig
from apprentice.learning.recipe import load_recipe
from apprentice.learning.rl.features import FeatureConfig
from apprentice.learning.rl.online import OnlineConfig
from apprentice.learning.rl.windows import WindowConfig
from apprentice.learning.weighted_flow import WeightedFlowConfig
from apprentice.robot.settings import SettingsError

FLOW_EDIT = 'apprentice.learning.rl.flow_edit:FlowEdit'


@pytest.mark.parametrize(
    ('text', 'says'),
    [
        ('online: {batch: 0}', 'online: batch is 0; give 1 or more'),
        ('online: {human_share: 3}', 'online: human_share is 3.0; give a number from 0 to 1'),
        ('online: {updates: 0}', 'online: updates is 0; give 1 or more'),
        ('online: {warm_up: 0}', 'online: warm_up is 0; give 1 or more'),
        ('online: {judge_after: -1}', 'online: judge_after is -1; give 0 or more'),
        ('online: {refresh_every: -1}', 'online: refresh_every is -1; give 0 or more'),
        ('online: {features: {potential: true}}', 'features.potential is true'),
        ('online: {features: {potential: false, rows: 3}}', 'features.rows is 3 and windows.rows 4'),
        ('online: {features: {candidates: 0}}', 'online.features: candidates is 0; give 1 or more'),
        ('online: {features: {rows: -1}}', 'online.features: rows is -1; give 0 or more'),
        ('online: {windows: {stride: 0}}', 'online.windows: stride is 0; give 1 or more'),
        ('online: {windows: {scale: -1}}', 'online.windows: scale is -1.0; give 0 or more'),
        ('online: {windows: {discount: 1.5}}', 'online.windows: discount is 1.5'),
        ('online: {windows: {duration_s: .nan}}', 'online.windows: duration_s is nan; give more than 0'),
        ('online: {consolidation: {temperature: 0}}', 'online.consolidation: temperature is 0.0'),
        ('online: {consolidation: {human: -1}}', 'online.consolidation: human is -1.0; give 0 or more'),
        ('online: {part: nothing}', "algorithm 'nothing': .*package.module:Class"),
        ('online: {part: "apprentice.learning.rl.nothing:Nothing"}', 'is the package installed'),
        ('online: {part: "apprentice.learning.rl.flow_edit:Nothing"}', "has no 'Nothing'"),
        ('online: {part: "apprentice.learning.rl.flow_ppo:FlowPpo"}', 'FlowPpo.*lacks one of update'),
        ('online: {settings: {edit_evry: 4}}', "algorithm '.*FlowEdit': settings has no .'edit_evry'"),
        ('online: {settings: {critic: {member: 4}}}', "settings.critic has no .'member'"),
        ('online: {settings: {scale: -1}}', 'settings: flow edit: give scale >= 0'),
        ('human_share: 1.5', 'human_share is 1.5; give a number from 0 to 1'),
        ('intervention_share: -0.5', 'intervention_share is -0.5; give a number from 0 to 1'),
        ('updates_per_episode: -1', 'updates_per_episode is -1; give 0 or more'),
        ('publish_every: 0', 'publish_every is 0; give 1 or more'),
        ('preference: {every: 0}', 'preference: every is 0; give 1 or more'),
        ('preference: {least: 0}', 'preference: least is 0; give 1 or more'),
        ('preference: {weight: -1}', 'preference: weight is -1.0; give 0 or more'),
        ('preference: {dpo: {beta: -1}}', 'preference.dpo: beta -1'),
        ('algorithm: {batch: 0}', 'algorithm: batch is 0; give 1 or more'),
        ('algorithm: {ema: 1}', 'algorithm: ema is 1.0; give 0 or more and less than 1'),
        ('algorithm: {clip: 0}', 'algorithm: clip is 0.0; give more than 0'),
        ('probe: {rows_per_episode: 0}', 'probe: rows_per_episode is 0; give 1 or more'),
        ('fleet: {floor: 2}', 'fleet: floor 2.0 must be in'),
    ],
)
def test_a_recipe_that_means_nothing_is_refused_at_once(tmp_path, text, says):
    path = tmp_path / 'mine.yaml'
    path.write_text(text)
    with pytest.raises(SettingsError, match=f'mine.yaml: .*{says}'):
        load_recipe(str(path))


def test_what_can_be_meant_is_taken(tmp_path):
    path = tmp_path / 'mine.yaml'
    path.write_text(
        'online:\n  part: apprentice.learning.rl.q_chunking:QChunking\n'
        '  human_share: 1\n  act_after: 0\n  refresh_every: 0\n'
        '  features: {potential: false, rows: 8}\n  windows: {rows: 8, scale: 0, discount: 1}\n'
        'updates_per_episode: 0\nalgorithm: {learning_rate: 0}\n'
    )
    config = load_recipe(str(path))
    assert (config.online.human_share, config.online.windows.rows) == (1.0, 8)
    assert config.algorithm.learning_rate == 0


@pytest.mark.parametrize(
    ('config', 'changes'),
    [
        (OnlineConfig(), {'batch': 0}),
        (OnlineConfig(), {'features': FeatureConfig(rows=4)}),
        (FeatureConfig(), {'components': 0}),
        (WindowConfig(), {'takeover_penalty': -0.1}),
        (WeightedFlowConfig(), {'learning_rate': float('inf')}),
        (DpoConfig(), {'clip': -1.0}),
    ],
)
def test_so_are_settings_made_in_python(config, changes):
    with pytest.raises(SettingsError, match=next(iter(changes))):
        dataclasses.replace(config, **changes)
