# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The bench of preference optimisation: what it counts, and that an arm is measured once."""

import torch._dynamo  # isort: skip # noqa: F401 - before the first GL context of this process

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'learning'))
from clone_rig import ROBOT, make_episode
from preference_rig import JOINT, save_policy

from apprentice.bench import dpo, dpo_arms
from apprentice.episodes.episode_writer import write_episode
from apprentice.learning.statistics import mcnemar
from apprentice.policies import checkpoint


def test_differences_are_of_the_same_starts():
    before = {seed: seed < 2 for seed in range(10)}
    after = {seed: 1 <= seed < 6 for seed in range(10)}
    row = dpo.compare('nora', before, after, 7)
    assert (row['successes'], row['points'], row['only_before'], row['only_after']) == (5, 30.0, 1, 4)
    other = dpo.compare('nora', before, {seed: seed < 4 for seed in range(10)}, 9, seed=1)
    both = dpo.by_arm([row, other])['nora']
    assert (both['successes'], both['trials'], both['each'], both['points']) == (9, 20, [5, 4], 25.0)
    assert (both['pairs'], both['p']) == (8, mcnemar(1, 6))


@pytest.mark.parametrize(
    ('won', 'verdict'), [(3, 'reached with +10.0'), (2, 'missed by 10.0 points with +0.0')]
)
def test_the_table_says_whether_the_target_is_met(won, verdict):
    before = {seed: seed < 2 for seed in range(10)}
    rows = [dpo.compare('before', before, before, 0)]
    rows.append(dpo.compare('nora', before, {seed: seed < won for seed in range(10)}, 3))
    algorithm = {'batch': 16, 'beta': 250.0, 'anchor': 0.1, 'learning_rate': 1e-4}
    settings = {'head': 'flow', 'steps': 5, 'algorithm': algorithm}
    result = {'first_seed': 700_000, 'trials': 10, 'seeds': [0], 'settings': settings, 'rows': rows}
    lines = dpo.table(result)
    assert 'Starts 700000 to 700009' in lines[0]
    assert f'| nora | 3 | {won} | {won}/10' in '\n'.join(lines)
    assert verdict in lines[-1]


def test_an_arm_is_trained_and_tried_once(tmp_path, monkeypatch):
    logs = tmp_path / 'work' / 'old_demonstrations'
    write_episode(logs / 'demonstration-000-00000.mcap', make_episode(0), ROBOT)
    words = ['apprentice', '--arms', 'deviation', '--demonstrations', '1', '--trials', '1', '--work']
    words += [str(tmp_path / 'work'), '--json', str(tmp_path / 'a.json'), 'steps=1', 'algorithm.batch=2']
    monkeypatch.setattr('sys.argv', words)
    assert dpo.main() == 0
    result = json.loads((tmp_path / 'a.json').read_text())
    assert [row['name'] for row in result['rows']] == ['before', 'deviation']
    assert result['rows'][1]['pairs'] == 12
    assert result['rows'][1]['trials'] == 1
    # again: nothing is trained or tried, the numbers are the same
    monkeypatch.setattr(dpo_arms, 'train_dpo', None)
    monkeypatch.setattr(dpo_arms, 'WorldPool', None)
    assert dpo.main() == 0
    assert json.loads((tmp_path / 'a.json').read_text())['rows'] == result['rows']


def test_people_help_once_and_their_chunks_win(tmp_path):
    words = ['--helped', '2', '--work', str(tmp_path), 'head=flow']
    bench = dpo_arms.Bench(dpo.parse(words), 0)
    pairs = bench.pairs(dpo_arms.ARMS['helped'])
    assert set(pairs.source) == {'intervention'}
    files = {path: path.stat().st_mtime_ns for path in bench.helped().values()}
    assert len(files) == 2
    assert {path: path.stat().st_mtime_ns for path in bench.helped().values()} == files


def test_every_head_and_policy_has_episodes_and_pairs_of_its_own(tmp_path):
    """One work folder; what one head did or proposed is nothing that the other one is trained on."""
    starter = save_policy(tmp_path / 'starter', JOINT)
    work, shipped = tmp_path / 'work', dpo_arms.share('weights', 'policy')
    write_episode(work / 'old_demonstrations' / 'demonstration-000-00000.mcap', make_episode(0), ROBOT)
    found, helped = {}, set()
    for head in ('flow', 'fast'):
        words = ['--policy', str(starter), '--work', str(work), '--demonstrations', '1', '--helped', '1']
        bench = dpo_arms.Bench(dpo.parse([*words, f'head={head}']), 0)
        found[head] = bench.pairs(dpo_arms.ARMS['deviation'])
        assert bench.pairs(dpo_arms.ARMS['deviation']).digest() == found[head].digest()
        helped.update(path.parent.name for path in bench.helped().values())
        assert bench.pairs(dpo_arms.ARMS['helped']).source[0] == 'intervention'
    assert np.abs(found['flow'].loser[0] - found['fast'].loser[0]).max() > 1e-3
    other = dpo_arms.Bench(dpo.parse(['--work', str(work), '--helped', '1', 'head=flow']), 0)
    helped.update(path.parent.name for path in other.helped().values())
    hashes = [checkpoint.sha256(folder / checkpoint.MANIFEST)[:8] for folder in (starter, shipped)]
    expected = (f'{hashes[0]}_flow', f'{hashes[0]}_fast', f'{hashes[1]}_flow')
    assert helped == {f'helped_episodes_{each}' for each in expected}


def test_starts_that_are_reported_are_not_those_of_choosing():
    assert dpo.parse([]).first_seed == 700_000
    with pytest.raises(SystemExit):
        dpo.parse(['--arms', 'nothing'])
    with pytest.raises(SystemExit):
        dpo.parse(['--seeds', 'a'])
