# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The measuring side of a bench: one function in a process of its own, one JSON line out.

The runner starts ``main`` with a function (``package.module:name``) and its arguments as JSON. The function
returns what :func:`numbers` makes. Scripts in ``peers/`` print the same line without importing this package.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import sys
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import Any

import psutil

from apprentice.robot.parts import load_part


class Stopwatch:
    """Wall and CPU time of the sections measured with it; CPU time includes running child processes.

    Attributes:
        wall_s, cpu_s: so far.
    """

    def __init__(self) -> None:
        self.wall_s = self.cpu_s = 0.0

    @contextlib.contextmanager
    def section(self) -> Iterator[None]:
        cpu, wall = _cpu_seconds(), time.perf_counter()
        try:
            yield
        finally:
            self.wall_s += time.perf_counter() - wall
            self.cpu_s += _cpu_seconds() - cpu


def _cpu_seconds() -> float:
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = time.process_time() + ended.ru_utime + ended.ru_stime
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            times = child.cpu_times()
            used += times.user + times.system
    return used


def timed(action: Callable[[], int], seconds: float, before: Callable[[], object] | None = None) -> dict:
    """Call ``action``, which returns how many units it did, until ``seconds`` have been measured.

    Args:
        before: called before every ``action``, outside of the measured time.
    """
    watch, done = Stopwatch(), 0
    if before is None:  # one section: looking for child processes at every action would cool the caches
        started = time.perf_counter()
        with watch.section():
            while time.perf_counter() - started < seconds:
                done += action()
    while watch.wall_s < seconds and before is not None:
        before()
        with watch.section():
            done += action()
    return {'value': done / watch.wall_s, 'count': done, 'wall_s': watch.wall_s, 'cpu_s': watch.cpu_s}


def numbers(measured: dict, *packages: str, **also: float) -> dict[str, Any]:
    """The row of a bench: what :func:`timed` measured, versions of ``packages``, further columns ``also``."""
    return {**measured, 'versions': versions(*packages), 'also': also}


def versions(*packages: str) -> dict[str, str]:
    """Versions of those packages that are installed."""
    found = {}
    for name in packages:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def use_free_ros_domain() -> None:
    """Before rclpy starts: a ROS domain that nobody else on this machine uses, for local processes only."""
    from apprentice.cli.environment import free_domain

    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    # in any order: two that begin at the same moment both see the first one free
    order = random.SystemRandom().sample(range(120, 200), 80)
    os.environ['ROS_DOMAIN_ID'] = str(free_domain(order))


def main() -> None:
    """Measure the function named by the first argument with the JSON of the second."""
    function, parameters = sys.argv[1:3]
    print(json.dumps(load_part(function)(**json.loads(parameters))), flush=True)
