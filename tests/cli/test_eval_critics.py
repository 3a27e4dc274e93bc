# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""``apprentice eval`` of a version with critics: who chose is said, kept, and can be left out."""

import json
import shutil

import pytest
from critics_rig import publish

from apprentice.cli import eval_suite
from apprentice.cli.main import main
from apprentice.learning.rl.choosing import critics_act
from apprentice.learning.run_history import EVALUATIONS
from apprentice.learning.suite import Attempt
from apprentice.policies import checkpoint

TRIAL = ['--trials', '1', '--workers', '1']


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp('run')
    publish(folder / 'weights')
    return folder


def test_critics_choose_and_the_result_says_so(run, capsys):
    version = str(run / 'weights' / 'v000001')
    assert main(['eval', version, *TRIAL, '--json', '--keep', str(run)]) == 0
    assert json.loads(capsys.readouterr().out)['critics'] is True
    (line,) = (run / EVALUATIONS).read_text().splitlines()
    assert (json.loads(line)['critics'], json.loads(line)['version']) == (True, 1)
    assert main(['eval', version, *TRIAL, '--json', '--without-critics']) == 0
    assert json.loads(capsys.readouterr().out)['critics'] is False
    assert main(['eval', version, *TRIAL]) == 0
    assert ', critics chose' in capsys.readouterr().out


def test_critics_that_do_not_act_yet_are_not_missed(tmp_path, capsys):
    publish(tmp_path / 'weights', act_after=500)
    version = str(tmp_path / 'weights' / 'v000001')
    assert main(['eval', version, *TRIAL, '--json', '--without-critics', '--keep', str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out)['critics'] is False
    assert not critics_act(json.loads((tmp_path / 'weights' / 'v000001' / checkpoint.MANIFEST).read_text()))


def test_damaged_critics_end_it(run, tmp_path, capsys):
    shutil.copytree(run / 'weights' / 'v000001', tmp_path / 'v')
    (tmp_path / 'v' / 'critics.safetensors').write_bytes(b'nothing')
    assert main(['eval', str(tmp_path / 'v'), *TRIAL]) == 2
    assert 'critics.safetensors is missing or damaged' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['{version}', '--without-critics', '--keep', '{run}'], 'leave out --without-critics, or --keep'),
        (['{version}', '--head', 'fast'], 'chunks of the flow head'),
        (['report', '{run}', '--without-critics'], 'no option of `eval report`'),
    ],
)
def test_what_cannot_be_meant_is_an_error(run, capsys, words, message):
    given = [word.format(version=run / 'weights' / 'v000001', run=run) for word in words]
    assert main(['eval', *given]) == 2
    assert message in capsys.readouterr().err


def test_a_cell_without_critics_is_another_cell(run, tmp_path, monkeypatch, capsys):
    ran = []

    def measured(cell, spec, act, config, workers, count) -> None:
        ran.append(config.critics)
        cell.attempts += [Attempt(config.first_seed, 'x', True, 1.0, 2.0)]

    monkeypatch.setattr(eval_suite, 'run_cell', measured)
    words = ['eval', 'suite', str(run / 'weights' / 'v000001'), '--tasks', 'reach', '--levels', 'none']
    words += ['--films', '0', '--trials', '1', '--json', '--out', str(tmp_path)]
    for given, critics in (([], True), (['--without-critics'], False), (['--without-critics'], False)):
        assert main([*words, *given]) == 0
        assert json.loads(capsys.readouterr().out)['config']['critics'] is critics
        assert ('critics chose' in (tmp_path / 'index.html').read_text()) is critics
    assert ran == [True, False]


def test_an_export_says_that_the_critics_stay_behind(run, tmp_path, capsys):
    pytest.importorskip('onnxruntime', reason="pip install 'apprentice[onnx]'")
    pytest.importorskip('onnx', reason="pip install 'apprentice[onnx]'")
    version, out = run / 'weights' / 'v000001', tmp_path / 'onnx'
    assert main(['export', 'onnx', str(version), '--out', str(out), '--rounds', '1']) == 0
    assert 'without its critics' in capsys.readouterr().err
    assert json.loads((out / checkpoint.MANIFEST).read_text())['beside']['name'] == 'critics'
