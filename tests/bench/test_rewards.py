# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""`apprentice bench rewards` from end to end, small: simulator and logs, text, JSON, page, verdict."""

import torch._dynamo  # isort: skip # noqa: F401 - before the first GL context of this process

import contextlib
import json
import re
import sys

import numpy as np
import pytest
from lerobot_files import write_dataset

from apprentice.bench import reward_table, rewards
from apprentice.bench.reward_truths import SEEDS, TASKS, recorded, simulated
from apprentice.cli.bench import benches
from apprentice.episodes.episode_writer import write_episode
from apprentice.learning.reward_gate import RefusedReward, RewardGate
from apprentice.reward_models.base import Needs, RewardModelError, Score
from apprentice.reward_models.evaluation.showing import OTHER_OBJECT, SUCCESS
from apprentice.robot.parts import find_robot
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import RewardKind
from apprentice.sim.rollout import RolloutConfig, rollouts
from apprentice.sim.tasks import load_task
from apprentice.sim.worlds import Worlds


class Dark:
    """Rewards darkness, whatever is asked for: it cannot know a success, and says it with confidence."""

    needs, kind, model, version = Needs(), RewardKind.ABS_PROGRESS, 'dark', '1'

    @classmethod
    def load(cls, weights, device='cpu', **options):
        if options:
            raise RewardModelError(f'unknown {options}')
        return cls()

    def encode(self, frames):
        return frames.astype(np.float32).mean(axis=(-3, -2))

    def negatives(self, text):
        return []

    def score(self, request):
        value = 1 - request.emb[:, -1].mean(axis=(1, 2)) / 255
        nothing = np.full(len(value), np.nan, np.float32)
        good = np.ones(len(value), bool)
        return Score(self.kind, value, nothing, value, nothing, good, self.model, self.version)


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs the bench in this process, with a cache of its own; returns exit code and output."""
    monkeypatch.setenv('APPRENTICE_CACHE', str(tmp_path / 'cache'))

    def with_arguments(*words):
        monkeypatch.setattr(sys, 'argv', ['rewards', *map(str, words)])
        code = rewards.main()
        return code, capsys.readouterr().out

    return with_arguments


def test_the_bench_is_found_by_its_name():
    assert benches()['rewards'][0].name == 'rewards.py'


def test_a_model_that_loses_is_refused_everywhere(run, tmp_path):
    code, said = run(
        '--model', f'{__name__}:Dark', '--weights', 'none', '--groups', TASKS, '--tasks', 'reach',
        '--attempts', 4, '--json', tmp_path / 'r.json', '--page', tmp_path / 'r.html',
    )  # fmt: skip
    assert code == 1
    for row in ('dark', 'clock', 'constant', 'random', 'cosine'):
        assert f'| {row} |' in said
    data = json.loads((tmp_path / 'r.json').read_text())
    assert set(data['rows']) == {'dark', 'clock', 'constant', 'random', 'cosine'}
    assert data['losses']
    numbers = data['rows']['dark'][TASKS]['numbers']
    assert numbers['margin'] == 0  # it does not read
    assert data['rows']['clock'][TASKS]['numbers']['voc'] > 0.99
    page = (tmp_path / 'r.html').read_text()
    assert 'refuses this model' in page
    assert len(re.findall(r'data:image/png;base64,[A-Za-z0-9+/=]{1000,}', page)) == 1
    assert 'http' not in page.replace('http-equiv', '')  # nothing is loaded from elsewhere
    with pytest.raises(RefusedReward, match=data['losses'][0].split(',')[0]):
        RewardGate().check([('dark', '1')])


def test_groups_are_what_they_are_called(run):
    found = simulated([SEEDS, TASKS], 6, tasks=['pick', 'reach'])
    assert {item.group for item in found[SEEDS]} == {'pick'}
    assert {item.group for item in found[TASKS]} == {'reach'}
    for item in [*found[SEEDS], *found[TASKS]]:
        assert item.success == item.solved[-1]
        assert item.text not in item.wrong
        assert item.reference is not None
    assert not any('yellow' in item.text for item in found[SEEDS])
    assert any(item.kind == OTHER_OBJECT for item in found[SEEDS])
    assert any(item.moved for item in found[SEEDS])


def test_recorded_episodes_are_judged_by_their_outcome(run, tmp_path):
    spec = RobotSpec.load(find_robot('sim_arm'))
    with contextlib.closing(Worlds(spec, 1, task=load_task('reach'))) as worlds:
        good = list(rollouts(worlds, [1, 2], None, expert=worlds.expert()))
        short = RolloutConfig(max_duration_s=0.8)
        bad = list(rollouts(worlds, [3], None, short, expert=worlds.expert()))
    for i, episode in enumerate([*good, *bad]):
        episode.episode_id = f'e{i}'
        write_episode(tmp_path / 'log', episode, spec)
    items = recorded(tmp_path / 'log', spec, 5.0)
    assert sorted(item.kind for item in items) == ['failure', SUCCESS, SUCCESS]
    assert all(np.isnan(item.progress).all() for item in items)
    code, said = run(
        '--model', f'{__name__}:Dark', '--weights', 'none', '--data', tmp_path / 'log', '--no-verdict'
    )
    assert code in (0, 1)
    assert '2 success, 1 failure' in said
    assert not (tmp_path / 'cache' / 'verdicts').exists()
    # the same from a LeRobot dataset
    folder = write_dataset(tmp_path / 'set', [*good, *bad], spec.joint_names)
    again = recorded(folder, spec, 5.0)
    assert [(i.kind, i.text, len(i.frames)) for i in again] == [
        (i.kind, i.text, len(i.frames)) for i in items
    ]
    one = recorded(sorted((tmp_path / 'log').rglob('*.mcap'))[0], spec, 5.0)
    assert len(one) == 1
    with pytest.raises(ValueError, match='no episode with an outcome'):
        recorded(tmp_path / 'empty', spec, 5.0)


def test_wrong_words_name_the_remedy(run):
    with pytest.raises(ValueError, match='NAME=VALUE'):
        run('--model', f'{__name__}:Dark', '--option', 'alpha')
    with pytest.raises(ValueError, match='none of --tasks'):
        run('--model', f'{__name__}:Dark', '--weights', 'none', '--tasks', 'reach', '--groups', SEEDS)
    with pytest.raises(ImportError, match=r'package\.module:Class'):
        run('--model', 'dark')


def test_bold_is_what_keeps_its_bound():
    numbers = dict.fromkeys(reward_table.COLUMNS, 0.95) | {'voc_rewound': -0.4}
    assert reward_table.cell('auroc', numbers) == '**0.950**'
    assert reward_table.cell('ece', numbers) == '0.950'
    assert reward_table.cell('voc_rewound', numbers) == '-0.400'
    assert reward_table.cell('voc_rewound', numbers | {'voc_rewound': -0.6}) == '**-0.600**'
