# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The dashboard's buttons: which service of the graph each one calls, and what comes back."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from apprentice_interfaces.msg import EpisodeState
from apprentice_interfaces.srv import LabelEpisode, StartEpisode
from rclpy.node import Node
from std_srvs.srv import SetBool, Trigger

from apprentice.nodes import qos
from apprentice.nodes.dashboard_panels import Action, Panel, Press

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
    'learner/pause': SetBool,
    'learner/clear_alarm': Trigger,
    'reward/acknowledge': Trigger,
}
OUTCOMES = {
    'success': EpisodeState.SUCCESS,
    'failure': EpisodeState.FAILURE,
    'discard': EpisodeState.ABORT,
}
# buttons that mean the same service whatever the episode does
PLAIN: dict[str, tuple[str, Callable[[], Any]]] = {
    'takeover': ('gate/request_control', lambda: SetBool.Request(data=True)),
    'release': ('gate/request_control', lambda: SetBool.Request(data=False)),
    'stop': ('gate/stop', Trigger.Request),
    'clear': ('gate/clear', Trigger.Request),
    'arm': ('gate/arm', lambda: SetBool.Request(data=True)),
    'disarm': ('gate/arm', lambda: SetBool.Request(data=False)),
    'learner_pause': ('learner/pause', lambda: SetBool.Request(data=True)),
    'learner_go_on': ('learner/pause', lambda: SetBool.Request(data=False)),
    'clear_alarm': ('learner/clear_alarm', Trigger.Request),
    'acknowledge': ('reward/acknowledge', Trigger.Request),
}


class Buttons(Panel):
    """Turns presses into service calls; the answer goes to the page that asked."""

    def __init__(self, node: Node):
        self._episode: EpisodeState | None = None
        self._clients = {name: node.create_client(kind, name) for name, kind in SERVICES.items()}
        self._waiting: list[tuple[float, Any, Callable[[str], None]]] = []
        node.create_subscription(EpisodeState, 'episode/state', partial(setattr, self, '_episode'), qos.STATE)
        actions = {name: Action(partial(self._plain, name), open=name == 'stop') for name in PLAIN}
        actions['start'] = Action(self._start)
        actions['relabel'] = Action(self._relabel)
        for name in OUTCOMES:
            actions[name] = Action(partial(self._label, name))
        self.actions: Mapping[str, Action] = actions

    def _plain(self, action: str, press: Press) -> None:
        name, request = PLAIN[action]
        self._call(name, request(), press)

    def _start(self, press: Press) -> None:
        # at READY: the scene is prepared, go on with the instruction already given
        seed = press.text('seed', 20)  # digits as text: numbers of JavaScript have 53 bits
        number = int(seed) % 2**64 if seed.isdecimal() else time.time_ns() % 2**31
        self._call('episode/start', StartEpisode.Request(task=press.text('task'), seed=number), press)

    def _label(self, action: str, press: Press) -> None:
        """End a running episode, or label the one that ended last."""
        episode = self._episode
        phase = episode.phase if episode else EpisodeState.IDLE
        if phase == EpisodeState.RUNNING and action != 'discard':
            self._call('episode/end', SetBool.Request(data=action == 'success'), press)
        elif phase in (EpisodeState.RESETTING, EpisodeState.READY, EpisodeState.RUNNING):
            if action == 'discard':
                self._call('episode/abort', Trigger.Request(), press)
            else:
                press.reply(False, 'the episode has not begun: there is nothing to label yet')
        else:
            self._send_label(episode.episode_id if episode else '', action, press)

    def _relabel(self, press: Press) -> None:
        """Label any recorded episode anew."""
        episode_id, outcome = press.text('episode'), press.text('outcome')
        if outcome not in OUTCOMES or not re.fullmatch(r'\w[\w.-]*', episode_id):
            press.reply(False, f'relabel needs an episode and one of {", ".join(OUTCOMES)}')
            return
        self._send_label(episode_id, outcome, press)

    def _send_label(self, episode_id: str, outcome: str, press: Press) -> None:
        request = LabelEpisode.Request(
            episode_id=episode_id, outcome=OUTCOMES[outcome], annotator=f'dashboard: {press.person}'
        )
        self._call('episode/label', request, press)

    def _call(self, name: str, request: Any, press: Press) -> None:
        service, node = self._clients[name], name.split('/')[0]
        if not service.service_is_ready():
            press.reply(False, f'{node} node is not running (service {name} is not there)')
            return
        future = service.call_async(request)
        fail = partial(press.reply, False)
        self._waiting.append((time.monotonic() + ANSWER_WITHIN_S, future, fail))

        def answered(done: Any) -> None:
            if done.cancelled():
                return
            error = done.exception()
            if error is not None:
                fail(f'{name}: {error}')
                return
            response = done.result()
            # StartEpisode says accepted, all others success
            ok = response.accepted if name == 'episode/start' else response.success
            press.reply(ok, response.message or ('done' if ok else f'{node} refused'))

        future.add_done_callback(answered)

    def report(self) -> None:
        """Give up on services that do not answer."""
        now = time.monotonic()
        for entry in list(self._waiting):
            deadline, future, fail = entry
            if future.done():
                self._waiting.remove(entry)
            elif now > deadline:
                self._waiting.remove(entry)
                future.cancel()
                fail(f'no answer within {ANSWER_WITHIN_S:.0f} s; see the nodes panel')
