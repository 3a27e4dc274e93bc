# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Training from a LeRobotDataset is training from the MCAP episodes it was converted from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from lerobot_files import write_dataset

from apprentice.cli.main import main
from apprentice.episodes import sources
from apprentice.episodes.episode_writer import write_episode
from apprentice.learning.dataset import Chunks, policy_spec
from apprentice.policies import checkpoint
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Episode, Outcome, Source

pytest.importorskip('pyarrow', reason="needs pip install 'apprentice[lerobot-dataset]'")

SPEC = RobotSpec.load(share('robots', 'sim_arm.yaml'))
HORIZON = 8


def make(number: int) -> Episode:
    random, steps = np.random.default_rng(number), 14 + number
    source = np.full(steps, int(Source.HUMAN), np.uint8)
    source[2:6] = int(Source.POLICY)
    return Episode(
        episode_id=f'e{number}',
        task=('pick up the red cube', 'push it')[number % 2],
        seed=0,
        outcome=Outcome.SUCCESS,
        end_cause=2,
        eval_only=False,
        stamps=50.0 + np.arange(steps) * SPEC.action_dt,
        images={c.name: random.integers(0, 255, (steps, 64, 64, 3), np.uint8) for c in SPEC.cameras},
        state=random.normal(size=(steps, SPEC.dim)).astype(np.float32),
        action=random.normal(size=(steps, SPEC.dim)).astype(np.float32),
        source=source,
        takeover_id=np.where(source == int(Source.HUMAN), 1, 0).astype(np.int64),
        robot=SPEC.name,
    )


@pytest.fixture
def folders(tmp_path):
    """The same episodes as logs, and converted from those logs to a LeRobotDataset."""
    for number in range(3):
        write_episode(tmp_path / 'logs', make(number), SPEC)
    read = [reader() for reader in sources.episode_readers(tmp_path / 'logs', SPEC)]
    write_dataset(tmp_path / 'lerobot', read, SPEC.joint_names)
    return tmp_path / 'logs', tmp_path / 'lerobot'


@pytest.mark.parametrize('share_of_memory', [0.25, 0.0], ids=['eager', 'lazy'])
def test_the_chunks_are_the_same(folders, monkeypatch, share_of_memory):
    monkeypatch.setattr(sources, 'MEMORY_SHARE', share_of_memory)
    data, specs = [], []
    for folder in folders:
        episodes = [reader() for reader in sources.episode_readers(folder, SPEC)]
        data.append(Chunks.concatenate([Chunks.of(episode, HORIZON) for episode in episodes]))
        specs.append(policy_spec(episodes, SPEC, HORIZON).to_dict())
    logged, converted = data
    assert specs[0] == specs[1]
    assert len(logged) == len(converted) == 45
    assert not logged.valid.all()
    assert logged.valid.any()
    index = np.random.default_rng(0).permutation(45)
    one, other = logged.select(index), converted.select(index)
    assert one.text == other.text
    for name in ('state', 'actions', 'valid', 'weight'):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), name)
    for name, images in one.images.items():
        np.testing.assert_array_equal(images, other.images[name], name)


def test_train_bc_learns_the_same_from_both(folders, tmp_path):
    weights = []
    for folder in folders:
        out = tmp_path / f'policy-{folder.name}'
        words = ['--steps', '2', '--batch', '4', '--horizon', str(HORIZON), '--out', str(out)]
        assert main(['train', 'bc', '--data', str(folder), *words]) == 0
        weights.append(checkpoint.load(out)[0].state_dict())
    for name, tensor in weights[0].items():
        torch.testing.assert_close(tensor, weights[1][name], rtol=0, atol=0)


def test_train_bc_says_what_does_not_fit(folders, tmp_path, capsys):
    words = ['train', 'bc', '--data', str(folders[1]), '--out', str(tmp_path / 'out')]
    assert main([*words, '--robot', 'example_ur5e']) == 2
    text = capsys.readouterr().err
    assert "lacks ['shoulder_pan_joint'" in text
    assert "camera 'front' is (480, 640)" in text
    mapping = tmp_path / 'mapping.yaml'
    mapping.write_text('cameras: {front: observation.images.top}')
    assert main([*words, '--mapping', str(mapping)]) == 2
    assert "needs 'observation.images.top'" in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()
