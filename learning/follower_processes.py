# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Starts the processes that learn together with this one, on this machine; for several ones see torchrun."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import torch.distributed as dist

from apprentice.learning.distributed import Ranks, RanksApart, connect, find_device
from apprentice.learning.leader import PATIENCE

_END_S = 10.0


@contextlib.contextmanager
def started(count: int, device: str = 'cpu', timeout_s: float = 300.0) -> Iterator[Ranks]:
    """This process as the first of ``count`` ones, which run :mod:`.follower` while it lasts.

    They meet at the loopback address and end when this process does, however it ends.

    Args:
        device: as in :func:`.distributed.join`.

    Raises RanksApart for one that ends at once or does not come, ValueError for a device that is not there.
    """
    for rank in range(count if count > 1 else 0):
        find_device(device, rank)  # those that follow would end without a word here
    # gloo would otherwise listen on the network
    os.environ.setdefault('GLOO_SOCKET_IFNAME', 'lo')
    listener = socket.socket()
    listener.bind(('127.0.0.1', 0))
    listener.listen()
    port = listener.getsockname()[1]
    store = dist.TCPStore(
        '127.0.0.1', port, is_master=True, wait_for_workers=False, master_listen_fd=listener.detach()
    )
    command = [sys.executable, '-m', 'apprentice.learning.follower']
    others = [
        subprocess.Popen([*command, str(rank), str(count), str(port)], stdin=subprocess.PIPE)
        for rank in range(1, count)
    ]
    try:
        _wait(store, others, timeout_s)
        with connect(store, 0, count, device, PATIENCE) as ranks:
            yield ranks
        for other in others:
            with contextlib.suppress(subprocess.TimeoutExpired):
                other.wait(_END_S)
    finally:
        for other in others:
            other.kill()
            other.wait()
            assert other.stdin is not None
            other.stdin.close()


def _wait(store: dist.Store, others: list[subprocess.Popen], timeout_s: float) -> None:
    """Until all are here."""
    end = time.monotonic() + timeout_s
    while not store.check([f'here {rank}' for rank in range(1, len(others) + 1)]):
        for rank, other in enumerate(others, 1):
            if other.poll() is not None:
                raise RanksApart(
                    f'process {rank} of the learner ended with code {other.returncode} before it began; '
                    'its reason is above'
                )
        if time.monotonic() > end:
            raise RanksApart(f'the other processes of the learner did not begin within {timeout_s:g} s')
        time.sleep(0.05)
