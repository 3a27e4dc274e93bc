# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""`apprentice label` on recorded data, and what training makes of it; the simulated person answers."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from label_rig import ROBOT_FILE, SPEC, make, record

from apprentice.cli.main import main
from apprentice.episodes.answers import Answer, AnswerFile, Stretch, StretchPair
from apprentice.episodes.audits import Audit, AuditFile, drawn, precision, stop_reason
from apprentice.episodes.doubts import doubt, ending_of
from apprentice.episodes.episode_writer import write_episode
from apprentice.episodes.files import EpisodeFileError
from apprentice.episodes.labels import label_path, read_label
from apprentice.learning.preference.store import PairStore
from apprentice.reward_models.base import ScoreRequest
from apprentice.reward_models.preferences.reward import PreferenceReward
from apprentice.robot.types import Outcome, RewardKind


@pytest.fixture(scope='module')
def recorded(tmp_path_factory):
    return record(tmp_path_factory.mktemp('run'), [make(number) for number in range(16)])


def test_answers_become_a_reward_and_pairs_of_chunks(recorded, tmp_path, capsys):
    words = ['label', str(recorded), '--scripted', '--person', 'anna', '--seconds', '1.5']
    assert main([*words, '--pairs', '20']) == 0
    assert '20 pairs answered' in capsys.readouterr().out
    file = AnswerFile(recorded / 'episodes' / 'preferences.jsonl')
    first = file.read()
    assert {answer.person for answer in first} == {'anna'}
    assert sum(np.isfinite(answer.pair.information) for answer in first) > 5, 'later pairs are chosen'
    assert main([*words, '--pairs', '24']) == 0, 'it goes on where it was'
    assert {answer.pair.pair_id for answer in file.read()} > {answer.pair.pair_id for answer in first}
    assert len(file.read()) == 24

    assert main(['train', 'preference', '--data', str(recorded), '--out', str(tmp_path / 'reward')]) == 0
    said = capsys.readouterr().out
    assert json.loads(said[said.rindex('{') :])['accuracy'] > 0.6
    assert '24 answers' in (tmp_path / 'reward' / 'README.md').read_text()
    reward = PreferenceReward.load(tmp_path / 'reward')
    dark, light = make(16), make(23)
    frames = np.stack([np.stack([e.images[c][-6:] for c in reward.needs.cameras], 1) for e in (dark, light)])
    value = reward.score(ScoreRequest(text=[dark.task] * 2, frames=frames)).value
    assert value[1] > value[0], 'of episodes nobody was asked about'

    out = str(tmp_path / 'dpo')
    words = ['train', 'dpo', '--data', str(recorded), '--pairs-by', 'labelled', '--build-only', '--out', out]
    assert main(words) == 0
    pairs = PairStore(tmp_path / 'dpo.training' / 'pairs').read()
    decided = [answer for answer in file.read() if answer.better is not None]
    assert set(pairs.source) == {'labelled'}
    assert pairs.apart.all()
    assert {pairs.episode[o] for o in pairs.observation} == {answer.better.episode for answer in decided}


def test_recordings_of_another_robot_are_read_with_its_file(tmp_path, capsys):
    mine = ROBOT_FILE.replace('name: sim_arm', 'name: my_arm')
    run = tmp_path / 'episodes'
    for number in (0, 1, 6, 7):
        episode = make(number, robot='my_arm')
        # a critic that knows the truth
        episode.rewards = [replace(r, kind=RewardKind.ABS_PROGRESS, model='critic') for r in episode.rewards]
        write_episode(run, episode, SPEC, mine)  # the recorder notes the robot file
    file = AnswerFile(run / 'preferences.jsonl')
    for worse, better in ((0, 6), (0, 7), (1, 6)):
        sides = (Stretch(f'run-{number:05d}', 0.5, 2.5) for number in (worse, better))
        file.add(Answer(StretchPair('pick up the red cube', *sides), 'right', 'anna'))
    assert main(['train', 'preference', '--data', str(tmp_path), '--out', str(tmp_path / 'reward')]) == 0
    assert '3 answers' in capsys.readouterr().out
    words = ['--data', str(tmp_path), '--out', str(tmp_path / 'calibrated')]
    assert main(['train', 'calibration', *words, '--model', 'critic']) == 0
    assert '4 episodes' in capsys.readouterr().out
    assert main(['train', 'calibration', *words, '--model', 'critic', '--robot', 'sim_arm']) == 2
    assert "robot 'my_arm'" in capsys.readouterr().err


