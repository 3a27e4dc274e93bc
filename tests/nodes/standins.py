# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Real ROS nodes that behave as gate, robot, policy, recorder and learner do, as far as a test needs it."""

import numpy as np
from apprentice_interfaces.msg import (
    ControlState,
    EpisodeState,
    ExecutedCommand,
    LearnerStatus,
    RewardSample,
    WeightsAck,
    WeightsVersion,
)
from apprentice_interfaces.srv import ResetWorld
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, JointState
from std_srvs.srv import SetBool, Trigger

from apprentice.nodes import convert, qos
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec

SPEC = RobotSpec.load(share('robots', 'sim_arm.yaml'))
# as qos.STATE, but deep: tests look at every state, also of a machine that was busy between two of them
EVERY_STATE = QoSProfile(
    depth=50, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)


class GateAndRobot(Node):
    """Answers and publishes as the gate and the simulated robot do, as far as an episode needs it."""

    def __init__(self):
        super().__init__('gate_and_robot')
        self.mode, self.reason = ControlState.DISARMED, 'after start'
        self.position = SPEC.vector('home') + 0.3
        self.done = False
        self.silent = False
        self.calls: list[tuple] = []
        self.states: list[EpisodeState] = []
        self.state_publisher = self.create_publisher(ControlState, 'gate/state', qos.STATE)
        self.executed_publisher = self.create_publisher(ExecutedCommand, 'gate/executed', qos.LOG)
        self.joint_publisher = self.create_publisher(
            JointState, SPEC.joint_states_topic, qos.SENSOR_PUBLISHER
        )
        self.truth_publisher = self.create_publisher(RewardSample, 'sim/truth', qos.LOG)
        self.create_service(SetBool, 'gate/arm', self.arm)
        self.create_service(SetBool, 'gate/reset', self.reset)
        self.create_service(SetBool, 'gate/pause', self.pause)
        self.create_service(ResetWorld, 'reset_world', self.reset_world)
        self.create_subscription(EpisodeState, 'episode/state', self.states.append, EVERY_STATE)
        self.create_timer(0.02, self.tick)

    def arm(self, request, response):
        self.calls.append(('arm', request.data))
        return self.set(ControlState.PAUSED, response)

    def reset(self, request, response):
        self.calls.append(('reset', request.data))
        return self.set(ControlState.RESET if request.data else ControlState.POLICY, response)

    def pause(self, request, response):
        self.calls.append(('pause', request.data))
        return self.set(ControlState.PAUSED, response)

    def reset_world(self, request, response):
        self.calls.append(('world', request.seed))
        self.position = SPEC.start_posture(np.random.default_rng(request.seed))
        response.success, response.task = True, request.task or 'pick up the red cube'
        return response

    def set(self, mode, response):
        self.mode = mode
        self.publish_state()
        response.success = True
        return response

    def publish_state(self):
        message = ControlState(mode=self.mode, reason=self.reason)
        message.header.stamp = message.since = self.get_clock().now().to_msg()
        self.state_publisher.publish(message)

    def tick(self):
        now = convert.now(self)
        self.joint_publisher.publish(convert.joint_state_msg(now, SPEC.joint_names, self.position))
        if self.silent:
            return
        self.publish_state()
        executed = ExecutedCommand(source=ExecutedCommand.SOURCE_POLICY)
        if self.mode == ControlState.HUMAN:
            executed.source, executed.takeover_id = ExecutedCommand.SOURCE_HUMAN, 1
        elif self.mode == ControlState.RESET:
            executed.source, executed.executed = ExecutedCommand.SOURCE_RESET, self.position
        executed.header.stamp = convert.stamp_of(now)
        self.executed_publisher.publish(executed)
        truth = RewardSample(
            kind=RewardSample.TRUTH, value=0.5, done=self.done, valid=True, model='simulator'
        )
        truth.header.stamp = convert.stamp_of(now)
        self.truth_publisher.publish(truth)


class CamerasPolicyAndLearner(Node):
    """Cameras, a reward model that is right, weights that get acknowledged, a learner with work to do."""

    def __init__(self, world: GateAndRobot, drop_every: int = 0):
        super().__init__('cameras_policy_and_learner')
        self.world, self.drop_every = world, drop_every
        self.pauses: list[bool] = []
        self.frame = 0
        self.pending = 0
        self.version = 0
        self.cameras = [self.create_publisher(Image, c.topic, qos.SENSOR_PUBLISHER) for c in SPEC.cameras]
        self.ack_publisher = self.create_publisher(WeightsAck, 'policy/weights_ack', qos.STATE)
        self.weights_publisher = self.create_publisher(WeightsVersion, 'learner/weights', qos.STATE)
        self.status_publisher = self.create_publisher(LearnerStatus, 'learner/status', qos.LOG)
        self.reward_publisher = self.create_publisher(RewardSample, 'reward/sample', qos.LOG)
        self.create_service(SetBool, 'learner/pause', self.pause)
        self.create_service(Trigger, 'recorder/flush', lambda request, response: response)
        self.create_subscription(RewardSample, 'sim/truth', self.score, qos.LOG)
        self.ack_publisher.publish(WeightsAck(ok=True))
        self.create_timer(0.1, self.publish_frame)
        self.create_timer(0.2, self.publish_status)

    def publish_frame(self):
        self.frame += 1
        if self.drop_every and self.frame % self.drop_every == 0:
            return
        for camera, publisher in zip(SPEC.cameras, self.cameras):
            image = np.zeros((camera.height, camera.width, 3), np.uint8)
            publisher.publish(convert.image_msg(image, 1000.0 + 0.1 * self.frame, camera.frame_id))

    def pause(self, request, response):
        self.pauses.append(request.data)
        if not request.data:
            self.pending, self.version = 5, 1
            self.weights_publisher.publish(WeightsVersion(version=1))
            self.ack_publisher.publish(WeightsAck(version=1, active_version=1, ok=True))
        response.success = True
        return response

    def publish_status(self):
        self.pending = max(0, self.pending - 1)
        self.status_publisher.publish(
            LearnerStatus(
                phase='updating' if self.pending else 'waiting',
                pending_updates=self.pending,
                train_steps=10 - self.pending,
                loss=0.1,
            )
        )

    def score(self, truth):
        episode = self.world.states[-1].episode_id if self.world.states else ''
        sample = RewardSample(kind=RewardSample.ABS_PROGRESS, model='clip', valid=True, episode_id=episode)
        sample.header.stamp = truth.header.stamp
        sample.value = sample.progress = truth.value
        sample.done_prob = float(truth.done)
        self.reward_publisher.publish(sample)
