# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Cloning: the same curve however it is cut or killed, metrics with every step once, held-out episodes."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from clone_rig import ALGORITHM, CONFIG, ROBOT, SMALL, make_episodes, process_environment
from killed_training import KILLED
from PIL import Image
from safetensors.torch import load_file

from apprentice.learning import snapshot
from apprentice.learning.clone import clone, learning_rate, training_folder
from apprentice.learning.clone_config import read_config
from apprentice.learning.dataset import Samples, policy_spec
from apprentice.learning.metrics_file import read_metrics
from apprentice.learning.weighted_flow import WeightedFlow
from apprentice.policies import checkpoint
from apprentice.policies.policy import FlowPolicy


def train(out: Path, config=CONFIG, count: int = 4, **options) -> list[dict]:
    """Train; returns the metrics of every step that the file has."""
    clone(make_episodes(count), ROBOT, out, config, **options)
    return read_metrics(training_folder(out) / 'metrics.jsonl')


def curve(metrics: list[dict], name: str = 'loss') -> list[tuple[int, float]]:
    return [(m['step'], m[name]) for m in metrics]


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / checkpoint.WEIGHTS)


def assert_same_weights(first: Path, second: Path, **tolerance) -> None:
    one, other = weights(first), weights(second)
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, other[name], **(tolerance or {'rtol': 0, 'atol': 0}), msg=name)


class Killed(Exception):
    pass


def killed_at(step: int):
    def progress(number: int, metrics: dict[str, float]) -> None:
        if number == step:
            raise Killed

    return progress


@pytest.mark.parametrize('workers', [0, 2])
def test_training_is_the_plain_loop_over_update(tmp_path, workers):
    """What devices, parts, processes and threads add changes no bit of a training on one CPU process."""
    train(tmp_path / 'out', dataclasses.replace(CONFIG, workers=workers))
    episodes = make_episodes()
    torch.manual_seed(CONFIG.seed)
    policy = FlowPolicy(policy_spec(episodes, ROBOT, CONFIG.horizon), SMALL).train()
    algorithm, rng = WeightedFlow(policy, ALGORITHM, CONFIG.seed), np.random.default_rng(CONFIG.seed)
    chunks = Samples.of(episodes, CONFIG.horizon).chunks
    for step in range(CONFIG.steps):
        batch = chunks.select(rng.integers(len(chunks), size=ALGORITHM.batch))
        algorithm.update(batch, learning_rate(step, CONFIG.steps, CONFIG.warm_up))
    for name, tensor in algorithm.averaged.state_dict().items():
        assert torch.equal(tensor, weights(tmp_path / 'out')[name]), name


def test_resuming_gives_the_same_curve_and_weights_to_the_bit(tmp_path):
    whole = train(tmp_path / 'whole')
    assert [m['step'] for m in whole] == [1, 2, 3, 4, 5, 6]
    with pytest.raises(Killed):
        train(tmp_path / 'torn', progress=killed_at(5))
    file = training_folder(tmp_path / 'torn') / 'metrics.jsonl'
    assert [m['step'] for m in read_metrics(file)] == [1, 2, 3, 4]  # the snapshot is at 3
    with open(file, 'a') as stream:
        stream.write('{"step": 5, "lo')  # a line that was being written
    done = []
    torn = train(tmp_path / 'torn', progress=lambda step, metrics: done.append(step))
    assert done == [4, 5, 6]
    assert curve(torn) == curve(whole)
    assert curve(torn, 'gradient_norm') == curve(whole, 'gradient_norm')
    assert_same_weights(tmp_path / 'whole', tmp_path / 'torn')
    # started once more it has nothing to do
    assert train(tmp_path / 'torn', progress=lambda step, metrics: done.append(step)) == torn
    assert len(done) == 3


