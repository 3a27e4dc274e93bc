# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The probe: runs learning episodes back to back and notes when what arrived. Used by bench/rates.py.

It only listens, asks for episodes and, if told to, presses takeover; it computes nothing. When its time is
up it writes what it saw as one JSON file and ends.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

from apprentice_interfaces.action import RunEpisode
from apprentice_interfaces.msg import (
    ActionChunk,
    ControlState,
    EpisodeState,
    ExecutedCommand,
    LearnerStatus,
    RewardSample,
)
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.action import ActionClient
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.task import Future
from sensor_msgs.msg import Image, JointState
from std_srvs.srv import SetBool

from apprentice.episodes.messages import header_stamp
from apprentice.nodes import convert, qos
from apprentice.nodes.robot_file import load_robot
from apprentice.nodes.runtime import StartupError, parameter, run, wall_timer
from apprentice.robot.files import write_text
from apprentice.robot.types import ControlMode

_DEEP = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)
_SEED0 = 1000  # of learning episodes; held-out ones start at 900 000
_DRIVE_S = 0.8  # how long a takeover is kept


class ProbeNode(Node):
    """Prints ``measuring`` and ``measured`` at the ends of its measurement; see the module text.

    Every time in the file is in seconds: stamps by the clock of the graph, receipts by ``time.time()``,
    which live is the same clock.
    """

    def __init__(self) -> None:
        super().__init__('probe')
        self.spec = load_robot(self)
        self._out = Path(parameter(self, 'out', 'probe.json', 'file of the measurement'))
        self._seconds = parameter(self, 'seconds', 30.0, 'of measurement', 0.1, 86400.0)
        self._limit = parameter(self, 'ready_limit_s', 180.0, 'until everything runs', 1.0, 3600.0)
        self._takeover = parameter(self, 'takeover_every_s', 3.0, 'between takeovers; 0: none', 0.0, 3600.0)
        self._learner = parameter(self, 'learner', True, 'begin when the learner makes updates')
        self._models = parameter(self, 'reward_models', 2, 'begin when so many have spoken', 0, 100)
        self._phase, self._begun = 'waiting', time.monotonic()
        self._seen: dict[str, Any] = {
            'frames': {camera.name: [] for camera in self.spec.cameras},
            **{
                key: []
                for key in ('joints', 'executed', 'chunks', 'learner', 'takeovers', 'modes', 'episodes')
            },
            'rewards': defaultdict(list),
            'diagnostics': {},
        }
        self._mode, self._running, self._updating = ControlMode.DISARMED, False, False
        self._episodes = 0
        self._spoken: set[str] = set()
        self._released = 0.0  # monotonic time of the last answer to a press or release
        self._goal: Future | None = None
        self._pressed, self._asking = 0.0, False
        self._run = ActionClient(self, RunEpisode, 'episode/run')
        self._control = self.create_client(SetBool, 'gate/request_control')
        for kind, topic, callback, profile in (
            (ExecutedCommand, 'gate/executed', self._on_executed, qos.LOG),
            (ControlState, 'gate/state', self._on_gate, qos.STATE),
            (EpisodeState, 'episode/state', self._on_episode, qos.STATE),
            (ActionChunk, 'policy/chunk', self._on_chunk, qos.COMMAND),
            (RewardSample, 'reward/sample', self._on_reward, qos.LOG),
            (LearnerStatus, 'learner/status', self._on_learner, qos.LOG),
            (DiagnosticArray, '/diagnostics', self._on_diagnostics, 100),
        ):
            self.create_subscription(kind, topic, callback, profile)
        # serialised: only the stamp is read
        for camera in self.spec.cameras:
            note = partial(self._on_sensor, 'sensor_msgs/msg/Image', self._seen['frames'][camera.name])
            self.create_subscription(Image, camera.topic, note, _DEEP, raw=True)
        note = partial(self._on_sensor, 'sensor_msgs/msg/JointState', self._seen['joints'])
        self.create_subscription(JointState, self.spec.joint_states_topic, note, _DEEP, raw=True)
        wall_timer(self, 0.05, self._supervise)

    def _on_sensor(self, type_name: str, rows: list, data: bytes) -> None:
        if self._phase == 'measuring':
            rows.append(((header_stamp(type_name, data) or 0) / 1e9, time.time()))

    def _note(self, key: str, *row) -> None:
        if self._phase == 'measuring':
            self._seen[key].append(row)

    def _on_executed(self, message: ExecutedCommand) -> None:
        stamp = convert.seconds(message.header.stamp)
        self._note(
            'executed', stamp, time.time(), message.seq, message.chunk_seq, message.source, self._running
        )

    def _on_gate(self, message: ControlState) -> None:
        if message.mode != self._mode:
            self._note('modes', time.time(), ControlMode(message.mode).name, message.reason)
        self._mode = ControlMode(message.mode)

    def _on_episode(self, message: EpisodeState) -> None:
        self._running = message.phase == EpisodeState.RUNNING

    def _on_chunk(self, message: ActionChunk) -> None:
        stamp = convert.seconds(message.header.stamp)
        self._note('chunks', stamp, time.time(), message.seq, message.epoch, message.latency_s)

    def _on_reward(self, message: RewardSample) -> None:
        self._spoken.add(message.model)
        if self._phase == 'measuring' and message.valid:
            row = (convert.seconds(message.t1), time.time(), message.latency_s)
            self._seen['rewards'][message.model].append(row)

    def _on_learner(self, message: LearnerStatus) -> None:
        self._updating = message.train_steps > 0
        self._note('learner', time.time(), message.train_steps, message.phase, message.version)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {pair.key: pair.value for pair in status.values}
            self._seen['diagnostics'][status.name] = {'message': status.message, **values}

    def _supervise(self) -> None:
        now = time.monotonic()
        if self._phase == 'waiting' and now - self._begun > self._limit:
            raise StartupError(f'after {self._limit:g} s {self._lacks()}; the logs of the nodes say why')
        if self._phase == 'waiting' and not self._lacks():
            self._phase, self._begun = 'measuring', now
            self._seen['started'] = time.time()
            self._say('measuring')
        if self._phase == 'measuring' and now - self._begun >= self._seconds:
            self._phase = 'measured'
            self._seen['ended'] = time.time()
            self._say('measured')
            write_text(self._out, json.dumps(self._seen))
            raise ExternalShutdownException  # ends the process
        if self._goal is None and self._run.server_is_ready():
            seed = _SEED0 + len(self._seen['episodes']) + self._episodes
            self._goal = self._run.send_goal_async(RunEpisode.Goal(seed=seed))
            self._goal.add_done_callback(self._on_goal)
        if self._phase == 'measuring' and self._takeover:
            self._press(now)

    def _lacks(self) -> str:
        """What does not run yet; '' when everything does."""
        if not self._episodes:
            return 'no episode has ended'
        if len(self._spoken) < self._models:
            return f'{len(self._spoken)} of {self._models} reward models have spoken'
        return 'the learner makes no updates' if self._learner and not self._updating else ''

    def _say(self, text: str) -> None:
        print(text, flush=True)  # noqa: T201 - for the process that started us

    def _on_goal(self, future: Future) -> None:
        handle = future.result()
        if not handle.accepted:
            self._goal = None
            return
        handle.get_result_async().add_done_callback(self._on_result)

    def _on_result(self, future: Future) -> None:
        result = future.result().result
        self._episodes += 1
        self._note(
            'episodes', result.episode_id, result.outcome, result.end_cause, result.duration_s, result.message
        )
        self._goal = None

    def _press(self, now: float) -> None:
        """Press takeover while the policy drives, and let go after a moment."""
        if self._asking or not self._control.service_is_ready():
            return
        if self._pressed and self._mode == ControlMode.HUMAN and now - self._pressed > _DRIVE_S:
            self._pressed = 0.0
            self._ask(False)
        elif self._running and self._mode == ControlMode.POLICY and now - self._released > self._takeover:
            self._pressed = now
            self._ask(True)

    def _ask(self, take: bool) -> None:
        asked = time.time()
        self._asking = True

        def answered(future: Future) -> None:
            self._asking = False
            self._released = time.monotonic()
            if take and future.result().success:
                self._note('takeovers', asked, time.time())

        self._control.call_async(SetBool.Request(data=take)).add_done_callback(answered)


def main() -> None:
    """Entry point of ``python -m apprentice.nodes.probe``."""
    run(ProbeNode, events=False)  # it ends itself by an exception in a timer


if __name__ == '__main__':
    main()
