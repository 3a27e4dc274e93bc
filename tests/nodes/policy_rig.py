# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Stands around a real policy node as camera, robot, gate, episode and learner."""

import numpy as np
import torch
from apprentice_interfaces.msg import (
    ActionChunk,
    ControlState,
    EpisodeState,
    ExecutedCommand,
    WeightsAck,
    WeightsVersion,
)
from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import Image, JointState

from apprentice.nodes import convert, qos
from apprentice.policies import checkpoint
from apprentice.policies.backbones.tiny import TinyConfig
from apprentice.policies.config import PolicyConfig
from apprentice.policies.policy import FlowPolicy
from apprentice.policies.spec import PolicySpec
from apprentice.robot.normalize import Statistics
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec

ROBOT = share('robots', 'sim_arm.yaml')
SPEC = RobotSpec.load(ROBOT)


def make_weights(folder, seed=0, robot='sim_arm'):
    torch.manual_seed(seed)
    values = np.random.default_rng(0).normal(size=(50, 7))
    statistics = Statistics.of(values, SPEC.joint_names, 'x')
    spec = PolicySpec(
        robot,
        SPEC.joint_names,
        (True,) * 6 + (False,),
        {c.name: (64, 64) for c in SPEC.cameras},
        8,
        0.1,
        statistics,
        statistics,
    )
    config = PolicyConfig(backbone=TinyConfig(width=32, layers=1, heads=2, channels=(8, 8, 16)))
    return checkpoint.save(FlowPolicy(spec, config), folder, {'name': 'test'})


class Rig:
    """Plays camera, robot, gate, episode and learner."""

    def __init__(self, ros):
        self.ros, self.stamp = ros, 100.0
        self.chunks: list[ActionChunk] = []
        self.shadows: list[ActionChunk] = []
        self.acks: list[WeightsAck] = []
        self.status: dict[str, str] = {}
        node = ros.node
        # not as a command, which expires half a second later: a test may be busy for longer
        node.create_subscription(ActionChunk, 'policy/chunk', self.chunks.append, qos.LOG)
        node.create_subscription(ActionChunk, 'policy/shadow_chunk', self.shadows.append, qos.LOG)
        node.create_subscription(WeightsAck, 'policy/weights_ack', self.acks.append, qos.STATE)
        node.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)
        self.executed = node.create_publisher(ExecutedCommand, 'gate/executed', qos.LOG)
        self.gate = node.create_publisher(ControlState, 'gate/state', qos.STATE)
        self.episode = node.create_publisher(EpisodeState, 'episode/state', qos.STATE)
        self.weights = node.create_publisher(WeightsVersion, 'learner/weights', qos.STATE)
        self.joints = node.create_publisher(JointState, 'joint_states', qos.SENSOR_PUBLISHER)
        self.images = {
            c.name: node.create_publisher(Image, c.topic, qos.SENSOR_PUBLISHER) for c in SPEC.cameras
        }

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == 'policy':
                self.status = {value.key: value.value for value in status.values} | {'': status.message}

    def connected(self) -> bool:
        """Everybody has found everybody: nothing sent from now on is lost to discovery."""
        publishers = (
            self.gate, self.executed, self.episode, self.weights, self.joints, *self.images.values()
        )  # fmt: skip
        if not (
            self.acks
            and all(p.get_subscription_count() for p in publishers)
            and self.ros.node.count_publishers('policy/chunk')
        ):
            return False
        # that we know the node's readers says nothing of whether they know us: without a task it only looks
        self.sense()
        return self.status.get('observations', '0') != '0'

    def control(self, mode: int, epoch: int) -> None:
        # after the newest picture: what was seen before control changed hands must not be planned from
        since = convert.stamp_of(self.stamp + 0.05)
        self.gate.publish(ControlState(mode=mode, epoch=epoch, since=since))
        self.episode.publish(
            EpisodeState(phase=EpisodeState.RUNNING, task='pick up the red cube', episode_id='e')
        )

    def execute(self, chunk: ActionChunk, row: int) -> None:
        """The gate's report that a row of a chunk is being executed."""
        command = ExecutedCommand(epoch=chunk.epoch, chunk_seq=chunk.seq, chunk_index=row)
        command.header.stamp = convert.stamp_of(convert.seconds(chunk.header.stamp) + row * 0.1)
        self.executed.publish(command)

    def sense(self, cameras=('front', 'wrist'), state=None) -> None:
        self.stamp += 0.1
        for name in cameras:
            frame = np.full((64, 64, 3), 90, np.uint8)
            self.images[name].publish(convert.image_msg(frame, self.stamp, name))
        state = SPEC.vector('home') if state is None else state
        self.joints.publish(convert.joint_state_msg(self.stamp, SPEC.joint_names, state))
        self.ros.spin_until(lambda: False, 0.15)

    def offer(self, folder, digest, version) -> WeightsAck:
        self.weights.publish(WeightsVersion(version=version, uri=str(folder), sha256=digest))
        assert self.ros.spin_until(lambda: any(a.version == version for a in self.acks), 60.0)
        return next(a for a in self.acks if a.version == version)
