# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Starting, losing and ending the Isaac Gym worker, and what the user is told."""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
import threading
import time
import types
from pathlib import Path

import numpy as np
import pytest
from isaacgym_scenes import HERE, options, scene

from apprentice.sim.isaacgym import protocol
from apprentice.sim.isaacgym.physics import IsaacGymPhysics
from apprentice.sim.isaacgym.process import IsaacGymError, IsaacGymUnavailable, WorkerProcess
from apprentice.sim.physics import make_physics

WHAT_TO_DO = ('developer.nvidia.com/isaac-gym', '3.6, 3.7 or 3.8', 'APPRENTICE_ISAACGYM_PYTHON', 'Warp')


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return open(f'/proc/{pid}/stat').read().split()[2] != 'Z'


def test_without_an_interpreter_the_remedy_is_named(monkeypatch):
    monkeypatch.delenv('APPRENTICE_ISAACGYM_PYTHON', raising=False)
    with pytest.raises(IsaacGymUnavailable, match='is not set') as caught:
        make_physics(scene(), 1, 1, 'isaacgym')
    assert all(part in str(caught.value) for part in WHAT_TO_DO)
    assert isinstance(caught.value, ImportError)


def test_a_path_that_is_no_program_is_named():
    with pytest.raises(IsaacGymUnavailable, match='/no/python is no program'):
        WorkerProcess(options(python='/no/python'))


def test_a_program_of_another_kind_is_named(tmp_path):
    program = tmp_path / 'python'
    program.write_bytes(b'\x7fELF and nothing else')
    program.chmod(0o755)
    with pytest.raises(IsaacGymUnavailable, match='cannot be started: ') as caught:
        WorkerProcess(options(python=str(program)))
    assert all(part in str(caught.value) for part in WHAT_TO_DO)


def test_something_else_that_answers_is_explained(tmp_path):
    program = tmp_path / 'python'
    program.write_text(f'#!{sys.executable}\n{IMPOSTOR}')
    program.chmod(0o755)
    with pytest.raises(IsaacGymUnavailable, match='hello: has fields') as caught:
        WorkerProcess(options(python=str(program)))
    assert all(part in str(caught.value) for part in WHAT_TO_DO)


IMPOSTOR = """
import json, socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[2])
data = json.dumps({'id': 0, 'result': {}}).encode()
connection.sendall(len(data).to_bytes(4, 'big') + data)
connection.recv(1)
"""


def test_a_relative_path_is_one_from_here(monkeypatch, tmp_path):
    (tmp_path / 'bin').mkdir()
    program = tmp_path / 'bin' / 'python'
    program.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    WorkerProcess(options(python='bin/python')).close()


def test_an_interpreter_without_isaac_gym_is_explained():
    with pytest.raises(IsaacGymUnavailable, match='No module named') as caught:
        WorkerProcess(options(path=str(HERE / 'fake_torch')))
    assert all(part in str(caught.value) for part in WHAT_TO_DO)


def test_an_import_that_fails_shows_why(monkeypatch):
    monkeypatch.setenv('FAKE_ISAACGYM', 'broken')
    with pytest.raises(IsaacGymUnavailable, match=r'libpython3\.8\.so\.1\.0'):
        WorkerProcess(options())


def test_a_program_that_ends_at_once_is_explained():
    with pytest.raises(IsaacGymUnavailable, match='ended while starting'):
        WorkerProcess(options(python='/bin/false'))


def test_one_that_never_answers_is_given_up(tmp_path):
    program = tmp_path / 'python'
    program.write_text('#!/bin/sh\nexec sleep 30\n')
    program.chmod(0o755)
    start = time.monotonic()
    with pytest.raises(IsaacGymUnavailable, match='did not answer'):
        WorkerProcess(options(python=str(program), start_s=0.5))
    assert time.monotonic() - start < 15


