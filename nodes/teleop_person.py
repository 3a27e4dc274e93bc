# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The scripted person of the simulator: watches, takes over when out of patience, and drives."""

from __future__ import annotations

import math

import numpy as np
from apprentice_interfaces.msg import EpisodeState, GuidanceState, RewardSample
from rclpy.node import Node
from rclpy.task import Future
from sensor_msgs.msg import JointState
from std_srvs.srv import SetBool
from visualization_msgs.msg import MarkerArray

from apprentice.nodes import convert, qos
from apprentice.nodes.runtime import parameter
from apprentice.nodes.sim_poses import object_poses
from apprentice.nodes.teleop_commands import HumanCommands
from apprentice.robot.chunk import next_setpoint
from apprentice.robot.guidance import AdviceKind
from apprentice.robot.parts import load_part
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import ActionChunk, ControlMode


class PersonDriver:
    """Streams a scripted person's joint targets to human/command while the gate says HUMAN.

    The person presses takeover when out of patience, unless the episode is an evaluation; a takeover
    from elsewhere (the dashboard) is driven too. ``person`` is its ``package.module:Class``,
    ``rate_hz`` the rate of joint states.
    """

    def __init__(
        self, node: Node, spec: RobotSpec, commands: HumanCommands, person: str, rate_hz: float
    ) -> None:
        self._node, self.spec, self._stream = node, spec, commands
        self.mode = ControlMode.DISARMED
        self._takeovers = self._commands = 0
        self._progress = 0.0
        self._plan: ActionChunk | None = None
        self._joints: JointState | None = None
        seed = parameter(node, 'seed', 0, 'seed of the person', 0, 2**31)
        self._takes_over = parameter(node, 'takes_over', True, 'press takeover when the robot is stuck')
        self._period = 1 / rate_hz
        from apprentice.sim.people import PersonConfig, ScriptedPerson  # a real person needs no simulator
        from apprentice.sim.world import World

        self._world = World(self.spec)  # for its kinematics; nothing is rendered
        about = 'how the scripted person behaves: a YAML file of PersonConfig; empty: quick and right'
        settings = parameter(node, 'person_config', '', about)
        kind, more = load_part(person), {}
        if isinstance(kind, type) and issubclass(kind, ScriptedPerson):
            more = {'config': PersonConfig.load(settings) if settings else None, 'spec': self.spec}
        self._person = kind(self._world.expert(), seed=seed, **more)
        self._episode, self._task, self._watching = '', '', False
        self._shows = self._ready = False  # whether it demonstrates, and whether its episode is about to run
        self._objects: dict[str, np.ndarray] | None = None  # those of the newest message and no others
        self._setpoint = np.zeros(self.spec.dim)
        self._asked: Future | None = None
        self._control = node.create_client(SetBool, 'gate/request_control')
        node.create_subscription(EpisodeState, 'episode/state', self._on_episode, qos.STATE)
        self._guidance: GuidanceState | None = None
        node.create_subscription(GuidanceState, 'guide/state', self._on_guidance, qos.STATE)
        node.create_subscription(RewardSample, 'sim/truth', self._on_truth, qos.LOG)
        node.create_subscription(MarkerArray, 'sim/object_poses', self._on_objects, qos.SENSOR)
        node.create_subscription(JointState, self.spec.joint_states_topic, self._on_joints, qos.SENSOR)

    def on_mode(self, mode: ControlMode) -> None:
        """The gate's mode, with every message of gate/state."""
        begins = mode == ControlMode.HUMAN and self.mode != ControlMode.HUMAN
        self.mode = mode
        self._press_to_demonstrate()
        if begins:
            self._plan = None
            self._takeovers += 1
            if self._joints is not None:
                # it may have overtaken this message, and in lock-step the next one waits for our answer to it
                self._on_joints(self._joints)

    def _on_episode(self, message: EpisodeState) -> None:
        running = message.phase == EpisodeState.RUNNING
        self._ready = message.phase == EpisodeState.READY and self._asked_to_show(message)
        if (running or self._ready) and message.episode_id != self._episode:
            self._person.reset(convert.seconds(message.started) if running else convert.now(self._node))
            self._episode, self._asked, self._progress = message.episode_id, None, 0.0
            self._shows = self._asked_to_show(message)
            if self._shows:
                self._tell(convert.now(self._node), GuidanceState.ADVICE_DEMONSTRATE)
        self._task = message.task
        self._watching = running and not message.eval_only
        self._shows = self._shows and (running or self._ready)
        self._press_to_demonstrate()
        if not running and self.mode == ControlMode.HUMAN and message.phase == EpisodeState.ENDED:
            self._request(False)

    def _on_guidance(self, message: GuidanceState) -> None:
        self._guidance = message
        if self._watching and message.episode_id == self._episode:
            self._tell(convert.seconds(message.header.stamp), message.advice)

    def _asked_to_show(self, episode: EpisodeState) -> bool:
        """Whether this episode is the one that the guide asks to be demonstrated."""
        said, listens = self._guidance, hasattr(self._person, 'advised') and self._takes_over
        if (
            said is None
            or not listens
            or episode.eval_only
            or said.advice != GuidanceState.ADVICE_DEMONSTRATE
        ):
            return False
        return said.episode_id == episode.episode_id or (
            not said.episode_id and said.start_seed == episode.seed
        )

    def _press_to_demonstrate(self) -> None:
        """A demonstration begins before the policy moves, if the button is pressed in time."""
        free = self.mode == ControlMode.POLICY or (self._ready and self.mode == ControlMode.PAUSED)
        if self._shows and free and self._person.wants_control(convert.now(self._node), self._progress):
            self._request(True)

    def _tell(self, now: float, advice: int) -> None:
        listen = getattr(self._person, 'advised', None)
        if listen is not None and self._takes_over:
            listen(now, AdviceKind(advice))

    def _on_truth(self, message: RewardSample) -> None:
        self._progress = message.value
        if not (self._watching and self._takes_over):
            return
        if self.mode == ControlMode.HUMAN:
            lets_go = getattr(self._person, 'lets_go', None)
            if lets_go is not None and lets_go(convert.seconds(message.t1), self._progress):
                self._request(False)
        if self.mode != ControlMode.POLICY:
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
            self._node.get_logger().error(str(error), throttle_duration_sec=1.0)
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
                self._node.get_logger().error(
                    f'cannot drive {self._task!r}: {why}', throttle_duration_sec=1.0
                )
                return
            # a demonstrated step starts with an observation, so that learner and person share one grid
            started = math.floor(now / self.spec.action_dt + 1e-3) * self.spec.action_dt
            self._plan = ActionChunk(started, target[None], self.spec.action_dt)
        followed = next_setpoint(self._plan, self._setpoint, now, self._period)
        if followed:
            self._setpoint = followed[0]
        self._commands += 1
        self._stream.publish(now, self._setpoint)

    def _request(self, take: bool) -> None:
        """Press takeover or release; a press that is still unanswered is not repeated."""
        if self._asked is not None and not self._asked.done():
            return
        if not self._control.service_is_ready():
            self._node.get_logger().error(
                'gate/request_control is not there; is the gate running?', throttle_duration_sec=5.0
            )
            return
        self._asked = self._control.call_async(SetBool.Request(data=take))

    def values(self) -> dict[str, object]:
        """What diagnostics say of it."""
        return {
            'takeovers': self._takeovers,
            'commands': self._commands,
            'progress': f'{self._progress:.2f}',
        }
