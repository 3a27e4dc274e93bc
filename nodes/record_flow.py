# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Guides a person through recording demonstrations, on a graph with gate, episode, recorder and teleop nodes.

Presses come from the terminal, from ``teleop/event`` (pads, keyboards), or from ``record/command``; labels
may also be given through the services of the episode node, as the page does. What happens is on
``record/status``, as JSON.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import NamedTuple

from apprentice_interfaces.msg import ControlState, EpisodeState
from apprentice_interfaces.srv import LabelEpisode, StartEpisode
from rclpy.client import Client
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.task import Future
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger

from apprentice.episodes.facts import episode_facts
from apprentice.episodes.files import EpisodeFileError
from apprentice.episodes.labels import iter_sealed
from apprentice.nodes import qos
from apprentice.nodes.record_keys import Keys
from apprentice.nodes.robot_file import load_robot
from apprentice.nodes.runtime import Diagnostics, StartupError, parameter, run, wall_timer
from apprentice.robot.episode_record import EndCause, Phase
from apprentice.robot.recording_flow import FlowCall, FlowSettings, FlowState, Press, RecordingFlow
from apprentice.robot.types import ControlMode, Outcome

_KEYS = {
    ' ': Press.GO, '\n': Press.GO, '\r': Press.GO, 's': Press.SUCCESS, 'f': Press.FAILURE, 'd': Press.DISCARD,
    'k': Press.KEEP, 'q': Press.QUIT,
}  # fmt: skip
_HELP = 'keys: space go/keep and next, s success, f failure, d discard, k keep, q quit'
_TICK_S = 0.05
_SETTLE_S = 1.0
_ANSWER_S = 15.0  # wall; services answer at once unless their node died or the machine is overloaded


class Asked(NamedTuple):
    """A service call that is not answered yet; ``at`` is wall time [s], monotonic."""

    client: Client
    future: Future
    at: float