def test_a_simulation_that_cannot_be_made_is_an_error(monkeypatch):
    monkeypatch.setenv('FAKE_ISAACGYM', 'refuses')
    with pytest.raises(IsaacGymError, match='create_sim made nothing'):
        IsaacGymPhysics(scene(), 1, options=options())


def test_death_shows_the_last_output_and_leaves_nothing(monkeypatch):
    monkeypatch.setenv('FAKE_ISAACGYM', 'dies')
    physics = IsaacGymPhysics(scene(), 1, options=options())
    folder = physics.worker.folder
    assert folder.stat().st_mode & 0o77 == 0  # nobody else may read or connect
    with pytest.raises(IsaacGymError, match=r'exit code 139(.|\n)*fail to allocate memory'):
        physics.step(1)
    with pytest.raises(IsaacGymError, match='worker died'):
        physics.step(1)
    physics.close()
    assert not folder.exists()


def test_one_that_was_killed_between_calls_is_explained():
    """Its end of the socket is gone, and with it a call that it had not read."""
    worker = WorkerProcess(options())
    try:
        os.kill(worker._process.pid, signal.SIGSTOP)
        protocol.send(worker._connection, {'id': 1, 'call': 'close', 'arguments': {}})
        os.kill(worker._process.pid, signal.SIGKILL)
        worker._process.wait()
        with pytest.raises(IsaacGymError, match=r'the Isaac Gym worker died \(exit code -9\)'):
            worker._answer(1, 'close', 5.0)
    finally:
        worker.close()


def test_after_an_interrupted_call_everything_goes_on(monkeypatch):
    monkeypatch.setenv('FAKE_ISAACGYM', 'lingers')
    physics, other = (IsaacGymPhysics(scene(), 2, options=options()) for _ in range(2))
    # rclpy, where a test before this one has used it, leaves a handler that swallows the signal
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        interrupt = threading.Timer(0.15, os.kill, [os.getpid(), signal.SIGINT])
        interrupt.start()
        with pytest.raises(KeyboardInterrupt):
            physics.step(1)
        assert not physics.read('time').any()
        for engine in (physics, other):
            engine.write('ctrl', range(4), [[0.5, 0.3, -0.8, 0.03]], [0, 1])
            engine.step(1)
        for name in ('qpos', 'qvel', 'xpos', 'time'):
            np.testing.assert_array_equal(physics.read(name), other.read(name))
    finally:
        signal.signal(signal.SIGINT, handler or signal.SIG_DFL)
        physics.close()
        other.close()


def test_one_that_hangs_is_ended(monkeypatch):
    monkeypatch.setenv('FAKE_ISAACGYM', 'hangs')
    physics = IsaacGymPhysics(scene(), 1, options=options(call_s=0.5))
    pid = physics.worker._process.pid
    with pytest.raises(IsaacGymError, match=r'no answer within 0\.5 s'):
        physics.step(1)
    physics.close()
    assert not alive(pid)


def test_an_error_while_starting_ends_the_worker(monkeypatch):
    made = []

    class Noted(WorkerProcess):
        def __init__(self, chosen):
            super().__init__(chosen)
            made.append(self._process.pid)

    def refuse(*_):
        raise MemoryError

    monkeypatch.setattr('apprentice.sim.isaacgym.physics.WorkerProcess', Noted)
    monkeypatch.setattr('apprentice.sim.isaacgym.physics.ModelValues', refuse)
    with pytest.raises(MemoryError):
        IsaacGymPhysics(scene(), 1, options=options())
    assert len(made) == 1
    assert not alive(made[0])


