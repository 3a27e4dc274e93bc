# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Starting, losing and ending the Isaac Gym worker, and what the user is told."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from isaacgym_scenes import HERE, options, scene

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


def test_one_that_hangs_is_ended(monkeypatch):
    monkeypatch.setenv('FAKE_ISAACGYM', 'hangs')
    physics = IsaacGymPhysics(scene(), 1, options=options(call_s=0.5))
    pid = physics.worker._process.pid
    with pytest.raises(IsaacGymError, match=r'no answer within 0\.5 s'):
        physics.step(1)
    physics.close()
    assert not alive(pid)


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