class RecordFlowNode(Node):
    """See the module; ends its process when all episodes are recorded."""

    def __init__(self) -> None:
        super().__init__('record_flow')
        self._spec = load_robot(self)
        run_dir = parameter(self, 'run_dir', 'runs/record', 'run folder, as of the recorder')
        self._task = parameter(self, 'task', '', 'instruction; empty: each reset chooses')
        self._seed0 = parameter(self, 'seed', 0, 'of the first start in simulation', 0, 2**31)
        self._max_duration_s = parameter(
            self, 'max_duration_s', 0.0, "seconds of an episode; 0: the episode node's", 0.0, 3600.0
        )
        self._ready_s = parameter(
            self, 'ready_limit_s', 120.0, 'wall seconds for the graph to be there', 1.0, 3600.0
        )
        default = FlowSettings()
        settings = FlowSettings(
            episodes=parameter(self, 'episodes', default.episodes, 'successes to keep', 1, 1_000_000),
            countdown_s=parameter(
                self, 'countdown_s', default.countdown_s, 'seconds of countdown', 0.0, 60.0
            ),
            review_s=parameter(
                self,
                'review_s',
                default.review_s,
                'seconds to discard an episode; 0: until a key',
                0.0,
                600.0,
            ),
            automatic=parameter(
                self, 'automatic', False, 'no keys: begin and keep by itself (scripted person)'
            ),
            take=parameter(
                self, 'take', False, 'take the controls for the person when the countdown is over'
            ),
            simulator=parameter(self, 'simulator', True, 'the world is reset by the simulator'),
        )
        terminal = parameter(self, 'terminal', '', 'terminal device for keys and progress; empty: none')
        self._folder = Path(run_dir).expanduser() / 'episodes'
        kept, self._starts = recorded(self._folder, self._task)
        self.flow = RecordingFlow(settings, kept)
        self._keys = Keys(terminal)
        self._shown = ''
        self._started = time.monotonic()
        self._ready = False
        self._complete_since = 0.0  # when the recorder had subscribed to everything
        self._ended_at = 0.0
        self._status = self.create_publisher(String, 'record/status', qos.STATE)
        self._start = self.create_client(StartEpisode, 'episode/start')
        self._end = self.create_client(SetBool, 'episode/end')
        self._abort = self.create_client(Trigger, 'episode/abort')
        self._label = self.create_client(LabelEpisode, 'episode/label')
        self._control = self.create_client(SetBool, 'gate/request_control')
        self._flush = self.create_client(Trigger, 'recorder/flush')
        self._asked: Asked | None = None
        self._published = ''
        self.create_subscription(EpisodeState, 'episode/state', self._on_episode, qos.STATE)
        self.create_subscription(ControlState, 'gate/state', self._on_gate, qos.STATE)
        self.create_subscription(String, 'teleop/event', self._on_event, qos.LOG)
        self.create_subscription(String, 'record/command', self._on_command, qos.LOG)
        wall_timer(self, _TICK_S, self._tick)
        Diagnostics(self, self._report, self._spec.name)
        if kept:
            self.get_logger().info(f'{kept} of {settings.episodes} episodes are in {self._folder} already')
        self._keys.line(_HELP)

    def close(self) -> None:
        """Give the terminal back; the recorder keeps what was recorded."""
        self._keys.line(self._progress())
        self._keys.close()

    def _on_episode(self, message: EpisodeState) -> None:
        self.flow.episode(
            message.episode_id, Phase(message.phase), Outcome(message.outcome), EndCause(message.end_cause)
        )

    def _on_gate(self, message: ControlState) -> None:
        self.flow.mode(ControlMode(message.mode))

    def _on_event(self, message: String) -> None:
        self._on_press(message.data, True)

    def _on_command(self, message: String) -> None:
        self._on_press(message.data, False)

    def _on_press(self, name: str, handled: bool) -> None:
        try:
            press = Press(name)
        except ValueError:
            if not handled:  # other events of a device are not ours
                known = ', '.join(press.value for press in Press)
                self.get_logger().warning(f'record/command {name!r} is unknown; there are: {known}')
            return
        self.flow.press(press, handled)

    def _tick(self) -> None:
        if not self._ready:
            self._wait()
            return
        for key in self._keys.read():
            if key in _KEYS:
                self.flow.press(_KEYS[key])
        self.flow.tick(time.monotonic())
        self._give_up()
        while self.flow.wanted and self._asked is None:
            self._call(self.flow.wanted.popleft())
        self._tell()
        if self.flow.done and self._asked is None and not self.flow.wanted:
            # a moment for the recorder to hear of the last label
            self._ended_at = self._ended_at or time.monotonic()
            if time.monotonic() - self._ended_at > 0.5:
                if self.flow.failed:
                    raise StartupError(self.flow.failed)
                raise ExternalShutdownException  # done: ends the process

    def _wait(self) -> None:
        """Until the graph is there. Raises StartupError that names what is missing."""
        clients = {'episode': self._start, 'gate': self._control, 'recorder': self._flush}
        missing = [name for name, client in clients.items() if not client.service_is_ready()]
        deaf = [] if missing else self._unheard()
        if missing or deaf:
            self._complete_since = 0.0
        elif not self._complete_since:
            self._complete_since = time.monotonic()
        # publishers learn of the recorder a moment after we did
        self._ready = bool(self._complete_since) and time.monotonic() - self._complete_since > _SETTLE_S
        missing += [f'recorder (does not hear {", ".join(deaf)})'] if deaf else []
        if missing and time.monotonic() - self._started > self._ready_s:
            raise StartupError(
                f'waited {self._ready_s:g} s for the nodes {", ".join(missing)}; start the graph with '
                'apprentice record, or look at their logs'
            )

    def _unheard(self) -> list[str]:
        """Topics an episode cannot do without that have no publisher, or that the recorder does not hear."""
        topics = [camera.topic for camera in self._spec.cameras]
        topics += [self._spec.joint_states_topic, 'gate/executed', 'episode/state']
        return [
            topic
            for topic in topics
            if not self.count_publishers(topic)
            or all(
                end.node_name != 'recorder'
                for end in self.get_subscriptions_info_by_topic(self.resolve_topic_name(topic))
            )
        ]

    def _call(self, call: FlowCall) -> None:
        flow = self.flow
        client: Client
        if call is FlowCall.START:
            confirming = flow.state is FlowState.COUNTDOWN
            client, request = (
                self._start,
                StartEpisode.Request(
                    task=self._task, seed=self._seed0 + self._starts, max_duration_s=self._max_duration_s
                ),
            )
            self._starts += not confirming
        elif call in (FlowCall.SUCCESS, FlowCall.FAILURE):
            client, request = self._end, SetBool.Request(data=call is FlowCall.SUCCESS)
        elif call is FlowCall.ABORT:
            client, request = self._abort, Trigger.Request()
        elif call in (FlowCall.TAKE, FlowCall.RELEASE):
            client, request = self._control, SetBool.Request(data=call is FlowCall.TAKE)
        else:
            assert call.label is not None  # the flow waits for the answer: the episode is still the same
            client, request = (
                self._label,
                LabelEpisode.Request(
                    episode_id=flow.episode_id, outcome=int(call.label), annotator='record_flow'
                ),
            )
        future = client.call_async(request)
        self._asked = Asked(client, future, time.monotonic())

        def answered(future: Future) -> None:
            name, self._asked = client.srv_name, None
            if future.cancelled() or future.exception() is not None:
                flow.refused(call, f'{name} did not answer for {_ANSWER_S:g} s; is its node alive? try again')
                return
            answer = future.result()
            if not getattr(answer, 'success', getattr(answer, 'accepted', True)):
                self.get_logger().warning(f'{call.value}: {answer.message}')
                flow.refused(call, answer.message)
                return
            flow.answered(call)

        future.add_done_callback(answered)

    def _give_up(self) -> None:
        """A call to a node that died is never answered."""
        if self._asked is not None and time.monotonic() - self._asked.at > _ANSWER_S:
            self._asked.client.remove_pending_request(self._asked.future)
            self._asked.future.cancel()

    def _progress(self) -> str:
        flow = self.flow
        text = f'{flow.kept}/{flow.settings.episodes} kept'
        more = {'failed': flow.failures, 'discarded': flow.discarded}
        return text + ''.join(f', {count} {what}' for what, count in more.items() if count)

    def _tell(self) -> None:
        flow = self.flow
        status = {
            'state': flow.state.value,
            'hint': flow.hint(),
            'message': flow.message,
            'task': self._task,
            'episode_id': flow.episode_id,
            'kept': flow.kept,
            'wanted': flow.settings.episodes,
            'failures': flow.failures,
            'discarded': flow.discarded,
            'countdown': max(0, round(flow.remaining_s + 0.49)) if flow.state is FlowState.COUNTDOWN else 0,
        }
        text = json.dumps(status)
        if text != self._published:
            self._published = text
            self._status.publish(String(data=text))
        line = f'[{self._progress()}] {flow.hint()}' + (f'  ({flow.message})' if flow.message else '')
        if line != self._shown:
            self._shown = line
            self._keys.status(line)

    def _report(self) -> tuple[bytes, str, dict]:
        level = Diagnostics.WARN if self.flow.message else Diagnostics.OK
        text = self.flow.message or self.flow.state.value
        return level, text, {'kept': self.flow.kept, 'wanted': self.flow.settings.episodes}


def recorded(folder: Path, task: str) -> tuple[int, int]:
    """Successes of a task in a folder (empty: of any), and how many episodes were begun in it at all."""
    successes = begun = 0
    for path in iter_sealed(folder):
        begun += 1
        try:
            facts = episode_facts(path)
        except EpisodeFileError:
            continue  # apprentice dataset check tells
        successes += facts.outcome == Outcome.SUCCESS and task in ('', facts.task)
    return successes, begun


def main() -> None:
    """Entry point of ``record_flow_node``."""
    run(RecordFlowNode, events=False)  # it ends itself by an exception in a timer


if __name__ == '__main__':
    main()
