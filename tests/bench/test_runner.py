# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The runner: turns, failing peers, environments of their own, the loaded machine, tables and documents."""

import argparse
import base64
import dataclasses
import hashlib
import json
import os
import shutil
import sys
import time
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest

from apprentice.bench import environments, report, runner, sim_pixels, sim_state
from apprentice.bench.measure import Stopwatch, timed
from apprentice.bench.runner import OURS, SHIPPED, Case, Contestant, Ratio
from apprentice.cli import bench
from apprentice.cli.main import main

PARTS = """
import os, sys, time
def constant(value, log=''):
    if log:
        with open(log, 'a') as file:
            file.write(f'{value} ')
    print('a library says hello')
    return {'value': value, 'count': 10, 'wall_s': 1.0, 'cpu_s': 0.5, 'also': {'twice': 2 * value}}
def several(log):
    with open(log, 'a') as file:
        file.write('x')
    return {'parts': {'a': constant(1.0), 'b': constant(2.0)}}
def broken(): raise RuntimeError('no such device')
def endless(): time.sleep(60)
"""
TINY = """
import json, os, sys, tiny
try:
    import apprentice
except ImportError:
    apprentice = None
told = json.loads(sys.argv[1])
seen = sorted(name for name in os.environ if name.startswith(('SECRET', 'PYTHONPATH', 'PIP_')))
print(json.dumps({'value': tiny.VALUE * told['factor'], 'count': 1, 'wall_s': 1, 'cpu_s': 1,
                  'versions': {'alone': str(apprentice is None), 'sees': ' '.join(seen)}}))
"""


@pytest.fixture
def part(tmp_path):
    (tmp_path / 'bench_parts.py').write_text(PARTS)

    def make(name, function='constant', kind=OURS, **parameters):
        path = os.pathsep.join([str(tmp_path), os.environ.get('PYTHONPATH', '')])
        return Contestant(
            name, kind, f'bench_parts:{function}', parameters=parameters, environment={'PYTHONPATH': path}
        )

    return make


def wheel(folder: Path) -> Path:
    """A package of one line, so that a peer's environment can be made without a network."""
    path, info = folder / 'tiny-1.0-py3-none-any.whl', 'tiny-1.0.dist-info'
    files = {
        'tiny.py': 'VALUE = 21\n',
        f'{info}/METADATA': 'Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n',
        f'{info}/WHEEL': 'Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n',
    }
    sums = {name: hashlib.sha256(text.encode()).digest() for name, text in files.items()}
    record = [
        f'{name},sha256={base64.urlsafe_b64encode(digest).decode().rstrip("=")},'
        for name, digest in sums.items()
    ]
    with zipfile.ZipFile(path, 'w') as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        archive.writestr(f'{info}/RECORD', '\n'.join([*record, f'{info}/RECORD,,']))
    return path


def test_parts_of_one_process_and_what_repeats_exactly(part, tmp_path):
    log = tmp_path / 'log'
    whole = part('x', 'several', log=str(log))
    rows = [dataclasses.replace(whole, name=name, part=name) for name in ('a', 'b', 'c')]
    case = Case('shared', 'x/s', rows, [Ratio('b', 'a')])
    result = runner.run_case(case, 3, lambda line: None)
    assert log.read_text() == 'xxx'  # one process a round
    assert [row['values'] for row in result['rows'][:2]] == [[1.0] * 3, [2.0] * 3]
    assert "'c'" in result['rows'][2]['error']
    assert result['ratios'][0]['ratio'] == 2.0
    again = runner.run_case(dataclasses.replace(case, exact=True), 3, lambda line: None)
    assert log.read_text() == 'xxxx'
    assert again['note'] == 'one round: it repeats exactly'


