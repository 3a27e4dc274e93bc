# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""``apprentice train rl``: a few short episodes of the simulated arm, settings, a resume, a sweep."""

from __future__ import annotations

import itertools
import json

import pytest
import torch
import yaml
from safetensors.torch import load_file

from apprentice.cli.main import main
from apprentice.learning.metrics_file import read_metrics
from apprentice.learning.rl.flow_ppo import FlowPpoConfig
from apprentice.learning.rl.grpo import GrpoConfig
from apprentice.learning.rl.rl_config import SEEDS, RlConfig, read_rl_config
from apprentice.learning.rl.sweep import combinations
from apprentice.learning.rl.train import starts_of
from apprentice.policies import checkpoint
from apprentice.robot.parts import share
from apprentice.robot.settings import SettingsError

SHORT = ['starts=2', 'together=2', 'max_duration_s=0.8', 'algorithm.minibatches=1', 'rewards.progress=0.5']


def train(*words: object) -> int:
    return main(['train', 'rl', '--workers', '1', *map(str, words), *SHORT])


def test_a_killed_training_goes_on_to_the_same_weights(tmp_path, capsys):
    one, two = tmp_path / 'one', tmp_path / 'two'
    assert train('--out', one, '--iterations', 2) == 0
    assert f'apprentice eval {one}' in capsys.readouterr().out
    assert train('--out', two, '--iterations', 1) == 0
    assert train('--out', two, '--iterations', 2) == 0
    first, second = (load_file(out / checkpoint.WEIGHTS) for out in (one, two))
    begin = load_file(share('weights', 'policy') / checkpoint.WEIGHTS)
    for name, tensor in first.items():
        torch.testing.assert_close(second[name], tensor, rtol=0, atol=1e-6)
        assert torch.equal(tensor, begin[name]) == name.startswith('backbone.'), name
    for out in (one, two):
        metrics = read_metrics(tmp_path / f'{out.name}.training' / 'metrics.jsonl')
        assert [m['step'] for m in metrics] == [1, 2]
        assert metrics[1]['episodes'] == 2
        assert metrics[1]['rows'] == 8
    _, manifest = checkpoint.load(two)
    assert manifest['about']['name'] == 'flow_ppo'
    assert manifest['about']['iterations'] == 2
    settings = tmp_path / 'two.training' / 'train.yaml'
    assert settings.read_text().startswith('# repeat: apprentice train rl --engine local --config train.yaml')
    assert read_rl_config(file=settings).rewards.progress == 0.5
    # other settings are another run
    assert train('--out', two, '--iterations', 3, 'algorithm.clip=0.1') == 2
    assert 'algorithm.clip differ' in capsys.readouterr().err


def test_a_sweep_trains_all_combinations(tmp_path, capsys):
    lists = ['--sweep', 'seed=0,1', '--sweep', 'algorithm.clip=0.1']
    assert train('--out', tmp_path / 'sweep', *lists, '--iterations', 1) == 0
    found = json.loads((tmp_path / 'sweep' / 'sweep.json').read_text())
    assert [each['words'] for each in found] == [
        ['seed=0', 'algorithm.clip=0.1'],
        ['seed=1', 'algorithm.clip=0.1'],
    ]
    for each in found:
        checkpoint.load(each['out'])
        assert 0 <= each['success'] <= 1
    trained = yaml.safe_load(
        (tmp_path / 'sweep' / 'seed=1_algorithm.clip=0.1.training' / 'train.yaml').open()
    )
    assert (trained['seed'], trained['algorithm']['clip']) == (1, 0.1)
    assert 'seed=0 algorithm.clip=0.1: 0.0%' in capsys.readouterr().out


def test_settings():
    config = read_rl_config(['algorithm=grpo', 'algorithm.group=4', 'rewards.gamma=0.9'])
    assert config.part == 'apprentice.learning.rl.grpo:ALGORITHM'
    assert config.algorithm == GrpoConfig(group=4)
    assert config.rewards.gamma == 0.9
    assert RlConfig().algorithm == FlowPpoConfig()
    assert combinations(['a=1,2', 'b=x']) == [('a=1', 'b=x'), ('a=2', 'b=x')]
    again = read_rl_config(flags=config.to_dict())
    assert again == config
    assert again.differences(RlConfig(iterations=1).to_dict())
    assert not again.differences({**config.to_dict(), 'iterations': 9})


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['algorithm=nonsense'], 'flow_ppo, fpo, grpo, recap'),
        (['algorithm=apprentice.learning.rl.base:make'], 'for the learner node'),
        (['algorithm.group=4'], "has no \\['group'\\]"),
        (['starts=0'], 'starts is 0'),
        (['steps'], 'write key=value'),
    ],
)
def test_wrong_settings_name_what_there_is(words, message):
    with pytest.raises(SettingsError, match=message):
        read_rl_config(words)


def test_wrong_options(tmp_path, capsys):
    assert train('--out', tmp_path / 'out', '--address', 'auto') == 2
    assert '--engine ray' in capsys.readouterr().err
    assert train('--out', tmp_path / 'out', '--sweep', 'seed') == 2
    assert 'write key=a,b' in capsys.readouterr().err
    assert train('--out', tmp_path / 'out', '--policy', tmp_path / 'nothing') == 2
    assert not (tmp_path / 'out').exists()


def test_no_start_comes_twice():
    config = RlConfig(starts=3)
    drawn = [starts_of(i, config, 1, ranks) for i in range(3) for ranks in [_ranks(0, 2), _ranks(1, 2)]]
    assert sorted(itertools.chain.from_iterable(drawn)) == list(range(SEEDS, SEEDS + 9))
    assert starts_of(0, config, 2, _ranks(0, 1)) == [SEEDS, SEEDS, SEEDS + 1, SEEDS + 1, SEEDS + 2, SEEDS + 2]


def _ranks(rank, world):
    from apprentice.learning.distributed import Ranks

    return Ranks(rank, world)
