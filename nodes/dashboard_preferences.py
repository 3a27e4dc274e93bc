# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The dashboard's page of preferences: shows what the preferences node asks, publishes what people say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from apprentice_interfaces.msg import PreferenceAnswer, PreferencePair
from rclpy.node import Node

from apprentice.episodes.answers import FILE, Answer, AnswerFile, told
from apprentice.episodes.files import EpisodeFileError
from apprentice.nodes import convert, qos
from apprentice.nodes.asking import Asking
from apprentice.nodes.clip_strips import ClipStrips
from apprentice.robot.spec import RobotSpec


class Preferences(Asking):
    """Pairs from ``preferences/pair``, answers to ``preferences/answer``, progress from the answers' file.

    Args:
        folder: of the recorded episodes.
    """

    def __init__(self, node: Node, spec: RobotSpec, folder: Path):
        super().__init__([camera.name for camera in spec.cameras])
        self._node = node
        self._strips = ClipStrips(spec, [folder])
        self.routes = {'/api/strip': self._strips.answer}
        self._file = AnswerFile(folder / FILE)
        self._size = -1
        self._told: dict[str, Any] = {}
        self._publisher = node.create_publisher(PreferenceAnswer, 'preferences/answer', qos.LOG)
        node.create_subscription(PreferencePair, 'preferences/pair', self._on_pair, qos.STATE)

    def close(self) -> None:
        self._strips.close()

    def progress(self) -> dict[str, Any]:
        try:
            size = self._file.path.stat().st_size
            if size != self._size:
                self._told, self._size = told(self._file.history()), size
        except (OSError, EpisodeFileError):
            self._told = {'answered': 0}
        return self._told

    def note(self) -> str:
        if not self._node.count_publishers('preferences/pair'):
            return 'The preferences node is not running (`preferences:=true`).'
        return 'No pair to ask about yet: record a few episodes with the same instruction.'

    def take_pair(self, answer: Answer, reply: Callable[[bool, str], None]) -> None:
        if not self._publisher.get_subscription_count():
            reply(False, 'the preferences node is not running; the answer is not kept')
            return
        self._publisher.publish(convert.answer_msg(answer, convert.now(self._node)))
        reply(True, '')

    def _on_pair(self, message: PreferencePair) -> None:
        try:
            pair = convert.pair_of(message)
        except ValueError as error:
            self._node.get_logger().warning(f'a pair is not shown: {error}')
            return
        self.show_pair(pair)
