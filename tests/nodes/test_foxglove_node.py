# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The graph over a websocket as Foxglove speaks it: channels with schemas, and the bytes of ROS."""

from __future__ import annotations

import asyncio
import json
import struct
import threading

import pytest
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import JointState

pytest.importorskip('foxglove', reason="needs pip install 'apprentice[foxglove]'")
aiohttp = pytest.importorskip('aiohttp')

from apprentice.cli.demo import free_port  # noqa: E402
from apprentice.nodes import convert, qos  # noqa: E402
from apprentice.robot.parts import share  # noqa: E402
from apprentice.robot.spec import RobotSpec  # noqa: E402

SPEC = RobotSpec.load(share('robots', 'sim_arm.yaml'))


async def listen(port: int, subscribed: threading.Event) -> tuple[dict, bytes]:
    """The channel of the joint states as advertised, and the first message on it."""
    protocols = ['foxglove.sdk.v1', 'foxglove.websocket.v1']
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f'ws://127.0.0.1:{port}', protocols=protocols) as socket,
    ):
        found: dict = {}
        while True:
            message = await socket.receive(timeout=20)
            if message.type == aiohttp.WSMsgType.TEXT:
                content = json.loads(message.data)
                for channel in content.get('channels', []) if content['op'] == 'advertise' else []:
                    if channel['topic'] == '/joint_states':
                        found = channel
                        wanted = {'op': 'subscribe', 'subscriptions': [{'id': 1, 'channelId': channel['id']}]}
                        await socket.send_str(json.dumps(wanted))
                        subscribed.set()
            elif message.type == aiohttp.WSMsgType.BINARY and message.data[0] == 1:
                assert struct.unpack_from('<I', message.data, 1)[0] == 1
                return found, message.data[13:]


@pytest.mark.timeout(60)
def test_joint_states_arrive_as_they_were_sent(ros, start_node):
    port = free_port(0)
    process = start_node('foxglove', '-p', f'port:={port}')
    process.wait_for('Open connection')
    publisher = ros.node.create_publisher(JointState, 'joint_states', qos.SENSOR_PUBLISHER)
    assert ros.spin_until(lambda: publisher.get_subscription_count() > 0)
    subscribed, answer = threading.Event(), []
    thread = threading.Thread(
        target=lambda: answer.append(asyncio.run(listen(port, subscribed))), daemon=True
    )
    thread.start()
    sent = convert.joint_state_msg(7.5, SPEC.joint_names, [0.1 * i for i in range(SPEC.dim)])

    def arrived():
        if subscribed.is_set():
            publisher.publish(sent)
        return bool(answer)

    assert ros.spin_until(arrived, 30.0)
    channel, data = answer[0]
    assert (channel['encoding'], channel['schemaName'], channel['schemaEncoding']) == (
        'cdr', 'sensor_msgs/msg/JointState', 'ros2msg',
    )  # fmt: skip
    assert deserialize_message(data, JointState) == sent
