# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""``apprentice up`` with real processes: none is left, however it ends, and failures are reported."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from apprentice.cli.process import Process
from apprentice.cli.supervisor import Supervisor

STUBBORN = 'trap "" INT TERM; echo up; while :; do sleep 0.1; done'


def until(predicate: Callable[[], bool], timeout: float = 20.0) -> bool:
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if predicate():
            return True
        time.sleep(0.05)
    return predicate()


def launch(tmp_path: Path, text: str) -> subprocess.Popen:
    """Run ``apprentice up`` on a launch file of this text; output goes to tmp_path/log."""
    file = tmp_path / 'test.launch.yaml'
    file.write_text(text)
    with (tmp_path / 'log').open('w') as log:
        return subprocess.Popen(
            [sys.executable, '-m', 'apprentice.cli.main', 'up', '--standalone', str(file)],
            stdout=log, stderr=subprocess.STDOUT, cwd=tmp_path, start_new_session=True,
        )  # fmt: skip


def log(tmp_path: Path) -> str:
    return (tmp_path / 'log').read_text()


def shell(name: str, script: str, **keys: str) -> str:
    """An executable entity that runs a script."""
    more = ''.join(f'    {key}: {value}\n' for key, value in keys.items())
    quoted = script.replace("'", "''")
    return f"- executable:\n    cmd: '{quoted}'\n    name: {name}\n    shell: true\n{more}"


def descendants(popen: subprocess.Popen) -> list[psutil.Process]:
    return psutil.Process(popen.pid).children(recursive=True)


def group_exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def gone(processes: list[psutil.Process]) -> bool:
    return not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes)


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_everything(tmp_path, number):
    text = (
        'launch:\n' + shell('one', 'echo ready1; sleep 100') + shell('two', 'sleep 100 & echo ready2; wait')
    )
    popen = launch(tmp_path, text)
    assert until(lambda: 'ready1' in log(tmp_path) and 'ready2' in log(tmp_path)), log(tmp_path)
    children = descendants(popen)
    assert len(children) >= 4  # two shells, their sleeps, and the guard
    popen.send_signal(number)
    assert popen.wait(15) == 0
    assert gone(children)
    assert '[one-1] ready1' in log(tmp_path)


def test_kill_9_of_the_supervisor_leaves_no_orphan(tmp_path):
    """Neither a process that heeds signals, nor its child, nor one that ignores SIGINT and SIGTERM."""
    text = 'launch:\n' + shell('kind', 'sleep 100 & echo up; wait') + shell('stubborn', STUBBORN)
    popen = launch(tmp_path, text)
    assert until(lambda: log(tmp_path).count('up\n') >= 2), log(tmp_path)
    children = descendants(popen)
    kind = [p for p in children if 'sleep 100' in ' '.join(p.cmdline())]
    popen.kill()
    popen.wait()
    assert until(lambda: gone(kind), 5)
    assert until(lambda: gone(children), 20), [p.cmdline() for p in children if p.is_running()]


def test_kill_9_of_supervisor_and_guard_still_ends_processes(tmp_path):
    popen = launch(tmp_path, 'launch:\n' + shell('one', 'echo up; exec sleep 100'))
    assert until(lambda: '[one-1] up' in log(tmp_path)), log(tmp_path)
    children = descendants(popen)
    guard = [p for p in children if 'groups, grace' in ' '.join(p.cmdline())]
    assert len(guard) == 1
    guard[0].suspend()
    popen.kill()
    popen.wait()
    guard[0].kill()
    assert until(lambda: gone(children), 5)


def test_a_failing_process_is_reported_and_the_others_go_on(tmp_path):
    text = 'launch:\n' + shell('bad', 'echo the cause >&2; exit 3') + shell('good', 'sleep 2; echo finished')
    popen = launch(tmp_path, text)
    assert popen.wait(20) == 1
    assert 'bad-1 ended: exit code 3\n    the cause' in log(tmp_path)
    assert '[good-1] finished' in log(tmp_path)


def test_the_end_of_a_required_process_ends_everything(tmp_path):
    text = (
        'launch:\n' + shell('gate', 'sleep 1; kill -SEGV $$', on_exit='shutdown') + shell('one', 'sleep 100')
    )
    popen = launch(tmp_path, text)
    assert popen.wait(20) == 1
    assert 'gate-1 ended: signal SIGSEGV' in log(tmp_path)
    assert 'gate-1 is required: stopping everything' in log(tmp_path)