def test_training_without_answers_says_what_to_do(tmp_path, capsys):
    run = record(tmp_path, [make(0), make(1)])
    assert main(['train', 'preference', '--data', str(run), '--out', str(tmp_path / 'r')]) == 2
    assert 'apprentice label' in capsys.readouterr().err
    assert main(['label', str(tmp_path / 'nothing'), '--scripted']) == 2


def test_doubtful_outcomes(tmp_path, capsys):
    fine, denied = make(5, claim=0.97), make(6, claim=0.2)
    close, missed = make(7, claim=0.95, margin=0.01), make(1, claim=0.95)
    by_hand = make(13, claim=0.1, end_cause=1)
    failed_by_hand = make(9, claim=0.95, end_cause=1)
    open_end = make(2, outcome=Outcome.UNKNOWN)
    run = record(tmp_path, [fine, denied, close, missed, by_hand, failed_by_hand, open_end])
    endings = {e.name: e for e in map(ending_of, sorted((run / 'episodes').glob('*.mcap')))}
    why = {name: doubt(ending)[1] for name, ending in endings.items()}
    assert why['run-00005'] == why['run-00013'] == ''
    assert why['run-00009'] == '', 'a person said that it failed'
    assert '20% done' in why['run-00006']
    assert 'another instruction' in why['run-00007']
    assert 'ended as a failure' in why['run-00001']
    assert 'nobody said' in why['run-00002']
    assert [endings[n].automatic for n in ('run-00005', 'run-00013', 'run-00001')] == [True, False, False]

    assert main(['label', str(run), '--success', '--scripted']) == 0
    out = capsys.readouterr().out
    assert '4 of 7 outcomes are doubtful' in out
    assert '4 judged, 1 outcomes corrected' in out
    assert read_label(run / 'episodes' / 'run-00002.mcap') == Outcome.FAILURE
    assert not label_path(run / 'episodes' / 'run-00005.mcap').exists()
    assert main(['label', str(run), '--success', '--scripted']) == 0
    assert '0 of 7 outcomes are doubtful' in capsys.readouterr().out, 'what was judged is not asked again'


def test_an_audit_stops_what_is_wrong_too_often(tmp_path, capsys):
    names = [f'run-{n:05d}' for n in range(200)]
    chosen = drawn(names)
    assert 8 <= len(chosen) <= 32
    assert chosen == [n for n in drawn([*names, 'another']) if n != 'another']
    # automatic successes; among those that are looked at, two were none
    numbers = [int(name[4:]) for name in chosen[:6]]
    wrong = numbers[:2]
    episodes = [
        make(
            5 + 8 * n if n not in wrong else 8 * n, length=12, episode_id=f'run-{n:05d}',
            outcome=Outcome.SUCCESS, end_cause=2,
        )
        for n in [*numbers, 1000, 1001]
    ]  # fmt: skip
    run = record(tmp_path, episodes)
    assert main(['label', str(run), '--audit', '--scripted']) == 1
    out = capsys.readouterr().out
    assert '8 automatic successes' in out
    assert '4 of the last 6 audited successes were right' in out
    assert 'AUTOMATIC SUCCESS IS STOPPED' in out
    audits = AuditFile(run / 'episodes' / 'audit.jsonl')
    assert {audit.episode for audit in audits.read() if not audit.right} == {f'run-{n:05d}' for n in wrong}
    assert read_label(run / 'episodes' / f'run-{wrong[0]:05d}.mcap') == Outcome.FAILURE
    assert main(['label', str(run), '--audit', '--scripted']) == 1, 'it stays stopped'
    assert main(['label', str(run), '--audit', '--begin-again', '--scripted']) == 0
    assert stop_reason(audits.read()) == ''


def test_the_rule_of_the_audit(tmp_path):
    file = AuditFile(tmp_path / 'audit.jsonl')
    assert precision(file.read()).share is None
    for number in range(30):
        file.add(Audit(f'e{number}', number != 3))
    assert (precision(file.read()).audited, precision(file.read()).right) == (20, 20), 'the last 20 count'
    file.add(Audit('e40', False))
    assert stop_reason(file.read()) == '', '19 of 20 are 95 %'
    file.add(Audit('e41', False))
    assert '2 of the last 20' in stop_reason(file.read())
    file.add(Audit('e41', True))
    assert stop_reason(file.read()) == '', 'a second look replaces the first'
    file.path.write_text('{"episode": "a"}\n')
    with pytest.raises(EpisodeFileError, match='line 1'):
        file.read()
