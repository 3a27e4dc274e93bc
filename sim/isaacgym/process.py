# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Isaac Gym's own Python as a child process: found, started, called, and its end explained."""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from apprentice.sim.isaacgym import protocol

PYTHON = 'APPRENTICE_ISAACGYM_PYTHON'
PATH = 'APPRENTICE_ISAACGYM_PATH'
DEVICE = 'APPRENTICE_ISAACGYM_DEVICE'
SITE = 'https://developer.nvidia.com/isaac-gym'
REMEDY = (
    f'Isaac Gym Preview 4 is deprecated and is only at {SITE} (with a login); it needs Linux, an NVIDIA GPU '
    'and Python 3.6, 3.7 or 3.8 with torch. Install it there (pip install -e isaacgym/python) and set '
    f'{PYTHON}=/path/to/that/bin/python. Without it take MuJoCo Warp, our GPU engine: '
    "pip install 'apprentice[warp]' and engine 'warp'"
)
_OURS = ('PYTHONPATH', 'PYTHONHOME', 'VIRTUAL_ENV', 'LD_PRELOAD', 'AMENT_PREFIX_PATH')  # of another Python
_SLICE_S = 0.2  # how often a waiting call looks whether the worker lives
_LOG_LINES = 12


class IsaacGymUnavailable(ImportError):
    """Isaac Gym cannot be used here; the message says what to get, where, and what to take instead.

    Attributes:
        cause: what is wrong, one sentence.
    """

    def __init__(self, cause: str, details: str = ''):
        super().__init__('\n'.join(filter(None, [f'{cause}. {REMEDY}', details])))
        self.cause = cause


class IsaacGymError(RuntimeError):
    """The worker refused a call, did not answer in time or died; the message has its last output."""


@dataclass(frozen=True)
class Options:
    """Where Isaac Gym is and how to run it; the defaults come from the environment.

    Attributes:
        python: its interpreter (``APPRENTICE_ISAACGYM_PYTHON``).
        path: further import folders for it, separated by colons (``APPRENTICE_ISAACGYM_PATH``).
        device: ``cuda:<number>``, or ``cpu`` for PhysX and tensors there (``APPRENTICE_ISAACGYM_DEVICE``).
        graphics: whether cameras can be made; needs a GPU with graphics.
        spacing: m, half the edge of an environment's cell; cameras see into the neighbours'.
        start_s, call_s: how long to wait for the import and the scene, and for any other call.
    """

    python: str = field(default_factory=lambda: os.environ.get(PYTHON, ''))
    path: str = field(default_factory=lambda: os.environ.get(PATH, ''))
    device: str = field(default_factory=lambda: os.environ.get(DEVICE, 'cuda:0'))
    graphics: bool = True
    spacing: float = 3.0
    start_s: float = 300.0
    call_s: float = 120.0