def test_respawn(tmp_path):
    text = 'launch:\n' + shell('again', 'echo started; exit 1', respawn="'true'", respawn_delay='0.1')
    popen = launch(tmp_path, text)
    assert until(lambda: log(tmp_path).count('[again-1] started') >= 3), log(tmp_path)
    popen.send_signal(signal.SIGINT)
    popen.wait(15)


def test_wrong_input_exits_2_with_one_line(tmp_path):
    popen = launch(tmp_path, 'launch:\n- nodee: {}\n')
    assert popen.wait(20) == 2
    assert 'apprentice: error: ' in log(tmp_path)
    assert 'Traceback' not in log(tmp_path)


def test_stubborn_processes_are_killed_in_steps():
    lines: list[str] = []
    supervisor = Supervisor(lambda label, line: lines.append(line), grace_s=0.5, kill_s=0.5)
    label = supervisor.start(Process('stubborn', ('sh', '-c', STUBBORN)))
    assert until(lambda: 'up' in lines)
    group = supervisor.pid(label)
    start = time.monotonic()
    supervisor.stop()
    assert 0.9 < time.monotonic() - start < 5
    assert supervisor.exits[0].code == -signal.SIGKILL
    assert not supervisor.exits[0].failed  # we asked for it
    assert until(lambda: not group_exists(group))


def test_supervisor_as_a_library():
    """Callbacks, last lines of standard error, long output without a newline at its end."""
    lines: list[tuple[str, str]] = []
    exits = []
    with Supervisor(lambda label, line: lines.append((label, line)), exits.append) as supervisor:
        supervisor.start(
            Process('count', ('sh', '-c', 'seq 5000; printf "10%%\\r20%%"; echo oops >&2; exit 4'))
        )
        assert until(lambda: bool(supervisor.poll(0.1)))
    assert [e.code for e in exits] == [4]
    assert exits[0].last_lines == ('oops',)
    texts = [line for label, line in lines if label == 'count-1']
    assert texts[:5000] == [str(i) for i in range(1, 5001)]
    assert {'10%', '20%'} <= set(texts)


def test_parameters_arrive_with_their_types(tmp_path):
    """The command line we write is read back by the real rcl with the types we meant."""
    node = tmp_path / 'lib' / 'demo' / 'node'
    node.parent.mkdir(parents=True)
    node.write_text(
        f'#!{sys.executable}\n'
        'import rclpy\n'
        'rclpy.init()\n'
        "n = rclpy.create_node('n', automatically_declare_parameters_from_overrides=True)\n"
        "print({k: v.value for k, v in n.get_parameters_by_prefix('test').items()}, flush=True)\n"
        'print(n.get_fully_qualified_name(), flush=True)\n'
    )
    node.chmod(0o755)
    text = """
launch:
- set_env: {name: AMENT_PREFIX_PATH, value: '@PREFIX@:$(env AMENT_PREFIX_PATH)'}
- node:
    pkg: demo
    exec: node
    name: renamed
    namespace: left
    param:
      - {name: test.a, value: 1}
      - {name: test.b, value: 1.0e-5}
      - {name: test.c, value: '7', type: str}
      - {name: test.d, value: ''}
      - {name: test.e, value: "it's a \\"quote\\": yes", type: str}
      - {name: test.f, value: [1.5, 2.0]}
      - {name: test.g, value: true}
      - {name: test.h, value: 'true', type: bool}
""".replace('@PREFIX@', str(tmp_path))
    popen = launch(tmp_path, text)
    assert popen.wait(60) == 0, log(tmp_path)
    line = next(line for line in log(tmp_path).splitlines() if line.startswith('[renamed-1] {'))
    expected = {'a': 1, 'b': 1e-05, 'c': '7', 'd': '', 'e': 'it\'s a "quote": yes', 'g': True, 'h': True}
    found = eval(line.removeprefix('[renamed-1] '), {'array': lambda kind, values: values})
    assert list(found.pop('f')) == [1.5, 2.0]
    assert found == expected
    assert '[renamed-1] /left/renamed' in log(tmp_path)
