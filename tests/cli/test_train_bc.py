# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""``apprentice train bc``: words, options and files of settings."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'learning'))
from clone_rig import ROBOT, make_episode

from apprentice.cli.main import build_parser, main
from apprentice.cli.train_bc import EXAMPLES
from apprentice.episodes.episode_writer import write_episode
from apprentice.learning.clone_config import CloneConfig, read_config
from apprentice.learning.settings_file import flat
from apprentice.policies.config import PolicyConfig
from apprentice.policies.presets import load_preset, presets
from apprentice.robot.types import Outcome

TINY = ('policy.backbone.width=32', 'policy.backbone.channels=[8,8,16]', 'policy.expert.width=32')


@pytest.fixture
def logs(tmp_path) -> Path:
    for number in range(2):
        write_episode(tmp_path / 'logs', make_episode(number), ROBOT)
    return tmp_path / 'logs'


def settings(out: Path) -> CloneConfig:
    return read_config(file=out / 'train.yaml')


def test_words_options_and_a_file_make_a_policy(logs, tmp_path, capsys):
    file = tmp_path / 'settings.yaml'
    file.write_text('{steps: 7, horizon: 5, algorithm: {batch: 9}, warm_up: 3}')
    out = tmp_path / 'out'
    options = ['--out', str(out), '--config', str(file), '--steps', '3', '--batch', '8', '--seed', '2']
    # --data takes everything that follows for a folder; words come back
    assert main(['train', 'bc', 'workers=0', *options, '--data', str(logs), *TINY, 'algorithm.batch=4']) == 0
    assert '2 of 2 episodes are successes' in capsys.readouterr().out
    found = settings(out)
    assert (found.steps, found.horizon, found.seed, found.warm_up, found.workers) == (3, 5, 2, 3, 0)
    assert (found.algorithm.batch, found.algorithm.learning_rate) == (4, 1e-3)
    assert found.policy.backbone.channels == (8, 8, 16)
    assert json.loads((out / 'policy.json').read_text())['config']['expert']['width'] == 32
    # the file that was written repeats it
    again = ['--data', str(logs), '--config', str(out / 'train.yaml'), '--out', str(tmp_path / 'again')]
    assert main(['train', 'bc', *again]) == 0
    assert settings(tmp_path / 'again') == found
    weights = [(tmp_path / name / 'model.safetensors').read_bytes() for name in ('out', 'again')]
    assert weights[0] == weights[1]


def test_a_policy_of_an_export_without_loss_is_that_of_the_logs(logs, tmp_path):
    pytest.importorskip('pyarrow', reason="needs pip install 'apprentice[lerobot-dataset]'")
    for number, outcome in ((2, Outcome.ABORT), (3, Outcome.FAILURE), (4, Outcome.SUCCESS)):
        write_episode(logs, make_episode(number, 15, outcome=outcome), ROBOT)
    assert main(['dataset', 'export', str(logs), '--out', str(tmp_path / 'set'), '--images', 'png']) == 0
    weights = {}
    for name in ('logs', 'set'):
        out = tmp_path / f'of_{name}'
        words = ['--data', str(tmp_path / name), '--out', str(out), '--steps', '4', '--batch', '8', *TINY]
        assert main(['train', 'bc', *words]) == 0
        weights[name] = (out / 'model.safetensors').read_bytes()
    assert weights['logs'] == weights['set'], 'to the bit'


@pytest.mark.parametrize('heads', ['flow', 'joint', 'fast'])
def test_heads_are_settings(logs, tmp_path, heads):
    out = tmp_path / 'out'
    words = [*TINY, 'policy.tokens.width=32', 'algorithm.batch=4'] if heads != 'flow' else [*TINY]
    command = ['--data', str(logs), '--steps', '1', '--heads', heads, '--out', str(out)]
    assert main(['train', 'bc', *command, *words]) == 0
    found = settings(out)
    assert (found.policy.tokens is None) == (heads == 'flow')
    assert found.policy.head == ('fast' if heads == 'fast' else 'flow')
    assert (found.algorithm.flow_weight == 0) == (heads == 'fast')
    line = json.loads((tmp_path / 'out.training' / 'metrics.jsonl').read_text())
    assert ('token_loss' in line, 'flow_loss' in line) == (heads != 'flow', heads == 'joint')


def test_a_cache_and_a_validation_split(logs, tmp_path):
    command = ['train', 'bc', '--data', str(logs), '--steps', '2', *TINY, f'cache={tmp_path / "cache"}']
    assert main([*command, '--out', str(tmp_path / 'one'), 'validation=0.5']) == 0
    lines = (tmp_path / 'one.training' / 'metrics.jsonl').read_text().splitlines()
    assert ['validation_loss' in json.loads(line) for line in lines] == [False, True]
    made = (tmp_path / 'cache' / 'cache.json').stat().st_mtime_ns
    assert main([*command, '--out', str(tmp_path / 'two')]) == 0
    assert (tmp_path / 'cache' / 'cache.json').stat().st_mtime_ns == made


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['stepz=3'], "settings has no ['stepz']; it has: ['steps'"),
        (['policy=nonesuch'], "no policy 'nonesuch'"),
        (['policy=smolvlm'], 'policy.backbone.model is empty'),
        (['nonsense'], 'no episodes in nonsense: no such folder'),
        (['--steps', '1', 'nonsense'], "'nonsense' is no setting"),
        (['device=cuda:77'], "device 'cuda:77' (GPU 77) is not there"),
        (['--config', 'none.yaml'], 'none.yaml'),
        (['--data', 'steps=3'], '--data has no folder'),
        (['--data', 'nowhere/x=3'], 'no episodes in nowhere/x=3'),
    ],
)
def test_wrong_usage_is_named_and_leaves_nothing(logs, tmp_path, capsys, words, message):
    data = [] if '--data' in words else ['--data', str(logs)]
    command = ['train', 'bc', '--out', str(tmp_path / 'out'), 'steps=1', *data, *words]
    assert main(command) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


def test_the_help_names_settings_and_policies_that_exist(capsys):
    with pytest.raises(SystemExit):
        main(['train', 'bc', '--help'])
    assert EXAMPLES.strip() in capsys.readouterr().out
    known = flat(CloneConfig().to_dict())
    pretrained = PolicyConfig.from_dict(load_preset('smolvlm')).to_dict()
    known |= flat({'policy': pretrained})
    named = set(re.findall(r'(?<!\S)([a-z_.]+)=\S', EXAMPLES)) - {'policy', 'key'}
    assert len(named) > 15
    assert named <= set(known)
    first = EXAMPLES.split('policy=NAME')[1].splitlines()[0]
    assert all(name in first for name in presets())
    for command in re.findall(r'^ +(apprentice train .*)$', EXAMPLES, re.MULTILINE):
        build_parser('train').parse_args(command.split()[1:])
