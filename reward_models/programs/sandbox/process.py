# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A reward program in a child process that can compute and nothing else; seen from the parent."""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from apprentice.reward_models.programs.sandbox import wire
from apprentice.reward_models.programs.sandbox.locks import missing
from apprentice.reward_models.programs.syntax import ProgramError

_START = (
    'import json, sys; sys.path[:] = json.loads(sys.argv[1]);'
    'from apprentice.reward_models.programs.sandbox.worker import main;'
    'main(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))'
)
_ENVIRONMENT = {
    'OMP_NUM_THREADS': '1',
    'OPENBLAS_NUM_THREADS': '1',
    'MKL_NUM_THREADS': '1',
    'LC_ALL': 'C.UTF-8',
}


class SandboxError(ProgramError):
    """The program was stopped, or this machine cannot lock one in; the text says which."""


@dataclass(frozen=True)
class Limits:
    """What a program may use.

    Attributes:
        call_s: wall-clock seconds of one call; then it is killed.
        cpu_s: processor seconds of a process, whole; when half of them are used it is replaced by a new one.
        memory_mb: beyond what Python and numpy take.
        start_s: wall-clock seconds until the process is ready.
        failures: calls in a row that may be stopped; then the program is not started again.
        require: False runs it although this machine cannot take network, files, processes or memory away.
    """

    call_s: float = 1.0
    cpu_s: int = 60
    memory_mb: int = 256
    start_s: float = 30.0
    failures: int = 3
    require: bool = True


