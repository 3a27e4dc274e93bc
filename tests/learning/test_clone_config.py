# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Settings of cloning: who wins, and what is said about wrong ones."""

from __future__ import annotations

import dataclasses

import pytest
import yaml

from apprentice.learning.clone_config import CloneConfig, read_config
from apprentice.learning.settings_file import write_settings
from apprentice.policies.backbones.tiny import TinyConfig
from apprentice.robot.settings import SettingsError


def test_without_words_everything_is_default():
    assert read_config() == CloneConfig()
    assert CloneConfig().algorithm.learning_rate == 1e-3  # not that of the online learner
    assert read_config(['algorithm.batch=8']).algorithm == dataclasses.replace(
        CloneConfig().algorithm, batch=8
    )


def test_words_win_over_flags_over_file_over_policy_over_defaults(tmp_path):
    preset, file = tmp_path / 'mine.yaml', tmp_path / 'train.yaml'
    preset.write_text('{expert: {width: 1, layers: 2, heads: 4}, denoise_steps: 3, time_alpha: 1.0}')
    file.write_text(
        f'{{policy: {{preset: {preset}, expert: {{width: 16, layers: 1}}, denoise_steps: 4}}, steps: 9}}'
    )
    flags = {'steps': 8, 'horizon': 5, 'policy': {'denoise_steps': 6}}
    words = ['policy.expert.width=32', 'horizon=7', 'algorithm.learning_rate=1e-4', 'precision=bf16']
    found = read_config(words, file, flags)
    assert dataclasses.astuple(found.policy.expert)[:3] == (32, 1, 4)  # word, file, policy
    assert (found.policy.denoise_steps, found.policy.time_alpha) == (6, 1.0)  # flag, policy
    assert (found.steps, found.horizon, found.precision) == (8, 7, 'bf16')
    assert (found.algorithm.learning_rate, found.policy.backbone) == (1e-4, TinyConfig())


def test_policy_is_chosen_by_name_in_words_and_files(tmp_path):
    file = tmp_path / 'train.yaml'
    file.write_text('policy: smolvlm\nsteps: 3')
    assert read_config(file=file).policy.backbone.part.endswith('HuggingFaceBackbone')
    # a word wins, whatever its place
    found = read_config(['policy.backbone.model=/folder', 'policy=qwen2_5_vl'], file)
    assert (found.policy.backbone.model, found.policy.expert.width, found.steps) == ('/folder', 768, 3)
    assert read_config(['policy=tiny'], file).policy.backbone == TinyConfig()


def test_what_was_written_is_read_again(tmp_path):
    words = ['policy=smolvlm', 'policy.backbone.model=/folder', 'policy.tokens.width=64', 'validation=0.1']
    config = read_config([*words, 'policy.backbone.lora_targets=[q_proj,k_proj]', 'cache=/scratch/a=b'])
    assert config.policy.backbone.lora_targets == ('q_proj', 'k_proj')
    assert config.policy.tokens is not None
    assert config.cache == '/scratch/a=b'
    write_settings(config, tmp_path / 'train.yaml', 'repeat: this\nand that')
    text = (tmp_path / 'train.yaml').read_text()
    assert text.startswith('# repeat: this\n# and that\n')
    assert yaml.safe_load(text)['policy']['backbone']['model'] == '/folder'
    assert read_config(file=tmp_path / 'train.yaml') == config


@pytest.mark.parametrize(
    ('word', 'message'),
    [
        ('stepz=3', r"settings has no \['stepz'\]; it has: \['steps', 'horizon'"),
        ('policy.expert.witdh=3', r"policy.expert has no \['witdh'\]; it has: \['width', 'layers'"),
        ('policy.backbone.gradient_checkpointing=true', r'policy.backbone has no .*it has: \[.width.'),
        ('algorithm.rate=3', r"algorithm has no \['rate'\]; it has: \['learning_rate'"),
        ('steps=many', "settings.steps is 'many'; give a value of type int"),
        ('steps=2.5', 'settings.steps is 2.5; give a value of type int'),
        ('algorithm.freeze_backbone=1', 'freeze_backbone is 1; give a value of type bool'),
        ('algorithm.batch=[1,2]', r'batch is \[1, 2\]; give a value of type int'),
        ('precision=fp8', r"precision is 'fp8'; use one of \['fp32', 'bf16'\]"),
        ('parallel=tp', r"use one of \['ddp', 'fsdp'\]"),
        ('steps=0', 'steps is 0; give 1 or more'),
        ('validation=1', 'validation is 1.0; give a share'),
        ('workers=-1', 'workers is -1'),
        ('algorithm=3', 'algorithm'),
        ('policy=smolvla', "no policy 'smolvla'; give a YAML file that exists, or one of .*'smolvlm'"),
        ('policy.backbone.part=nowhere:Nothing', "'nowhere:Nothing'.*is the package installed"),
        ('steps', "'steps' is no setting; write key=value"),
        ('--steps=3', "'--steps=3' is no setting"),
        ('cache=${nothing}', 'cannot be merged.*nothing'),
        ('steps=[', 'cannot be merged'),
    ],
)
def test_wrong_settings_are_named(word, message):
    with pytest.raises((SettingsError, FileNotFoundError, ImportError), match=message):
        read_config([word])


def test_wrong_files_are_named(tmp_path):
    file = tmp_path / 'train.yaml'
    for content, message in (
        ('steps: [', 'not YAML'),
        ('- 3', 'must be a mapping'),
        ('steps: x', 'type int'),
    ):
        file.write_text(content)
        with pytest.raises(SettingsError, match=message):
            read_config(file=file)
    with pytest.raises(FileNotFoundError):
        read_config(file=tmp_path / 'none.yaml')


def test_a_run_begun_before_there_was_a_setting_goes_on_with_what_it_did():
    theirs = CloneConfig().to_dict()
    del theirs['algorithm']['state_noise']
    assert read_config(['algorithm.state_noise=0.0']).differences(theirs) == []
    assert CloneConfig().differences(theirs) == ['algorithm.state_noise']
