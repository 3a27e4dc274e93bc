# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""An environment of its own for every peer, made when it is first needed and kept.

A peer's packages may contradict ours and each other, so none of them is ever a dependency of this package.
``peers/<name>.txt`` lists what to install, ``peers/<name>.py`` measures. Environments lie in
``~/.cache/apprentice/peers`` (or below ``$APPRENTICE_CACHE``) and can be removed at any time.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from apprentice.robot.files import cache_folder

PEERS = Path(__file__).parent / 'peers'
DONE = 'complete'
# of the caller's environment a peer gets the way to the network and pip's configuration, nothing else
KEPT = (
    'PATH',
    'HOME',
    'LANG',
    'TMPDIR',
    'SSL_CERT_FILE',
    'SSL_CERT_DIR',
    'XDG_CONFIG_HOME',
    'XDG_CACHE_HOME',
)
NETWORK = ('HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY', 'ALL_PROXY')
SHOWN = ('Collecting', 'Downloading', 'Building', 'Installing', 'Successfully')


class PeerError(RuntimeError):
    """A peer's environment could not be made; the message says which step failed and why."""


def cache() -> Path:
    """Where environments are kept."""
    return cache_folder() / 'peers'


def location(name: str) -> Path:
    """Folder of a peer's environment; another one for other requirements and for another Python."""
    requirements = PEERS / f'{name}.txt'
    if not requirements.exists():
        known = ', '.join(sorted(path.stem for path in PEERS.glob('*.txt')))
        raise PeerError(f'no peer {name!r}; there are: {known}')
    content = f'{sys.version_info[:2]}\n{requirements.read_text()}'
    return cache() / f'{name}-{hashlib.sha256(content.encode()).hexdigest()[:12]}'


def peer_environment(folder: Path | None = None) -> dict[str, str]:
    """Environment variables for a peer's processes, with its ``bin`` first in PATH."""
    names = {*KEPT, *NETWORK, *(name.lower() for name in NETWORK)}
    kept = {name: value for name, value in os.environ.items() if name in names or name.startswith('PIP_')}
    if folder is not None:
        kept['PATH'] = os.pathsep.join([str(folder / 'bin'), kept.get('PATH', os.defpath)])
        kept['VIRTUAL_ENV'] = str(folder)
    return kept


def prepare(name: str, say: Callable[[str], object] = lambda line: None) -> Path:
    """The Python of a peer's environment, made if need be.

    An interrupted installation goes on where it stopped. Raises PeerError.

    Args:
        say: told what is being done, a line at a time.
    """
    folder = location(name)
    python = folder / 'bin' / 'python'
    if (folder / DONE).exists() and python.exists():
        return python
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder), (folder / 'install.log').open('a') as log:
        if (folder / DONE).exists():  # somebody else made it while we waited
            return python
        say(f'making the environment of {name} in {folder}')
        if not (folder / 'bin' / 'pip').exists():  # it comes last
            _run([sys.executable, '-m', 'venv', str(folder)], f'{name}: python -m venv', say, log)
        command = [str(python), '-m', 'pip', 'install', '--progress-bar', 'off', '--no-input']
        requirements = ['-r', str(PEERS / f'{name}.txt')]
        _run([*command, *requirements], f'{name}: pip install -r {name}.txt', say, log, folder)
        (folder / DONE).write_text('')
    return python


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / 'lock').open('w') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _run(
    command: list[str], step: str, say: Callable[[str], object], log: TextIO, folder: Path | None = None
) -> None:
    """Run a step of an installation. Raises PeerError with the lines that name the cause."""
    lines: list[str] = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=peer_environment(folder)
    ) as process:
        try:
            for line in process.stdout or ():
                lines.append(line.strip())
                log.write(line)
                if lines[-1].startswith(SHOWN):
                    say(f'  {lines[-1][:100]}')
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        causes = [line for line in lines if line.lower().startswith('error')] or lines[-2:]
        raise PeerError(f'{step} failed: {"; ".join(causes)[:400]}; all of it: {log.name}')
