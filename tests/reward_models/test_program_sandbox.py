# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Reward programs that misbehave: the allow-list refuses them, and their process stops them without it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from apprentice.reward_models.programs.forms import PythonForm
from apprentice.reward_models.programs.sandbox import locks as locks_module
from apprentice.reward_models.programs.sandbox.process import Limits, Sandbox, SandboxError
from apprentice.reward_models.programs.syntax import ProgramError, check_program

STATE = {'tip': np.arange(35.0).reshape(5, 7)}
GOOD = """
WEIGHT = 2.0

def shaped(distance: np.ndarray, temperature=0.1):
    return np.exp(-distance / temperature)

def reward(state, previous):
    '''Close is good.'''
    distance = np.linalg.norm(state['tip'][:, :3], axis=1)
    moved = np.abs(state['tip'] - previous['tip']).sum(axis=1)
    for i in range(3):
        moved = moved + 0.0 * i
    return WEIGHT * shaped(distance) - moved, {'near': WEIGHT * shaped(distance), 'moved': -moved}
"""
# reaches functions of the os module through the objects there are; only the process stops it
OS = (
    'os = [c for c in ().__class__.__base__.__subclasses__() '
    "if c.__name__ == '_wrap_close'][0].__init__.__globals__"
)


def body(*lines: str) -> str:
    return '\n'.join(
        ['def reward(state):', *(f'    {line}' for line in lines), "    return state['tip'][:, 0]"]
    )


def run(source: str, **limits):
    """Run without the allow-list: the locks of the process alone."""
    sandbox = Sandbox(source, Limits(**limits))
    try:
        return sandbox(STATE)
    finally:
        sandbox.close()


def test_a_good_program_gives_its_reward_and_components():
    form = PythonForm(GOOD, {'tip': 7})
    assert form.reads == ('tip',)
    assert form.uses == ('state', 'previous')
    before = {'tip': STATE['tip'] - 0.01}
    value, parts = form.evaluate(STATE, before)
    near = 2 * np.exp(-np.linalg.norm(STATE['tip'][:, :3], axis=1) / 0.1)
    np.testing.assert_allclose(parts['near'], near)
    np.testing.assert_allclose(parts['moved'], -0.07 * np.ones(5))
    np.testing.assert_allclose(value, near - 0.07)
    assert form.locks['seccomp']
    assert not locks_module.missing(form.locks)
    form.close()


def test_sparse_and_dense_are_combined_by_their_signs():
    source = "def sparse(state):\n    return state['tip'][:, 0] > 20\n"
    source += "def dense(state):\n    return 10 - state['tip'][:, 0]"
    form = PythonForm(source, {'tip': 7})
    np.testing.assert_allclose(form.evaluate(STATE)[0], [0.1, 0.1, -0.1, 0.9, 0.9])
    form.close()


@pytest.mark.parametrize(
    ('source', 'told'),
    [
        ('import os\n' + GOOD, 'line 1: Import may not be used; np and math are there already'),
        (body("open('/etc/passwd')"), "'open' is not known"),
        (body('x = ().__class__'), 'begins with an underscore'),
        (body("x = getattr(np, 'load')"), "'getattr' is not known"),
        (body("x = np.load('/etc/passwd')"), 'np.load may not be used'),
        (body('x = np.linalg.svd(1)'), 'np.linalg.svd may not be used'),
        (body('x = np'), 'only be used as np.name'),
        (body("x = state['tip'].tofile"), '.tofile may not be used'),
        (body("x = '{}'.format(1)"), '.format may not be used'),
        (body('while True: pass'), 'While may not be used; use for'),
        (body('for i in range(10 ** 9): pass'), 'must have a known end'),
        (body('for i in range(-1000000, 5): pass'), 'must have a known end'),
        (body('x = [1]', 'for i in x: x += [1]'), 'must have a known end'),
        (body('x = [i for i in range(99999999)]'), 'must have a known end'),
        (body('f = lambda: 1'), 'Lambda may not be used'),
        (body('try: x = 1', 'except: x = 2'), 'Try may not be used'),
        (body("exec('x = 1')"), "'exec' is not known"),
        (body('yield 1'), 'Yield may not be used'),
        (body("x = f'{np}'"), 'JoinedStr may not be used'),
        (body("x = state['cup']"), "nothing measures 'cup'; there are .'tip'"),
        (body("x = 'tip'", 'y = state[x]'), 'must be read by a name'),
        (body('abs = 3'), "'abs' may not be redefined"),
        (body('x = np.add(0.0, 1.0, where=False)'), 'where= may not be given; use np.where'),
        (body('f = np.add', 'x = f(0.0, 1.0, where=False)'), 'where= may not be given'),
        (body('x = np.ones(3)', 'y = np.add(1.0, 1.0, out=x)'), 'out= may not be given'),
        (body("x = np.add(0.0, 1.0, **{'where': False})"), 'names may not be given to a call'),
        (body('np.sum.T = 1'), 'T may not be assigned; assign to a name'),
        (body('for np.sum.T in range(3): pass'), 'T may not be assigned'),
        (body('x = y'), "'y' is not known"),
        ('def reward(state, secret):\n    return state', 'takes arguments out of state, previous, action'),
        ('def score(state):\n    return state', 'define reward'),
        ('def reward(state:\n', 'not Python'),
        (GOOD + 'print(1)', "'print' is not known"),
        (GOOD + 'np.zeros(3)', 'outside of functions only constants'),
        ('class A:\n    pass\n' + GOOD, 'ClassDef may not be used'),
        ('@reward\n' + GOOD.strip().partition('\n\n')[2], 'decorators'),
        ('x = 1\n' * 20_000, '20000 at most'),
        ('def reward(state):\n    return ' + '-' * 9000 + "state['tip']", 'nested too deeply|not Python'),
    ],
)  # fmt: skip
def test_the_allow_list_says_what_to_change(source, told):
    with pytest.raises(ProgramError, match=told):
        check_program(source, {'tip'})


