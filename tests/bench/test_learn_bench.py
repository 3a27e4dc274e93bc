# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The bench of learning with demonstrations: the same world for all, the rule of 90 %, the table."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from apprentice.bench import environments, learn, learn_ours
from apprentice.bench.learn_world import DISCOUNT, Path, Trial, TrialConfig
from apprentice.learning.rl.base import Sizes

TINY = {'seed': 0, 'demonstrations': 1, 'starts': 2, 'every': 1, 'cpu_s': 60.0, 'episodes': 2}
SMALL = {'before': 2, 'clone': 2, 'again': 1, 'updates': 0.1, 'batch': 8}


@pytest.fixture(scope='module')
def trial():
    made = Trial(TrialConfig(**TINY))
    yield made
    made.close()


def test_the_expert_shows_how_and_the_rewards_say_so(trial):
    (path,) = trial.demonstrations()
    assert path.success
    steps = len(path.actions)
    assert path.observations.shape == (steps + 1, *trial.env.observation_space.shape)
    assert path.observations.dtype == np.float32
    # 1 for success, and the gain of progress from 0 to 1
    assert float(path.rewards.sum()) == pytest.approx(2.0, abs=0.05)
    assert float(path.rewards[-1]) > 1.0
    # the last three numbers are the way that is left to the marker, five to a metre
    assert np.linalg.norm(path.observations[-1, -3:]) < 5 * 0.03 < np.linalg.norm(path.observations[0, -3:])


def test_an_evaluation_executes_whole_chunks_and_costs_no_time(trial):
    asked = []

    def plan(observations):
        asked.append(len(observations))
        return np.zeros((len(observations), 7, trial.env.action_space.shape[0]), np.float32)

    trial.begin()
    trial.evaluate(plan)
    assert asked == [2] * math.ceil(60 / 7)  # 6 s of 0.1 s, without success
    assert trial.evaluations[-1]['success'] == 0
    assert trial.evaluations[-1]['cpu_s'] < 1.0


def test_it_is_reached_twice_in_a_row(trial):
    rates = [0.95, 0.5, 0.9, 0.92, 0.3]
    trial.evaluations[:] = [{'episodes': i, 'success': rate} for i, rate in enumerate(rates)]
    assert trial.result()['reached']['episodes'] == 2
    trial.evaluations[:] = [{'episodes': i, 'success': rate} for i, rate in enumerate([0.1, 0.95])]
    assert trial.result()['reached'] is None


def test_chunk_transitions_by_hand():
    """Three steps, two rows a chunk; the success ends, a time-out is bootstrapped from."""
    sizes = Sizes(1, 2, 1)
    for success in (True, False):
        memory = learn_ours.Memory(sizes, None, 0)
        path = Path(
            np.arange(4, dtype=np.float32)[:, None],
            np.array([[0.1], [0.2], [0.3]], np.float32),
            np.array([1, 2, 4], np.float32),
            success,
        )
        memory.add(path, human=True)
        batch = memory.sample(200, torch.Generator().manual_seed(0))
        batch.check(sizes)
        rows = {
            tuple(round(float(x), 4) for x in (f, *a.flatten(), *v, r, d, n))
            for f, a, v, r, d, n in zip(
                batch.feature, batch.action, batch.valid, batch.reward, batch.discount, batch.next_feature
            )
        }
        two, one = (0.0, 0.0) if success else (DISCOUNT**2, DISCOUNT)
        assert rows == {
            (0.0, 0.1, 0.2, 1.0, 1.0, round(1 + 2 * DISCOUNT, 4), round(DISCOUNT**2, 4), 2.0),
            (1.0, 0.2, 0.3, 1.0, 1.0, round(2 + 4 * DISCOUNT, 4), round(two, 4), 3.0),
            (2.0, 0.3, 0.3, 1.0, 0.0, 4.0, round(one, 4), 3.0),
        }
        assert bool(batch.human.all())


def test_the_default_recipe_learns():
    settings = {**learn_ours.OURS['flow_edit'].settings, 'hidden': [8]}
    found = learn_ours.learn('flow_edit', TINY, {**SMALL, 'settings': settings})
    assert [each['episodes'] for each in found['evaluations']] == [0, 1, 2]
    assert found['evaluations'][-1]['steps'] > 2
    assert found['updates'] > 2


def test_medians_and_ratios_say_who_got_there():
    row = {'steps': 90, 'wall_s': 9.0, 'cpu_s': 8.0}
    common = {'load': {'before': 1.0, 'after': 2.0}, 'versions': {'torch': '2'}}

    def result(first, reached):
        entries = [{'episodes': 0, 'success': first, **row}, {'episodes': 40, 'success': 0.5, **row}]
        return {**common, 'evaluations': entries, 'reached': reached}

    there = {'episodes': 10, 'success': 0.9, **row}
    ours = learn.summary('rlpd_sac', [result(0.0, there), result(0.1, None), result(0.2, there)])
    peer = learn.summary('sb3', [result(0.0, None)] * 3)
    assert ours['median']['episodes'] == 10
    assert ours['all'] == [10, None, 10]
    found = {each['of']: each for each in learn.ratios([ours, peer])}
    assert found['episodes'] == {
        'ours': 'rlpd_sac', 'peer': 'sb3', 'of': 'episodes', 'ratio': 0.25, 'bound': True,
    }  # fmt: skip
    lost = learn.summary('flow_edit', [result(0.0, None)] * 3)
    assert all(math.isnan(each['ratio']) for each in learn.ratios([lost, peer]))


def test_a_result_is_kept(tmp_path, capsys):
    words = ['--contestants', 'rlpd_sac,sb3', '--no-peers', '--seeds', '0', '--work', str(tmp_path / 'work')]
    words += [
        '--json',
        str(tmp_path / 'out.json'),
        '--demonstrations',
        '1',
        '--starts',
        '2',
        '--episodes',
        '1',
    ]
    words += ['rlpd_sac.before=2', 'rlpd_sac.updates=0.1', 'rlpd_sac.batch=8']
    assert learn.main(words) == 0
    result = json.loads((tmp_path / 'out.json').read_text())
    (row,) = result['rows']
    assert row['done']['episodes'] == 1
    assert row['done']['steps'] == result['results']['rlpd_sac'][0]['evaluations'][-1]['steps'] > 2
    assert '| rlpd_sac | not in 1 | not |' in capsys.readouterr().out
    assert learn.main(words) == 0
    assert json.loads((tmp_path / 'out.json').read_text())['results'] == result['results']  # its times too
    with pytest.raises(SystemExit):
        learn.parse(['rlpd_sac.nothing=3'])
    assert 'fields are those of' in capsys.readouterr().err


def test_the_peer_learns_in_the_same_world(tmp_path):
    folder = environments.location(learn.PEER)
    if not (folder / environments.DONE).exists():
        pytest.skip('the environment of the peer is made at its first use')
    made = learn.contestant('sb3', TINY, {})
    found = learn.measure(made, tmp_path, 200.0)
    assert [each['episodes'] for each in found['evaluations']] == [0, 1, 2]
    assert found['evaluations'][-1]['steps'] > 2
    assert 'stable-baselines3' in found['versions']
