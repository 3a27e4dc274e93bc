# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The runtime onnx takes torch checkpoints too: exported once, kept, refused with the reason."""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_policy import CONFIG, small_observation, small_policy

from apprentice.policies import checkpoint, onnx_cache
from apprentice.policies.checkpoint import CheckpointError, sha256
from apprentice.policies.onnx_policy import GRAPHS, OnnxPolicy
from apprentice.policies.runtime import load_policy
from apprentice.policies.token_head import TokenConfig
from apprentice.robot.files import cache_folder

for package in ('onnx', 'onnxruntime'):
    pytest.importorskip(package, reason=f"{package} is missing: pip install 'apprentice[onnx]'")


@pytest.fixture
def weights(tmp_path, monkeypatch):
    monkeypatch.setenv('APPRENTICE_CACHE', str(tmp_path / 'cache'))
    policy = small_policy()
    checkpoint.save(policy, tmp_path / 'weights', {'name': 'small'})
    return policy, tmp_path / 'weights'


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def test_a_checkpoint_is_exported_once(weights):
    policy, folder = weights
    announced = sha256(folder / checkpoint.MANIFEST)
    loaded, manifest = load_policy(folder, announced, runtime='onnx')
    assert isinstance(loaded, OnnxPolicy)
    assert manifest['source']['manifest_sha256'] == announced
    seen = small_observation()
    np.testing.assert_allclose(loaded.act(seen, seeded()), policy.act(seen, seeded()), atol=1e-5)
    (made,) = (cache_folder() / 'onnx').iterdir()
    written = (made / GRAPHS['float32']).stat().st_mtime_ns
    load_policy(folder, announced, runtime='onnx')
    assert (made / GRAPHS['float32']).stat().st_mtime_ns == written


def test_other_weights_than_announced_are_refused_before_any_work(weights):
    with pytest.raises(CheckpointError, match='not the file that was announced'):
        load_policy(weights[1], '0' * 64, runtime='onnx')
    assert not (cache_folder() / 'onnx').exists()


def test_what_cannot_be_exported_says_why(weights, tmp_path):
    policy = small_policy(replace(CONFIG, tokens=TokenConfig(), head='fast'))
    chunks, state = np.random.default_rng(0).normal(size=(50, 6, 3)).astype('f4'), np.zeros((50, 3), 'f4')
    policy.fit_tokenizer(chunks, state, np.ones((50, 6), bool))
    checkpoint.save(policy, tmp_path / 'fast', {'name': 'fast'})
    with pytest.raises(CheckpointError, match='only the flow head is exported'):
        load_policy(tmp_path / 'fast', runtime='onnx')


def test_the_oldest_exports_go(weights):
    root = cache_folder() / 'onnx'
    for i in range(9):
        (root / f'old{i}').mkdir(parents=True)
        os.utime(root / f'old{i}', (i, i))
    made = onnx_cache.exported(weights[1])
    left = {path.name for path in root.iterdir()}
    assert len(left) == 8
    assert made.name in left
    assert not {'old0', 'old1'} & left
