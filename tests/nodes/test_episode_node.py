# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The episode node on a real ROS graph, beside a small gate and robot (standins.py)."""

import time

import numpy as np
import pytest
import rclpy
from apprentice_interfaces.action import RunEpisode
from apprentice_interfaces.msg import ControlState, EpisodeState
from apprentice_interfaces.srv import LabelEpisode, StartEpisode
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from standins import GateAndRobot
from std_srvs.srv import SetBool, Trigger

from apprentice.episodes.audits import Audit, AuditFile
from apprentice.nodes.episode import EpisodeNode, next_index
from apprentice.robot.types import Outcome


class Graph:
    def __init__(self, *parameters, world=True):
        defaults = {'auto_arm': 'true', 'success_topic': 'sim/truth', 'session_id': 'test'}
        defaults.update(p.split('=', 1) for p in parameters)
        arguments = ['--ros-args']
        for key, value in defaults.items():
            arguments += ['-p', f'{key}:={value}']
        rclpy.init(args=arguments)
        self.node = EpisodeNode()
        self.client = Node('client')
        self.world = GateAndRobot() if world else None
        self.action = None
        self.executor = SingleThreadedExecutor()
        for node in (self.node, self.client, self.world):
            if node is not None:
                self.executor.add_node(node)
        self.node.start()

    def until(self, condition, seconds=15.0):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f'gave up in {self.node.machine.stage}: {self.node.machine.record}'
            self.executor.spin_once(timeout_sec=0.05)

    def call(self, kind, name, request):
        client = self.client.create_client(kind, name)
        self.until(client.service_is_ready)
        future = client.call_async(request)
        self.until(future.done)
        return future.result()

    def send(self, **goal):
        self.feedback: list = []
        self.action = self.action or ActionClient(self.client, RunEpisode, 'episode/run')
        self.until(self.action.server_is_ready)
        future = self.action.send_goal_async(
            RunEpisode.Goal(**goal), feedback_callback=lambda m: self.feedback.append(m.feedback)
        )
        self.until(future.done)
        self.handle = future.result()
        return self.handle.get_result_async()

    def phase(self, phase):
        self.until(lambda: self.node.machine.record.phase == phase)

    def close(self):
        self.executor.shutdown()  # holds entities, and with them latched messages, alive
        if self.action is not None:
            self.action.destroy()
        self.node.close()
        self.node.cleanup()
        for node in (self.node, self.client, self.world):
            if node is not None:
                node.destroy_node()
        rclpy.shutdown()


@pytest.fixture
def make():
    made = []

    def factory(*parameters, **kwargs):
        made.append(Graph(*parameters, **kwargs))
        return made[-1]

    yield factory
    for graph in made:
        graph.close()


def test_audits_end_automatic_success(make, tmp_path):
    audits = AuditFile(tmp_path / 'episodes' / 'audit.jsonl')
    for number in range(2):
        audits.add(Audit(f'earlier-{number}', False))
    graph = make('success_samples=3', f'run_dir={tmp_path}')
    graph.world.done = True
    result = graph.send(seed=7, task='pick up the blue cube')
    graph.phase(EpisodeState.RUNNING)
    graph.until(lambda: graph.node.machine.record.steps > 30)
    assert not result.done(), 'two of the audited successes were none: a person decides'
    assert graph.call(SetBool, 'episode/end', SetBool.Request(data=True)).success
    graph.until(result.done)
    answer = result.result().result
    assert (answer.outcome, answer.end_cause) == (EpisodeState.SUCCESS, EpisodeState.CAUSE_HUMAN)
    audits.path.write_text('{"right": 1}\n')
    assert 'cannot be read' in graph.node._audited(), 'on doubt a person decides, too'


def test_action_runs_an_episode_to_success(make):
    graph = make('success_samples=3')
    result = graph.send(seed=7, task='pick up the blue cube')
    graph.phase(EpisodeState.RUNNING)
    graph.until(lambda: graph.node.machine.record.steps > 20)
    assert not result.done()
    graph.world.done = True
    graph.until(result.done)
    answer = result.result().result
    assert (answer.outcome, answer.end_cause) == (EpisodeState.SUCCESS, EpisodeState.CAUSE_PREDICATE)
    assert answer.episode_id == 'test-00000'
    assert answer.steps > 20
    assert answer.human_steps == 0
    assert answer.duration_s > 0.3
    graph.until(lambda: ('pause', True) in graph.world.calls)
    assert graph.world.calls == [
        ('arm', True),
        ('reset', True),
        ('world', 7),
        ('reset', False),
        ('pause', True),
    ]
    phases = list(dict.fromkeys(s.phase for s in graph.world.states))
    assert phases == [
        EpisodeState.IDLE,
        EpisodeState.RESETTING,
        EpisodeState.READY,
        EpisodeState.RUNNING,
        EpisodeState.ENDED,
    ]
    assert all(s.task == 'pick up the blue cube' for s in graph.world.states if s.phase >= EpisodeState.READY)
    assert EpisodeState.RUNNING in [f.phase for f in graph.feedback]


