# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""``apprentice demonstrate``: what a file is called, what its log says of the robot, and the exit code."""

import pytest
import yaml

from apprentice.cli import demonstrate
from apprentice.cli.main import main
from apprentice.episodes.log_reader import LogReader
from apprentice.robot.parts import share
from apprentice.robot.types import Outcome
from apprentice.sim.rollout import rollouts


def made(folder) -> list[str]:
    return sorted(path.name for path in folder.glob('*.mcap'))


def test_tasks_and_levels_share_a_folder(tmp_path):
    command = ['demonstrate', '--out', str(tmp_path), '--episodes', '1', '--workers', '1']
    assert main(command) == 0
    assert made(tmp_path) == ['demonstration-000-00000.mcap']
    assert main([*command, '--sim-task', 'reach', '--randomization', 'mild', '--robot', 'sim_arm']) == 0
    assert made(tmp_path) == ['demonstration-000-00000.mcap', 'demonstration-reach-mild-000-00000.mcap']
    plain, other = (LogReader(tmp_path / name).metadata['robot_file'] for name in made(tmp_path))
    text = share('robots', 'sim_arm.yaml').read_text()
    assert plain == text
    robot = yaml.safe_load(text)
    robot['simulator']['task'] = 'reach'
    assert yaml.safe_load(other) == robot


def test_nothing_is_started_when_nothing_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.delattr(demonstrate, 'open_worlds')
    (tmp_path / 'demonstration-000-00000.mcap').touch()
    command = ['demonstrate', '--out', str(tmp_path), '--episodes', '1']
    assert main(command) == 0
    assert 'already' in capsys.readouterr().out
    assert main([*command, '--sim-task', 'pick']) == 0  # the robot file's own, by another name


def test_exit_code_when_none_succeeded(tmp_path, monkeypatch, capsys):
    def failing(*args, **options):
        for episode in rollouts(*args, **options):
            episode.outcome = Outcome.FAILURE
            yield episode

    monkeypatch.setattr(demonstrate, 'rollouts', failing)
    words = ['--sim-task', 'reach', '--episodes', '1', '--workers', '1']
    assert main(['demonstrate', '--out', str(tmp_path), *words]) == 1
    assert '1 of 1 demonstrations failed' in capsys.readouterr().out
    assert not made(tmp_path)


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--episodes', '0'], 'use 1 or more'),
        (['--workers', '-1'], '-1 workers'),
        (['--robot', 'gym_pusher', '--randomization', 'mild'], '--randomization'),
        (['--robot', 'gym_pusher', '--sim-task', 'reach'], '--sim-task'),
    ],
)
def test_what_cannot_be_used_is_an_error(tmp_path, capsys, words, message):
    assert main(['demonstrate', '--out', str(tmp_path), *words]) == 2
    assert message in capsys.readouterr().err
