# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The dashboard: a page with the live robot, and the buttons of the person beside it.

ROS runs in the main thread, the web server in another. What costs (images, rewards, executed
commands) is subscribed to only while a page is open. This node runs on wall time even where
use_sim_time is set: it would hear /clock at every tick and needs only the stamps of messages.
Subjects of the page are panels, see ``dashboard_panels.py``.
"""

from __future__ import annotations

import json
import math
import queue
import socket
import time
from pathlib import Path
from typing import Any

from apprentice_interfaces.msg import ControlState, EpisodeState, ExecutedCommand, RewardSample
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_msgs.msg import String

from apprentice.nodes import qos, runtime
from apprentice.nodes.dashboard_access import Access
from apprentice.nodes.dashboard_buttons import Buttons
from apprentice.nodes.dashboard_curves import Curves
from apprentice.nodes.dashboard_drive import Drive
from apprentice.nodes.dashboard_feed import CameraFeed, Feed, stamp_of_raw
from apprentice.nodes.dashboard_learning import Learning
from apprentice.nodes.dashboard_panels import Action, Panel, Press
from apprentice.nodes.dashboard_preferences import Preferences
from apprentice.nodes.dashboard_recordings import Recordings
from apprentice.nodes.dashboard_server import Server
from apprentice.nodes.dashboard_socket import listen, tls_context
from apprentice.nodes.dashboard_state import Control, Counters, Health, Rate, episode_report
from apprentice.nodes.robot_file import load_robot
from apprentice.robot.parts import load_part, share

TICK_S = 0.1
NODES_EVERY = 5  # ticks
LINGER_S = 5.0  # a page that reloads finds the curves still there
HERE = ('127.0.0.1', 'localhost', '::1')


class DashboardNode(Node):
    """Streams the graph's state to web pages and turns what people do there into messages and calls."""

    def __init__(self) -> None:
        super().__init__('dashboard', parameter_overrides=[Parameter('use_sim_time', value=False)])
        host = runtime.parameter(self, 'host', '127.0.0.1', 'address to listen on; 0.0.0.0: all')
        port = runtime.parameter(self, 'port', 8765, 'TCP port; 0 takes a free one', 0, 65535)
        rate = runtime.parameter(self, 'image_rate_hz', 15.0, 'most frames a second and camera', 0.1, 120.0)
        run_dir = runtime.parameter(self, 'run_dir', 'runs/default', 'run folder; its episodes are shown')
        parts = runtime.parameter(self, 'panels', [''], 'more panels, each package.module:Class')
        access = self._access()
        certificate = runtime.parameter(self, 'certificate', '', 'PEM file for https; empty: http')
        key = runtime.parameter(self, 'key', '', 'PEM file with the private key of the certificate')
        self._spec = load_robot(self)
        self._image_period = 1.0 / rate

        self._control, self._counters, self._curves, self._health = Control(), Counters(), Curves(), Health()
        self._episode: EpisodeState | None = None
        self._cameras: list[CameraFeed] = []
        self._feeds: list[Feed] = []
        self._executed = Rate()
        self._looking = False  # a page is, or just was, open
        self._left = -math.inf
        self._ticks = 0
        self._notes: queue.SimpleQueue[tuple[Action, Press] | int] = queue.SimpleQueue()
        self._panels: list[Panel] = [
            Buttons(self),
            Drive(self),
            Learning(self),
            Recordings(self, self._spec, Path(run_dir).expanduser() / 'episodes'),
            Preferences(self, self._spec, Path(run_dir).expanduser() / 'episodes'),
            *(load_part(part)(self) for part in parts if part),
        ]

        try:
            tls = tls_context(certificate, key)
            listener = listen(host, port)
        except OSError as error:
            raise runtime.StartupError(f'dashboard: {error}') from None
        self._server = Server(
            listener, share('web'), self._hello(), access, self._panels, self._on_change, self._on_press, tls
        )
        self.port = listener.getsockname()[1]
        shown = socket.gethostname() if host in ('0.0.0.0', '::') else host
        self.url = f'{"https" if tls else "http"}://{shown}:{self.port}'

        subscribe = self.create_subscription
        subscribe(ControlState, 'gate/state', self._on_gate, qos.STATE)
        subscribe(EpisodeState, 'episode/state', self._on_episode, qos.STATE)
        subscribe(DiagnosticArray, '/diagnostics', self._health.add, 10)
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
        if host not in HERE and not access.token:
            self.get_logger().warning('other machines can watch, not control; token_file:=FILE allows it')
        elif host not in HERE and not tls:
            self.get_logger().warning(
                'without https other machines control through an SSH tunnel or a TLS proxy only; '
                'certificate:=FILE key:=FILE serves https'
            )

    def _access(self) -> Access:
        file = runtime.parameter(
            self, 'token_file', '', 'file with the secret for control; empty: only this machine controls'
        )
        token = runtime.parameter(self, 'token', '', 'the secret itself; a file hides it better')
        names = runtime.parameter(self, 'names', [''], 'more host names under which the page may be opened')
        if file:
            try:
                token = Path(file).expanduser().read_text().strip()
            except OSError as error:
                raise runtime.StartupError(f'token_file {file}: {error.strerror}') from None
            if not token:
                raise runtime.StartupError(f'token_file {file} is empty; put a long random word into it')
        try:
            return Access.of_this_machine(token.strip(), list(names))
        except ValueError as error:
            raise runtime.StartupError(f'dashboard: {error}') from None

    def close(self) -> None:
        for panel in self._panels:
            panel.close()
        self._server.close()

    def _report(self) -> tuple[bytes, str, dict[str, Any]]:
        pages = len(self._server.pages)
        return (
            runtime.Diagnostics.OK,
            f'{pages} page{"" if pages == 1 else "s"} at {self.url}',
            {'pages': pages},
        )

    def _hello(self) -> dict[str, Any]:
        fields = ('name', 'width', 'height', 'max_age_s', 'rate_hz')
        cameras = [{field: getattr(camera, field) for field in fields} for camera in self._spec.cameras]
        pages = sorted(path for panel in self._panels for path in panel.files)
        return {'type': 'hello', 'robot': self._spec.name, 'cameras': cameras, 'pages': pages}

    # What arrives from the graph.

    def _on_gate(self, message: ControlState) -> None:
        self._control.add(message)
        self._counters.control(message)
        self._curves.control(message)

    def _on_episode(self, message: EpisodeState) -> None:
        self._episode = message
        self._counters.episode(message)
        self._curves.episode(message)

    # What people do. The server's thread only leaves a note; the work is done in the executor's.

    def _on_press(self, action: Action, press: Press) -> None:
        self._notes.put((action, press))
        self._guard.trigger()

    def _on_change(self, came: bool, number: int) -> None:
        if not came:
            self._notes.put(number)
        self._guard.trigger()

    def _on_wake(self) -> None:
        if len(self._server.pages) and not self._looking:
            self._look()
        while True:
            try:
                note = self._notes.get_nowait()
            except queue.Empty:
                return
            if isinstance(note, int):
                for panel in self._panels:
                    panel.left(note)
                continue
            action, press = note
            try:
                action.run(press)
            except Exception as error:  # what a page sends must not end the node that carries its stop button
                self.get_logger().error(f'dashboard: {error!r} after {dict(press.fields)}'[:500])
                press.reply(False, f'that went wrong: {error}; see the log of the dashboard')

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
        for panel in self._panels:
            panel.look()
        self._timer.reset()
        self._image_timer.reset()

    def _rest(self) -> None:
        """The last page is gone: hear only what is rare."""
        for feed in (*self._cameras, *self._feeds):
            feed.close()
        self._cameras.clear()
        self._feeds.clear()
        for panel in self._panels:
            panel.rest()
        self._timer.cancel()
        self._image_timer.cancel()
        self._looking = False

    # What pages see.

    def _send_images(self) -> None:
        for index, camera in enumerate(self._cameras):
            key = f'image {index}'
            frame = camera.frame(wanted=self._server.pages.wants(key))
            if frame is not None:
                self._server.publish(key, frame)

    def _tick(self) -> None:
        now = time.monotonic()
        if not len(self._server.pages):
            self._left = min(self._left, now)
            if now - self._left > LINGER_S:
                self._rest()
            return
        self._left = math.inf
        for feed in self._feeds:
            feed.poll()
        self._publish('state', self._state())
        if self._ticks % NODES_EVERY == 0:
            self._publish('nodes', {'type': 'nodes', 'nodes': self._health.report()})
        self._ticks += 1
        increment = self._curves.increment()
        if increment is not None:
            restart = increment['reset']
            self._server.publish_curves(json.dumps(increment, allow_nan=False), restart, restart)
        if self._server.pages.behind:
            self._server.publish_curves(json.dumps(self._curves.full(), allow_nan=False), full=True)

    def _publish(self, key: str, message: dict[str, Any]) -> None:
        self._server.publish(key, json.dumps(message, allow_nan=False))

    def _state(self) -> dict[str, Any]:
        state = {
            'type': 'state',
            'gate': self._control.report(),
            'episode': episode_report(self._episode),
            'counters': self._counters.report(),
            'cameras': [camera.report() for camera in self._cameras],
            'command': self._executed.report(),
        }
        for panel in self._panels:
            report = panel.report()
            if panel.name:
                state[panel.name] = report
        return state


def main() -> None:
    """Entry point of ``dashboard_node``."""
    runtime.run(DashboardNode, events=False)  # the page wakes it through a guard condition


if __name__ == '__main__':
    main()
