# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Training in two processes (gloo, CPU) is training in one: DDP, FSDP, parts of a batch, after a resume."""

from __future__ import annotations

import dataclasses
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from clone_rig import (
    CONFIG,
    ROBOT,
    make_episode,
    make_episodes,
    process_environment,
    torchrun,
    vision_language_config,
)
from safetensors.torch import load_file

from apprentice.cli.main import main
from apprentice.episodes.episode_writer import write_episode
from apprentice.learning.clone import clone, training_folder
from apprentice.learning.clone_config import read_config
from apprentice.learning.distributed import Ranks, find_device, join
from apprentice.learning.metrics_file import read_metrics
from apprentice.policies import checkpoint

sys.path.append(str(Path(__file__).resolve().parents[1] / 'policies' / 'backbones'))
# rounding: measured are 2e-7 of the loss and 2e-6 of weights that move by 2e-3
LOSS, WEIGHTS = {'rtol': 1e-5}, {'rtol': 0.0, 'atol': 2e-5}
# the processes are started once
pytestmark = pytest.mark.xdist_group('training_in_two')


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def run(*command: str) -> str:
    done = subprocess.run(
        torchrun(2, free_port(), *command),
        env=process_environment(),
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope='module')
def model(tmp_path_factory) -> Path | None:
    """A small vision-language model with random weights; None without the packages for it."""
    try:
        from apprentice.bench.small_vlm import FAMILIES
    except ImportError:
        return None
    folder = tmp_path_factory.mktemp('models') / 'qwen2_5_vl'
    FAMILIES['qwen2_5_vl'](folder)
    return folder


@pytest.fixture(scope='module')
def two(tmp_path_factory, model) -> Path:
    """Trainings in two processes, all of one start of torchrun."""
    folder = tmp_path_factory.mktemp('two')
    run(str(Path(__file__).with_name('training_in_two.py')), str(folder), str(model or ''))
    return folder


@pytest.fixture(scope='module')
def one(tmp_path_factory) -> Path:
    """The same in this process."""
    folder = tmp_path_factory.mktemp('one')
    for name, changes in {
        'plain': {},
        'validation': {'validation': 0.3},
        'bf16': {'precision': 'bf16'},
    }.items():
        clone(make_episodes(), ROBOT, folder / name, dataclasses.replace(CONFIG, **changes))
    return folder


def metrics(out: Path) -> list[dict]:
    return read_metrics(training_folder(out) / 'metrics.jsonl')


def values(out: Path, name: str = 'loss') -> list[float]:
    return [m[name] for m in metrics(out) if name in m]


def assert_close_weights(first: Path, second: Path, **tolerance: float) -> None:
    one, other = (load_file(out / checkpoint.WEIGHTS) for out in (first, second))
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, other[name], **tolerance, msg=lambda text, n=name: f'{n}: {text}')


@pytest.mark.parametrize(('run_of_two', 'run_of_one'), [('ddp', 'plain'), ('fsdp', 'validation')])
def test_two_processes_follow_the_curve_of_one(one, two, run_of_two, run_of_one):
    first, second = one / run_of_one, two / run_of_two
    assert [m['step'] for m in metrics(second)] == [1, 2, 3, 4, 5, 6]
    for name in ('loss', 'validation_loss'):
        np.testing.assert_allclose(values(second, name), values(first, name), **LOSS)
    np.testing.assert_allclose(values(second, 'gradient_norm'), values(first, 'gradient_norm'), rtol=1e-3)
    assert_close_weights(first, second, **WEIGHTS)
    checkpoint.load(second)


def test_sharded_in_bfloat16_follows_bfloat16(one, two):
    np.testing.assert_allclose(values(two / 'fsdp_bf16'), values(one / 'bf16'), rtol=0.02)
    assert {t.dtype for t in load_file(two / 'fsdp_bf16' / checkpoint.WEIGHTS).values()} == {torch.float32}