TRIES = """
def reward(state):
    os, told = FUNCTIONS, []
    for name, values in [('open', ('/etc/passwd', 0)), ('open', ('new', 65)), ('fork', ()), ('kill', (1, 9)),
                         ('execv', ('/bin/sh', ['sh'])), ('pipe', ()), ('listdir', ('/proc',))]:
        try:
            os[name](*values)
            told += [name + ' works']
        except os['__builtins__']['OSError']:
            told += [name + ' refused']
    try:
        os['__builtins__']['__import__']('socket')
        told += ['socket works']
    except os['__builtins__']['Exception']:
        told += ['socket refused']
    good, text = state['tip'][:, 0], os['__builtins__']['str']
    return good, {name + text(i): good for i, name in enumerate(told)}
"""


def test_through_the_objects_of_python_nothing_can_be_reached():
    functions = OS.partition(' = ')[2]
    _, told = run(TRIES.replace('FUNCTIONS', functions))
    assert len(told) == 8
    assert all('refused' in name for name in told), sorted(told)


CHOICES = """
def reward(state):
    kind, good = int(state['tip'][0, 0]), state['tip'][:, 0]
    if kind == 0: return np.zeros(10 ** 7)
    if kind == 1: return state['tip']
    if kind == 2: return 1.0
    if kind == 3: return good, {'x' * 100: good}
    if kind == 4: return good, dict(zip(['a%d' % i for i in range(99)], [good] * 99))
    if kind == 5: return good, {'a': good[:2]}
    if kind == 6: return reward(state)
    if kind == 7: return state['nothing']
    if kind == 8: return 1 / 0
    if kind == 9: return np.zeros(1250000000) + 1
    if kind == 10: return [0] * 10 ** 10
    return 'text'
"""
TOLD = [
    r'shape \(10000000,\), it must be \(5,\)',
    r'shape \(5, 7\)',
    r'shape \(\)',
    'at most 60 characters',
    'at most 16 arrays',
    r"component 'a' has shape \(2,\)",
    'RecursionError',
    'line 11: KeyError',
    'line 12: ZeroDivisionError',
    'line 13: MemoryError: it needs more memory',
    'line 14: MemoryError: it needs more memory',
    'could not convert string',
]


def test_what_a_program_gives_must_have_the_agreed_form():
    sandbox = Sandbox(CHOICES, Limits(call_s=10.0))
    for kind, told in enumerate(TOLD):
        with pytest.raises(ProgramError, match=told):
            sandbox({'tip': np.full((5, 7), float(kind))})
    assert sandbox.start(), 'an error does not end the process'
    sandbox.close()


@pytest.mark.parametrize(
    ('line', 'told'),
    [
        ("os['_exit'](3)", 'ended with code 3'),
        ("os['write'](1, b'x' * 10 ** 7)", 'wrote more than was asked for'),
        ("os['write'](1, b'\\1\\0\\0\\0[]]]]]')", 'not of the agreed form'),
    ],
)
def test_a_program_that_writes_or_ends_by_itself_is_stopped(line, told):
    with pytest.raises(SandboxError, match=told):
        run(body(OS, line))


@pytest.mark.parametrize('line', ['while True: pass', 'x = 9 ** 9 ** 9'])
def test_a_loop_without_end_is_killed(line):
    with pytest.raises(SandboxError, match=r'did not answer within 0.3 s'):
        run(body(line), call_s=0.3)


def test_processor_time_is_limited_where_the_watchdog_is_patient():
    with pytest.raises(SandboxError, match='used more than 1 s of processor time'):
        run(body('while True: pass'), call_s=90.0, cpu_s=1)


def test_a_stopped_program_is_started_again_but_not_for_ever():
    sandbox = Sandbox(body(OS, "os['_exit'](0)"), Limits(failures=2))
    for _ in range(2):
        with pytest.raises(SandboxError, match='ended with code 0'):
            sandbox(STATE)
    with pytest.raises(SandboxError, match='stopped 2 times in a row and is not started again'):
        sandbox(STATE)
    sandbox.close()


