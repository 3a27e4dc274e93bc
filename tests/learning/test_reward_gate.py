# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A reward model that a clock or a cosine beats does not teach, unless forced."""

import json
import logging
import math
from dataclasses import replace

import numpy as np
import pytest

from apprentice.learning.advantage import AdvantageConfig
from apprentice.learning.reward_gate import RefusedReward, RewardGate, verdict_files
from apprentice.reward_models.base import RewardModelError
from apprentice.reward_models.evaluation.verdict import FILE, Verdict, kept, read, weights_hash, write
from apprentice.robot.types import Episode, Outcome, Reward, RewardKind

GOOD = {
    'voc': 0.9,
    'voc_rewound': -0.8,
    'auroc': 0.95,
    'pair_accuracy': 0.9,
    'margin': 0.6,
    'ece': 0.05,
    'static_credit': 0.001,
    'false_success': 0.0,
}
CLOCK = {'voc': 1.0, 'voc_rewound': 1.0, 'auroc': 0.6, 'pair_accuracy': 0.6, 'margin': 0.0}
COSINE = {'voc': 0.4, 'voc_rewound': -0.1, 'auroc': 0.5, 'pair_accuracy': 0.5, 'margin': -0.1}


def verdict(**numbers):
    rivals = {'clock': CLOCK, 'cosine': COSINE}
    return Verdict(
        'critic', 'abc', 'f' * 64, '2026-01-01T00:00:00', 'simulator', {'success': 3}, GOOD | numbers, rivals
    )


def episode(model='critic', kind=RewardKind.PROGRESS_DELTA, version='abc'):
    rewards = [
        Reward(t, t, kind, 0.1, progress=0.1 * t, model=model, version=version, done_prob=0.0)
        for t in (0.0, 1.0)
    ]
    return Episode(
        'e', 'pick up the red cube', 1, Outcome.SUCCESS, 2, False, np.arange(2.0), {}, np.zeros((2, 7)),
        np.zeros((2, 7)), np.ones(2, np.uint8), np.zeros(2, np.int64), rewards,
    )  # fmt: skip


def test_numbers_decide():
    assert verdict().losses == []
    assert all(verdict().gate.values())
    assert verdict(auroc=0.55).losses == ['auroc 0.550, clock 0.600']
    assert verdict(voc_rewound=0.95, voc=0.9).losses == [
        'order -0.050, clock 0.000',
        'order -0.050, cosine 0.500',
    ]
    # what could not be measured decides nothing
    assert verdict(auroc=math.nan).losses == []
    assert verdict(auroc=math.nan).gate['auroc'] is None
    # rewound must fall at least half as well as forward rises
    assert verdict(voc_rewound=-0.44).gate['voc_rewound_share'] is False
    assert kept('ece', 0.1)
    assert not kept('static_credit', 0.021)


def test_a_loser_is_refused_with_its_numbers(tmp_path, caplog):
    files = write(verdict(margin=-0.2), [tmp_path])
    refused = RewardGate(files=files)
    with pytest.raises(
        RefusedReward, match=r'margin -0.200, clock 0.000; margin -0.200, cosine -0.100.*force'
    ):
        refused.check_episode(episode(), AdvantageConfig())
    with pytest.raises(RefusedReward):  # every time, not only the first
        refused.check_episode(episode(), AdvantageConfig())
    with caplog.at_level(logging.WARNING):
        RewardGate(force=True, files=files).check_episode(episode(), AdvantageConfig())
    assert 'forced: reward model critic abc' in caplog.text


def test_only_what_teaches_is_looked_at(tmp_path, caplog):
    gate = RewardGate(files=write(verdict(margin=-0.2), [tmp_path]))
    gate.check_episode(episode(kind=RewardKind.CLIP_SIM), AdvantageConfig())
    gate.check_episode(episode(), AdvantageConfig(model='another'))
    with caplog.at_level(logging.WARNING):  # other weights were never judged
        gate.check_episode(episode(version='new'), AdvantageConfig())
    assert 'critic new was never judged' in caplog.text


def test_the_newest_verdict_counts_and_a_damaged_one_does_not(tmp_path, caplog):
    old, new, broken = tmp_path / 'old', tmp_path / 'new', tmp_path / 'broken'
    files = write(verdict(margin=-0.2), [old]) + write(replace(verdict(), date='2026-02-01T00:00:00'), [new])
    broken.mkdir()
    (broken / FILE).write_text('{')
    with caplog.at_level(logging.WARNING):
        RewardGate(files=[broken / FILE, *files]).check_episode(episode(), AdvantageConfig())
    assert 'not readable JSON' in caplog.text
    with pytest.raises(RefusedReward):
        RewardGate(files=files[:1]).check_episode(episode(), AdvantageConfig())


def test_verdicts_are_found_where_the_bench_leaves_them(tmp_path, monkeypatch):
    monkeypatch.setenv('APPRENTICE_CACHE', str(tmp_path))
    files = write(verdict(ece=math.nan), [tmp_path / 'verdicts'])
    assert files[0] in verdict_files()
    again = read(files[0])
    assert again.model == 'critic'
    assert math.isnan(again.numbers['ece'])
    assert again.rivals['clock'] == CLOCK
    (tmp_path / 'x.json').write_text('{"model": "critic"}')
    with pytest.raises(RewardModelError, match='is no verdict'):
        read(tmp_path / 'x.json')


def test_a_hash_over_weights_ignores_what_is_written_about_them(tmp_path):
    (tmp_path / 'w.safetensors').write_bytes(b'1')
    before = weights_hash(tmp_path)
    write(verdict(), [tmp_path])
    (tmp_path / 'README.md').write_text('card')
    assert weights_hash(tmp_path) == before
    (tmp_path / 'w.safetensors').write_bytes(b'2')
    assert weights_hash(tmp_path) != before
    assert weights_hash('no/such') == ''


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('numbers', None),
        ('numbers', {'voc': 'high'}),
        ('rivals', []),
        ('rivals', {'clock': None}),
        ('counts', 3),
        ('date', None),
        ('version', 7),
    ],
)
def test_a_verdict_with_a_wrong_field_does_not_end_the_learning(tmp_path, caplog, name, value):
    (path,) = write(verdict(margin=-0.2), [tmp_path])
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    with pytest.raises(RewardModelError, match=f'is no verdict: {name}'):
        read(path)
    with caplog.at_level(logging.WARNING):
        RewardGate(files=[path, path]).check_episode(episode(), AdvantageConfig())
    assert 'critic abc was never judged' in caplog.text


def test_a_verdict_beside_other_weights_does_not_speak_for_them(tmp_path, caplog):
    weights = tmp_path / 'w.safetensors'
    weights.write_bytes(b'1')
    files = write(replace(verdict(), sha256=weights_hash(tmp_path)), [tmp_path])
    with caplog.at_level(logging.WARNING):
        RewardGate(files=files).check_episode(episode(), AdvantageConfig())
        assert not caplog.text
        weights.write_bytes(b'2')
        RewardGate(files=files).check_episode(episode(), AdvantageConfig())
    assert 'sha256 differs' in caplog.text
    assert 'critic abc was never judged' in caplog.text
    files = write(verdict(margin=-0.2), [tmp_path])
    with pytest.raises(RefusedReward):  # a refusal is not got rid of by touching the weights
        RewardGate(files=files).check_episode(episode(), AdvantageConfig())
