# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The arithmetic of the bench on stamps whose answer is known."""

import importlib
import json
import sys
import threading

import numpy as np
import pytest

from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Source

POLICY, HUMAN = int(Source.POLICY), int(Source.HUMAN)


@pytest.fixture
def bench(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / 'bench'))
    yield importlib.import_module('rates')
    sys.modules.pop('rates')


@pytest.fixture
def signals(bench):
    return sys.modules['signals']


def test_arguments(bench, capsys):
    args = bench.parse(['--seconds', '5', '--lockstep'])
    assert (args.seconds, args.lockstep, args.rate_hz) == (5.0, True, 50.0)
    with pytest.raises(SystemExit):
        bench.parse(['--seconds', '0'])
    with pytest.raises(SystemExit) as done:
        bench.parse(['--help'])
    assert done.value.code == 0
    assert '--takeover-every' in capsys.readouterr().out


def test_a_robot_by_name(bench, tmp_path, monkeypatch, capsys):
    (tmp_path / 'episodes').mkdir()
    for name in ('sim_humanoid', str(share('robots', 'sim_humanoid.yaml'))):
        with pytest.raises(RuntimeError, match='earlier run'):  # past the robot file, and no further
            bench.measure(bench.parse(['--robot', name]), tmp_path, threading.Event())
    monkeypatch.setattr(bench, 'prepare_environment', lambda: None)
    monkeypatch.setattr(sys, 'argv', ['rates.py', '--robot', 'nonesuch', '--run-dir', str(tmp_path)])
    assert bench.main() == 1
    assert "error: robot file 'nonesuch' does not exist; give the path" in capsys.readouterr().err


def test_intervals(signals):
    stamps = 1e9 + 0.02 * np.arange(101)
    steady = signals.intervals(stamps, 0.02)
    assert steady['hz'] == pytest.approx(50.0, rel=1e-4)
    assert steady['missed'] == 0
    assert steady['jitter_ms']['max'] < 1e-2
    gap = signals.intervals(np.delete(stamps, [10, 11, 40]), 0.02)
    assert gap['missed'] == 3
    assert gap['jitter_ms']['max'] == pytest.approx(40.0, abs=0.01)
    assert signals.intervals([], 0.02) == {'received': 0}
    assert signals.spread([]) == {'count': 0}


def test_latency(signals):
    # [stamp, received, seq, epoch, latency]
    chunks = [(10.0, 0, 1, 1, 0.03), (10.4, 0, 2, 1, 0.05), (12.0, 0, 3, 2, 0.04), (12.4, 0, 4, 2, 0.04)]
    assert signals.chunk_rate(chunks)['hz'] == pytest.approx(2.5)
    # [stamp, received, seq, chunk_seq, source, running]
    executed = [
        (10.02, 0, 1, 0, POLICY, True),
        (10.04, 0, 2, 1, POLICY, True),
        (10.06, 0, 3, 1, POLICY, True),
    ]
    executed += [(10.46, 0, 4, 2, POLICY, True), (11.5, 0, 5, 0, HUMAN, True), (12.1, 0, 6, 3, POLICY, True)]
    found = signals.camera_to_command(chunks, executed)
    assert found['count'] == 3  # nobody followed chunk 4
    assert found['p50'] == pytest.approx(60.0)
    presses = [(11.44, 11.45), (20.0, 20.1)]
    assert signals.takeover_latency(presses, executed) == {
        'p50': pytest.approx(60.0),
        'p99': pytest.approx(60.0),
        'max': pytest.approx(60.0),
        'count': 1,
    }


def test_lockstep_shares(signals):
    # one tick of 50 ms: 10 ms plain, 20 ms with a frame, 70 ms for the first of a chunk
    rows, wall, chunk = [], 0.0, 1
    for tick in range(41):
        new = tick and tick % 8 == 0
        chunk += bool(new)
        wall += 0.07 if new else 0.02 if tick % 2 == 0 else 0.01
        rows.append((50 + 0.05 * tick, wall, tick, chunk, POLICY, True))
    shares = signals.lockstep_shares(rows, [50 + 0.1 * i for i in range(21)])
    assert {kind: values.get('count') for kind, values in shares['wall_ms'].items()} == {
        'plan': 5,
        'human': 0,
        'frame': 15,
        'plain': 20,
    }
    total = 5 * 0.07 + 15 * 0.02 + 20 * 0.01
    assert shares['steps_per_wall_s'] == pytest.approx(40 / total)
    assert shares['real_time_factor'] == pytest.approx(2.0 / total)
    assert shares['wall_ms']['plan']['share'] == pytest.approx(0.35 / total)


@pytest.mark.parametrize('lockstep', [False, True])
def test_a_measurement_becomes_a_table(bench, lockstep):
    spec = RobotSpec.load(share('robots', 'sim_arm.yaml'))
    executed = [(100 + 0.05 * i, 200 + 0.05 * i, i, i // 8 + 1, POLICY, True) for i in range(100)]
    frames = [(100 + 0.1 * i, 200 + 0.1 * i) for i in range(50)]
    seen = {
        'started': 200.0,
        'ended': 205.0,
        'joints': frames,
        'executed': executed,
        'takeovers': [],
        'frames': {'front': frames, 'wrist': frames[:1]},
        'chunks': [(100.0, 200.0, 1, 1, 0.03)],
        'learner': [(200.0, 10, 'updating', 0), (204.0, 35, 'updating', 0)],
        'episodes': [],
        'modes': [],
        'rewards': {'clip': [(100.0, 200.0, 0.02)]},
        'diagnostics': {},
    }
    numbers = bench.summarise(json.loads(json.dumps(seen)), spec, 20.0, lockstep)
    assert numbers['learner_updates_per_s'] == pytest.approx(5.0)
    numbers |= {
        'machine': bench.machine(),
        'load_average': {'before': 0.0, 'after': 0.0},
        'mode': 'test',
        'recorder': {'episodes': 0, 'dropped': 0, 'unreadable': []},
        'cpu_percent': {'gate': 10.0},
    }
    text = '\n'.join(bench.table(numbers))
    assert 'gate 10 %' in text
    assert ('real time' in text) == lockstep