@pytest.mark.skipif(not os.path.isdir('/dev/shm'), reason='only a file system in memory refuses at once')
def test_too_little_shared_memory_is_an_error_that_names_the_remedy():
    worker = WorkerProcess(options())
    try:
        before = set(os.listdir('/dev/shm'))
        space = os.statvfs('/dev/shm')
        size = 2 * space.f_blocks * space.f_frsize
        with pytest.raises(IsaacGymError, match=r'MB of shared memory.*fewer simulations.*--shm-size'):
            worker.share([['frames', 'uint8', [size]]])
        assert not [name for name in set(os.listdir('/dev/shm')) - before if name.startswith(protocol.PREFIX)
                    and os.stat(f'/dev/shm/{name}').st_size >= size]  # fmt: skip
    finally:
        worker.close()


def test_the_worker_removes_only_what_is_ours(tmp_path):
    worker = runpy.run_path(str(Path(protocol.__file__).with_name('worker.py')))
    package = types.ModuleType('apprentice_isaacgym')
    package.__path__ = [str(Path(protocol.__file__).parent)]
    ours, theirs = tmp_path / f'{protocol.PREFIX}x', tmp_path / 'other'
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, 'apprentice_isaacgym', package)
        patch.setitem(sys.modules, 'apprentice_isaacgym.protocol', protocol)
        for folder in (ours, theirs):
            folder.mkdir()
            worker['remove_folder'](str(folder))
    assert not ours.exists()
    assert theirs.exists()


def test_the_worker_refuses_bad_calls_and_goes_on():
    physics = IsaacGymPhysics(scene(), 1, options=options())
    try:
        with pytest.raises(IsaacGymError, match='IndexError'):
            physics.worker.call('colour', sim=7, body=0, colour=[1, 0, 0])
        physics.step(1)
        assert np.isfinite(physics.read('qpos')).all()
    finally:
        physics.close()
        physics.close()  # twice is as good


def test_our_python_paths_do_not_reach_the_worker(monkeypatch, tmp_path):
    (tmp_path / 'numpy.py').write_text('raise ImportError("numpy of another Python")')
    monkeypatch.setenv('PYTHONPATH', str(tmp_path))
    WorkerProcess(options()).close()


PARENT = """
import sys
sys.path.insert(0, {here!r})
from isaacgym_scenes import options, scene
from apprentice.sim.isaacgym.physics import IsaacGymPhysics
physics = IsaacGymPhysics(scene(), 1, options=options())
sys.stdout.write(str(physics.worker._process.pid) + ' ' + str(physics.worker.folder))
sys.stdout.flush()
import os
os._exit(9)
"""
KILLED = """
import os, sys, threading, time
sys.path.insert(0, {here!r})
from isaacgym_scenes import options, scene
from apprentice.sim.isaacgym import process
from apprentice.sim.isaacgym.physics import IsaacGymPhysics

share = process.WorkerProcess.share
def shared(self, arrays):
    memory, views = share(self, arrays)
    sys.stdout.write(str(self._process.pid) + ' ' + memory)
    sys.stdout.flush()
    def leave():
        while os.path.exists(memory): time.sleep(0.005)
        os._exit(9)
    threading.Thread(target=leave, daemon=True).start()
    return memory, views
process.WorkerProcess.share = shared
process.WorkerProcess._unlink = lambda self: None
IsaacGymPhysics(scene(), 1, options=options())
time.sleep(20)
"""


def test_the_worker_ends_with_its_parent():
    done = subprocess.run(
        [sys.executable, '-c', PARENT.format(here=str(HERE))], capture_output=True, text=True, timeout=60
    )
    pid, folder = int(done.stdout.split()[0]), Path(done.stdout.split()[1])
    end = time.monotonic() + 10
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.05)
    assert not alive(pid)
    assert not folder.exists()


def test_shared_memory_has_no_name_once_the_worker_has_it():
    """A parent that is killed while the scene is made cannot remove it."""
    done = subprocess.run(
        [sys.executable, '-c', KILLED.format(here=str(HERE))], capture_output=True, text=True, timeout=60
    )
    memory = done.stdout.split()[1]
    assert done.returncode == 9, done.stderr
    assert not os.path.exists(memory)
