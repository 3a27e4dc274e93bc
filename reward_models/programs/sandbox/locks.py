# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What the child process takes away from itself before it sees a program. Each lock says whether it holds."""

from __future__ import annotations

import ctypes
import math
import os
import resource
import time
from collections.abc import Callable, Mapping

from apprentice.reward_models.programs.sandbox import seccomp

_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000  # CLONE_NEWUSER, CLONE_NEWNET
_DUMPABLE = 4  # PR_SET_DUMPABLE
_NOBODY = 65534
# what must be impossible -> sets of locks, each of which makes it so
PROTECTIONS: dict[str, tuple[tuple[str, ...], ...]] = {
    'network': (('seccomp',), ('network_namespace',)),
    'files': (('seccomp',), ('open_files', 'file_size')),
    'processes': (('seccomp',), ('no_processes', 'other_user')),
    'memory': (('memory',),),
}


def missing(locks: Mapping[str, bool]) -> list[str]:
    """What is not protected by the locks that hold."""
    return [
        name
        for name, ways in PROTECTIONS.items()
        if not any(all(locks.get(lock, False) for lock in way) for way in ways)
    ]


def lock_down(folder: str, memory_mb: int, cpu_s: int) -> dict[str, bool]:
    """Take away all but processor, some memory and the two pipes; name of each lock -> whether it holds.

    Args:
        folder: an empty folder, the only one that can be seen afterwards.
        memory_mb: address space beyond what the process has now.
        cpu_s: processor seconds that are left; for good.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    last = math.ceil(time.process_time()) + cpu_s  # a second later it is killed without a reason
    now = _address_space()  # told by a file that is out of sight later
    ways: dict[str, Callable[[], object]] = {
        'network_namespace': lambda: _own_network(libc),
        'empty_root': lambda: _only(folder),
        'other_user': _nobody,
        'not_traceable': lambda: _must(libc.prctl(_DUMPABLE, 0, 0, 0, 0) == 0),
        'memory': lambda: _limit_memory(now, memory_mb),
        'file_size': lambda: _limit(resource.RLIMIT_FSIZE, 0),
        'no_processes': lambda: _limit(resource.RLIMIT_NPROC, 0),
        'no_core': lambda: _limit(resource.RLIMIT_CORE, 0),
        'processor': lambda: resource.setrlimit(resource.RLIMIT_CPU, (last, last + 1)),
        'open_files': lambda: _limit(resource.RLIMIT_NOFILE, 0),
        'seccomp': lambda: _must(seccomp.restrict()),
    }
    held = {}
    for name, way in ways.items():
        try:
            way()
            held[name] = True
        except (OSError, ValueError, AttributeError):  # AttributeError: not in this system's library
            held[name] = False
    return held


def _must(done: bool) -> None:
    if not done:
        raise OSError('not permitted')


def _own_network(libc: ctypes.CDLL) -> None:
    """A network of its own with nothing in it; for others than root it needs a user namespace too."""
    _must(libc.unshare(_NEW_NETWORK) == 0 or libc.unshare(_NEW_USER | _NEW_NETWORK) == 0)


def _only(folder: str) -> None:
    os.chdir(folder)
    os.chroot('.')
    os.chdir('/')


def _nobody() -> None:
    if os.getuid() != 0:
        raise OSError('only root can become somebody else')
    os.setgroups([])
    os.setresgid(_NOBODY, _NOBODY, _NOBODY)
    os.setresuid(_NOBODY, _NOBODY, _NOBODY)


def _limit(kind: int, value: int) -> None:
    resource.setrlimit(kind, (value, value))


def _address_space() -> int:
    """Bytes this process has reserved; 0 where the system does not tell."""
    try:
        with open('/proc/self/statm') as file:
            return int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return 0


def _limit_memory(now: int, more_mb: int) -> None:
    _must(now > 0)
    _limit(resource.RLIMIT_AS, now + more_mb * 2**20)
