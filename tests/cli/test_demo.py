# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The parts of the demo that need no graph."""

import argparse
import os
import signal
import socket
import threading
import time

import pytest

from apprentice.cli import demo, demo_demonstrations, environment
from apprentice.cli.demo_demonstrations import ensure_demonstrations
from apprentice.learning.rescore import FILE
from apprentice.reward_models.ledger import Ledger


def arguments(*words):
    parser = argparse.ArgumentParser()
    demo.add_arguments(parser)
    return parser.parse_args(words)


def test_a_busy_port_gives_the_next_free_one():
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert demo.free_port(port) > port
    assert demo.free_port(0) > 0


def test_a_domain_in_use_is_passed_over():
    free = environment.free_domain(range(1, 101))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(('', 7400 + 250 * free))
        assert environment.free_domain([free]) is None
        assert environment.free_domain([free, *range(free + 1, 101)]) > free


def test_the_users_domain_is_kept(monkeypatch):
    monkeypatch.setenv('ROS_DOMAIN_ID', '7')
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'SUBNET')
    demo.prepare_environment()
    assert (os.environ['ROS_DOMAIN_ID'], os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE']) == ('7', 'SUBNET')


def test_logs_keep_everything_and_show_what_matters(tmp_path, capsys):
    logs = demo.Logs(tmp_path)
    logs.line('gate', '[INFO] [1.0] [gate]: PAUSED')
    logs.line('gate', '[WARN] [1.0] [gate]: HOLD')
    logs.line('session', 'evaluate 1/2')
    logs.close()
    assert (tmp_path / 'gate.log').read_text().count('\n') == 2
    captured = capsys.readouterr()
    assert captured.out == 'evaluate 1/2\n'
    assert 'HOLD' in captured.err
    assert 'PAUSED' not in captured.err


def demonstrations(monkeypatch, tmp_path, code):
    given = 'import json, os, sys, time\no = json.loads(sys.argv[1])\n'
    monkeypatch.setattr(demo_demonstrations, '_DEMONSTRATE', given + code)
    return arguments('--demonstrations', str(tmp_path / 'demonstrations'), '--demonstration-episodes', '3')


def test_demonstrations_are_made_once_and_whole(monkeypatch, tmp_path):
    made = "os.mkdir(o['out']); open(o['out'] + '/a', 'w').write(str(o['episodes']))"
    args = demonstrations(monkeypatch, tmp_path, made)
    assert ensure_demonstrations(args, threading.Event())
    assert (args.demonstrations / 'a').read_text() == '3'
    args = demonstrations(monkeypatch, tmp_path, 'sys.exit(1)')
    assert ensure_demonstrations(args, threading.Event())
    assert [p.name for p in tmp_path.iterdir()] == ['demonstrations']


def test_demonstrations_are_measured_once(tmp_path, capfd):
    words = ['--demonstrations', str(tmp_path / 'demonstrations'), '--demonstration-episodes', '1']
    args = arguments(*words)
    assert ensure_demonstrations(args, threading.Event())
    assert '1 of 1 episodes have some' in capfd.readouterr().out
    scores = Ledger(tmp_path / 'demonstrations' / FILE)
    (name,) = scores.episodes
    found = [reward.progress for reward in scores.rewards(name) if reward.model == 'critic']
    assert found[-1] > found[0]
    assert ensure_demonstrations(args, threading.Event())
    assert 'episodes have some' not in capfd.readouterr().out
    truth = [line for line in scores.path.read_text().splitlines() if '"critic"' not in line]
    scores.path.write_text('\n'.join(truth) + '\n')  # as where the scoring was killed
    assert ensure_demonstrations(args, threading.Event())
    assert '1 of 1 episodes have some' in capfd.readouterr().out


@pytest.mark.parametrize('interrupt', [False, True])
def test_half_made_demonstrations_are_removed(monkeypatch, tmp_path, interrupt):
    code = "os.mkdir(o['out'])\n" + ('time.sleep(60)' if interrupt else 'sys.exit(3)')
    args = demonstrations(monkeypatch, tmp_path, code)
    event = threading.Event()
    if interrupt:
        threading.Timer(0.5, event.set).start()
    started = time.monotonic()
    assert not ensure_demonstrations(args, event)
    assert time.monotonic() - started < 20
    assert list(tmp_path.iterdir()) == []


def test_signals_set_the_event_and_handlers_come_back():
    before = signal.getsignal(signal.SIGINT)
    with demo.interruptible() as interrupted:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupted.wait(1.0)
    assert signal.getsignal(signal.SIGINT) is before


def test_an_earlier_run_is_not_overwritten(tmp_path):
    (tmp_path / 'episodes').mkdir()
    with pytest.raises(ValueError, match='earlier run'):
        demo.run(arguments('--run-dir', str(tmp_path)))


@pytest.mark.parametrize('robot', ['nonesuch', 'some/where.yaml'])
def test_a_missing_robot_ends_the_demo_before_anything_is_made(tmp_path, robot):
    words = ('--run-dir', str(tmp_path / 'run'), '--demonstrations', str(tmp_path / 'demonstrations'))
    with pytest.raises((FileNotFoundError, ValueError), match='does not exist'):
        demo.run(arguments('--robot', robot, *words))
    assert list(tmp_path.iterdir()) == []


def test_only_declared_launch_arguments_are_passed(tmp_path):
    declared = demo._launch_arguments(arguments('--seed', '4'), tmp_path, 1234)
    assert declared['lockstep'] == 'true'
    assert declared['seed'] == '4'
    assert declared['dashboard_port'] == '1234'
