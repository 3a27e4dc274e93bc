# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What ``apprentice doctor`` says about Isaac Gym."""

from __future__ import annotations

import pytest
from isaacgym_scenes import HERE, options

from apprentice.cli.doctor import NEVER_RUN
from apprentice.cli.doctor_checks import CHECKS, isaac_gym


def test_it_is_optional_and_said_not_to_have_been_run(monkeypatch):
    monkeypatch.delenv('APPRENTICE_ISAACGYM_PYTHON', raising=False)
    level, found, _ = isaac_gym()
    assert level == 'ok'
    assert 'optional' in found
    assert 'not run on the real library' in found
    assert isaac_gym in [check for _, check in CHECKS]
    assert any('Isaac Gym' in line and 'not run on the real library' in line for line in NEVER_RUN)


def test_it_is_imported_where_it_is_set_up(monkeypatch):
    chosen = options()
    monkeypatch.setenv('APPRENTICE_ISAACGYM_PYTHON', chosen.python)
    monkeypatch.setenv('APPRENTICE_ISAACGYM_PATH', chosen.path)
    level, found, _ = isaac_gym()
    assert level == 'warn'
    assert 'isaacgym fake' in found
    assert 'not run on the real library' in found


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setenv('APPRENTICE_ISAACGYM_PYTHON', options().python)
    monkeypatch.setenv('APPRENTICE_ISAACGYM_PATH', str(HERE / 'fake_torch'))
    level, found, remedy = isaac_gym()
    assert level == 'warn'
    assert 'isaacgym' in found
    assert 'developer.nvidia.com' in remedy


@pytest.mark.parametrize('python', ['/bin/false', '/no/python', '/dev/null'])
def test_a_wrong_interpreter_gets_the_remedy(monkeypatch, python):
    monkeypatch.setenv('APPRENTICE_ISAACGYM_PYTHON', python)
    level, found, remedy = isaac_gym()
    assert level == 'warn'
    assert python in found
    assert 'developer.nvidia.com' not in found
    assert remedy.endswith("pip install 'apprentice[warp]' and engine 'warp'")