def test_killed_at_random_moments_it_ends_with_every_step_once(tmp_path):
    script = str(Path(__file__).with_name('killed_training.py'))
    command = [sys.executable, script, str(tmp_path / 'torn'), '4', '7']
    done = subprocess.run(command, env=process_environment(), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    file = training_folder(tmp_path / 'torn') / 'metrics.jsonl'
    assert 0 < len(read_metrics(file)) < KILLED.steps
    torn, whole = train(tmp_path / 'torn', KILLED), train(tmp_path / 'whole', KILLED)
    assert [m['step'] for m in torn] == list(range(1, KILLED.steps + 1))
    assert curve(torn) == curve(whole)
    assert_same_weights(tmp_path / 'whole', tmp_path / 'torn')


@pytest.mark.parametrize('damage', ['tensors', 'state', 'missing'])
def test_a_damaged_snapshot_gives_way_to_the_one_before(tmp_path, caplog, damage):
    whole = train(tmp_path / 'whole')
    config = dataclasses.replace(CONFIG, snapshot_every=2)
    with pytest.raises(Killed):
        train(tmp_path / 'torn', config, progress=killed_at(6))
    work = training_folder(tmp_path / 'torn')
    newest = work / 'snapshot'
    if damage == 'missing':
        (newest / snapshot.TENSORS).unlink()
    else:
        file = newest / (snapshot.TENSORS if damage == 'tensors' else snapshot.STATE)
        content = bytearray(file.read_bytes())
        place = content.index(b'"step": 4') + 8 if damage == 'state' else len(content) // 2
        content[place] ^= 1
        file.write_bytes(content)
    done = []
    with caplog.at_level(logging.WARNING):
        torn = train(tmp_path / 'torn', config, progress=lambda step, metrics: done.append(step))
    assert 'damaged snapshot' in caplog.text
    assert done == [3, 4, 5, 6]
    assert curve(torn) == curve(whole)
    assert_same_weights(tmp_path / 'whole', tmp_path / 'torn')
    assert (work / '.snapshot.damaged').is_dir()


def test_nothing_begins_anew_where_no_snapshot_can_be_read(tmp_path):
    with pytest.raises(Killed):
        train(tmp_path / 'torn', progress=killed_at(5))
    (training_folder(tmp_path / 'torn') / 'snapshot' / snapshot.STATE).write_text('{')
    with pytest.raises(ValueError, match=r'no snapshot can be read.*remove them'):
        train(tmp_path / 'torn')
    assert len(read_metrics(training_folder(tmp_path / 'torn') / 'metrics.jsonl')) == 4


def test_other_data_or_settings_do_not_go_on(tmp_path):
    train(tmp_path / 'out')
    with pytest.raises(ValueError, match=r'other data or settings \(data differ\)'):
        train(tmp_path / 'out', count=3)
    other = dataclasses.replace(CONFIG, algorithm=dataclasses.replace(ALGORITHM, learning_rate=0.1))
    with pytest.raises(ValueError, match=r'\(algorithm.learning_rate differ\)'):
        train(tmp_path / 'out', other)
    wide = dataclasses.replace(SMALL.backbone, width=64)
    with pytest.raises(ValueError, match=r'\(policy.backbone.width differ\)'):
        train(tmp_path / 'out', dataclasses.replace(CONFIG, policy=dataclasses.replace(SMALL, backbone=wide)))
    # where and how it runs may differ
    train(tmp_path / 'out', dataclasses.replace(CONFIG, workers=0, snapshot_every=1, accumulate=2))


def test_two_trainings_do_not_share_a_folder(tmp_path):
    def again(step, metrics):
        clone(make_episodes(), ROBOT, tmp_path / 'out', CONFIG)

    with pytest.raises(OSError, match='another learner or training'):
        train(tmp_path / 'out', progress=again)


@pytest.mark.parametrize('parts', [2, 3])
def test_parts_of_a_batch_give_the_same_curve(tmp_path, parts):
    whole = train(tmp_path / 'whole')
    cut = train(tmp_path / 'cut', dataclasses.replace(CONFIG, accumulate=parts))
    np.testing.assert_allclose(curve(cut), curve(whole), rtol=1e-5)
    np.testing.assert_allclose(curve(cut, 'gradient_norm'), curve(whole, 'gradient_norm'), rtol=1e-4)
    assert_same_weights(tmp_path / 'whole', tmp_path / 'cut', rtol=0.0, atol=2e-5)


def test_more_parts_than_samples_are_refused(tmp_path):
    with pytest.raises(ValueError, match='batch of 8 samples cannot be cut into 1 processes times 9 parts'):
        train(tmp_path / 'out', dataclasses.replace(CONFIG, accumulate=9))


def test_bfloat16_follows_float32_and_leaves_weights_in_float32(tmp_path):
    full = train(tmp_path / 'full')
    half = train(tmp_path / 'half', dataclasses.replace(CONFIG, precision='bf16'))
    assert curve(half) != curve(full)
    np.testing.assert_allclose(curve(half), curve(full), rtol=0.02)
    assert {tensor.dtype for tensor in weights(tmp_path / 'half').values()} == {torch.float32}


def test_held_out_episodes_are_measured_and_not_trained_on(tmp_path):
    config = dataclasses.replace(CONFIG, validation=0.3, validate_every=2)
    metrics = train(tmp_path / 'out', config)
    found = {m['step']: m['validation_loss'] for m in metrics if 'validation_loss' in m}
    assert list(found) == [2, 4, 6]
    assert all(math.isfinite(loss) for loss in found.values())
    samples = Samples.of(make_episodes(), 8)
    rows, held_out = samples.split(0.3, 0)
    assert len(set(samples.episode[held_out])) == 1
    assert not set(samples.episode[rows]) & set(samples.episode[held_out])
    # pictures of the held-out episode play no part in training
    changed = make_episodes()
    number = int(samples.episode[held_out[0]])
    changed[number].images['front'][:] = 0
    clone(changed, ROBOT, tmp_path / 'changed', config)
    again = read_metrics(training_folder(tmp_path / 'changed') / 'metrics.jsonl')
    assert curve(again) == curve(metrics)
    assert [m['validation_loss'] for m in again if 'validation_loss' in m] != list(found.values())


def test_validation_draws_the_same_noise_each_time(tmp_path):
    still = dataclasses.replace(ALGORITHM, learning_rate=1e-12)
    config = dataclasses.replace(CONFIG, validation=0.3, validate_every=2, algorithm=still)
    metrics = train(tmp_path / 'out', config)
    found = [m['validation_loss'] for m in metrics if 'validation_loss' in m]
    np.testing.assert_allclose(found, found[0], rtol=1e-5)
    assert np.ptp([m['loss'] for m in metrics]) > 0.01 * found[0]


def test_one_episode_cannot_be_held_out(tmp_path):
    with pytest.raises(ValueError, match='needs 2 episodes'):
        train(tmp_path / 'out', dataclasses.replace(CONFIG, validation=0.5), count=1)


def test_what_lies_beside_the_policy(tmp_path):
    metrics = train(tmp_path / 'out', command='repeat: apprentice train bc')
    assert {'loss', 'gradient_norm', 'skipped', 'learning_rate', 'samples_per_second', 'data_wait'} < set(
        metrics[0]
    )
    assert all(0 <= m['data_wait'] <= 1 and m['samples_per_second'] > 0 for m in metrics)
    assert metrics[0]['learning_rate'] == pytest.approx(
        ALGORITHM.learning_rate * learning_rate(0, CONFIG.steps, CONFIG.warm_up)
    )
    work = training_folder(tmp_path / 'out')
    with Image.open(work / 'loss.png') as picture:
        assert picture.size[0] > 500
        assert len(picture.convert('RGB').getcolors(1 << 20)) > 3  # not an empty page
    for file in (work / 'train.yaml', tmp_path / 'out' / 'train.yaml'):
        assert file.read_text().startswith('# repeat: apprentice train bc\n')
        assert read_config(file=file) == CONFIG
    manifest = json.loads((tmp_path / 'out' / checkpoint.MANIFEST).read_text())
    assert manifest['about']['train_steps'] == 6


def test_learning_rate_warms_up_and_ends_at_zero():
    assert learning_rate(0, 1000) < 0.02
    assert learning_rate(100, 1000) > 0.9
    assert learning_rate(999, 1000) < 1e-4
