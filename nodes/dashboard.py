# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The dashboard: a page with the live robot, and the buttons of the person beside it.

ROS runs in the main thread, the web server in another. What costs (images, rewards, executed
commands) is subscribed to only while a page is open. This node runs on wall time even where
use_sim_time is set: it would hear /clock at every tick and needs only the stamps of messages.
"""

from __future__ import annotations

import json
import math
import queue
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from apprentice_interfaces.msg import (
    ControlState,
    EpisodeState,
    ExecutedCommand,
    LearnerStatus,
    RewardSample,
    WeightsAck,
    WeightsVersion,
)
from apprentice_interfaces.srv import LabelEpisode, StartEpisode
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger

from apprentice.nodes import qos, runtime
from apprentice.nodes.dashboard_feed import CameraFeed, Feed, stamp_of_raw
from apprentice.nodes.dashboard_server import Server, listen
from apprentice.nodes.dashboard_state import (
    Control,
    Counters,
    Curves,
    Health,
    Rate,
    episode_report,
    finite,
)
from apprentice.nodes.robot_file import load_robot
from apprentice.robot.parts import share

TICK_S = 0.1
LINGER_S = 5.0  # a page that reloads finds the curves still there
ANSWER_WITHIN_S = 3.0
SERVICES: dict[str, type] = {
    'gate/request_control': SetBool,
    'gate/stop': Trigger,
    'gate/clear': Trigger,
    'gate/arm': SetBool,
    'episode/start': StartEpisode,
    'episode/end': SetBool,
    'episode/abort': Trigger,
    'episode/label': LabelEpisode,
}


class DashboardNode(Node):
    """Streams the graph's state to web pages and turns their buttons into service calls."""

    def __init__(self) -> None:
        super().__init__('dashboard', parameter_overrides=[Parameter('use_sim_time', value=False)])
        host = runtime.parameter(self, 'host', '127.0.0.1', 'address to listen on; 0.0.0.0: all')
        port = runtime.parameter(self, 'port', 8765, 'TCP port; 0 takes a free one', 0, 65535)
        token = runtime.parameter(self, 'token', '', 'secret for controls from other machines; empty: none')
        rate = runtime.parameter(self, 'image_rate_hz', 10.0, 'most frames a second and camera', 0.1, 120.0)
        self._spec = load_robot(self)
        self._image_period = 1.0 / rate

        self._control, self._counters, self._curves, self._health = Control(), Counters(), Curves(), Health()
        self._episode: EpisodeState | None = None
        self._learner: LearnerStatus | None = None
        self._ack: WeightsAck | None = None
        self._newest = 0
        self._cameras: list[CameraFeed] = []
        self._feeds: list[Feed] = []
        self._executed = Rate()
        self._looking = False  # a page is, or just was, open
        self._left = -math.inf
        self._calls: queue.SimpleQueue[tuple[int, str, str]] = queue.SimpleQueue()
        self._waiting: list[tuple[float, Any, Callable[[str], None]]] = []

        try:
            listener = listen(host, port)
        except OSError as error:
            raise runtime.StartupError(f'dashboard: {error}') from None
        self._server = Server(listener, share('web'), self._hello(), token, self._wake, self._on_control)
        self.port = listener.getsockname()[1]
        self.url = f'http://{socket.gethostname() if host in ("0.0.0.0", "::") else host}:{self.port}'

        subscribe = self.create_subscription
        subscribe(ControlState, 'gate/state', self._on_gate, qos.STATE)
        subscribe(EpisodeState, 'episode/state', self._on_episode, qos.STATE)
        subscribe(WeightsAck, 'policy/weights_ack', partial(setattr, self, '_ack'), qos.STATE)
        subscribe(WeightsVersion, 'learner/weights', self._on_weights, qos.STATE)
        subscribe(LearnerStatus, 'learner/status', partial(setattr, self, '_learner'), qos.LOG)
        subscribe(DiagnosticArray, '/diagnostics', self._health.add, 10)
        self._service_clients = {name: self.create_client(kind, name) for name, kind in SERVICES.items()}
        self._guard = self.create_guard_condition(self._on_wake)
        self._timer = runtime.wall_timer(self, TICK_S, self._tick)
        self._timer.cancel()
        # twice the rate: a frame waits half a period at most
        self._image_timer = runtime.wall_timer(self, self._image_period / 2, self._send_images)
        self._image_timer.cancel()
        self._diagnostics = runtime.Diagnostics(self, self._report, self._spec.name)
        self._url = self.create_publisher(String, 'dashboard/url', qos.STATE)
        self._server.start()
        self._url.publish(String(data=self.url))
        self.get_logger().info(f'dashboard: {self.url}')
        if host not in ('127.0.0.1', 'localhost', '::1') and not token:
            self.get_logger().warning('other machines can watch, not control; token:=<secret> allows it')

    def close(self) -> None:
        self._server.close()

    def _report(self) -> tuple[bytes, str, dict[str, Any]]:
        pages = self._server.clients
        return (
            runtime.Diagnostics.OK,
            f'{pages} page{"" if pages == 1 else "s"} at {self.url}',
            {'pages': pages},
        )

    def _hello(self) -> dict[str, Any]:
        fields = ('name', 'width', 'height', 'max_age_s')
        cameras = [{field: getattr(camera, field) for field in fields} for camera in self._spec.cameras]
        return {'type': 'hello', 'robot': self._spec.name, 'cameras': cameras}

    # What arrives from the graph.

    def _on_gate(self, message: ControlState) -> None:
        self._control.add(message)
        self._counters.control(message)
        self._curves.control(message)

    def _on_episode(self, message: EpisodeState) -> None:
        self._episode = message
        self._counters.episode(message)
        self._curves.episode(message)

    def _on_weights(self, message: WeightsVersion) -> None:
        self._newest = message.version

    # What pages do. The server's thread only leaves a note; the work is done in the executor's.

    def _on_control(self, client: int, action: str, task: str) -> None:
        self._calls.put((client, action, task))
        self._wake()

    def _wake(self) -> None:
        self._guard.trigger()

    def _on_wake(self) -> None:
        if self._server.clients and not self._looking:
            self._look()
        while True:
            try:
                client, action, task = self._calls.get_nowait()
            except queue.Empty:
                return
            self._call(client, action, task)

    def _look(self) -> None:
        """A page is there: listen to everything."""
        self._looking, self._left = True, math.inf
        for index, camera in enumerate(self._spec.cameras):
            self._cameras.append(CameraFeed(self, camera.topic, index, self._image_period))
        for topic in ('reward/sample', 'sim/truth'):
            self._feeds.append(Feed(self, RewardSample, topic, self._curves.sample, qos.LOG, raw=False))

        def executed(data: bytes) -> None:
            self._executed.add(stamp_of_raw(data))

        self._feeds.append(Feed(self, ExecutedCommand, 'gate/executed', executed, qos.LOG, raw=True))
        self._timer.reset()
        self._image_timer.reset()

    def _rest(self) -> None:
        """The last page is gone: hear only what is rare."""
        for feed in (*self._cameras, *self._feeds):
            feed.close()
        self._cameras.clear()
        self._feeds.clear()
        self._timer.cancel()
        self._image_timer.cancel()
        self._looking = False

    def _send_images(self) -> None:
        for index, camera in enumerate(self._cameras):
            key = f'image {index}'
            frame = camera.frame(wanted=self._server.wants(key))
            if frame is not None:
                self._server.publish(key, frame)

    def _call(self, client: int, action: str, task: str) -> None:
        """Call the service behind a button; the answer goes to the page that asked."""
        reply = partial(self._server.reply, client, action)
        chosen = self._service(action, task)
        if chosen is None:
            reply(False, f'unknown action {action!r}')
            return
        name, request = chosen
        service = self._service_clients[name]
        node = name.split('/')[0]
        if not service.service_is_ready():
            reply(False, f'{node} node is not running (service {name} is not there)')
            return
        future = service.call_async(request)
        self._waiting.append((time.monotonic() + ANSWER_WITHIN_S, future, partial(reply, False)))

        def answered(done: Any) -> None:
            if done.cancelled():
                return
            error = done.exception()
            if error is not None:
                reply(False, f'{name}: {error}')
                return
            response = done.result()
            # StartEpisode says accepted, all others success
            ok = response.accepted if name == 'episode/start' else response.success
            reply(ok, response.message or ('done' if ok else f'{node} refused'))

        future.add_done_callback(answered)

    def _service(self, action: str, task: str) -> tuple[str, Any] | None:
        """Which service an action means, given where the episode is."""
        phase = self._episode.phase if self._episode else EpisodeState.IDLE
        match action:
            case 'takeover' | 'release':
                return 'gate/request_control', SetBool.Request(data=action == 'takeover')
            case 'stop' | 'clear':
                return f'gate/{action}', Trigger.Request()
            case 'arm':
                return 'gate/arm', SetBool.Request(data=True)
            case 'start':
                # READY: the scene is prepared, go on with the instruction already given
                seed = time.time_ns() % 2**31
                return 'episode/start', StartEpisode.Request(task=task.strip(), seed=seed)
            case 'success' | 'failure' if phase == EpisodeState.RUNNING:
                return 'episode/end', SetBool.Request(data=action == 'success')
            case 'discard' if phase in (EpisodeState.RESETTING, EpisodeState.READY, EpisodeState.RUNNING):
                return 'episode/abort', Trigger.Request()
            case 'success' | 'failure' | 'discard':
                outcomes = {
                    'success': EpisodeState.SUCCESS,
                    'failure': EpisodeState.FAILURE,
                    'discard': EpisodeState.ABORT,
                }
                episode_id = self._episode.episode_id if self._episode else ''
                request = LabelEpisode.Request(
                    episode_id=episode_id, outcome=outcomes[action], annotator='dashboard'
                )
                return 'episode/label', request
        return None

    # What pages see.

    def _tick(self) -> None:
        now = time.monotonic()
        for entry in list(self._waiting):
            deadline, future, fail = entry
            if future.done():
                self._waiting.remove(entry)
            elif now > deadline:
                self._waiting.remove(entry)
                future.cancel()
                fail(f'no answer within {ANSWER_WITHIN_S:.0f} s; see the nodes panel')
        if not self._server.clients:
            self._left = min(self._left, now)
            if now - self._left > LINGER_S:
                self._rest()
            return
        self._left = math.inf
        for feed in self._feeds:
            feed.poll()
        self._server.publish('state', json.dumps(self._state(), allow_nan=False))
        increment = self._curves.increment()
        if increment is not None:
            restart = increment['reset']
            self._server.publish_curves(json.dumps(increment, allow_nan=False), restart, restart)
        if self._server.behind:
            self._server.publish_curves(json.dumps(self._curves.full(), allow_nan=False), full=True)

    def _state(self) -> dict[str, Any]:
        learner, ack = self._learner, self._ack
        return {
            'type': 'state',
            'gate': self._control.report(),
            'episode': episode_report(self._episode),
            'counters': self._counters.report(),
            'cameras': [camera.report() for camera in self._cameras],
            'command': self._executed.report(),
            'weights': {
                'active': ack.active_version if ack else None,
                'newest': max(self._newest, learner.version if learner else 0),
                'refused': ack.reason if ack and not ack.ok else '',
            },
            'learner': learner
            and {
                'phase': learner.phase,
                'loss': finite(learner.loss),
                'updates_per_s': finite(learner.updates_per_s, 1),
                'train_steps': learner.train_steps,
                'pending': learner.pending_updates,
                'episodes': learner.episodes,
                'transitions': learner.transitions,
                'human_transitions': learner.human_transitions,
                'quarantined': learner.quarantined,
                'message': learner.message,
            },
            'nodes': self._health.report(),
        }


def main() -> None:
    """Entry point of ``dashboard_node``."""
    runtime.run(DashboardNode, events=False)  # the page wakes it through a guard condition


if __name__ == '__main__':
    main()
