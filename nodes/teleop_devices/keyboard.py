# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The keyboard of the terminal that the node runs in.

A terminal says which character was typed, never that a key was let go. So a key counts as held while it
repeats: ``hold_s`` after a repetition, ``first_hold_s`` after the first character, because keyboards wait
before they repeat. Only the key that was pressed last repeats, so there is no separate dead-man key: every
mapped key is one (``hold: [any]``). For a real dead-man read the keyboard through evdev.
"""

from __future__ import annotations

import errno
import math
import os
import termios
import time
import tty
from collections.abc import Callable, Collection
from dataclasses import dataclass

from rclpy.node import Node

from apprentice.nodes.runtime import StartupError, wall_timer
from apprentice.nodes.teleop_devices.device import Deliver, options_of
from apprentice.robot.teleop_mapping import DeviceMapping, Translator

_POLL_S = 0.01
_NAMES = {
    b'\x1b[A': 'up', b'\x1b[B': 'down', b'\x1b[C': 'right', b'\x1b[D': 'left',
    b' ': 'space', b'\r': 'enter', b'\n': 'enter', b'\t': 'tab', b'\x7f': 'backspace', b'\x1b': 'escape',
}  # fmt: skip


@dataclass(frozen=True)
class KeyboardOptions:
    """``terminal``: its file. Seconds, see above; ``tap_s``: how long one character moves the arm."""

    terminal: str = '/dev/tty'
    hold_s: float = 0.3
    first_hold_s: float = 0.7
    tap_s: float = 0.12


class TypedKeys:
    """Which keys count as pressed, from characters and when they came.

    Args:
        moving: keys that move the arm or hold it; the others are commands, which do not repeat.
        clock: monotonic [s].
    """

    def __init__(
        self,
        options: KeyboardOptions,
        moving: Collection[str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options, self._moving, self._clock = options, moving, clock
        self._first: dict[str, float] = {}
        self._last: dict[str, float] = {}

    def press(self, name: str) -> None:
        """A character came."""
        now = self._clock()
        if now - self._last.get(name, -math.inf) > self._options.first_hold_s:
            self._first[name] = now
        self._last[name] = now

    def pressed(self) -> dict[str, bool]:
        """Key -> pressed; ``any`` as long as the dead-man of the last key lasts."""
        now, options = self._clock(), self._options
        found = {}
        for name, last in self._last.items():
            lasts = options.tap_s if name in self._moving else options.first_hold_s
            found[name] = now - last <= lasts
        found['any'] = any(
            now - last <= (options.first_hold_s if last == self._first[name] else options.hold_s)
            for name, last in self._last.items()
            if name in self._moving
        )
        return found


class Keyboard:
    """Puts the terminal into cbreak mode (Ctrl-C still works) until it is closed."""

    def __init__(self, node: Node, mapping: DeviceMapping, deliver: Deliver) -> None:
        options = options_of(mapping, KeyboardOptions)
        self._deliver, self._translator = deliver, Translator(mapping)
        self._keys = TypedKeys(options, moving_keys(mapping))
        self._logger = node.get_logger()
        try:
            self._file: int | None = os.open(options.terminal, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
            self._before = termios.tcgetattr(self._file)
            tty.setcbreak(self._file, termios.TCSANOW)
        except (OSError, termios.error) as error:
            raise StartupError(
                f'mapping {mapping.name}: no terminal at {options.terminal} ({error.args[-1]}): start the '
                'teleop node in a terminal of its own, see docs/teleoperation.md'
            ) from None
        wall_timer(node, _POLL_S, self._poll)

    def _poll(self) -> None:
        if self._file is None:
            return
        try:
            data = os.read(self._file, 256)
            if not data:
                raise OSError(errno.EIO, 'the terminal was closed')
        except BlockingIOError:
            data = b''
        except OSError as error:
            self._logger.warning(f'keyboard: the terminal is gone ({error.strerror})')
            self.close()
            self._translator.forget()
            self._deliver(None)
            return
        for name in key_names(data):
            self._keys.press(name)
        pressed = self._keys.pressed()
        self._deliver(self._translator.command({}, pressed, time.time(), time.monotonic()))

    def status(self) -> str:
        return '' if self._file is not None else 'the terminal is gone: start the node again'

    def close(self) -> None:
        if self._file is not None:
            try:
                termios.tcsetattr(self._file, termios.TCSANOW, self._before)
            except termios.error:
                self._logger.debug('the terminal is gone, there is nothing to set back')
            os.close(self._file)
            self._file = None


def moving_keys(mapping: DeviceMapping) -> set[str]:
    """The keys of the motions, and those that hold: only they are a dead-man."""
    motions = [
        str(key) for _, axis in mapping.motions() for key in (axis.plus, axis.minus) if key is not None
    ]
    held = [str(key) for name in ('hold', 'fast', 'clutch') for key in getattr(mapping.buttons, name)]
    return {*motions, *held} - {'any', 'None'}


def key_names(data: bytes) -> list[str]:
    """Names of the keys in what a terminal sent: a character, or up, down, left, right, space, enter, ..."""
    names = []
    while data:
        length = 3 if data[:3] in _NAMES else 1
        key, data = data[:length], data[length:]
        if key in _NAMES:
            names.append(_NAMES[key])
        elif key.isascii() and key.decode().isprintable():
            names.append(key.decode().lower())
    return names
