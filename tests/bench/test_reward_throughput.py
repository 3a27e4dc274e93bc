# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The throughput bench of reward models: its parts on the shipped model, and rows that need a GPU."""

import shutil
import sys

import numpy as np
import pytest

from apprentice.bench import reward_rig, reward_throughput, runner
from apprentice.cli.bench import benches
from apprentice.robot.parts import share

for package in ('onnx', 'onnxruntime'):
    pytest.importorskip(package, reason=f"{package} is missing: pip install 'apprentice[onnx]'")


@pytest.fixture(scope='module')
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp('bench')
    shutil.copytree(share('weights', 'clip'), folder / 'small')
    frames = reward_rig.frames_for({'shipped': folder / 'small'}, 32, onnx=True)
    return folder / 'small', frames['shipped']


def test_the_bench_is_found():
    assert benches()['reward-throughput'][2]


@pytest.mark.parametrize('runtime', ['torch', 'torch-bf16', 'onnx', 'onnx-int8'])
def test_every_runtime_is_measured(prepared, runtime):
    folder, frames = prepared
    row = reward_throughput.bare(str(folder), str(frames), 8, runtime, 1, 0.5)
    assert row['value'] > 1
    assert row['count'] % 8 == 0
    assert row['also']['ms a call'] == pytest.approx(8000 / row['value'])


def test_order_is_compared_with_torch(prepared):
    folder, frames = prepared
    assert len(np.load(frames)['frames']) >= 32
    values = {
        runtime: reward_throughput.order(str(folder), str(frames), runtime)['value']
        for runtime in ('torch', 'onnx', 'onnx-int8')
    }
    assert values['torch'] == pytest.approx(1.0)
    assert values['onnx'] > 0.999
    assert 0.9 < values['onnx-int8'] < 1.0


def test_gpu_rows_run_on_a_gpu_only_and_say_so():
    import torch

    if torch.cuda.is_available():
        pytest.skip('there is a GPU')
    with pytest.raises(RuntimeError, match='no CUDA GPU'):
        reward_throughput.gpu('ViT-B-32', 4, 0.1)
    assert reward_throughput.gpu('ViT-S-32-alt', 2, 1.0, device='cpu')['value'] > 0  # the same path


def test_the_node_is_kept_busy_and_reads_each_text_once(prepared):
    folder, frames = prepared
    contestant = runner.Contestant(
        'node', runner.OURS, reward_throughput.NODE, environment={'OMP_NUM_THREADS': '1'},
        parameters={'folder': str(folder), 'frames': str(frames), 'robots': 2, 'threads': 1, 'seconds': 0.5},
    )  # fmt: skip
    row = runner.measure(contestant, sys.executable, 120)
    assert row['value'] > 1
    assert row['also']['not valid'] == 0
    assert row['also']['frames a call'] > 3  # of 4
    assert row['also']['texts encoded'] < 20 < row['also']['texts asked for']
