# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""``apprentice export clip-onnx``: what it writes, says and refuses."""

import shutil

import numpy as np
import pytest
from PIL import Image

from apprentice.cli.main import main
from apprentice.reward_models.clip.reward import ClipReward
from apprentice.robot.parts import share

for package in ('onnx', 'onnxruntime'):
    pytest.importorskip(package, reason=f"{package} is missing: pip install 'apprentice[onnx]'")


@pytest.fixture
def weights(tmp_path):
    shutil.copytree(share('weights', 'clip'), tmp_path / 'clip')
    return tmp_path / 'clip'


def save_images(folder, *sizes):
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i, size in enumerate(sizes):
        coarse = rng.integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(coarse).resize((size, size)).save(folder / f'{i}.png')


def test_table_and_folder(weights, tmp_path, capsys):
    save_images(tmp_path / 'frames', *[48] * 10)
    words = ['export', 'clip-onnx', str(weights), '--out', str(weights / 'onnx'), '--int8', '--rounds', '2']
    assert main([*words, '--images', str(tmp_path / 'frames')]) == 0
    said = capsys.readouterr()
    rows = {line.split()[0]: line.split() for line in said.out.splitlines()}
    assert {'torch', 'onnx', 'onnx-int8'} <= set(rows)
    assert float(rows['onnx'][3]) < 1e-5 < float(rows['onnx-int8'][3])
    assert float(rows['onnx'][4]) > 0.999
    assert 'comparing with torch' in said.err
    assert ClipReward.load(weights, runtime='onnx-int8').runtime == 'onnx-int8'


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--rounds', '0'], 'must be 1 or more'),
        (['--images', '{tmp}/empty'], 'holds no PNG or JPEG'),
        (['--images', '{tmp}/mixed'], 'several sizes'),
        (['--out', '{tmp}/clip'], 'is no ONNX export'),
    ],
)
def test_what_cannot_be_used_is_an_error_before_the_work(weights, tmp_path, capsys, words, message):
    (tmp_path / 'empty').mkdir()
    save_images(tmp_path / 'mixed', 8, 16)
    words = [word.format(tmp=tmp_path) for word in words]
    out = [] if '--out' in words else ['--out', str(tmp_path / 'onnx')]
    assert main(['export', 'clip-onnx', str(weights), *out, *words]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / 'onnx').exists()
    assert ClipReward.load(weights)


def test_weights_that_are_not_there(tmp_path, capsys):
    assert main(['export', 'clip-onnx', str(tmp_path / 'none'), '--out', str(tmp_path / 'onnx')]) == 2
    assert 'do not exist' in capsys.readouterr().err