class WorkerProcess:
    """One worker; ``versions`` is what it imported. Raises IsaacGymUnavailable where it cannot start."""

    def __init__(self, options: Options):
        if not options.python:
            raise IsaacGymUnavailable(f'{PYTHON} is not set')
        found = shutil.which(os.path.expanduser(options.python))
        if found is None:
            raise IsaacGymUnavailable(f'{PYTHON}={options.python} is no program')
        python = os.path.abspath(found)  # the worker starts in another folder
        self._options = options
        self._number = self._answered = 0  # of the last call, of the last answer
        self.folder = Path(tempfile.mkdtemp(prefix=protocol.PREFIX))  # readable by this user only
        self._memory: list[Path] = []
        self._token = secrets.token_hex(16)
        self._connection: socket.socket | None = None
        self._process: subprocess.Popen | None = None
        try:
            self._start(python)
        except BaseException:
            self.close()
            raise

    def _start(self, python: str) -> None:
        address = self.folder / 'socket'
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(str(address))
            listener.listen(1)
            listener.settimeout(_SLICE_S)
            with self._log.open('wb') as log:
                try:
                    self._process = subprocess.Popen(
                        [python, str(Path(__file__).with_name('worker.py')), str(address)],
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        env=self._environment(python),
                        cwd=self.folder,
                    )
                except OSError as error:
                    raise IsaacGymUnavailable(f'{python} cannot be started: {error}') from error
            end = time.monotonic() + self._options.start_s
            while self._connection is None:
                with contextlib.suppress(TimeoutError):
                    self._connection, _ = listener.accept()
                if self._connection is None and self._process.poll() is not None:
                    raise IsaacGymUnavailable(f'{python} ended while starting', self.output())
                if self._connection is None and time.monotonic() > end:
                    raise IsaacGymUnavailable(f'{python} did not answer in time', self.output())
        try:
            hello = self._answer(0, 'start', self._options.start_s)
            protocol.check(hello, protocol.HELLO, 'hello')
        except (IsaacGymError, protocol.ProtocolError) as error:
            cause, _, details = str(error).partition('\n')
            raise IsaacGymUnavailable(f'{python} cannot import Isaac Gym: {cause}', details) from error
        if not hmac.compare_digest(hello['token'], self._token) or hello['protocol'] != protocol.VERSION:
            raise IsaacGymUnavailable(f'{python}: something other than our worker answered')
        self.versions: dict[str, str] = {'python': hello['python'], **hello['versions']}

    def _environment(self, python: str) -> dict[str, str]:
        """Ours without what belongs to our interpreter; its libraries and tools first, as its guide asks."""
        environment = {name: value for name, value in os.environ.items() if name not in _OURS}
        prefix = Path(python).absolute().parent.parent
        libraries = [str(prefix / 'lib'), environment.get('LD_LIBRARY_PATH', '')]
        environment['LD_LIBRARY_PATH'] = os.pathsep.join(filter(None, libraries))
        environment['PATH'] = os.pathsep.join([str(prefix / 'bin'), environment.get('PATH', '')])
        environment[PATH] = self._options.path
        environment['APPRENTICE_ISAACGYM_TOKEN'] = self._token
        environment['PYTHONDONTWRITEBYTECODE'] = '1'  # our folder may be read-only
        return environment

    @property
    def _log(self) -> Path:
        return self.folder / 'output'

    def output(self) -> str:
        """The worker's last lines, standard output and error together."""
        lines = self._log.read_text(errors='replace').splitlines() if self._log.exists() else []
        return '\n'.join(['Last output of the worker:', *(lines[-_LOG_LINES:] or ['(none)'])])

    def share(self, arrays: list[list[Any]]) -> tuple[str, dict[str, np.ndarray]]:
        """A mapped file with the arrays [name, dtype, shape]: (its path, the arrays, zeroed).

        The worker removes its name once it has mapped it. Raises IsaacGymError where it does not fit.
        """
        folder = '/dev/shm' if os.path.isdir('/dev/shm') else str(self.folder)
        size = protocol.memory_size(arrays)
        handle, name = tempfile.mkstemp(prefix=protocol.PREFIX, dir=folder)
        self._memory.append(Path(name))
        try:
            os.posix_fallocate(handle, 0, size)  # a hole would end the process when it is written
            return name, protocol.map_arrays(name, arrays)
        except OSError as error:
            self._unlink()
            raise IsaacGymError(
                f'{size / 1e6:.0f} MB of shared memory do not fit into {folder} ({error.strerror}); '
                'take fewer simulations or smaller frames, or more room (in a container: --shm-size)'
            ) from error
        finally:
            os.close(handle)

    def call(self, name: str, **arguments: Any) -> dict[str, Any]:
        """Have the worker do something; returns its result. Raises IsaacGymError."""
        self._number += 1
        message = {'id': self._number, 'call': name, 'arguments': arguments}
        protocol.check_request(message)
        if self._connection is None:
            raise IsaacGymError(f'{name}: the worker is closed')
        limit = self._options.start_s if name in ('create', 'cameras') else self._options.call_s
        try:
            self._connection.settimeout(limit)
            protocol.send(self._connection, message)
        except OSError as error:
            raise self._died(name) from error
        result = self._answer(self._number, name, limit)
        if name in ('create', 'cameras'):
            self._unlink()
        return result

    def settle(self) -> None:
        """Wait for the end of a call that was interrupted (Ctrl-C): the worker may still use the arrays."""
        if self._answered < self._number and self._connection is not None:
            with contextlib.suppress(IsaacGymError):  # of a call that nobody waits for any more
                self._answer(self._number, 'an interrupted call', self._options.call_s)

    def _unlink(self) -> None:
        for path in self._memory:
            path.unlink(missing_ok=True)
        self._memory.clear()

    def _answer(self, number: int, name: str, limit_s: float) -> dict[str, Any]:
        assert self._connection is not None
        self._wait(name, limit_s)
        self._connection.settimeout(limit_s)
        try:
            message = protocol.receive(self._connection)
        except (OSError, protocol.ProtocolError) as error:
            raise IsaacGymError(f'{name}: {error}. {self.output()}') from error
        if message is None:
            raise self._died(name)
        found = message.get('id') if isinstance(message, dict) else None
        if isinstance(found, int) and self._answered < found < number:  # of a call that was interrupted
            self._answered = found
            return self._answer(number, name, limit_s)
        self._answered = number
        if not isinstance(message, dict) or found != number:
            raise IsaacGymError(f'{name}: not an answer to call {number}: {str(message)[:200]}')
        if 'error' in message:
            protocol.check(message['error'], protocol.FAILURE, 'error')
            failure = message['error']
            raise IsaacGymError(f'{name}: {failure["kind"]}: {failure["message"]}\n{failure["traceback"]}')
        if not isinstance(message.get('result'), dict):
            raise IsaacGymError(f'{name}: an answer without a result: {str(message)[:200]}')
        return message['result']

    def _wait(self, name: str, limit_s: float) -> None:
        """Until something can be read. The worker is killed when it does not answer in time."""
        assert self._connection is not None
        assert self._process is not None
        end = time.monotonic() + limit_s
        self._connection.settimeout(_SLICE_S)
        while True:
            try:
                self._connection.recv(1, socket.MSG_PEEK)
                return
            except TimeoutError:
                pass
            except OSError as error:  # it ended before it had read the call
                raise self._died(name) from error
            if self._process.poll() is not None:
                raise self._died(name)
            if time.monotonic() > end:
                self._process.kill()
                raise IsaacGymError(
                    f'{name}: no answer within {limit_s:g} s; the worker was ended. {self.output()}'
                )

    def _died(self, name: str) -> IsaacGymError:
        code: int | str = 'unknown'
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = self._process.wait(2)
        return IsaacGymError(f'{name}: the Isaac Gym worker died (exit code {code}). {self.output()}')

    def close(self) -> None:
        """End the worker, remove its files. Does not raise."""
        if self._connection is not None and self._process is not None and self._process.poll() is None:
            with contextlib.suppress(IsaacGymError, OSError):
                self.call('close')
        patience_s = (
            0.0 if self._connection is None else 5.0
        )  # one that never answered will not end by itself
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._process is not None:
            try:
                self._process.wait(patience_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._unlink()
        shutil.rmtree(self.folder, ignore_errors=True)