class Sandbox:
    """Runs one program. Starts its process at the first call; one call at a time, from any thread.

    Args:
        source: of the program, checked before by ``syntax.check_program``.

    Attributes:
        locks: name -> whether it holds; empty before the first call.
    """

    def __init__(self, source: str, limits: Limits | None = None):
        self._source, self.limits = source, limits or Limits()
        self.locks: dict[str, bool] = {}
        self._process: subprocess.Popen | None = None
        self._folder: tempfile.TemporaryDirectory | None = None
        self._failures = 0
        self._cpu = self._started = 0.0  # processor seconds of the process: now, when it was ready
        self._turn = threading.Lock()

    def __call__(
        self, state: Mapping[str, np.ndarray], previous: Mapping[str, np.ndarray] | None = None,
        action: np.ndarray | None = None,
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:  # fmt: skip
        """Rewards float64 [N] and components, name -> [N], of N states (name -> [N, d]).

        Args:
            previous: the states one step before; the same as ``state`` if not given.
            action: [N, A].

        Raises SandboxError if the program was stopped, ProgramError if it failed; numbers may be not finite.
        """
        items = {len(values) for values in state.values()}
        if len(items) != 1:
            raise ValueError(f'every name of the state must have as many rows; there are {sorted(items)}')
        count = items.pop()
        arrays = {f'state/{name}': values for name, values in state.items()}
        arrays |= {f'previous/{name}': values for name, values in (previous or state).items()}
        if action is not None:
            arrays['action'] = action
        shapes = [(name, np.shape(values)) for name, values in arrays.items()]
        message = wire.pack({'shapes': shapes, 'items': count}, *arrays.values())
        with self._turn:
            if self._process is not None and self._cpu - self._started > self.limits.cpu_s / 2:
                self._end()
            if self._process is None:
                self._open()
            header, data = self._ask(message, count)
            self._failures = 0  # an answer: what stopped it before has passed
        rows = np.frombuffer(data, '<f8').reshape(-1, count)
        return rows[0].copy(), dict(zip(header['names'], rows[1:].copy(), strict=True))

    def start(self) -> dict[str, bool]:
        """Start the process; returns which locks hold. Raises SandboxError where too few do."""
        with self._turn:
            if self._process is None:
                self._open()
        return self.locks

    def close(self) -> None:
        """End the process."""
        with self._turn:
            self._end()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self._end()

    def _open(self) -> None:
        if self._failures >= self.limits.failures:
            raise SandboxError(
                f'the program was stopped {self._failures} times in a row and is not started again'
            )
        self._folder = tempfile.TemporaryDirectory(prefix='apprentice-program-')
        limits = self.limits
        words = [json.dumps(sys.path), self._folder.name, str(limits.memory_mb), str(limits.cpu_s)]
        self._process = subprocess.Popen(
            [sys.executable, '-I', '-B', '-c', _START, *words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0,
            cwd=self._folder.name, env=_ENVIRONMENT, start_new_session=True,
        )  # fmt: skip
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdin.fileno(), False)
        os.set_blocking(self._process.stdout.fileno(), False)
        end = time.monotonic() + limits.start_s
        header = self._header(end, f'the process was not ready within {limits.start_s:g} s')
        self.locks, self._cpu = dict(header.get('locks', {})), header['cpu']
        self._started = self._cpu
        open_ways = missing(self.locks)
        if open_ways and limits.require:
            self._end()
            raise SandboxError(
                f'this machine cannot lock a program in: {", ".join(open_ways)} would stay open. Use reward '
                'terms (JSON), which run nothing, or a Linux with seccomp'
            )
        self._ask(wire.pack({'source': self._source}), 0)

    def _ask(self, message: bytes, items: int) -> tuple[dict[str, Any], bytes]:
        """Send a message; the answer's header and its numbers."""
        limits = self.limits
        end = time.monotonic() + limits.call_s
        late = f'it did not answer within {limits.call_s:g} s'
        if self._ready(select.POLLIN, 0.0):
            self._stop('it wrote something that was not asked for')
        self._send(message, end, late)
        header = self._header(end, late)
        self._cpu = header['cpu']
        if not header.get('ok'):
            raise ProgramError(f'the program failed: {header.get("error", "")[:1200]}')
        names = header.get('names', [])
        sound = isinstance(names, list) and len(names) <= wire.MOST_COMPONENTS
        if not sound or not all(isinstance(name, str) and len(name) <= wire.LONGEST_NAME for name in names):
            self._stop('its answer is not of the agreed form')
        data = self._receive(8 * items * (1 + len(names)), end, late)
        if self._ready(select.POLLIN, 0.0):
            self._stop('it wrote more than was asked for')
        return header, data

    def _header(self, end: float, late: str) -> dict[str, Any]:
        size = wire.LENGTH.unpack(self._receive(wire.LENGTH.size, end, late))[0]
        if size > wire.LARGEST_HEADER:
            self._stop('it wrote more than was asked for')
        text = self._receive(size, end, late)
        try:
            header = json.loads(text)
            header['cpu'] = float(header['cpu'])
            sound = math.isfinite(header['cpu']) and isinstance(header.get('error', ''), str)
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):  # a child may write anything
            sound = False
        if not sound:
            self._stop('its answer is not of the agreed form')
        return header

    def _send(self, message: bytes, end: float, late: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        view = memoryview(message)
        while view:
            if not self._ready(select.POLLOUT, end - time.monotonic()):
                self._stop(late)
            try:
                view = view[os.write(self._process.stdin.fileno(), view) :]
            except BlockingIOError:
                continue
            except OSError:
                self._stop('its process ended')

    def _receive(self, count: int, end: float, late: str) -> bytes:
        assert self._process is not None
        assert self._process.stdout is not None
        parts = []
        while count:
            if not self._ready(select.POLLIN, end - time.monotonic()):
                self._stop(late)
            part = os.read(self._process.stdout.fileno(), min(count, 2**20))
            if not part:
                self._stop('its process ended')
            parts.append(part)
            count -= len(part)
        return b''.join(parts)

    def _ready(self, event: int, seconds: float) -> bool:
        assert self._process is not None
        pipe = self._process.stdin if event == select.POLLOUT else self._process.stdout
        assert pipe is not None
        poll = select.poll()
        poll.register(pipe.fileno(), event)
        return bool(poll.poll(max(0.0, 1000 * seconds)))

    def _stop(self, why: str) -> NoReturn:
        """Kill the process and raise."""
        self._failures += 1
        code = self._end()
        if why == 'its process ended':
            causes = {
                -signal.SIGXCPU: f'it used more than {self.limits.cpu_s} s of processor time',
                -signal.SIGXFSZ: 'it tried to write a file',
                -signal.SIGSYS: 'it called what is forbidden',
                -signal.SIGKILL: 'its process was killed, perhaps for want of memory',
            }
            why = causes.get(code, f'its process ended with code {code}')
        raise SandboxError(f'the program was stopped: {why}')

    def _end(self) -> int:
        process, self._process = self._process, None
        code = 0
        if process is not None:
            try:
                code = process.wait(0.05)  # a process that ends by itself tells why
            except subprocess.TimeoutExpired:
                process.kill()
                code = process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
        return code
