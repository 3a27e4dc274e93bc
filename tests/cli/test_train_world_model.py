# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""``apprentice train world-model``: from logged files and from the simulator, and what it leaves behind."""

import torch._dynamo  # isort: skip # noqa: F401 - before the first GL context of this process

import contextlib
import json

import numpy as np
import pytest

from apprentice.cli.main import main
from apprentice.episodes.episode_writer import write_episode
from apprentice.learning.metrics_file import MetricsFile
from apprentice.reward_models.world_model.reward import WorldModelReward
from apprentice.robot.parts import find_robot
from apprentice.robot.spec import RobotSpec
from apprentice.sim.attempts import attempts
from apprentice.sim.worlds import Worlds

SMALL = ['--steps', '4', '--batch', '8', '--rank', '8', '--width', '16', '--members', '2', '--threads', '1']


@pytest.fixture(scope='module')
def logs(tmp_path_factory):
    path, folder = find_robot('sim_arm'), tmp_path_factory.mktemp('logs')
    spec = RobotSpec.load(path)
    worlds = Worlds(spec, 3)
    try:
        for episode in attempts(worlds, [1, 2, 3], ['expert', 'shaky'], 16):
            write_episode(folder / f'{episode.episode_id}.mcap', episode, spec, path.read_text())
    finally:
        worlds.close()
    return folder


def test_logged_episodes_become_a_model_that_ranks(logs, tmp_path, capsys):
    out = tmp_path / 'model'
    assert main(['train', 'world-model', '--data', str(logs), '--out', str(out), *SMALL]) == 0
    assert 'world model in' in capsys.readouterr().out
    lines = (out / 'metrics.jsonl').read_text().splitlines()
    assert [json.loads(line)['step'] for line in lines] == [1, 2, 3, 4]
    card = (out / 'README.md').read_text()
    assert f'--data {logs}' in card
    model = WorldModelReward.load(out)
    assert model.version in card
    assert model.needs.cameras == ('front', 'wrist')
    views = np.random.default_rng(0).integers(0, 255, (2, 64, 64, 3), dtype=np.uint8)
    ranking = model.candidates(views, np.zeros(7), np.zeros((3, 8, 7)), end=model.encode(views))
    assert np.isfinite(ranking.cost).all()


def test_without_data_it_simulates(tmp_path):
    out = tmp_path / 'model'
    assert main(['train', 'world-model', '--episodes', '2', '--pooled', '--out', str(out), *SMALL]) == 0
    assert WorldModelReward.load(out).features.tokens == 1


def test_a_missing_folder_is_an_error(tmp_path, capsys):
    out = tmp_path / 'out'
    assert main(['train', 'world-model', '--data', str(tmp_path / 'no'), '--out', str(out)]) == 2
    assert 'no such folder' in capsys.readouterr().err
    assert not out.exists()


def test_a_killed_training_goes_on(logs, tmp_path, monkeypatch):
    words = ['train', 'world-model', '--data', str(logs), *SMALL, '--snapshot-every', '2']
    assert main([*words, '--out', str(tmp_path / 'whole')]) == 0
    write, out = MetricsFile.write, tmp_path / 'killed'

    def killed(self, step, values):
        write(self, step, values)
        if step == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(MetricsFile, 'write', killed)
    with contextlib.suppress(KeyboardInterrupt):
        main([*words, '--out', str(out)])
    assert not (out / 'world_model.json').exists()
    monkeypatch.setattr(MetricsFile, 'write', write)
    assert main([*words, '--out', str(out)]) == 0
    assert (out / 'metrics.jsonl').read_text() == (tmp_path / 'whole' / 'metrics.jsonl').read_text()
    assert WorldModelReward.load(out).version == WorldModelReward.load(tmp_path / 'whole').version
