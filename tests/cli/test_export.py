# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""``apprentice export onnx``: what it writes, says and refuses."""

import json

import pytest
from small_policy import small_policy

from apprentice.cli.main import main
from apprentice.policies import checkpoint, onnx_policy

for package in ('onnx', 'onnxruntime'):
    pytest.importorskip(package, reason=f"{package} is missing: pip install 'apprentice[onnx]'")


@pytest.fixture
def weights(tmp_path):
    checkpoint.save(small_policy(), tmp_path / 'weights')
    return tmp_path / 'weights'


def test_stages_table_and_files(weights, tmp_path, capsys):
    out = tmp_path / 'onnx'
    assert main(['export', 'onnx', str(weights), '--out', str(out), '--int8', '--rounds', '3']) == 0
    said = capsys.readouterr()
    stages = [line.split('s  ')[1] for line in said.err.splitlines() if 's  ' in line]
    assert stages[-2:] == ['comparing with torch', 'measuring']
    rows = {line.split('  ')[0]: line.split() for line in said.out.splitlines()}
    assert {'torch', 'onnx cpu', 'onnx cpu int8'} <= set(rows)
    assert 0 < float(rows['onnx cpu'][2]) < 1000
    assert float(rows['onnx cpu'][3]) < 1e-5 < float(rows['onnx cpu int8'][4])
    assert json.loads((out / 'policy.json').read_text())['format'] == onnx_policy.FORMAT
    assert onnx_policy.load(out)


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--providers', 'cuda'], "no provider 'cuda' here, it has ['cpu']"),
        (['--rounds', '0'], '0 rounds'),
        (['--out', '{weights}'], 'is no ONNX export'),
    ],
)
def test_what_cannot_be_used_is_an_error_before_the_work(weights, tmp_path, capsys, words, message):
    out = [] if '--out' in words else ['--out', str(tmp_path / 'onnx')]
    assert (
        main(['export', 'onnx', str(weights), *out, *(word.format(weights=weights) for word in words)]) == 2
    )
    said = capsys.readouterr().err
    assert message in said
    assert 'policy.onnx' not in said
    assert not (tmp_path / 'onnx').exists()
    assert checkpoint.load(weights)


def test_weights_that_are_not_there(tmp_path, capsys):
    assert main(['export', 'onnx', str(tmp_path / 'none'), '--out', str(tmp_path / 'onnx')]) == 2
    assert 'no policy in' in capsys.readouterr().err