def test_only_stops_in_a_row_end_a_program():
    source = body(OS, 'if state["tip"][0, 0] > 0:', "    os['_exit'](0)")
    sandbox = Sandbox(source, Limits(failures=2))
    bad = {'tip': STATE['tip'] + 1}
    for _ in range(3):
        with pytest.raises(SandboxError, match='ended with code 0'):
            sandbox(bad)
        np.testing.assert_array_equal(sandbox(STATE)[0], STATE['tip'][:, 0])
    sandbox.close()


ANSWERS = {
    'deep': "b'[' * 60000",
    'deep error': "b'{\"cpu\": 1, \"error\": ' + b'[' * 900 + b']' * 900 + b'}'",
    'text for seconds': 'b\'{"ok": true, "cpu": "x", "names": []}\'',
    'list for seconds': 'b\'{"ok": true, "cpu": [1], "names": []}\'',
    'not a number': 'b\'{"ok": true, "cpu": NaN, "names": []}\'',
    'too large': 'b\'{"ok": true, "cpu": 1\' + b\'0\' * 400 + b\', "names": []}\'',
    'no seconds': 'b\'{"ok": true, "names": []}\'',
}


@pytest.mark.parametrize('kind', ANSWERS)
def test_whatever_a_child_answers_stops_it_and_nothing_else(kind):
    sandbox = Sandbox(body(OS, f'p = {ANSWERS[kind]}', "os['write'](1, len(p).to_bytes(4, 'little') + p)"))
    with pytest.raises(SandboxError, match='not of the agreed form'):
        sandbox(STATE)
    assert sandbox._process is None
    assert sandbox._failures == 1
    sandbox.close()


def test_nothing_is_remembered_between_two_calls():
    source = "SEEN = [0]\ndef reward(state):\n    SEEN[0] += 1\n    return state['tip'][:, 0] + SEEN[0]"
    sandbox = Sandbox(source)
    np.testing.assert_array_equal(sandbox(STATE)[0], sandbox(STATE)[0])
    sandbox.close()


LEFT_BY_THE_LAST_CALL = """
    old = np.add(np.zeros(5000), 0.0, where=np.zeros(5000) > 1.0)
    marked = np.sum(np.where(np.isclose(old, 1234.5), 1.0, 0.0))
    mine = np.full(5000, 1234.5)
    return state['tip'][:, 0] + marked
"""


def test_a_program_cannot_read_what_an_earlier_call_left_in_memory():
    """Nor without the allow-list."""
    with pytest.raises(ProgramError, match=r'TypeError: where= may not be given; use np.where'):
        run('def reward(state):' + LEFT_BY_THE_LAST_CALL)


def test_nothing_is_remembered_on_the_functions_of_numpy():
    lines = ['try:', '    seen = np.sum.T', 'except:', '    seen = 0', 'np.sum.T = seen + 1']
    sandbox = Sandbox(body(*lines).replace('[:, 0]', '[:, 0] + seen'))
    np.testing.assert_array_equal(sandbox(STATE)[0], sandbox(STATE)[0])
    sandbox.close()


def test_a_machine_without_locks_is_refused(monkeypatch):
    monkeypatch.setitem(locks_module.PROTECTIONS, 'network', (('no_such_lock',),))
    with pytest.raises(SandboxError, match=r'cannot lock a program in: network would stay open.*terms'):
        run(body())
    np.testing.assert_array_equal(run(body(), require=False)[0], STATE['tip'][:, 0])


WITHOUT_SECCOMP = """
import os, socket, sys, tempfile
from apprentice.reward_models.programs.sandbox import locks, seccomp
seccomp.restrict = lambda: {seccomp}
folder = tempfile.mkdtemp()
held = locks.lock_down(folder, 256, 60)
told = []
for name, way in {{
    'read': lambda: open('/etc/passwd'),
    'write': lambda: open('x', 'w'),
    'socket': lambda: socket.socket(),
    'fork': lambda: os.fork() or os._exit(0),
}}.items():
    try:
        way()
        told.append(name + ' open')
    except OSError as error:
        told.append(name + ' ' + type(error).__name__)
os.write(1, (','.join(told) + ';' + ','.join(n for n in held if held[n])).encode())
"""


@pytest.mark.parametrize('seccomp', ['False', 'restrict()'])
def test_the_other_locks_hold_where_seccomp_does_not(seccomp):
    """Two walls: without the filter files, sockets and (as root) processes are shut off all the same."""
    code = WITHOUT_SECCOMP.format(seccomp=seccomp).replace('lambda: restrict()', 'seccomp.restrict')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    told, held = done.stdout.split(';')
    tried = dict(each.split(' ') for each in told.split(','))
    assert ('seccomp' in held.split(',')) == (seccomp != 'False')
    assert tried['read'] != 'open'
    assert tried['write'] != 'open'
    assert tried['socket'] != 'open'
    if 'other_user' in held or seccomp != 'False':
        assert tried['fork'] != 'open'
