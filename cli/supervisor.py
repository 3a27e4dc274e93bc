# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Starts processes, shows their output, and leaves none behind.

Every process gets a session of its own, so that Ctrl-C in the terminal reaches only us and we end them in
order: SIGINT, after ``grace_s`` SIGTERM, after ``kill_s`` more SIGKILL, each to the whole process group.
Should this process itself be killed with -9, two things end the children: the kernel sends them SIGTERM
(PR_SET_PDEATHSIG), and a guard process kills every group that is left after the same grace time.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from subprocess import Popen

from apprentice.cli.process import Exit, Guard, Process, signal_group, spawn

_log = logging.getLogger(__name__)


class _Running:
    def __init__(self, label: str, process: Process, popen: Popen):
        self.label, self.process, self.popen = label, process, popen
        self.asked = False
        self.partial = {'stdout': b'', 'stderr': b''}
        self.last_lines: dict[str, deque[str]] = {'stdout': deque(maxlen=20), 'stderr': deque(maxlen=20)}
        self.open = 2


def write_line(label: str, line: str) -> None:
    """The default for a line of output: prefixed, to our standard output."""
    sys.stdout.write(f'[{label}] {line}\n')
    sys.stdout.flush()


class Supervisor:
    """Runs processes together; see the module's text. Use as a context manager, from one long-lived thread.

    (The kernel ties a child to the *thread* that started it: call :meth:`start` and :meth:`poll` from a
    thread that lives as long as the processes should.)

    Args:
        on_line: called with (label, line) for every line of output, from a reader thread.
        on_exit: called with an :class:`Exit` from :meth:`poll`.
        grace_s: seconds between SIGINT and SIGTERM when stopping.
        kill_s: seconds between SIGTERM and SIGKILL.
    """

    def __init__(
        self,
        on_line: Callable[[str, str], None] = write_line,
        on_exit: Callable[[Exit], None] | None = None,
        grace_s: float = 8.0,
        kill_s: float = 4.0,
    ):
        self._on_line, self._on_exit = on_line, on_exit
        self._grace_s, self._kill_s = grace_s, kill_s
        self._running: dict[str, _Running] = {}
        self._respawns: list[tuple[float, str, Process]] = []
        self._labels: Counter[str] = Counter()
        self._signals = 0
        self._stopping = False
        self._selector = selectors.DefaultSelector()
        self._guard: Guard | None = None
        self._reader: threading.Thread | None = None
        self._closed = threading.Event()
        self.exits: list[Exit] = []

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, *_) -> None:
        self.stop()

    @property
    def labels(self) -> list[str]:
        """Labels of the processes running now."""
        return list(self._running)

    def pid(self, label: str) -> int:
        return self._running[label].popen.pid

    def start(self, process: Process, label: str = '') -> str:
        """Start a process; returns its label, e.g. ``gate-1``."""
        self._start_helpers()
        if not label:
            self._labels[process.name] += 1
            label = f'{process.name}-{self._labels[process.name]}'
        popen = spawn(process)
        self._guard.add(popen.pid)  # type: ignore[union-attr]
        running = self._running[label] = _Running(label, process, popen)
        for stream in ('stdout', 'stderr'):
            pipe = getattr(popen, stream)
            os.set_blocking(pipe.fileno(), False)
            self._selector.register(pipe, selectors.EVENT_READ, (running, stream))
        return label

    def poll(self, timeout_s: float = 0.0) -> list[Exit]:
        """Wait up to ``timeout_s`` for an end; returns those that ended, respawns those that ask for it."""
        end = time.monotonic() + timeout_s
        while True:
            exits = [self._finish(r) for r in list(self._running.values()) if r.popen.poll() is not None]
            now = time.monotonic()
            for due, label, process in [
                item for item in self._respawns if item[0] <= now and not self._stopping
            ]:
                self._respawns.remove((due, label, process))
                self.start(process, label)
            if exits or now >= end or self._signals:
                break
            time.sleep(min(0.05, end - now))
        for item in exits:
            if self._on_exit is not None:
                self._on_exit(item)
        return exits

    def run(self) -> int:
        """Run until Ctrl-C, SIGTERM, the end of a required process, or the end of all; then stop the rest.

        Returns 0 if nothing failed, else 1.
        """
        failed = False
        with self._handle_signals():
            while (self._running or self._respawns) and not self._signals:
                exits = self.poll(0.5)
                for item in exits:
                    failed = failed or item.failed or (item.process.required and not item.asked)
                    self._report(item)
                if any(item.process.required for item in exits):
                    break
            self.stop()
        return 1 if failed else 0

    def stop(self) -> None:
        """End every process: SIGINT, SIGTERM, SIGKILL, to whole groups. Returns when none is left."""
        self._stopping = True
        self._respawns.clear()
        for running in self._running.values():
            running.asked = True
        heard = self._signals
        for number, patience in (
            (signal.SIGINT, self._grace_s),
            (signal.SIGTERM, self._kill_s),
            (signal.SIGKILL, 5.0),
        ):
            if number != signal.SIGINT and self._running:
                _log.warning('still running: %s; sending %s', ', '.join(self._running), number.name)
            for running in self._running.values():
                signal_group(running.popen.pid, number)
            end = time.monotonic() + patience
            # a further Ctrl-C goes on to the next, harder signal
            while self._running and time.monotonic() < end and self._signals <= heard:
                for running in list(self._running.values()):
                    if running.popen.poll() is not None:
                        self._finish(running)
                time.sleep(0.02)
            heard = self._signals
        self._close_helpers()
        self._stopping = False

    def _finish(self, running: _Running) -> Exit:
        # what a node started must not outlive it, nor keep its pipes open
        signal_group(running.popen.pid, signal.SIGKILL)
        end = time.monotonic() + 2.0
        while running.open and time.monotonic() < end:  # the reader thread takes what is left in the pipes
            time.sleep(0.005)
        code = running.popen.returncode
        del self._running[running.label]
        if self._guard is not None:
            self._guard.remove(running.popen.pid)
        lines = running.last_lines['stderr'] or running.last_lines['stdout']
        item = Exit(running.label, running.process, code, running.asked, tuple(lines))
        self.exits.append(item)
        if running.process.respawn and not self._stopping:
            due = time.monotonic() + running.process.respawn_delay_s
            self._respawns.append((due, running.label, running.process))
        return item

    def _report(self, item: Exit) -> None:
        if item.failed:
            _log.error(
                '%s\n%s', item, '\n'.join(f'    {line}' for line in item.last_lines) or '    (no output)'
            )
        else:
            _log.info('%s', item)
        if item.process.required:
            _log.error('%s is required: stopping everything', item.label)

    def _start_helpers(self) -> None:
        if self._guard is None:
            self._guard = Guard(self._grace_s)
        if self._reader is None:
            self._closed.clear()
            self._reader = threading.Thread(target=self._read, name='output', daemon=True)
            self._reader.start()

    def _close_helpers(self) -> None:
        if self._reader is not None:
            self._closed.set()
            self._reader.join(2.0)
            self._reader = None
        if self._guard is not None:
            self._guard.close()
            self._guard = None

    def _read(self) -> None:
        while not self._closed.is_set():
            if not self._selector.get_map():
                time.sleep(0.02)
                continue
            for key, _ in self._selector.select(0.1):
                running, stream = key.data
                try:
                    data = os.read(key.fd, 65536)
                except BlockingIOError:
                    continue
                if data:
                    # progress bars end their lines with a carriage return only
                    text = running.partial[stream] + data.replace(b'\r', b'\n')
                    *lines, running.partial[stream] = text.split(b'\n')
                else:
                    lines = [running.partial[stream]]
                    self._selector.unregister(key.fileobj)
                    key.fileobj.close()  # type: ignore[union-attr]
                for line in filter(None, lines):
                    self._line(running, stream, line.decode(errors='replace'))
                if not data:
                    running.open -= 1

    def _line(self, running: _Running, stream: str, line: str) -> None:
        running.last_lines[stream].append(line)
        try:
            self._on_line(running.label, line)
        except BrokenPipeError:  # whoever read our output is gone, e.g. `| head`
            self._signals += 1
        except Exception:  # a bug of the caller must not block the processes on a full pipe
            _log.exception('on_line failed for %s', running.label)

    @contextlib.contextmanager
    def _handle_signals(self):
        def count(number, frame):
            self._signals += 1

        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        previous = {number: signal.signal(number, count) for number in numbers}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
