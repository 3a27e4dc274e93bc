# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The throughput bench of reward models: its parts on the shipped model, and rows that need a GPU."""

import argparse
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


def test_every_runtime_is_measured_at_every_batch(prepared):
    folder, frames = prepared
    runtimes = list(reward_throughput.TITLES)
    parts = reward_throughput.rates(str(folder), str(frames), [1, 8], runtimes, 1, 0.2)['parts']
    assert len(parts) == 8
    for name, row in parts.items():
        batch = int(name.split()[1])
        assert row['value'] > 1
        assert row['count'] % batch == 0
        assert row['also']['ms a call'] == pytest.approx(1000 * batch / row['value'])


def test_every_row_has_its_part(monkeypatch, prepared):
    folder, frames = prepared
    monkeypatch.setattr(reward_throughput, 'random_vit', lambda place: folder)
    monkeypatch.setattr(reward_throughput, 'frames_for', lambda towers, *_: dict.fromkeys(towers, frames))
    args = argparse.Namespace(only=['node', 'cpu'], frames=32, threads=1, seconds=0.1)
    cases = {case.title: case for case in reward_throughput.cases(args)}
    rates = cases['shipped: runtimes']
    assert [row.part for row in rates.contestants][::4] == ['torch 1', 'torch 8']
    assert {ratio.target for ratio in rates.ratios} == {None, 3.0, 4.0}
    order = cases['shipped: order of the rewards']
    assert order.exact
    found = reward_throughput.orders(str(folder), str(frames), list(reward_throughput.ORDERED))['parts']
    assert found.keys() == {row.part for row in order.contestants}


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
