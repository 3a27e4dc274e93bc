# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A person at the controls: in simulation a scripted one, on a robot a leader arm with a dead-man button."""

from __future__ import annotations

import math

import numpy as np
from apprentice_interfaces.msg import ControlState, EpisodeState, RewardSample
from rclpy.node import Node
from rclpy.task import Future
from sensor_msgs.msg import JointState
from std_srvs.srv import SetBool
from visualization_msgs.msg import MarkerArray

from apprentice.nodes import convert, qos
from apprentice.nodes.robot_file import load_simulated
from apprentice.nodes.runtime import Diagnostics, parameter, run
from apprentice.nodes.sim_poses import object_poses
from apprentice.nodes.teleop_device import LeaderArm
from apprentice.robot.chunk import next_setpoint
from apprentice.robot.parts import load_part
from apprentice.robot.types import ActionChunk, ControlMode


class TeleopNode(Node):
    """Streams a person's joint targets while the gate says HUMAN.

    A scripted person presses takeover when out of patience, unless the episode is an evaluation; a
    takeover from elsewhere (the dashboard) is driven too. With ``person`` empty, the person is real
    and drives through a leader arm.
    """

    def __init__(self) -> None:
        super().__init__('teleop')
        self.spec = load_simulated(self)
        person = parameter(
            self,
            'person',
            'apprentice.sim.people:ScriptedPerson',
            'scripted person as package.module:Class; empty: a real one with a leader arm',
        )
        self.mode = ControlMode.DISARMED
        self._takeovers = self._commands = 0
        self._progress = 0.0
        self._publisher = self.create_publisher(JointState, 'human/command', qos.SENSOR_PUBLISHER)
        self.create_subscription(ControlState, 'gate/state', self._on_gate, qos.STATE)
        self._plan: ActionChunk | None = None
        self._joints: JointState | None = None  # newest, for a scripted person
        if person:
            self._script(person)
        else:
            self._leader = LeaderArm(self, self.spec, self._publisher)
        Diagnostics(self, self._report, self.spec.name)

    def _script(self, person: str) -> None:
        seed = parameter(self, 'seed', 0, 'seed of the person', 0, 2**31)
        self._takes_over = parameter(self, 'takes_over', True, 'press takeover when the robot is stuck')
        rate = parameter(self, 'rate_hz', 0.0, 'rate of joint states; 0 takes the robot file', 0.0, 1000.0)
        self._period = 1 / (rate or self.spec.control_hz)
        from apprentice.sim.people import PersonConfig, ScriptedPerson  # a real person needs no simulator
        from apprentice.sim.world import World

        self._world = World(self.spec)  # for its kinematics; nothing is rendered
        about = 'how the scripted person behaves: a YAML file of PersonConfig; empty: quick and right'
        settings = parameter(self, 'person_config', '', about)
        kind, more = load_part(person), {}
        if isinstance(kind, type) and issubclass(kind, ScriptedPerson):
            more = {'config': PersonConfig.load(settings) if settings else None, 'spec': self.spec}
        self._person = kind(self._world.expert(), seed=seed, **more)
        self._episode, self._task, self._watching = '', '', False
        self._objects: dict[str, np.ndarray] | None = None  # those of the newest message and no others
        self._setpoint = np.zeros(self.spec.dim)
        self._asked: Future | None = None
        self._control = self.create_client(SetBool, 'gate/request_control')
        self.create_subscription(EpisodeState, 'episode/state', self._on_episode, qos.STATE)
        self.create_subscription(RewardSample, 'sim/truth', self._on_truth, qos.LOG)
        self.create_subscription(MarkerArray, 'sim/object_poses', self._on_objects, qos.SENSOR)
        self.create_subscription(JointState, self.spec.joint_states_topic, self._on_joints, qos.SENSOR)

    def _on_gate(self, message: ControlState) -> None:
        mode = ControlMode(message.mode)
        begins = mode == ControlMode.HUMAN and self.mode != ControlMode.HUMAN
        self.mode = mode
        if begins:
            self._plan = None
            self._takeovers += 1
            if self._joints is not None:
                # it may have overtaken this message, and in lock-step the next one waits for our answer to it
                self._on_joints(self._joints)

    def _on_episode(self, message: EpisodeState) -> None:
        running = message.phase == EpisodeState.RUNNING
        if running and message.episode_id != self._episode:
            self._person.reset(convert.seconds(message.started))
            self._asked = None
            self._progress = 0.0
        if running:
            self._episode = message.episode_id
        self._task = message.task
        self._watching = running and not message.eval_only
        if not running and self.mode == ControlMode.HUMAN and message.phase == EpisodeState.ENDED:
            self._request(False)

    def _on_truth(self, message: RewardSample) -> None:
        self._progress = message.value
        if not (self._watching and self._takes_over and self.mode == ControlMode.POLICY):
            return
        if self._person.wants_control(convert.seconds(message.t1), self._progress):
            self._request(True)

    def _on_objects(self, message: MarkerArray) -> None:
        self._objects = object_poses(message)

    def _on_joints(self, message: JointState) -> None:
        self._joints = message
        if self.mode != ControlMode.HUMAN or self._objects is None or not self._task:
            return
        try:
            state = convert.joint_vector(message, self.spec.joint_names)
        except convert.MessageError as error:
            self.get_logger().error(str(error), throttle_duration_sec=1.0)
            return
        now = convert.seconds(message.header.stamp)
        if self._plan is None:
            self._setpoint = state
        if self._plan is None or now >= self._plan.stamp + self.spec.action_dt - 1e-6:
            try:
                target = self._person.act(state, self._objects, self._task)
                if getattr(self._person, 'gone', False):
                    return  # the stream ends without a release: the gate has to notice
            except (KeyError, ValueError, StopIteration) as error:
                # the task asks for an object that is not there
                why = f'{str(error) or "something it needs"}; there are {sorted(self._objects)}'
                self.get_logger().error(f'cannot drive {self._task!r}: {why}', throttle_duration_sec=1.0)
                return
            # a demonstrated step starts with an observation, so that learner and person share one grid
            started = math.floor(now / self.spec.action_dt + 1e-3) * self.spec.action_dt
            self._plan = ActionChunk(started, target[None], self.spec.action_dt)
        followed = next_setpoint(self._plan, self._setpoint, now, self._period)
        if followed:
            self._setpoint = followed[0]
        self._commands += 1
        self._publisher.publish(convert.joint_state_msg(now, self.spec.joint_names, self._setpoint))

    def _request(self, take: bool) -> None:
        """Press takeover or release; a press that is still unanswered is not repeated."""
        if self._asked is not None and not self._asked.done():
            return
        if not self._control.service_is_ready():
            self.get_logger().error(
                'gate/request_control is not there; is the gate running?', throttle_duration_sec=5.0
            )
            return
        self._asked = self._control.call_async(SetBool.Request(data=take))

    def _report(self) -> tuple[bytes, str, dict]:
        values = {
            'takeovers': self._takeovers,
            'commands': self._commands,
            'progress': f'{self._progress:.2f}',
        }
        return Diagnostics.OK, 'driving' if self.mode == ControlMode.HUMAN else 'watching', values


def main() -> None:
    """Entry point of ``teleop_node``."""
    run(TeleopNode)


if __name__ == '__main__':
    main()