def test_a_vision_language_model_is_sharded(two, model, tmp_path):
    """The expert's gradient enters its layers through keys and values, which are no output of theirs."""
    if model is None:
        pytest.skip("needs pip install 'apprentice[vla]'")
    clone(make_episodes(), ROBOT, tmp_path / 'one', vision_language_config(model))
    sharded = two / 'fsdp_vision_language'
    np.testing.assert_allclose(values(sharded), values(tmp_path / 'one'), **LOSS)
    assert_close_weights(tmp_path / 'one', sharded, **WEIGHTS)
    names = load_file(sharded / checkpoint.WEIGHTS)
    assert all('lora_' in name or not name.startswith('backbone.model') for name in names)
    checkpoint.load(sharded)


@pytest.mark.parametrize('name', ['ddp', 'fsdp'])
def test_two_processes_go_on_after_a_kill(two, name):
    resumed = two / f'{name}_resumed'
    assert [m['step'] for m in metrics(resumed)] == [1, 2, 3, 4, 5, 6]
    np.testing.assert_allclose(values(resumed), values(two / name), rtol=1e-6)
    assert_close_weights(resumed, two / name, rtol=0.0, atol=1e-6)


def test_a_training_goes_on_with_another_number_of_processes(one, two, tmp_path):
    """The snapshot of sharded parameters is whole."""
    work = training_folder(tmp_path / 'out')
    work.mkdir()
    shutil.copytree(training_folder(two / 'fsdp') / '.snapshot.previous', work / 'snapshot')
    config, done = dataclasses.replace(CONFIG, validation=0.3), []
    clone(
        make_episodes(), ROBOT, tmp_path / 'out', config, lambda step, metrics: done.append(metrics['loss'])
    )
    np.testing.assert_allclose(done, values(one / 'validation')[3:], **LOSS)
    assert_close_weights(one / 'validation', tmp_path / 'out', **WEIGHTS)


def test_the_command_with_torchrun(tmp_path):
    """``torchrun -m apprentice.cli.main train bc`` is ``apprentice train bc``."""
    for number in range(3):
        write_episode(tmp_path / 'logs', make_episode(number), ROBOT)
    words = ['steps=3', 'algorithm.batch=8', 'policy.backbone.width=32', 'policy.backbone.channels=[8,8,16]']
    command = ['train', 'bc', '--data', str(tmp_path / 'logs'), *words, '--out']
    said = run('-m', 'apprentice.cli.main', *command, str(tmp_path / 'two'))
    assert said.count('3 of 3 episodes are successes') == 1  # by one process
    assert main([*command, str(tmp_path / 'one')]) == 0
    np.testing.assert_allclose(values(tmp_path / 'two'), values(tmp_path / 'one'), **LOSS)
    assert_close_weights(tmp_path / 'one', tmp_path / 'two', **WEIGHTS)
    assert (training_folder(tmp_path / 'two') / 'cache' / 'cache.json').exists()
    text = (tmp_path / 'two' / 'train.yaml').read_text()
    assert text.startswith('# repeat: torchrun --nproc-per-node 2 --no-python apprentice train bc --data ')
    assert read_config(file=tmp_path / 'two' / 'train.yaml').steps == 3


def test_shares_of_a_batch_are_all_of_it():
    for world in (1, 2, 3, 5):
        for size in (5, 8, 64):
            rows = [i for rank in range(world) for i in range(size)[Ranks(rank, world).share(size)]]
            assert rows == list(range(size))


def test_one_process_is_alone(monkeypatch):
    monkeypatch.delenv('WORLD_SIZE', raising=False)
    with join('cpu') as ranks:
        assert (ranks.rank, ranks.world, ranks.device.type, ranks.first) == (0, 1, 'cpu', True)


@pytest.mark.parametrize('name', ['gpu', 'mps', 'cuda:99'])
def test_a_device_that_is_not_there_is_an_error(name):
    with pytest.raises(ValueError, match=f"'{name}'"):
        find_device(name)
