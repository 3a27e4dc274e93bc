# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""One child process: what to start, how it ended, and two ways in which it cannot outlive us."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field

# Becomes the program: asks the kernel for SIGTERM when the parent dies, and undoes an ignored SIGINT.
_WRAPPER = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)
if os.getppid() != int(sys.argv[1]): sys.exit(143)
signal.signal(signal.SIGINT, signal.SIG_DFL)
try: os.execvp(sys.argv[2], sys.argv[2:])
except OSError as error: sys.exit(f'cannot start {sys.argv[2]}: {error}')
"""
# Reads "+group" and "-group" lines; at the end of its input (we are gone) ends the groups still listed.
_GUARD = """
import os, signal, sys, time
groups, grace = set(), float(sys.argv[1])
for line in sys.stdin:
    (groups.add if line[0] == '+' else groups.discard)(int(line[1:]))
def alive(number):
    for group in list(groups):
        try: os.killpg(group, number)
        except OSError: groups.discard(group)
    return groups
alive(signal.SIGTERM)
end = time.monotonic() + grace
while alive(0) and time.monotonic() < end: time.sleep(0.1)
alive(signal.SIGKILL)
"""


@dataclass(frozen=True)
class Process:
    """What to start. ``required``: its end stops everything. ``respawn``: start it again when it ends."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))
    cwd: str | None = None
    required: bool = False
    respawn: bool = False
    respawn_delay_s: float = 1.0


@dataclass(frozen=True)
class Exit:
    """How a process ended: ``code`` is negative for a signal; ``asked`` if we had told it to stop."""

    label: str
    process: Process
    code: int
    asked: bool
    last_lines: tuple[str, ...]

    @property
    def failed(self) -> bool:
        return self.code != 0 and not self.asked

    def __str__(self) -> str:
        how = f'exit code {self.code}' if self.code >= 0 else f'signal {signal.Signals(-self.code).name}'
        return f'{self.label} ended: {how}'


def spawn(process: Process) -> subprocess.Popen:
    """Start a process in a session of its own with its output on pipes; the kernel ends it if we die."""
    return subprocess.Popen(
        [sys.executable, '-I', '-S', '-c', _WRAPPER, str(os.getpid()), *process.command],
        env=process.environment,
        cwd=process.cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def signal_group(group: int, number: int) -> None:
    """Send a signal to a whole process group; one that is gone already is fine."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


class Guard:
    """A process that ends the process groups it was told of when this process dies, however it dies."""

    def __init__(self, grace_s: float):
        self._grace_s = grace_s
        self._popen = subprocess.Popen(
            [sys.executable, '-I', '-S', '-c', _GUARD, str(grace_s)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def add(self, group: int) -> None:
        self._tell(f'+{group}\n')

    def remove(self, group: int) -> None:
        self._tell(f'-{group}\n')

    def close(self) -> None:
        """End the guard; groups still listed are ended by it."""
        with contextlib.suppress(OSError):
            self._popen.stdin.close()  # type: ignore[union-attr]
        self._popen.wait(self._grace_s + 5.0)

    def _tell(self, line: str) -> None:
        with contextlib.suppress(OSError):
            self._popen.stdin.write(line.encode())  # type: ignore[union-attr]
            self._popen.stdin.flush()  # type: ignore[union-attr]
