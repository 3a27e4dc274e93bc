# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A page without a ROS graph: the dashboard's web server with one panel, and the loop that serves it."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable

from apprentice.nodes.asking import Asking
from apprentice.nodes.dashboard_access import Access
from apprentice.nodes.dashboard_panels import Action, Press
from apprentice.nodes.dashboard_server import Server
from apprentice.nodes.dashboard_socket import listen
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec

TICK_S = 0.1
STAYS_S = 2.0  # after the end, so that the page can say so


class LabelServer:
    """Serves ``panel`` at ``url``.

    Args:
        port: 0 takes a free one.

    Raises OSError whose text names the remedy for a port that is taken.
    """

    def __init__(self, panel: Asking, spec: RobotSpec, port: int):
        self._panel = panel
        self._notes: queue.SimpleQueue[tuple[Action, Press]] = queue.SimpleQueue()
        listener = listen('127.0.0.1', port)
        hello = {'type': 'hello', 'robot': spec.name, 'cameras': [], 'alone': True}
        access = Access.of_this_machine('', [])
        self._server = Server(listener, share('web'), hello, access, [panel], self._on_change, self._on_press)
        self.url = f'http://127.0.0.1:{listener.getsockname()[1]}/preferences'

    def serve(
        self,
        work: Callable[[], bool] | None = None,
        finished: Callable[[], bool] = lambda: False,
        told: Callable[[], None] = lambda: None,
    ) -> None:
        """Until ``finished`` or Ctrl-C.

        Args:
            work: called in a thread of its own, again and again; False: nothing to do for a while.
            told: called after every press and twice a second.
        """
        ending, wake = threading.Event(), threading.Event()
        failed: list[Exception] = []

        def working() -> None:
            assert work is not None
            while not ending.is_set():
                wake.clear()
                try:
                    more = work()
                except Exception as error:  # shown by the thread that serves
                    failed.append(error)
                    return
                if not more:
                    wake.wait(2.0)

        thread = threading.Thread(target=working, name='label', daemon=True)
        if work is not None:
            thread.start()
        self._server.start()
        try:
            until = float('inf')
            while time.monotonic() < until:
                if self._drain():
                    wake.set()
                    told()
                if failed:
                    raise failed[0]
                if len(self._server.pages):
                    state = {'type': 'state', self._panel.name: self._panel.report()}
                    self._server.publish('state', json.dumps(state, allow_nan=False))
                if until == float('inf') and finished():
                    until = time.monotonic() + STAYS_S
                time.sleep(TICK_S / 4 if len(self._server.pages) else TICK_S)
        finally:
            ending.set()
            wake.set()
            if work is not None:
                thread.join(timeout=30.0)
            self._panel.close()
            self._server.close()

    def _drain(self) -> bool:
        """Do what people pressed; whether there was anything."""
        any_press = False
        while True:
            try:
                action, press = self._notes.get_nowait()
            except queue.Empty:
                return any_press
            any_press = True
            try:
                action.run(press)
            except Exception as error:  # what a page sends must not end the labelling
                press.reply(False, f'that went wrong: {error}')

    def _on_press(self, action: Action, press: Press) -> None:
        self._notes.put((action, press))

    def _on_change(self, came: bool, number: int) -> None:
        """Pages are counted when the state is sent."""
