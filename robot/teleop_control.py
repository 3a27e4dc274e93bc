# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Which of several devices drives: the first whose dead-man is pressed, until it lets go or falls silent."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from apprentice.robot.teleop import TeleopCommand


class Action(Enum):
    """What the gate is to be asked for."""

    TAKE = 'take'
    RELEASE = 'release'


@dataclass
class _Device:
    timeout_s: float
    ready: bool = False  # the dead-man was seen released since it last drove, fell silent or appeared
    seen: float = -math.inf
    command: TeleopCommand | None = None


class DeviceArbiter:
    """Who drives. Times are seconds of a monotonic clock; methods return what the gate is to be asked for.

    A dead-man that is pressed already when its device appears, comes back, or lost control for another
    reason than its release does not count before it has been let go once.

    Attributes:
        owner: name of the device that drives; '' for none.
        reason: why the last one stopped driving.
    """

    def __init__(self, timeouts_s: Mapping[str, float]) -> None:
        """``timeouts_s``: device -> silence after which it counts as released."""
        self._devices = {name: _Device(timeout) for name, timeout in timeouts_s.items()}
        self.owner, self.reason = '', ''

    def on_command(self, name: str, command: TeleopCommand, now: float) -> list[Action]:
        """A new state of a device."""
        device = self._devices[name]
        device.command, device.seen = command, now
        if not command.held:
            device.ready = True
            return self._end('the dead-man was let go') if self.owner == name else []
        pressed, device.ready = device.ready, False
        if not pressed or self.owner:
            return []
        self.owner, self.reason = name, ''
        return [Action.TAKE]

    def events(self, name: str, command: TeleopCommand) -> list[str]:
        """The presses of this command that count: those of the device that drives, or of any if none does.

        ``stop`` always counts, and comes first.
        """
        found = sorted(command.events - {'stop'}) if self.owner in ('', name) else []
        return ['stop', *found] if 'stop' in command.events else found

    def gone(self, name: str) -> list[Action]:
        """The device was unplugged."""
        device = self._devices[name]
        device.command, device.ready, device.seen = None, False, -math.inf
        return self._end(f'{name} is gone') if self.owner == name else []

    def tick(self, now: float) -> list[Action]:
        """Look for silence; call it often."""
        if not self.owner:
            return []
        device = self._devices[self.owner]
        silence = now - device.seen
        if silence <= device.timeout_s:
            return []
        device.ready = False
        return self._end(f'{self.owner} was silent for {silence:.2f} s while its dead-man was held')

    def dropped(self, reason: str) -> None:
        """The gate gave control to somebody else: the dead-man has to be pressed again."""
        self._end(reason)

    @property
    def command(self) -> TeleopCommand | None:
        """The newest of the device that drives; None if none does."""
        return self._devices[self.owner].command if self.owner else None

    def _end(self, reason: str) -> list[Action]:
        had, self.owner = self.owner, ''
        if not had:
            return []
        self.reason = reason
        return [Action.RELEASE]
