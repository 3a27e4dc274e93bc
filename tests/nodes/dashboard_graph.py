# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A graph for the dashboard to show, the dashboard as a process, and a page's side of the websocket."""

import asyncio
import json
import signal
import subprocess
import sys
import time

import aiohttp
import numpy as np
from apprentice_interfaces.msg import (
    ControlState,
    EpisodeState,
    ExecutedCommand,
    LearnerStatus,
    RewardSample,
    WeightsAck,
)
from apprentice_interfaces.srv import LabelEpisode
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import TwistStamped
from rclpy.node import Node
from sensor_msgs.msg import Image, Joy
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger

from apprentice.nodes import convert, qos
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Reward, RewardKind

ROBOT = str(share('robots', 'sim_arm.yaml'))
SPEC = RobotSpec.load(ROBOT)
COLOURS = ((200, 40, 40), (40, 40, 200))
START = 100.0  # stamp at which the episode began: simulated time
TIMEOUT = 30.0


def episode(phase=EpisodeState.RUNNING, outcome=EpisodeState.UNKNOWN, name='e1', eval_only=False):
    return EpisodeState(
        episode_id=name,
        task='pick up the red cube',
        phase=phase,
        outcome=outcome,
        eval_only=eval_only,
        step=7,
        elapsed_s=0.7,
        intervention_ratio=0.25,
        started=convert.stamp_of(START),
    )


def sample(t, progress, model='critic', episode_id='e1'):
    reward = Reward(t - 0.1, t, RewardKind.PROGRESS_DELTA, 0.1, progress, model=model)
    return convert.reward_msg(reward, episode_id, 'pick up the red cube')


class Graph(Node):
    """Publishes what a running robot publishes, ten times a second; answers some services."""

    def __init__(self, context):
        super().__init__('graph', context=context)
        self.cameras = [self.create_publisher(Image, c.topic, qos.SENSOR_PUBLISHER) for c in SPEC.cameras]
        self.gate = self.create_publisher(ControlState, 'gate/state', qos.STATE)
        self.episode = self.create_publisher(EpisodeState, 'episode/state', qos.STATE)
        self.rewards = self.create_publisher(RewardSample, 'reward/sample', qos.LOG)
        self.executed = self.create_publisher(ExecutedCommand, 'gate/executed', qos.LOG)
        self.learner = self.create_publisher(LearnerStatus, 'learner/status', qos.LOG)
        self.ack = self.create_publisher(WeightsAck, 'policy/weights_ack', qos.STATE)
        self.health = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self.create_service(Trigger, 'gate/stop', self._called('stop'))
        self.create_service(SetBool, 'episode/end', self._called('end'))
        self.create_service(LabelEpisode, 'episode/label', self._called('label'))
        self.create_subscription(String, 'dashboard/url', self._on_url, qos.STATE)
        self.urls, self.calls, self.step = [], [], 0
        self.joys, self.twists = [], []
        self.create_subscription(Joy, 'teleop/joy', self.joys.append, qos.SENSOR)
        self.create_subscription(TwistStamped, 'teleop/twist', self.twists.append, qos.SENSOR)
        self.episode_state, self.alive = episode(), True
        self.create_timer(0.1, self._tick)

    def _on_url(self, message):
        self.urls.append(message.data)

    def _called(self, name):
        def serve(request, response):
            self.calls.append((name, request))
            response.success, response.message = True, f'{name} served'
            return response

        return serve

    def _tick(self):
        self.step += 1
        t = START + 0.1 * self.step
        for publisher, colour in zip(self.cameras, COLOURS):
            image = np.full((64, 64, 3), colour, np.uint8)
            publisher.publish(convert.image_msg(image, t, 'camera'))
        if self.alive:
            self.gate.publish(
                ControlState(
                    mode=ControlState.HUMAN,
                    owner='human',
                    epoch=4,
                    takeover_id=2,
                    since=convert.stamp_of(START + 0.5),
                    reason='a person took over',
                    clamped=[3, 0, 1, 0],
                )
            )
        self.episode.publish(self.episode_state)
        self.rewards.publish(sample(t, min(1.0, 0.01 * self.step)))
        for i in range(2):
            command = ExecutedCommand()
            command.header.stamp = convert.stamp_of(t + 0.05 * i)
            self.executed.publish(command)
        self.learner.publish(LearnerStatus(phase='updating', version=4, loss=float('nan'), transitions=90))
        self.ack.publish(WeightsAck(version=4, active_version=3, ok=True))
        if self.alive:
            status = DiagnosticStatus(
                level=DiagnosticStatus.WARN,
                name='reward',
                message='slow',
                values=[KeyValue(key='queue', value='7')],
            )
            self.health.publish(DiagnosticArray(status=[status]))


def command(*parameters):
    options = [part for parameter in parameters for part in ('-p', parameter)]
    return [sys.executable, '-m', 'apprentice.nodes.dashboard', '--ros-args', *options]


def serving(graph):
    """Address of a dashboard process with the token ``secret``, learnt from its latched topic."""
    process = subprocess.Popen(command(f'robot:={ROBOT}', 'port:=0', 'token:=secret', 'use_sim_time:=true'))
    deadline = time.monotonic() + TIMEOUT
    while not graph.urls:
        assert process.poll() is None, 'the dashboard ended at its start'
        assert time.monotonic() < deadline, 'dashboard/url was not published'
        time.sleep(0.05)
    yield graph.urls[-1]
    process.send_signal(signal.SIGINT)
    assert process.wait(15) == 0


def talk(url, conversation, headers=None):
    """Run ``conversation(websocket)`` and return its result."""

    async def run():
        session = aiohttp.ClientSession()
        async with session, session.ws_connect(url + '/ws', headers=headers) as websocket:
            return await asyncio.wait_for(conversation(websocket), TIMEOUT)

    return asyncio.run(run())


async def until(websocket, wanted):
    """The first JSON message for which ``wanted`` holds."""
    while True:
        message = await websocket.receive()
        assert message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY), message
        if message.type == aiohttp.WSMsgType.TEXT:
            data = json.loads(message.data)
            if wanted(data):
                return data


async def identify(websocket, token='secret', key='', name=''):
    """Say who this is, as a page does at once; returns the answer."""
    await websocket.send_json({'action': 'identify', 'token': token, 'key': key, 'name': name})
    return await until(websocket, lambda m: m['type'] == 'you')


def press(url, action, token='secret', headers=None, **fields):
    """What a page is answered that presses a button and closes."""

    async def conversation(websocket):
        await until(websocket, lambda m: m['type'] == 'state' and m['episode'])
        await identify(websocket, token)
        await websocket.send_json({'action': action, **fields})
        reply = await until(websocket, lambda m: m['type'] == 'reply')
        await websocket.send_json({'action': 'give'})
        return reply

    return talk(url, conversation, headers=headers)
