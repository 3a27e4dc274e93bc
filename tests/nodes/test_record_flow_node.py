# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""`apprentice record` on a real graph in simulation: by the scripted person, and by commands."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from apprentice_interfaces.srv import StartEpisode
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import String

from apprentice.cli.launch_file import load
from apprentice.cli.supervisor import Supervisor
from apprentice.episodes.check_logs import check_log
from apprentice.episodes.facts import episode_facts, recorded_spec
from apprentice.episodes.labels import iter_sealed
from apprentice.episodes.lerobot_dataset import LeRobotSource
from apprentice.episodes.lerobot_export import ExportSettings, export
from apprentice.nodes import qos, record_flow
from apprentice.robot.parts import share
from apprentice.robot.recording_flow import FlowState, Press
from apprentice.robot.types import Outcome

RECORD = [sys.executable, '-m', 'apprentice.cli.main', 'record', '--person', '--no-page']


def facts(folder):
    return [episode_facts(path) for path in iter_sealed(folder / 'episodes')]


def record(folder, episodes, **options):
    command = [*RECORD, '--episodes', str(episodes), '--run-dir', str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)


@pytest.mark.timeout(200)
def test_scripted_person_records_goes_on_after_ctrl_c_and_it_is_exported(tmp_path):
    process = record(tmp_path, 50)
    folder = tmp_path / 'episodes'
    end = time.monotonic() + 90
    while len(list(folder.glob('*.mcap'))) < 2 and process.poll() is None and time.monotonic() < end:
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert not list(folder.glob('*.part')), 'everything is sealed'
    kept = [fact for fact in facts(tmp_path) if fact.outcome == Outcome.SUCCESS]
    assert kept  # an attempt may have failed
    wanted = len(kept) + 1
    process = record(tmp_path, wanted)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert f'{wanted}/{wanted} kept' in output
    found = facts(tmp_path)
    kept = [fact for fact in found if fact.outcome == Outcome.SUCCESS]
    assert len(kept) == wanted
    assert all(fact.human_share > 0.9 for fact in kept), 'driven through human/command'
    assert len({fact.episode_id for fact in found}) == len(found)
    for fact in kept:
        assert check_log(fact.path, recorded_spec(fact.path)) == []
    done = export([tmp_path], tmp_path / 'set', settings=ExportSettings(images='png'))
    assert (len(done.added), done.refused) == (wanted, {})
    source = LeRobotSource(tmp_path / 'set', recorded_spec(kept[0].path))
    assert len(source) == wanted
    assert record(tmp_path, wanted).wait(60) == 0  # nothing is left to do


@pytest.mark.timeout(200)
def test_commands_label_discard_and_quit(tmp_path, ros):
    """Without automatic: every step is asked for on record/command, as a page or a pad does."""
    arguments = {
        'run_dir': str(tmp_path), 'lockstep': 'true', 'person': 'apprentice.sim.people:ScriptedPerson',
        'device': 'none', 'take': 'true', 'countdown_s': '0.0', 'auto_arm': 'true', 'dashboard': 'false',
        'episodes': '5', 'max_duration_s': '0.0',
    }  # fmt: skip
    states: list[dict] = []
    # deeper than its publisher: some states are short
    every = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    ros.node.create_subscription(String, 'record/status', lambda m: states.append(json.loads(m.data)), every)
    commands = ros.node.create_publisher(String, 'record/command', qos.LOG)
    start = ros.node.create_client(StartEpisode, 'episode/start')
    lines: list[str] = []

    def reach(state, limit=60.0):
        # a short state may be over before it is looked at
        def found():
            while states and states[0]['state'] != state:
                states.pop(0)
            return bool(states)

        assert ros.spin_until(found, limit), (state, lines[-15:])
        return states[0]

    with Supervisor(on_line=lambda label, line: lines.append(f'{label}: {line}')) as supervisor:
        for process in load(share('launch', 'record.launch.yaml'), arguments).processes:
            supervisor.start(process, process.name)

        def press(name):
            supervisor.poll(0.0)
            commands.publish(String(data=name))

        assert ros.spin_until(lambda: commands.get_subscription_count() > 0, 60.0), lines[-15:]
        reach('waiting')
        press('nonsense')
        press('record')
        reach('recording')
        first = reach('keep or discard')
        assert first['hint'].startswith('SUCCESS')
        press('discard')
        assert reach('waiting')['discarded'] == 1
        press('record')
        reach('keep or discard')
        press('failure')
        assert reach('waiting')['failures'] == 1
        press('record')
        last = reach('keep or discard')
        # the page begins the next one: the last one is kept, and the new one is followed
        end = time.monotonic() + 20
        while not ros.call(start, StartEpisode.Request(seed=7)).accepted:
            assert time.monotonic() < end, 'the controls are given back in review'
        assert reach('resetting')['kept'] == 1
        another = reach('keep or discard')
        assert another['episode_id'] != last['episode_id']
        press('failure')
        assert reach('waiting')['failures'] == 2
        press('quit')
        reach('done')
        end = time.monotonic() + 20
        while supervisor.labels and not supervisor.poll(0.2) and time.monotonic() < end:
            pass
    outcomes = [fact.outcome for fact in facts(tmp_path)]
    assert outcomes == [Outcome.ABORT, Outcome.FAILURE, Outcome.SUCCESS, Outcome.FAILURE]
    assert any('nonsense' in line for line in lines)


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--episodes', '0'], '0 episodes'),
        (['--real', '--person', '--task', 't'], 'leave out --real'),
        (['--real'], 'needs --task'),
        (['--robot', 'none.yaml'], 'none.yaml'),
    ],
)
def test_what_cannot_be_used_is_an_error(tmp_path, words, message):
    command = [sys.executable, '-m', 'apprentice.cli.main', 'record', '--run-dir', str(tmp_path), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2, done.stdout + done.stderr
    assert re.search(message, done.stderr)


def test_keys_of_a_terminal():
    import pty

    from apprentice.nodes.record_keys import Keys

    ours, theirs = pty.openpty()
    keys = Keys(os.ttyname(theirs))
    os.write(ours, b'S d')
    time.sleep(0.1)
    assert keys.read() == 's d'
    assert keys.read() == ''
    keys.status('[0/2 kept] recording')
    assert b'recording' in os.read(ours, 1000)
    keys.close()


def test_a_service_that_never_answers_is_named_and_can_be_tried_again(ros, monkeypatch):
    monkeypatch.setattr(record_flow, '_ANSWER_S', 0.5)
    dead = Node('dead')  # offers its services, and is never spun: as a node that hangs
    dead.create_service(StartEpisode, 'episode/start', lambda request, response: response)
    flow = record_flow.RecordFlowNode()
    ros.executor.add_node(flow)
    try:
        flow._ready = True
        assert ros.spin_until(flow._start.service_is_ready, 10.0)
        for _ in range(2):
            flow.flow.message = ''
            flow.flow.press(Press.GO)
            assert ros.spin_until(lambda: 'episode/start did not answer' in flow.flow.message, 10.0)
            assert flow.flow.state is FlowState.WAITING
    finally:
        ros.executor.remove_node(flow)
        flow.close()
        flow.destroy_node()
        dead.destroy_node()