@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    """Folder of peers and cache with the finished environment of the peer `tiny`."""
    folder = tmp_path_factory.mktemp('peers')
    (folder / 'tiny.txt').write_text(f'--no-index\ntiny @ {wheel(folder).as_uri()}\n')
    (folder / 'tiny.py').write_text(TINY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(environments, 'PEERS', folder)
        patch.setenv('APPRENTICE_CACHE', str(folder / 'cache'))
        said = []
        environments.prepare('tiny', said.append)
    assert any('Successfully installed tiny' in line for line in said)
    return folder


@pytest.fixture
def peers(tiny, monkeypatch):
    monkeypatch.setattr(environments, 'PEERS', tiny)
    monkeypatch.setenv('APPRENTICE_CACHE', str(tiny / 'cache'))
    return tiny


def test_contestants_take_turns_and_ratios_are_of_rounds(part, tmp_path):
    log = tmp_path / 'log'
    case = Case(
        'turns',
        'things/s',
        [part('a', value=6, log=str(log)), part('b', value=2, log=str(log))],
        [Ratio('a', 'b', 2.5), Ratio('b', 'a', 0.5)],
    )
    said = []
    result = runner.run_case(case, 2, said.append)
    assert log.read_text().split() == ['6', '2', '6', '2']
    first, second = result['rows']
    assert (first['value'], first['values'], second['value']) == (6.0, [6.0, 6.0], 2.0)
    assert first['cpu_s'] == pytest.approx(1.0)
    assert first['cpu_s_per_1000'] == pytest.approx(50.0)
    assert [r['ratio'] for r in result['ratios']] == [pytest.approx(3.0), pytest.approx(1 / 3)]
    assert [r['met'] for r in result['ratios']] == [True, False]
    assert said[0] == 'turns, 1 of 2: a: 6 things/s'
    assert json.loads(json.dumps(result)) == result


def test_times_are_better_when_lower(part):
    contestants = [part('a', value=2), part('b', value=8)]
    case = Case('time', 'ms', contestants, [Ratio('a', 'b', 4.0)], lower_is_better=True)
    assert runner.run_case(case, 1, str)['ratios'][0] | {'target': None} == {
        'ours': 'a', 'peer': 'b', 'target': None, 'ratio': 4.0, 'low': 4.0, 'high': 4.0, 'met': True
    }  # fmt: skip


def test_one_that_fails_is_a_row_with_the_reason(part):
    ratios = [Ratio('a', 'broken', 2.0)]
    case = Case('c', 'x/s', [part('a', value=1), part('broken', 'broken')], ratios)
    result = runner.run_case(case, 3, str)
    assert result['rows'][0]['values'] == [1.0, 1.0, 1.0]
    assert 'no such device' in result['rows'][1]['error']
    assert result['rows'][1]['value'] is None
    assert result['ratios'][0]['ratio'] is None
    assert result['ratios'][0]['met'] is None
    text = '\n'.join(report.table(_result(result)))
    assert 'did not run: ended with code 1: RuntimeError: no such device' in text
    assert 'missing' in text


def test_further_columns_are_medians_of_the_rounds():
    row = runner.Row('a', OURS)
    for value in (1.0, 9.0, 2.0):
        row.add({'value': 1, 'cpu_s': 1, 'count': 1, 'also': {'late': value}})
    assert row.result()['also'] == {'late': 2.0}
    assert row.result()['also_rounds'] == {'late': [1.0, 9.0, 2.0]}


def test_one_that_hangs_is_ended(part):
    case = Case('c', 'x/s', [part('slow', 'endless')])
    assert 'did not end within 1 s' in runner.run_case(case, 1, str, limit_s=1.0)['rows'][0]['error']


def test_a_peer_runs_in_its_own_environment(peers, monkeypatch):
    monkeypatch.setenv('SECRET_TOKEN', 'x')
    monkeypatch.setenv('PYTHONPATH', str(peers))
    monkeypatch.setenv('PIP_NO_INPUT', '1')
    peer = Contestant('tiny', SHIPPED, peer='tiny', parameters={'factor': 2})
    row = runner.run_case(Case('c', 'x/s', [peer]), 1, str)['rows'][0]
    assert (row['error'], row['value']) == ('', 42.0)
    assert row['versions']['alone'] == 'True'
    assert 'PIP_NO_INPUT' in row['versions']['sees']
    assert 'SECRET' not in row['versions']['sees']
    assert 'PYTHONPATH' not in row['versions']['sees']
    left_out = runner.run_case(Case('c', 'x/s', [peer]), 1, str, peers=False)['rows'][0]
    assert 'left out' in left_out['error']


def test_a_finished_environment_is_used_and_a_broken_off_one_goes_on(peers):
    said = []
    python = environments.prepare('tiny', said.append)
    assert python.exists()
    assert not said
    (environments.location('tiny') / environments.DONE).unlink()
    assert environments.prepare('tiny', said.append) == python
    assert said  # pip was asked again, in the same folder
    (peers / 'tiny.txt').write_text((peers / 'tiny.txt').read_text() + '# other requirements\n')
    assert environments.location('tiny') != python.parents[1]
    (peers / 'tiny.txt').write_text((peers / 'tiny.txt').read_text().removesuffix('# other requirements\n'))


def test_what_cannot_be_installed_is_named(peers):
    (peers / 'absent.txt').write_text('--no-index\nno-such-package-here==1.0\n')
    # the venv is the finished one's, to save the time of making another
    shutil.copytree(environments.location('tiny'), environments.location('absent'), symlinks=True)
    (environments.location('absent') / environments.DONE).unlink()
    case = Case('c', 'x/s', [Contestant('gone', SHIPPED, peer='absent')])
    error = runner.run_case(case, 1, str)['rows'][0]['error']
    assert 'pip install -r absent.txt failed' in error
    assert 'no-such-package-here' in error
    with pytest.raises(environments.PeerError, match=r"no peer 'nobody'; there are: .*tiny"):
        environments.prepare('nobody')


def test_shipped_peers_have_a_script_and_pinned_requirements():
    for path in environments.PEERS.glob('*.txt'):
        assert path.with_suffix('.py').exists()
        assert '==' in path.read_text()


def _result(*cases, loaded=False):
    return {
        'bench': 'tiny',
        'date': '2026-01-01',
        'machine': report.machine(),
        'load': {'before': 0.1, 'after': 1.0},
        'loaded': loaded,
        'repeats': 1,
        'quick': False,
        'cases': list(cases),
    }


def test_a_table_goes_between_its_markers(part, tmp_path):
    case = Case('one', 'x/s', [part('a', value=1234567)], note='why')
    lines = report.table(_result(runner.run_case(case, 1, str), loaded=True))
    assert 'loaded machine' in lines[0]
    assert '1,234,567' in '\n'.join(lines)
    document = tmp_path / 'page.md'
    document.write_text(
        'before\n<!-- bench tiny -->\nold\n<!-- end -->\nafter\n<!-- bench b -->\nx\n<!-- end -->\n'
    )
    report.write(document, 'tiny', lines)
    text = document.read_text()
    assert text.startswith('before\n<!-- bench tiny -->\n2026-01-01')
    assert text.endswith('|\n<!-- end -->\nafter\n<!-- bench b -->\nx\n<!-- end -->\n')
    assert 'old' not in text
    with pytest.raises(ValueError, match='no place'):
        report.write(document, 'other', lines)


@pytest.fixture
def command(part, monkeypatch):
    """`apprentice bench tiny ...` with a bench of one case; the load average is what `load` says."""
    case = Case('one', 'x/s', [part('a', value=3), part('b', value=2)], [Ratio('a', 'b', 2.0)])
    module = types.ModuleType('tiny', 'A bench.')
    module.cases = lambda args: [case]
    monkeypatch.setitem(sys.modules, 'apprentice.bench.tiny', module)
    monkeypatch.setattr(bench, 'benches', lambda: {'tiny': (Path('tiny.py'), 'A bench.', True)})
    load = [0.0]
    monkeypatch.setattr(os, 'getloadavg', lambda: (load[0], 0.0, 0.0))
    return load


def test_the_command_prints_a_table_and_one_json_line(command, capsys, tmp_path):
    assert main(['bench', 'tiny', '--repeats', '1', '--json', str(tmp_path / 'out.json')]) == 0
    out = capsys.readouterr().out.splitlines()
    result = json.loads(out[-1])
    assert json.loads((tmp_path / 'out.json').read_text()) == result
    assert sum(line.startswith('{') for line in out) == 1
    assert result['cases'][0]['ratios'][0]['ratio'] == pytest.approx(1.5)
    assert {'bench', 'date', 'machine', 'load', 'loaded'} <= set(result)
    assert any('1.5' in line and 'missed' in line for line in out)


def test_a_loaded_machine_is_refused(command, capsys):
    command[0] = 0.5 * report.cores() + 0.1
    assert main(['bench', 'tiny', '--repeats', '1']) == 3
    seen = capsys.readouterr()
    assert 'load average' in seen.err
    assert not seen.out
    assert main(['bench', 'tiny', '--repeats', '1', '--force']) == 0
    out = capsys.readouterr().out
    assert json.loads(out.splitlines()[-1])['loaded'] is True
    assert 'loaded machine' in out


def test_a_missed_target_fails_when_asked(command, capsys):
    assert main(['bench', 'tiny', '--quick', '--check', '0.5']) == 0
    assert main(['bench', 'tiny', '--quick', '--check', '0.9']) == 1
    assert 'a / b: 1.5, target 2' in capsys.readouterr().err


def test_names(capsys):
    assert main(['bench']) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert {'sim-state', 'sim-pixels', 'rates', 'rewards'} <= set(listed)
    assert not {'runner', 'measure', 'signals'} & set(listed)
    assert main(['bench', 'sim-stat']) == 2
    assert 'there are:' in capsys.readouterr().err


def test_time_is_that_of_the_sections():
    calls = []
    measured = timed(lambda: calls.append(1) or time.sleep(0.005) or 5, 0.2, lambda: calls.append(0))
    assert calls == [0, 1] * calls.count(1)
    assert measured['wall_s'] >= 0.2
    assert measured['count'] == 5 * calls.count(1)
    assert measured['value'] == pytest.approx(measured['count'] / measured['wall_s'])
    watch = Stopwatch()
    with watch.section():
        sum(i * i for i in range(300_000))
    assert 0 < watch.cpu_s <= watch.wall_s * 2 + 0.05


def test_state_contestants_do_the_same_physics():
    setup = sim_state.Setup(2, 1, 4)
    raw = sim_state.Setup(2, 1, 4)
    import mujoco

    data, controls = mujoco.MjData(raw.model), raw.controls()
    mujoco.mj_setState(raw.model, data, raw.state[1], int(mujoco.mjtState.mjSTATE_INTEGRATION))
    for targets, control in zip(setup.targets[:20], controls[:20], strict=True):
        setup.worlds.step(targets, setup.period)
        data.ctrl[:] = control[1]
        mujoco.mj_step(raw.model, data, nstep=4)
    np.testing.assert_allclose(setup.worlds.physics.read('qpos')[1], data.qpos, atol=1e-9)


@pytest.mark.parametrize('way', ['raw_batch', 'raw_rollout', 'raw_threads', 'worlds'])
def test_state_contestants_run(way):
    if way == 'raw_batch':
        pytest.importorskip('mujoco.batch')
    extra = {'resets': True} if way == 'worlds' else {}
    row = getattr(sim_state, way)(count=2, threads=2, substeps=20, seconds=0.01, **extra)
    assert row['value'] > 0
    assert row['also']['physics steps/s'] == pytest.approx(20 * row['value'])
    assert row['versions']['mujoco']


def test_pixel_contestants_run():
    ours = sim_pixels.pool(size=32, workers=1, count=2, seconds=0.01)
    bare = sim_pixels.bare(size=32, seconds=0.01)
    assert ours['also']['env steps/s'] == pytest.approx(ours['value'] / 2)
    assert bare['count'] % 40 == 0


@pytest.mark.parametrize('module', [sim_state, sim_pixels])
def test_ratios_name_rows(module):
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    for case in module.cases(argparse.Namespace(seconds=1.0, **vars(parser.parse_args([])))):
        names = [contestant.name for contestant in case.contestants]
        assert len(set(names)) == len(names)
        for ratio in case.ratios:
            assert {ratio.ours, ratio.peer} <= set(names)
        for contestant in case.contestants:
            assert bool(contestant.function) != bool(contestant.peer)
