# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The ``apprentice`` command: help, errors, and the doctor."""

from __future__ import annotations

import json
import subprocess
import sys
from xml.etree import ElementTree

import pytest

from apprentice.cli import doctor, doctor_checks, main


def apprentice(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, '-m', 'apprentice.cli.main', *words], capture_output=True, text=True, timeout=600
    )


def test_help_lists_the_commands_without_importing_them():
    code = (
        'import sys; from apprentice.cli.main import build_parser; build_parser(None).format_help();'
        "assert not {'torch', 'rclpy', 'mujoco'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, '-c', code], check=True)
    text = apprentice('--help').stdout
    assert 'doctor' in text
    assert 'up ' in text


@pytest.mark.parametrize('command', [c for c in main.COMMANDS if main.summary(c)])
def test_every_command_has_help(command):
    done = apprentice(command, '--help')
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f'usage: apprentice {command}')


def test_version_is_that_of_the_package(root):
    declared = ElementTree.parse(root / 'package.xml').findtext('version')
    assert apprentice('--version').stdout == f'apprentice {declared}\n'


def test_errors_are_one_line_and_debug_shows_the_traceback():
    done = apprentice('up', 'nowhere.launch.yaml')
    assert done.returncode == 2
    assert done.stderr.startswith(
        'apprentice: error: launch file nowhere.launch.yaml does not exist; looked for'
    )
    assert done.stderr.count('\n') == 1
    assert 'Traceback' in apprentice('--debug', 'up', 'nowhere.launch.yaml').stderr


def test_wrong_command_and_options_are_usage_errors():
    assert apprentice('nonsense').returncode == 2
    done = apprentice('doctor', '--nonsense')
    assert done.returncode == 2
    assert 'unrecognized arguments: --nonsense' in done.stderr


def test_options_may_stand_between_the_words_of_up():
    done = apprentice('up', 'sim.launch.yaml', '--dry-run', 'namespace:=left')
    assert done.returncode == 0, done.stderr
    assert '__ns:=/left' in done.stdout


def test_show_args_lists_defaults():
    text = apprentice('up', 'robot.launch.yaml', '--show-args').stdout
    assert "'robot':" in text
    assert '(required)' in text
    assert "(default: '8765')" in text


def test_doctor_fails_on_a_wrong_robot_file(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(doctor, 'CHECKS', (('python', doctor_checks.python), ('disk', doctor_checks.disk)))
    file = tmp_path / 'arm.yaml'
    file.write_text('name: arm\njoints: []\ncameras: []\n')
    assert main.main(['doctor', str(file), '--json']) == 1
    report = json.loads(capsys.readouterr().out)
    checks = {check['name']: check for check in report['checks']}
    assert checks['python']['level'] == 'ok'
    assert checks['robot file']['level'] == 'fail'
    assert 'joints is empty' in checks['robot file']['found']
    assert any('real hardware' in line for line in report['never_run'])
    assert main.main(['doctor', str(file)]) == 1
    assert '-> correct the robot file' in capsys.readouterr().out


def test_doctor_finds_a_robot_by_name(monkeypatch, capsys):
    monkeypatch.setattr(doctor, 'CHECKS', ())

    def check(*words):
        code = main.main(['doctor', *words, '--json'])
        return code, next(
            c for c in json.loads(capsys.readouterr().out)['checks'] if c['name'] == 'robot file'
        )

    for words, name in (((), 'sim_arm'), (('sim_humanoid',), 'sim_humanoid'), (('sim_arm.yaml',), 'sim_arm')):
        code, found = check(*words)
        assert (code, found['level']) == (0, 'ok')
        assert found['found'].startswith(f'{name}: ')
    for missing, message in (('nonesuch', 'that is shipped: example_ur5e'), ('some/where.yaml', 'robot:=')):
        code, found = check(missing)
        assert (code, found['level']) == (1, 'fail')
        assert 'does not exist' in found['found']
        assert message in found['found']
        assert 'working one' in found['remedy']


def test_a_broken_check_is_a_finding(monkeypatch, capsys):
    def broken():
        raise RuntimeError('oops')

    monkeypatch.setattr(doctor, 'CHECKS', (('broken', broken),))
    assert main.main(['doctor', '--json']) == 1
    assert json.loads(capsys.readouterr().out)['checks'][0]['found'] == 'RuntimeError: oops'


def test_doctor_renders_and_starts_a_node():
    assert doctor_checks.render()[0] == 'ok'
    assert doctor_checks.rclpy()[0] == 'ok'
    assert doctor_checks.interfaces()[0] == 'ok'


@pytest.mark.slow
def test_doctor_of_this_installation():
    report = json.loads(apprentice('doctor', '--json').stdout)
    assert not [check for check in report['checks'] if check['level'] == 'fail']


def test_doctor_refuses_the_broken_mujoco(monkeypatch):
    monkeypatch.setattr(doctor_checks, '_version', lambda name: '4.0.0')
    level, _, remedy = doctor_checks.mujoco()
    assert level == 'fail'
    assert 'mujoco>=3.3,!=4.0.0' in remedy


def test_doctor_sees_missing_weights(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor_checks, 'share', lambda *parts: tmp_path)
    level, found, remedy = doctor_checks.shipped_weights()
    assert level == 'fail'
    assert 'no weights' in found
    assert 'apprentice train' in remedy
