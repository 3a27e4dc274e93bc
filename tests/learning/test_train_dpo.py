# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Training by DPO: saved whole, resumed to the same loss, bad input named, the command line."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from clone_rig import ROBOT, make_episode, process_environment
from preference_rig import JOINT, QUIET, TRAINING, make_pairs, save_policy

from apprentice.cli.main import main
from apprentice.episodes.episode_writer import write_episode
from apprentice.learning.clone import training_folder
from apprentice.learning.metrics_file import read_metrics
from apprentice.learning.preference.pairs import PairError
from apprentice.learning.preference.store import PairStore
from apprentice.learning.preference.train import train_dpo
from apprentice.learning.preference.train_config import DpoTraining, read_training
from apprentice.policies import checkpoint
from apprentice.robot.settings import SettingsError

SMALL_WORDS = ['steps=2', 'algorithm.batch=4', 'algorithm.draws=1', 'validation=0', 'device=cpu', 'warm_up=1']


@pytest.fixture
def starter(tmp_path) -> Path:
    return save_policy(tmp_path / 'starter')


def losses(out: Path) -> list[tuple[int, float]]:
    return [(m['step'], m['loss']) for m in read_metrics(training_folder(out) / 'metrics.jsonl')]


def test_a_training_leaves_policy_card_metrics_and_plot(starter, tmp_path):
    out, seen = tmp_path / 'out', []
    train_dpo(starter, make_pairs(), out, TRAINING, lambda step, metrics: seen.append(step))
    assert seen == [1, 2, 3, 4, 5, 6]
    policy, manifest = checkpoint.load(out)
    assert manifest['about']['name'] == 'DPO on the flow head'
    assert manifest['about']['reference'] == checkpoint.sha256(starter / checkpoint.MANIFEST)
    assert policy.spec.to_dict() == checkpoint.load(starter)[0].spec.to_dict()
    assert (out / 'model.safetensors').read_bytes() != (starter / 'model.safetensors').read_bytes()
    card = (out / 'README.md').read_text()
    assert 'by test' in card
    assert '| accuracy |' in card
    lines = read_metrics(training_folder(out) / 'metrics.jsonl')
    assert [m['step'] for m in lines if 'validation_accuracy' in m] == [3, 6]
    assert (training_folder(out) / 'loss.png').read_bytes().startswith(b'\x89PNG')
    assert read_training(file=out / 'train.yaml') == TRAINING


@pytest.mark.parametrize('head', ['flow', 'fast'])
def test_a_training_that_was_killed_gives_the_same_loss(tmp_path, head):
    """Cut after step 3; a snapshot is every second step."""
    starter = save_policy(tmp_path / 'starter', JOINT)
    config = dataclasses.replace(TRAINING, head=head)
    train_dpo(starter, make_pairs(), tmp_path / 'whole', config)

    class Killed(Exception):
        pass

    def kill(step, metrics):
        if step == 3:
            raise Killed

    with pytest.raises(Killed):
        train_dpo(starter, make_pairs(), tmp_path / 'cut', config, kill)
    train_dpo(starter, make_pairs(), tmp_path / 'cut', config)
    assert losses(tmp_path / 'cut') == losses(tmp_path / 'whole')
    weights = [(tmp_path / name / 'model.safetensors').read_bytes() for name in ('cut', 'whole')]
    assert weights[0] == weights[1]


def test_killed_for_real(starter, tmp_path):
    train_dpo(starter, make_pairs(), tmp_path / 'whole', TRAINING)
    script = Path(__file__).with_name('killed_dpo.py')
    command = [sys.executable, str(script), str(starter), str(tmp_path / 'killed'), '2']
    subprocess.run(command, check=True, env=process_environment(), timeout=120)
    train_dpo(starter, make_pairs(), tmp_path / 'killed', TRAINING)
    assert losses(tmp_path / 'killed') == losses(tmp_path / 'whole')


def test_the_folder_of_another_run_is_refused(starter, tmp_path):
    out = tmp_path / 'out'
    train_dpo(starter, make_pairs(), out, TRAINING)
    other = dataclasses.replace(TRAINING, algorithm=dataclasses.replace(QUIET, beta=7.0))
    with pytest.raises(ValueError, match=r'algorithm\.beta'):
        train_dpo(starter, make_pairs(), out, other)
    with pytest.raises(ValueError, match='pairs'):
        train_dpo(starter, make_pairs(sign=-1.0), out, TRAINING)


def test_pairs_of_another_robot_are_refused(starter, tmp_path):
    pairs = make_pairs()
    small = {name: stack[:, :32] for name, stack in pairs.images.items()}
    with pytest.raises(PairError, match='cameras'):
        train_dpo(starter, dataclasses.replace(pairs, images=small), tmp_path / 'a', TRAINING)
    shorter = {
        name: getattr(pairs, name)[:, :5]
        for name in ('winner', 'loser', 'valid', 'winner_steps', 'loser_steps')
    }
    with pytest.raises(PairError, match='rows'):
        train_dpo(starter, dataclasses.replace(pairs, **shorter), tmp_path / 'b', TRAINING)
    with pytest.raises(PairError, match='no pairs'):
        train_dpo(starter, pairs.select([]), tmp_path / 'c', TRAINING)
    assert not (tmp_path / 'a').exists()