def test_two_episodes_with_timeout_and_takeover(make):
    graph = make()
    result = graph.send(max_duration_s=0.5)
    graph.until(result.done)
    assert result.result().result.end_cause == EpisodeState.CAUSE_TIMEOUT
    result = graph.send(max_duration_s=20.0)
    graph.phase(EpisodeState.RUNNING)
    graph.world.mode = ControlState.HUMAN
    graph.until(lambda: graph.node.machine.record.human_steps > 5)
    assert graph.call(SetBool, 'episode/end', SetBool.Request(data=True)).success
    graph.until(result.done)
    answer = result.result().result
    assert (answer.outcome, answer.end_cause) == (EpisodeState.SUCCESS, EpisodeState.CAUSE_HUMAN)
    assert answer.interventions == 1
    assert answer.episode_id == 'test-00001'


def test_cancel_and_refusal(make):
    graph = make()
    first = graph.send()
    graph.phase(EpisodeState.RUNNING)
    second = graph.send()  # one episode at a time
    graph.until(second.done)
    assert 'test-00000' in second.result().result.message
    start = graph.call(StartEpisode, 'episode/start', StartEpisode.Request())
    assert not start.accepted
    assert graph.call(Trigger, 'episode/abort', Trigger.Request()).success
    graph.until(first.done)
    assert first.result().result.outcome == EpisodeState.ABORT
    third = graph.send()
    graph.phase(EpisodeState.RUNNING)
    graph.handle.cancel_goal_async()
    graph.until(third.done)
    assert third.result().result.message == 'cancelled'
    graph.until(lambda: graph.world.mode == ControlState.PAUSED)


def test_stop_ends_the_episode_and_refuses_the_next(make):
    graph = make('safety_s=0.2')
    result = graph.send()
    graph.phase(EpisodeState.RUNNING)
    graph.world.mode, graph.world.reason = ControlState.STOP, 'button'
    graph.until(result.done)
    assert result.result().result.end_cause == EpisodeState.CAUSE_SAFETY
    start = graph.call(StartEpisode, 'episode/start', StartEpisode.Request())
    assert not start.accepted
    assert 'gate/clear' in start.message


def test_a_dead_gate_aborts_and_is_named(make):
    graph = make('silence_s=0.5')
    result = graph.send()
    graph.phase(EpisodeState.RUNNING)
    graph.world.silent = True
    graph.until(result.done)
    answer = result.result().result
    assert (answer.outcome, answer.end_cause) == (EpisodeState.ABORT, EpisodeState.CAUSE_FAULT)
    assert 'node gate' in answer.message


def test_a_missing_gate_is_named(make):
    graph = make('call_limit_s=0.5', world=False)
    result = graph.send()
    graph.until(result.done)
    assert 'node gate' in result.result().result.message


def test_label_republishes(make, tmp_path):
    (tmp_path / 'episodes').mkdir()
    (tmp_path / 'episodes' / 'old-00004.mcap').touch()
    (tmp_path / 'episodes' / 'old-00005.mcap.part').touch()
    assert next_index(str(tmp_path)) == 6
    graph = make(f'run_dir={tmp_path}')
    result = graph.send(max_duration_s=0.2)
    graph.until(result.done)
    assert result.result().result.episode_id == 'test-00006'

    def label(episode_id, outcome):
        request = LabelEpisode.Request(episode_id=episode_id, outcome=int(outcome), annotator='me')
        return graph.call(LabelEpisode, 'episode/label', request)

    assert label('', Outcome.SUCCESS).success
    assert label('old-00004', Outcome.ABORT).success
    assert not label('../../etc/passwd', Outcome.SUCCESS).success
    assert not label('', 9).success

    def ended():
        return [(s.episode_id, s.outcome) for s in graph.world.states if s.phase == EpisodeState.ENDED]

    graph.until(lambda: len(ended()) >= 4)  # none is left out
    assert ended() == [
        ('test-00006', EpisodeState.FAILURE),
        ('test-00006', EpisodeState.SUCCESS),
        ('old-00004', EpisodeState.ABORT),
        ('test-00006', EpisodeState.SUCCESS),
    ]


def test_bad_requests_are_answered(make):
    graph = make()
    request = StartEpisode.Request(max_duration_s=float(np.nan))
    answer = graph.call(StartEpisode, 'episode/start', request)
    assert not answer.accepted
    assert 'max_duration_s' in answer.message
    assert not graph.call(SetBool, 'episode/end', SetBool.Request(data=True)).success
