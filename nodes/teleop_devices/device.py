# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What every device is to the teleop node. Another one is a class of this shape, named in a mapping file."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from rclpy.node import Node
from std_msgs.msg import Header

from apprentice.nodes import convert
from apprentice.nodes.runtime import StartupError, simulated_time
from apprentice.robot.settings import SettingsError, from_dict
from apprentice.robot.teleop import TeleopCommand
from apprentice.robot.teleop_mapping import DeviceMapping, Translator

Options = TypeVar('Options')
# takes a new state of the device; None: it was unplugged
Deliver = Callable[[TeleopCommand | None], None]


class Device(Protocol):
    """Made once, with ``Class(node, mapping, deliver)``; calls ``deliver`` in the executor's thread.

    ``node`` offers timers, subscriptions, a logger and ``node.spec``, the robot file. A device that repeats
    itself must not do so when it has nothing new to say: silence is how a broken one is recognised.
    """

    def __init__(self, node: Node, mapping: DeviceMapping, deliver: Deliver) -> None: ...

    def status(self) -> str:
        """'' if the device is there; else what is missing and what to do."""
        ...

    def close(self) -> None:
        """Give back what was opened."""
        ...


def options_of(mapping: DeviceMapping, kind: type[Options]) -> Options:
    """The options of a mapping as a dataclass. Raises StartupError naming the mapping."""
    try:
        return from_dict(kind, mapping.options or {}, 'options')
    except SettingsError as error:
        raise StartupError(f'mapping {mapping.name}: {error}') from None


class Freshness:
    """Tells messages that were long on their way, as a weak radio link delivers them, from present ones."""

    def __init__(self, node: Node, mapping: DeviceMapping) -> None:
        self._node, self._mapping = node, mapping
        # in simulated time stamps and our clock have nothing to do with each other
        self._checked = mapping.max_age_s > 0 and not simulated_time(node)

    def stamp(self, header: Header) -> float | None:
        """The stamp in seconds, or None for a message that must not be heard."""
        stamp = convert.seconds(header.stamp)
        age = time.time() - stamp
        if self._checked and stamp and abs(age) > self._mapping.max_age_s:
            self._node.get_logger().warning(
                f'{self._mapping.name}: a message stamped {age:.2f} s ago is not heard; '
                'check the link and the clocks, or set max_age_s in its mapping',
                throttle_duration_sec=2.0,
            )
            return None
        return stamp


def deliver_late(
    translator: Translator, axes: Mapping[str, float], buttons: Mapping[str, bool], deliver: Deliver
) -> None:
    """What may still be heard of a message that is too old: the press of stop; it also ends driving."""
    if translator.stop(axes, buttons):
        deliver(TeleopCommand(0.0, held=False, events=frozenset({'stop'})))
        deliver(None)  # the dead-man was not seen released


class TopicWatch:
    """Says whether anybody publishes on a topic that a device listens to."""

    def __init__(self, node: Node, *topics: str) -> None:
        self._node, self._topics = node, topics

    def missing(self) -> str:
        silent = [topic for topic in self._topics if not self._node.count_publishers(self._resolved(topic))]
        return f'nobody publishes {" and ".join(silent)}' if silent else ''

    def _resolved(self, topic: str) -> str:
        return self._node.resolve_topic_name(topic)


def numbered(values: Any, kind: str) -> dict[str, float]:
    """A list of a Joy message by number: ``4`` and ``button4`` name the same."""
    found = {}
    for index, value in enumerate(values):
        found[str(index)] = found[f'{kind}{index}'] = float(value)
    return found
