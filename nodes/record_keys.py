# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Keys of a terminal as they are pressed, and a line of status on it."""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from typing import TextIO

from apprentice.nodes.runtime import StartupError


class Keys:
    """Keys of a terminal as they are pressed, and a line of status on it; nothing without a terminal."""

    def __init__(self, device: str):
        self._fd: int | None = None
        self._out: TextIO = sys.stderr
        if not device:
            return
        try:
            self._fd = os.open(device, os.O_RDWR | os.O_NOCTTY)
            self._before = termios.tcgetattr(self._fd)
            tty.setcbreak(self._fd)
        except (OSError, termios.error) as error:
            raise StartupError(
                f'terminal {device} cannot be used ({error}); start without terminal'
            ) from None
        self._out = os.fdopen(os.dup(self._fd), 'w')

    def read(self) -> str:
        """What was pressed since the last time, lower case."""
        if self._fd is None or not select.select([self._fd], [], [], 0)[0]:
            return ''
        return os.read(self._fd, 64).decode(errors='ignore').lower()

    def status(self, text: str) -> None:
        if self._fd is None:
            self.line(text)
            return
        self._out.write(f'\r\x1b[K{text}')
        self._out.flush()

    def line(self, text: str) -> None:
        self._out.write(text + '\n' if self._fd is None else f'\r\x1b[K{text}\n')
        self._out.flush()

    def close(self) -> None:
        if self._fd is not None:
            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)
            os.close(self._fd)
            self._fd = None