def test_settings_are_words_and_files(tmp_path):
    file = tmp_path / 'settings.yaml'
    file.write_text('{steps: 9, algorithm: {beta: 40, anchor: 0.2}}')
    found = read_training(['algorithm.beta=60', 'seed=3'], file)
    assert (found.steps, found.seed, found.algorithm.beta, found.algorithm.anchor) == (9, 3, 60.0, 0.2)
    assert read_training().algorithm.beta == 250
    assert read_training(['head=fast']).algorithm.beta == 0.1
    assert read_training(['head=fast', 'algorithm.beta=0.3']).algorithm.beta == 0.3


@pytest.mark.parametrize(
    'words', [['steps'], ['algorithm.bet=1'], ['steps=0'], ['algorithm=3'], ['head=x'], ['algorithm.beta=-1']]
)
def test_wrong_settings_are_named(words):
    with pytest.raises(SettingsError):
        read_training(words)


def test_where_it_runs_is_no_difference():
    other = dataclasses.replace(TRAINING, snapshot_every=7)
    assert TRAINING.differences(other.to_dict()) == []
    assert TRAINING.differences(DpoTraining(steps=1).to_dict()) != []


# the command


@pytest.fixture
def logs(tmp_path) -> Path:
    for number in range(2):
        write_episode(tmp_path / 'logs', make_episode(number), ROBOT)
    return tmp_path / 'logs'


def test_the_command_builds_pairs_and_trains(starter, logs, tmp_path, capsys):
    out = tmp_path / 'out'
    options = ['--policy', str(starter), '--out', str(out), '--pairs-by', 'deviation', '--candidates', '3']
    command = ['train', 'dpo', *options, '--every', '4', '--data', str(logs), *SMALL_WORDS]
    assert main(command) == 0
    assert '6 pairs of 2 episodes' in capsys.readouterr().out
    assert checkpoint.load(out)[1]['about']['pairs'] == 6
    store = PairStore(training_folder(out) / 'pairs')
    assert store.settings['policy'] == checkpoint.sha256(starter / checkpoint.MANIFEST)
    # the same pairs again, without a builder
    again = ['train', 'dpo', '--policy', str(starter), '--out', str(tmp_path / 'again')]
    assert main([*again, '--pairs', str(store.folder), '--pairs-by', 'none', *SMALL_WORDS]) == 0
    weights = [(tmp_path / name / 'model.safetensors').read_bytes() for name in ('out', 'again')]
    assert weights[0] == weights[1]


def test_the_command_takes_interventions_of_a_policy_that_plans_again(starter, tmp_path, capsys):
    source = np.full(12, 1, np.uint8)
    source[6:] = 2
    takeover = np.where(source == 2, 1, 0).astype(np.int64)
    episode = dataclasses.replace(make_episode(0), source=source, takeover_id=takeover)
    write_episode(tmp_path / 'logs', episode, ROBOT)
    options = ['--policy', str(starter), '--data', str(tmp_path / 'logs'), '--pairs-by', 'interventions']
    out = ['--out', str(tmp_path / 'out'), '--build-only']
    assert main(['train', 'dpo', *options, '--replan', *out]) == 0
    assert '5 pairs of 1 episodes' in capsys.readouterr().out
    # the log itself holds no shadow chunks
    assert main(['train', 'dpo', *options, '--out', str(tmp_path / 'logged'), '--build-only']) == 2
    assert 'none of the 1 episodes gave one' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--data', 'nowhere'], 'no such folder'),
        (['--pairs-by', 'labelled'], '--labels'),
        (['--pairs-by', 'none', '--pairs', 'nowhere'], 'no pairs in nowhere'),
        (['--candidates', '1'], '2 candidates or more'),
        (['algorithm.beta=x'], 'algorithm.beta'),
    ],
)
def test_the_command_says_what_is_wrong(logs, tmp_path, capsys, options, message):
    given = options if '--data' in options else ['--data', str(logs), *options]
    assert main(['train', 'dpo', '--out', str(tmp_path / 'out'), *given]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


def test_help_is_worth_reading(capsys):
    with pytest.raises(SystemExit):
        main(['train', 'dpo', '--help'])
    text = capsys.readouterr().out
    for word in ('nora', 'interventions', 'algorithm.beta=250', 'winner_gain', 'examples:'):
        assert word in text
    for name in json.loads(json.dumps(TRAINING.to_dict())):
        assert name in text or name in ('snapshot_every', 'device')
